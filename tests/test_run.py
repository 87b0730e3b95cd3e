"""`run`: one run, one trace; what is known of it stands on every tool span below."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import toolspan
from toolspan import tool


@tool
def add(a, b):
    """Add two numbers."""
    return a + b


@tool
async def fetch(url):
    """Fetch a page."""
    await asyncio.sleep(0)
    return url


@pytest.fixture
def said(caplog):
    """What toolspan logged so far, one entry a line."""
    caplog.set_level(logging.WARNING, "toolspan")
    return lambda: [one.getMessage() for one in caplog.records if one.name == "toolspan"]


def test_the_tool_spans_of_a_run_share_its_trace(traced):
    with toolspan.run("nightly report"):
        add(1, 2)
        with toolspan.call("search"):
            add(3, 4)
        toolspan.record("import", started=1_700_000_000, duration=1)
    assert len({span.context.trace_id for span in traced.spans}) == 1
    run = traced.named("invoke_agent nightly report")
    assert run.kind is SpanKind.INTERNAL
    assert run.parent is None
    assert traced.tree() == (
        "invoke_agent nightly report\n"
        "  execute_tool import  ok\n"
        "  execute_tool add  ok\n"
        "  execute_tool search  ok\n"
        "    execute_tool add  ok\n"
    )


def test_two_runs_are_two_traces(traced):
    for _ in range(2):
        with toolspan.run("work"):
            add(1, 2)
            add(3, 4)
    assert len({span.context.trace_id for span in traced.spans}) == 2
    assert len(traced.tools) == 4


def test_what_is_known_of_a_run_stands_on_every_tool_span_below(traced):
    with toolspan.run(
        "report",
        agent="clerk",
        conversation="talk",
        workflow="nightly",
        attributes={"phase": "Build", "tries": 3, "quick": True, "shares": [0.5, 0.5]},
    ):
        add(1, 2)
        with toolspan.call("search"):
            add(3, 4)
    expected = {
        "gen_ai.agent.name": "clerk",
        "gen_ai.conversation.id": "talk",
        "gen_ai.workflow.name": "nightly",
        "phase": "Build",
        "tries": 3,
        "quick": True,
        "shares": (0.5, 0.5),
    }
    assert len(traced.tools) == 3
    for span in traced.tools:
        assert expected.items() <= dict(span.attributes).items()
    assert toolspan.stats()["add", "clerk"].calls == 2


@pytest.mark.parametrize(
    ("facts", "name", "operation"),
    [
        ({}, "invoke_agent work", "invoke_agent"),
        ({"agent": "clerk"}, "invoke_agent clerk", "invoke_agent"),
        ({"workflow": "nightly"}, "invoke_workflow nightly", "invoke_workflow"),
        ({"agent": "clerk", "workflow": "nightly"}, "invoke_workflow nightly", "invoke_workflow"),
    ],
)
def test_the_name_says_whether_agent_or_workflow(traced, facts, name, operation):
    with toolspan.run("work", conversation="talk", **facts):
        pass
    (span,) = traced.spans
    assert span.name == name
    assert span.attributes["gen_ai.operation.name"] == operation
    assert span.attributes["gen_ai.conversation.id"] == "talk"
    agent = facts.get("agent") if operation == "invoke_agent" else None
    assert span.attributes.get("gen_ai.agent.name") == agent
    assert span.attributes.get("gen_ai.workflow.name") == facts.get("workflow")


def test_a_call_that_knows_better_keeps_what_it_knows(traced):
    with toolspan.run("work", agent="clerk", conversation="talk"):
        with toolspan.call("search", agent="other", conversation="aside"):
            pass
        tool(agent="third")(max)(1, 2)
    search, largest = traced.tools
    assert search.attributes["gen_ai.agent.name"] == "other"
    assert search.attributes["gen_ai.conversation.id"] == "aside"
    assert largest.attributes["gen_ai.agent.name"] == "third"
    assert largest.attributes["gen_ai.conversation.id"] == "talk"


def test_a_run_inside_a_run_adds_and_opens_no_second_span(traced):
    with toolspan.run("outer", agent="boss", conversation="talk", attributes={"a": 1, "b": 1}):
        with toolspan.run("inner", agent="clerk", attributes={"b": 2, "c": 2}):
            add(1, 2)
        add(3, 4)
    assert len(traced.spans) == 3
    inner, outer = traced.tools
    assert inner.attributes["gen_ai.agent.name"] == "clerk"
    assert inner.attributes["gen_ai.conversation.id"] == "talk"
    assert [inner.attributes[key] for key in "abc"] == [1, 2, 2]
    assert outer.attributes["gen_ai.agent.name"] == "boss"
    assert [outer.attributes.get(key) for key in "abc"] == [1, 1, None]


@pytest.mark.parametrize("operation", ["invoke_agent", "invoke_workflow"])
def test_under_somebodys_agent_span_there_is_no_second(traced, operation):
    attributes = {"gen_ai.operation.name": operation}
    with traced.tracer("vendor").start_as_current_span("their agent", attributes=attributes):
        with toolspan.run("work", agent="clerk"):
            add(1, 2)
    theirs, span = traced.spans
    assert span.parent.span_id == theirs.context.span_id
    assert span.attributes["gen_ai.agent.name"] == "clerk"


def test_under_a_servers_span_and_inside_a_tool_a_run_opens_its_own(traced):
    with traced.tracer().start_as_current_span("GET /", kind=SpanKind.SERVER):
        with toolspan.call("delegate"), toolspan.run("work", agent="second"):
            add(1, 2)
    assert traced.tree() == (
        "GET /  SERVER\n"
        "  execute_tool delegate  ok\n"
        "    invoke_agent second  agent=second\n"
        "      execute_tool add  agent=second  ok\n"
    )


def test_a_run_is_never_counted_as_a_call(traced):
    with toolspan.run("work"):
        pass
    assert len(traced.spans) == 1
    assert toolspan.stats().rows() == []
    assert "toolspan.outcome" not in traced.spans[0].attributes


def test_what_a_run_raises_passes_and_is_an_error(traced):
    error = ValueError("secret")
    with pytest.raises(ValueError, match="secret") as raised, toolspan.run("work"):
        raise error
    assert raised.value is error
    (span,) = traced.spans
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "ValueError"
    assert "secret" not in span.to_json()


def test_the_context_is_restored_after_a_run(traced):
    with traced.tracer().start_as_current_span("around") as around:
        with toolspan.run("work", attributes={"phase": "Build"}):
            pass
        assert trace.get_current_span() is around
        add(1, 2)
    assert "phase" not in traced.tools[0].attributes


def test_an_async_run_covers_its_tasks(traced):
    async def main():
        async with toolspan.run("work", agent="clerk"):
            await asyncio.gather(*(fetch(f"page {number}") for number in range(5)))

    asyncio.run(main())
    run = traced.named("invoke_agent clerk")
    assert [span.parent.span_id for span in traced.tools] == [run.context.span_id] * 5
    assert {span.attributes["gen_ai.agent.name"] for span in traced.tools} == {"clerk"}


@pytest.mark.skipif(not hasattr(asyncio, "TaskGroup"), reason="Python 3.10 has no TaskGroup")
def test_a_task_group_is_one_trace(traced):
    async def main():
        async with toolspan.run("work"), asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(fetch(number))

    asyncio.run(main())
    assert len(traced.tools) == 5
    assert len({span.context.trace_id for span in traced.spans}) == 1


def test_runs_in_parallel_tasks_do_not_mix(traced):
    async def one(number):
        async with toolspan.run("work", agent=f"agent {number}"):
            for page in range(3):
                await fetch(page)

    async def main():
        await asyncio.gather(*(one(number) for number in range(4)))

    asyncio.run(main())
    traces = {}
    for span in traced.tools:
        traces.setdefault(span.context.trace_id, set()).add(span.attributes["gen_ai.agent.name"])
    assert sorted(map(tuple, traces.values())) == [(f"agent {number}",) for number in range(4)]


def test_a_thread_with_the_context_belongs_to_the_run(traced):
    with ThreadPoolExecutor(4) as pool, toolspan.run("work", agent="clerk"):
        waiting = [
            pool.submit(contextvars.copy_context().run, add, number, 1) for number in range(8)
        ]
        assert [one.result() for one in waiting] == list(range(1, 9))
    run = traced.named("invoke_agent clerk")
    assert {span.parent.span_id for span in traced.tools} == {run.context.span_id}
    assert {span.attributes["gen_ai.agent.name"] for span in traced.tools} == {"clerk"}


def test_a_sampled_out_run_gives_no_span_and_calls_are_counted(trace_with):
    traced = trace_with(sampler=ALWAYS_OFF)
    with toolspan.run("work", agent="clerk"):
        add(1, 2)
    assert traced.spans == []
    assert toolspan.stats()["add", "clerk"].calls == 1


def test_a_run_without_instrumentation_does_nothing():
    with toolspan.run("work", agent="clerk"):
        assert add(1, 2) == 3


def test_a_run_may_be_entered_again(traced):
    work = toolspan.run("work")
    for _ in range(2):
        with work:
            add(1, 2)
    assert len({span.context.trace_id for span in traced.spans}) == 2


def test_untraced_silences_a_run_as_well(traced):
    with toolspan.untraced(), toolspan.run("work"):
        add(1, 2)
    assert traced.spans == []


# -- what a run may be given -----------------------------------------------------------------


def test_more_attributes_than_a_span_should_carry_get_one_line(traced, said):
    many = {f"key.{number}": number for number in range(1_000)}
    with toolspan.run("work", agent="clerk", attributes=many):
        add("a", "b")
        add("c", "d")
    assert len(traced.tools) == 2
    for span in traced.spans:
        assert len(span.attributes) <= 60
        assert span.dropped_attributes == 0
        assert span.attributes["gen_ai.operation.name"]
        assert span.attributes["key.0"] == 0
    (line,) = said()
    assert "attributes" in line


def test_runs_inside_runs_do_not_add_up_to_more(traced, said):
    with toolspan.run("a", attributes={f"a.{n}": n for n in range(20)}):
        with toolspan.run("b", attributes={f"b.{n}": n for n in range(20)}):
            with toolspan.run("c", attributes={f"c.{n}": n for n in range(20)}):
                add(1, 2)
    assert len(traced.tools[0].attributes) <= 60
    assert len(said()) == 1


RESERVED = [
    "gen_ai.operation.name",
    "gen_ai.tool.name",
    "gen_ai.tool.call.arguments",
    "gen_ai.agent.name",
    "error.type",
    "toolspan.outcome",
    "toolspan.anything",
]


@pytest.mark.parametrize("key", RESERVED)
def test_what_toolspan_writes_itself_cannot_be_overwritten(traced, said, key):
    with toolspan.run("work", attributes={key: "forged", "phase": "Build"}):
        add(1, 2)
    assert "forged" not in traced.tools[0].to_json()
    assert traced.tools[0].attributes["phase"] == "Build"
    (line,) = said()
    assert key in line


def test_a_name_that_only_resembles_ours_may_be_given(traced, said):
    with toolspan.run("work", attributes={"toolspanner": "mine", "my.gen_ai.tool.name": "too"}):
        add(1, 2)
    assert traced.tools[0].attributes["toolspanner"] == "mine"
    assert traced.tools[0].attributes["my.gen_ai.tool.name"] == "too"
    assert said() == []


WRONG = [object(), None, {"a": 1}, {1, 2}, 2**63, -(2**63) - 1, [1, "a"], [[1]], [None], b"bytes"]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_value_that_no_span_takes_gets_one_line(traced, said, caplog, value):
    for _ in range(2):
        with toolspan.run("work", attributes={"wrong": value, "phase": "Build"}):
            add(1, 2)
    for span in traced.tools:
        assert "wrong" not in span.attributes
        assert span.attributes["phase"] == "Build"
    (line,) = said()
    assert "wrong" in line
    assert [r for r in caplog.records if r.name.startswith("opentelemetry")] == []


@pytest.mark.parametrize("wrong", [7, "phase=Build", [("a", 1)], object(), {1: 2}, {"": 1}])
def test_attributes_that_are_none_get_one_line_and_stop_nobody(traced, said, wrong):
    with toolspan.run("work", attributes=wrong):
        add(1, 2)
    assert len(traced.spans) == 2
    assert len(said()) == 1


@pytest.mark.parametrize("odd", [7, object(), b"x", "\ud800 half", "line\nbreak", "x" * 100_000])
def test_odd_names_are_made_legible(traced, odd):
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    with toolspan.run(odd, agent=odd, conversation=odd, workflow=odd, attributes={"odd": str(odd)}):
        add(1, 2)
    assert len(traced.spans) == 2
    for span in traced.spans:
        assert len(span.name) < 200
        for value in span.attributes.values():
            assert type(value) is not str or len(value) <= 1_024
    encoded = encode_spans(traced.spans).SerializeToString()
    assert encoded.count(b"gen_ai.conversation.id") == 2
