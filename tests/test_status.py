"""`status()`: the facts about this process; and every example that a docstring gives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

import toolspan
from ground_truth import ADAPTERS
from receiver import Receiver, run_program
from toolspan import containment, status, tool
from toolspan.status import FrameworkStatus, Status

PACKAGE = Path(toolspan.__file__).parent


@tool
def add(a, b=1):
    """Add two numbers."""
    return a + b


def frameworks():
    return {one.name: one for one in status().frameworks}


# -- on and off ------------------------------------------------------------------------------


def test_the_status_says_whether_tracing_is_on(trace_with):
    assert not status().active
    assert "toolspan is off" in str(status())
    trace_with()
    assert status().active
    assert "toolspan is on" in str(status())
    toolspan.uninstrument()
    assert not status().active


def test_the_status_names_the_provider_and_the_version_of_opentelemetry(traced):
    found = status()
    kind = type(traced.provider)
    assert found.provider == f"{kind.__module__}.{kind.__qualname__}"
    assert found.opentelemetry == version("opentelemetry-api")
    assert found.provider in str(found)
    assert found.opentelemetry in str(found)


def test_a_providers_own_class_is_named(trace_with):
    class Mine(TracerProvider):
        """An application's own."""

    trace_with()
    toolspan.instrument(tracer_provider=Mine())
    assert status().provider.endswith("Mine")


# -- frameworks ------------------------------------------------------------------------------


def test_an_installed_framework_is_listed_with_its_version_and_hooks(trace_with):
    pytest.importorskip("langchain_core.tools.base")
    trace_with()
    found = frameworks()["langchain"]
    assert found.version == version("langchain-core")
    assert found.tested
    assert "langchain_core.tools.base:BaseTool.run" in found.placed
    assert "langchain_core.tools.base:BaseTool.arun" in found.placed
    assert f"langchain {found.version}" in str(status())


AHEAD_OF_ITS_IMPORT = """
import toolspan

toolspan.instrument()
print(toolspan.status())
import langchain_core.tools.base

print(toolspan.status())
toolspan.uninstrument()
print(toolspan.status())
"""


def test_a_framework_that_is_not_imported_is_said_to_wait_and_not_to_have_no_hooks():
    pytest.importorskip("langchain_core.tools.base")
    told = subprocess.run(
        [sys.executable, "-c", AHEAD_OF_ITS_IMPORT], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.partition(": ")[2] for line in told.splitlines() if line.startswith("langchain")]
    assert lines[0] == "not imported yet"
    assert re.fullmatch(r"[1-9]\d* hooks placed(, missing: .*)?", lines[1])
    assert lines[2] == "not hooked (toolspan is off)"


def test_only_the_named_framework_is_hooked(trace_with):
    pytest.importorskip("mcp")
    tools = pytest.importorskip("langchain_core.tools.base")
    trace_with("mcp")
    assert "langchain" not in frameworks() or frameworks()["langchain"].placed == ()
    assert type(tools.BaseTool.__dict__["run"]).__name__ == "function"
    assert frameworks()["mcp"].version == version("mcp")


def test_after_uninstrument_no_hook_is_in_place(trace_with):
    pytest.importorskip("langchain_core.tools.base")
    trace_with()
    toolspan.uninstrument()
    assert all(one.placed == () for one in status().frameworks)


def test_a_framework_is_listed_once_and_nothing_that_is_not_installed(trace_with):
    trace_with()
    names = [one.name for one in status().frameworks]
    assert len(names) == len(set(names))
    installed = {one.name.replace("_", "-") for one in distributions()}
    assert set(names) == {one.name for one in ADAPTERS if one.distribution in installed}


def test_what_is_untested_and_what_is_missing_is_said():
    one = FrameworkStatus("agno", "9.0", tested=False, placed=("a:b",), missing=("a:c", "a:d"))
    assert str(one) == "agno 9.0 (untested version): 1 hooks placed, missing: a:c, a:d"


