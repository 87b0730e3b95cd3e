"""Each contract of an adapter has a process of its own, whoever runs it: two beside one another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import toolspan

SOURCES = Path(toolspan.__file__).parents[1]
#: An adapter, and what some cases need of a program.
PART = """
import os, sys
from importlib import metadata
from pathlib import Path

from toolspan.hooks import Adapter, Hook
from toolspan.toolcall import ToolCall

words = (Hook("importlib.metadata:FUNCTION", lambda call: ToolCall(name="FUNCTION")),)
ADAPTER = Adapter(name="NAME", distribution="packaging", versions=">=1", words=words)
DOORS = OBJECTS = raising = schemas = None

def call(value):
    with Path("NAME").open("a") as file:
        print(os.getpid(), file=file)
    metadata.FUNCTION("packaging")
    return value

def named(name):
    metadata.FUNCTION("packaging")
    return "ok"
"""
IMPORTED = """
with Path("imported").open("a") as file:
    print(os.getpid(), file=file)
"""
TESTS = """
import first
from toolspan.testing import adapter_contract

def test_plain_one(): pass
TestFirst = adapter_contract("first:ADAPTER", first)
def test_plain_two(): pass
TestSecond = adapter_contract("second_adapter:ADAPTER", "second")
"""
TWICE, NAMES = "twice_is_once", "hostile_name or plain"


@pytest.fixture
def ends(tmp_path):
    """Run some cases of both, the first's program with more in it: how they ended, what was said."""

    def run(chosen, more="", *words):
        for name, function, end in (("first", "version", more), ("second", "requires", IMPORTED)):
            text = PART.replace("FUNCTION", function).replace("NAME", name)
            (tmp_path / f"{name}_adapter.py").write_text(text)
            (tmp_path / f"{name}.py").write_text(text + end)
        (tmp_path / "test_both.py").write_text(TESTS)
        plain = ("-p", "toolspan.testing", "-p", "no:cacheprovider", "-v", "-rfs", "-k", chosen)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *plain, *words, "test_both.py"],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(SOURCES), str(tmp_path)]),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        found = re.findall(r"^test_both\.py::(\w+).* ([A-Z]{5,})", done.stdout, re.MULTILINE)
        assert done.returncode == any(end in {"FAILED", "ERROR"} for _, end in found), done.stdout
        return Counter(found), done.stdout

    return run


def test_two_contracts_have_two_processes_neither_of_which_is_pytests(ends, tmp_path):
    found, said = ends(TWICE, f"\nassert os.getpid() != {os.getpid()}")
    assert found == {("TestFirst", "PASSED"): 1, ("TestSecond", "PASSED"): 1}, said
    first, second = (set((tmp_path / name).read_text().split()) for name in ("first", "second"))
    assert len(first) == len(second) == len(second - first) == 1
    assert first.isdisjoint((tmp_path / "imported").read_text().split())
    assert ends(TWICE, "", "--pdb")[0] == found  # looked into where it runs
    first, second = ((tmp_path / name).read_text().split()[-1] for name in ("first", "second"))
    assert first == second


def test_what_breaks_a_process_down_fails_its_cases_by_name_and_nobody_elses(ends):
    dying = "\ndef named(name):\n    if name == '<b>': os.abort()\n    return metadata.version('packaging') and 'ok'"
    found, said = ends(NAMES, dying)
    assert found == {
        ("test_plain_one", "PASSED"): 1,
        ("TestFirst", "PASSED"): 5,
        ("TestFirst", "FAILED"): 4,
        ("test_plain_two", "PASSED"): 1,
        ("TestSecond", "PASSED"): 9,
    }, said
    assert "Fatal Python error: Aborted" in said
    assert re.search(r"contract has ended, with -?\d+, and said no more", said)
    assert (
        "FAILED test_both.py::TestFirst::test_a_hostile_name_gives_a_span_with_a_safe_one[markup]"
        in said
    )


def test_a_process_that_breaks_down_after_its_last_case_has_failed(ends):
    dying = "\nimport atexit; atexit.register(os._exit, 7) if 'toolspan.testing.child' in sys.argv else 0"
    found, said = ends(TWICE, dying)
    assert found == {
        ("TestFirst", "PASSED"): 1,
        ("TestSecond", "PASSED"): 1,
        ("TestSecond", "ERROR"): 1,
    }
    assert "ended, with 7," in said


def test_what_a_failing_case_shows_and_why_one_is_skipped_is_told(ends):
    failing = "\ndef call(value):\n    print('loud'); import pytest; pytest.skip('too cold') if value == 'hello' else 0"
    found, said = ends(TWICE, failing)
    assert found["TestFirst", "SKIPPED"] == 1, said
    assert "too cold" in said
    found, said = ends(TWICE, "\ndef call(value): print('loud')")
    assert found["TestFirst", "FAILED"] == 1, said
    assert "assert (0, 0) == (0, 1)" in said
    assert "loud" in said


def test_who_stops_at_the_first_failure_waits_for_nothing_else(ends, tmp_path):
    slow = (
        "\nimport time\ndef named(name):\n    if name == '<b>': time.sleep(600)\n    return 'wrong'"
    )
    found, said = ends(NAMES, slow, "-x")
    assert found["TestFirst", "FAILED"] == 1, said
    assert "TestSecond" not in str(found)
