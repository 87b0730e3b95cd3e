"""The runner of these tests counts what pytest counted, and finds a Python that runs."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = runpy.run_path(str(Path(__file__).with_name("run.py")), run_name="runner")
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
