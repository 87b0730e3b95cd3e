"""`recorded_tools`: what users' own tests are given, as a block and as a pytest fixture."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import toolspan
from toolspan import containment, tool
from toolspan.testing import RecordedCall, recorded_tools

SOURCES = Path(toolspan.__file__).parent.parent


@tool
def add(a, b):
    """Add two numbers."""
    return a + b


@tool(agent="clerk")
async def fetch(url):
    """Fetch a page."""
    await asyncio.sleep(0)
    return url


@tool
def fail():
    """Fail."""
    raise LookupError("secret")


@pytest.fixture(autouse=True)
def _off_afterwards():
    assert not toolspan.status().active
    yield
    assert not toolspan.status().active


def test_a_block_records_the_calls_inside_it():
    add(0, 0)
    with recorded_tools() as calls:
        add(1, 2)
        asyncio.run(fetch("u"))
        with pytest.raises(LookupError):
            fail()
    add(0, 0)
    assert calls.names == ["add", "fetch", "fail"]
    assert [call.outcome for call in calls] == ["ok", "ok", "error"]
    assert [call.arguments for call in calls] == [{"a": 1, "b": 2}, {"url": "u"}, {}]
    assert [call.result for call in calls] == [3, "u", None]
    assert [call.agent for call in calls] == [None, "clerk", None]
    assert [call.error_type for call in calls] == [None, None, "LookupError"]
    assert all(0 <= call.duration < 5 for call in calls)
    assert len(calls) == 3


def test_arguments_and_results_are_the_tools_own_objects():
    given = {"deep": [object()]}
    with recorded_tools() as calls:
        tool(name="give")(lambda value: value)(given)
    assert calls[0].arguments["value"] is given
    assert calls[0].result is given


def test_every_door_is_recorded():
    with recorded_tools() as calls:
        with toolspan.call("search", {"query": "a"}, id="call_1") as call:
            call.result = "found"
        toolspan.record("import", started=1_700_000_000, duration=2.5, outcome="denied")
        toolspan.dispatch({"add": add}, {"name": "add", "arguments": {"a": 1, "b": 2}})
        toolspan.dispatch({}, {"name": "find", "arguments": {}})
        list(tool(name="count")(lambda: (yield 1))())
    assert calls.names == ["search", "import", "add", "find", "count"]
    assert calls[0].id == "call_1"
    assert calls[1].duration == 2.5
    assert [call.outcome for call in calls] == ["ok", "denied", "ok", "unknown_tool", "ok"]


def test_the_calls_are_in_the_order_of_their_ends():
    with recorded_tools() as calls, toolspan.call("outer"), toolspan.call("inner"):
        add(1, 2)
    assert calls.names == ["add", "inner", "outer"]


def test_calls_of_threads_are_recorded():
    with recorded_tools() as calls:
        threads = [threading.Thread(target=add, args=(n, 1)) for n in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(call.result for call in calls) == list(range(1, 51))


def test_a_stream_broken_off_is_recorded_by_the_end_of_the_block():
    @tool
    def count():
        yield 1
        yield 2

    with recorded_tools() as calls:
        next(count())
    assert calls.names == ["count"]


def test_what_the_block_raises_passes_and_ends_the_recording():
    with pytest.raises(KeyError), recorded_tools() as calls:
        add(1, 2)
        raise KeyError
    add(3, 4)
    assert calls.names == ["add"]


def test_a_block_inside_a_block_records_for_both():
    with recorded_tools() as outer:
        add(1, 2)
        with recorded_tools() as inner:
            add(3, 4)
        add(5, 6)
    assert [call.result for call in outer] == [3, 7, 11]
    assert [call.result for call in inner] == [7]


def test_where_tracing_is_on_it_stays_on_and_untouched(trace_with):
    traced = trace_with(sampler=ALWAYS_OFF)
    with recorded_tools() as calls:
        add(1, 2)
    add(3, 4)
    assert calls.names == ["add"]
    assert traced.spans == []
    assert toolspan.stats()["add"].calls == 2
    toolspan.uninstrument()


def test_turning_tracing_on_inside_the_block_keeps_recording(trace_with):
    with recorded_tools() as calls:
        add(1, 2)
        traced = trace_with()
        add(3, 4)
    assert [call.result for call in calls] == [3, 7]
    assert len(traced.spans) == 1


def test_frameworks_are_recorded_too():
    tools = pytest.importorskip("langchain_core.tools")
    made = tools.StructuredTool.from_function(
        lambda query: [query], name="search", description="Search."
    )
    with recorded_tools() as calls:
        made.invoke({"query": "emma"})
    assert calls.names == ["search"]
    assert calls[0].result == ["emma"]


def test_a_record_is_plain_and_cannot_be_changed():
    with recorded_tools() as calls:
        add(1, 2)
    assert type(calls[0]) is RecordedCall
    assert "add" in repr(calls[0])
    with pytest.raises(AttributeError):
        calls[0].name = "other"


FIXTURE = """
import toolspan

@toolspan.tool
def add(a, b):
    return a + b

def test_first(recorded_tools):
    add(1, 2)
    assert recorded_tools.names == ["add"]
    assert recorded_tools[0].arguments == {"a": 1, "b": 2}

def test_second(recorded_tools):
    assert recorded_tools == []
    assert toolspan.status().active

def test_without():
    assert not toolspan.status().active
"""


def test_the_fixture_works_in_a_users_own_tests(tmp_path):
    (tmp_path / "test_user.py").write_text(FIXTURE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "toolspan.testing", "-W", "error"]
    command += ["-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCES), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_without_pytest_the_block_still_works():
    program = (
        "import sys; sys.modules['pytest'] = None\n"
        "import toolspan\n"
        "from toolspan.testing import recorded_tools\n"
        "with recorded_tools() as calls:\n"
        "    toolspan.tool(max)(1, 2)\n"
        "print(calls.names, calls[0].result)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['max'] 2\n"


def test_nobody_is_told_to_set_a_provider_for_a_test(caplog):
    caplog.set_level("WARNING", logger="toolspan")
    containment.forget_said()
    for _ in range(2):
        with recorded_tools() as calls:
            tool(len, name="length")("four")
        assert calls.names == ["length"]
    assert [record for record in caplog.records if record.name == "toolspan"] == []