def test_a_named_framework_that_is_absent_raises_clearly():
    from toolspan.registry import adapter_for

    absent = {adapter.name for adapter in ADAPTERS if adapter_for(adapter.name) is None}
    for name in absent:
        with pytest.raises(toolspan.FrameworkNotFoundError, match=name):
            toolspan.instrument(name)


# -- what came of it -------------------------------------------------------------------------


def test_spans_are_counted_as_opened_and_merged(traced):
    before = status().spans
    add(1)
    tool(add)(1)
    after = status().spans
    gained = {what: after[what] - before[what] for what in after}
    assert gained == {"opened": 2, "adopted": 0, "merged": 1}
    assert len(traced.spans) == 2
    assert f"{after['opened']} opened" in str(status())


def test_asking_ends_what_the_collector_put_off(traced):
    stream = tool(name="count")(lambda: (yield 1))()
    next(stream)
    del stream
    assert traced.exporter.get_finished_spans() == ()
    status()
    assert len(traced.exporter.get_finished_spans()) == 1


@pytest.mark.contains
def test_contained_errors_are_shown():
    containment.report("some_place", LookupError("secret"))
    found = status()
    assert found.failures["some_place: LookupError"] >= 1
    assert "contained: some_place: LookupError (" in str(found)
    assert "secret" not in str(found)


def test_a_status_is_a_plain_value_that_does_not_change(traced):
    first = status()
    add(1)
    second = status()
    assert type(first) is Status
    assert first.spans["opened"] + 1 == second.spans["opened"]
    assert first == first  # noqa: PLR0124  # values compare
    assert first != second
    with pytest.raises(AttributeError):
        first.active = False
    assert json.dumps(first.spans)
    assert len(traced.spans) == 1


def test_stats_are_the_same_object_for_the_whole_process(trace_with):
    before = toolspan.stats()
    trace_with()
    add(1)
    assert toolspan.stats() is before
    assert before["add"].calls == 1


# -- docstrings ------------------------------------------------------------------------------

#: Exceptions need no example; `instrument` and `dispatch` show how they come up.
WITHOUT_EXAMPLE = {"CallError", "FrameworkNotFoundError"}
EXAMPLES = """
import doctest, importlib, json, logging, sys
logging.disable(logging.WARNING)
found = {}
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    results = doctest.testmod(module)
    found[name] = [results.failed, results.attempted]
    import toolspan
    toolspan.uninstrument()
    toolspan.stats().reset()
print("found", json.dumps(found))
"""


def run_examples(names, **environ):
    """How many examples of each module failed, and how many there are."""
    done = run_program(EXAMPLES, *names, **environ)
    assert done.returncode == 0, done.stderr
    shown, _, found = done.stdout.rpartition("found ")
    assert shown == ""
    return json.loads(found)


def test_every_example_in_a_docstring_runs(tmp_path):
    files = {file.stem for file in PACKAGE.glob("*.py") if file.stem[0] != "_"} - {"quickstart"}
    names = sorted(f"toolspan.{name}" for name in files)
    found = run_examples(names, TOOLSPAN_STATE_DIR=str(tmp_path), PYTHONWARNINGS="error")
    assert {name: counts for name, counts in found.items() if counts[0]} == {}
    assert found["toolspan.api"][1] >= 15


def test_the_examples_of_the_quick_start_run_and_send(tmp_path):
    with Receiver() as receiver:
        found = run_examples(
            ["toolspan.quickstart"],
            TOOLSPAN_STATE_DIR=str(tmp_path),
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        )
        assert found == {"toolspan.quickstart": [0, 8]}
        assert [span.name for span in receiver.spans()] == ["execute_tool read_file"]


@pytest.mark.parametrize("name", sorted(set(toolspan.__all__) - WITHOUT_EXAMPLE))
def test_everything_public_has_a_docstring_with_an_example(name):
    assert ">>> " in getattr(toolspan, name).__doc__


@pytest.mark.parametrize("name", toolspan.__all__)
def test_everything_public_has_a_docstring_that_begins_with_one_sentence(name):
    first = getattr(toolspan, name).__doc__.partition("\n\n")[0]
    assert first.strip().endswith(".")
    assert "\n" not in first.strip()
