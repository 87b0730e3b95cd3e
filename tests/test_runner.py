"""The runner counts what pytest counted and finds a Python; its environments are what they claim."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

import pins
from ground_truth import ADAPTERS

RUNNER = runpy.run_path(str(Path(__file__).with_name("run.py")), run_name="runner")
ENVIRONMENTS = {file.stem: RUNNER["read"](file, source=True) for file in RUNNER["FILES"]}
PROGRAM = """
import pytest

@pytest.fixture
def broken(): raise OSError

@pytest.fixture
def broken_afterwards():
    yield
    raise OSError

def test_passes(): pass
def test_passes_too(): pass
def test_fails(): assert False
def test_has_no_fixture(broken): pass
def test_cannot_clean_up(broken_afterwards): pass
def test_is_skipped(): pytest.skip()
@pytest.mark.xfail
def test_is_known(): assert False
"""


def report_of(program: str, folder: Path, *words: str) -> tuple[Path, int]:
    (folder / "test_program.py").write_text(program, encoding="utf-8")
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return report, done.returncode


def test_every_way_to_fail_is_a_failure_and_every_way_to_be_skipped_a_skip(tmp_path):
    counts = RUNNER["count"](*report_of(PROGRAM, tmp_path))
    assert str(counts) == "2 passed, 3 failed, 2 skipped"


def test_a_run_that_ended_badly_has_failed_though_no_test_did(tmp_path):
    report, status = report_of("def test_passes(): pass", tmp_path, "--maxfail=1")
    assert (status, RUNNER["count"](report, status).failed) == (0, 0)
    assert RUNNER["count"](report, 3).failed == 1
    assert RUNNER["count"](tmp_path / "missing.xml", 3).failed == 1


def test_a_selection_that_is_empty_in_one_environment_is_no_failure(tmp_path):
    report, status = report_of("def test_passes(): pass", tmp_path, "-k", "nothing")
    assert str(RUNNER["count"](report, status)) == "0 passed, 0 failed, 0 skipped"


def test_in_the_background_of_a_shell_an_interruption_still_reaches_what_is_tested(monkeypatch):
    def run(*_):
        asks = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
        seen.append(subprocess.check_output([sys.executable, "-c", asks], text=True).strip())
        return RUNNER["Counts"]()

    seen: list[str] = []
    monkeypatch.setitem(RUNNER["main"].__globals__, "run", run)
    monkeypatch.setattr(sys, "argv", ["run.py"])
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        RUNNER["main"]()
    finally:
        signal.signal(signal.SIGINT, ours)
    assert seen == ["False"]


@pytest.mark.skipif(os.name == "nt", reason="a shim is a shell script")
def test_a_shim_whose_python_is_switched_off_is_passed_over(tmp_path, monkeypatch):
    for place, script in (("shims", "exit 127"), ("bin", "echo 9.9")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "python9.9").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / place / "python9.9").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}")
    assert RUNNER["find_python"]("9.9") is None
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}{os.pathsep}{tmp_path / 'bin'}")
    assert RUNNER["find_python"]("9.9") == str(tmp_path / "bin" / "python9.9")


def test_what_cannot_be_made_stops_no_test_and_is_told(tmp_path, capsys):
    script = tmp_path / "make.py"
    script.write_text("print('no Go here'); raise SystemExit(1)", encoding="utf-8")
    RUNNER["prepare"](str(script))
    assert capsys.readouterr().out == f"{script} | no Go here\n"


# -- the environments ----------------------------------------------------------------------------

OWN = ("tests/a.py", "tests/b.py")
HEADS = {
    "# Python 3.13\n\na==1\n": ("3.13", (), None, None),
    "# Python 3.10\n# Tests tests/a.py tests/b.py\n\n# Tests c\n": ("3.10", OWN, None, None),
    "# Peer old\n# Python 3.10\n\na==1\n": ("3.10", (), "old", None),
    "# Python 3.10\n# Needs tests/c.py\n\na==1\n": ("3.10", (), None, "tests/c.py"),
}


@pytest.mark.parametrize("text", HEADS)
def test_the_head_of_an_environment_says_what_it_runs(tmp_path, text):
    file = tmp_path / "some.txt"
    file.write_text(text, encoding="utf-8")
    some = RUNNER["read"](file, source=False)
    said = some.version, some.tests, some.peer, some.needs
    assert (some.name, said) == ("some", HEADS[text])


@pytest.mark.parametrize(
    ("words", "selected"),
    [
        ([], [*OWN]),
        (["-x", "-k", "word"], ["-x", "-k", "word", *OWN]),
        (["-x", "tests/b.py::test_it", "tests/c.py"], ["-x", "tests/b.py::test_it"]),
        (["--ignore=tests/a.py"], ["--ignore=tests/a.py", *OWN]),
        (["tests/c.py", "-x"], None),
    ],
)
def test_an_environment_with_files_of_its_own_runs_no_others(words, selected):
    everything = ENVIRONMENTS["new"]
    assert RUNNER["selection"](everything, words) == words
    assert RUNNER["selection"](replace(everything, tests=OWN), words) == selected


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_names_files_and_a_peer_that_there_are(name):
    one = ENVIRONMENTS[name]
    files = [*one.tests, *filter(None, [one.needs])]
    assert [file for file in files if not (RUNNER["ROOT"] / file).is_file()] == []
    assert one.peer or one.tests
    assert one.peer is None or pinned(one.peer)["mcp"].major == 3 - pinned(name)["mcp"].major


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_written_as_it_stands_from_what_its_tests_name(name):
    text = ENVIRONMENTS[name].requirements.read_text(encoding="utf-8")
    asked = []

    def same(wanted, python):
        asked.append(python)
        assert {*pins.pinned(wanted)} < {*pins.pinned(text)}
        return pins.pinned(text)

    assert pins.anew(text, same) == text
    assert asked == [ENVIRONMENTS[name].version]


def test_a_framework_without_an_environment_gets_its_newest_and_its_oldest():
    found = {"fastmcp-slim": "9.9", "mcp": "2.3", "dep": "1"}
    for line in pins.BESIDES.split():
        found.setdefault(line, "1.0")
    texts = pins.first("fastmcp", "fastmcp-slim")
    assert "\nfastmcp-slim>=3.3,<5\n" in texts["fastmcp"]
    assert "\nfastmcp-slim==3.3\n" in texts["oldest-fastmcp"]
    for text in texts.values():
        whole = pins.anew(text, lambda _wanted, _python: found)
        assert pins.pinned(whole) == found
        assert whole.endswith("\n\n# What those bring:\ndep==1\n")


def test_every_framework_has_an_environment_so_the_command_writes_none():
    assert pins.unpinned() == {}


def test_whoever_is_tested_beside_us_is_in_the_environment_that_does_it():
    beside = [one.tests for name, one in ENVIRONMENTS.items() if name.startswith("neighbours")]
    assert all("tests/test_neighbours.py" in tests for tests in beside)


def test_the_oldest_that_adapters_claim_is_the_oldest_that_is_tested():
    oldest = {one.distribution: one.versions for one in reversed(ADAPTERS)}  # the first stays
    floors = {name: versions.partition(",")[0] for name, versions in oldest.items()}
    pins = [pinned(name) for name in ENVIRONMENTS]
    tested = {name: min(one[name] for one in pins if name in one) for name in floors}
    assert {name: Version(floor.removeprefix(">=")) for name, floor in floors.items()} == tested


def pinned(name):
    """What an environment pins: of each distribution the version."""
    text = ENVIRONMENTS[name].requirements.read_text(encoding="utf-8")
    pins = dict(line.split("==") for line in text.splitlines() if "==" in line)
    return {name.partition("[")[0]: Version(version) for name, version in pins.items()}
