"""CrewAI beyond the situations of every framework: what it does not run, and what is around it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("programs.crewai_program", exc_type=ImportError)

from crewai import Crew, Task
from crewai.agents import step_executor
from crewai.flow.flow import Flow, listen, start
from crewai.hooks import (
    register_after_tool_call_hook,
    register_before_tool_call_hook,
    unregister_after_tool_call_hook,
    unregister_before_tool_call_hook,
)
from crewai.tools import tool
from crewai.tools.tool_failure import (
    ToolExecutionFailedError,
    ToolFailure,
    ToolFailurePolicy,
    ToolFailureReason,
)
from crewai.utilities.agent_utils import convert_tools_to_openai_schema
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import ground_truth
import programs.crewai_program as program
import toolspan
from ground_truth import ONE_AND_TWO, RAN, asked, noted, path_of
from toolspan.settings import Settings


@pytest.fixture(autouse=True)
def _quiet():
    RAN.clear()
    with program.quietly():
        yield


def crew_of(*agents, **options):
    task = Task(description="hello", expected_output="an answer", agent=agents[0])
    return Crew(name="crew", agents=list(agents), tasks=[task], **options)


def said(traced, *keys):
    return [tuple(span.attributes.get(key) for key in keys) for span in traced.tools]


OUTCOME, CACHED = "toolspan.outcome", "toolspan.cached"
ID, WORKFLOW = "gen_ai.tool.call.id", "gen_ai.workflow.name"


@pytest.mark.parametrize("native", [True, False], ids=["native", "text"])
def test_an_answer_from_the_cache_is_a_call_that_ran_nothing(traced, native):
    wishes = [ONE_AND_TWO, {"a": 3, "b": 4}, ONE_AND_TWO]
    calls = [asked("add", wish, number=n, turn=n) for n, wish in enumerate(wishes)]
    crew_of(program.agent("helper", calls, program.TOOLS, native=native), cache=True).kickoff()
    assert [one.arguments for one in RAN] == wishes[:2]
    assert said(traced, OUTCOME, CACHED) == [("ok", None), ("ok", None), ("ok", True)]


@pytest.mark.parametrize("native", [True, False], ids=["native", "text"])
def test_a_tool_that_was_used_as_often_as_it_may_is_denied(traced, native):
    once = tool(max_usage_count=1)(ground_truth.add)
    calls = [asked("add", {"a": n, "b": 1}, number=n, turn=n) for n in range(2)]
    program.agent("helper", calls, [once], native=native).kickoff("hello")
    assert len(RAN) == 1
    assert said(traced, OUTCOME) == [("ok",), ("denied",)]


def test_direct_calls_above_the_limit_are_denied(traced):
    once = tool(max_usage_count=1)(ground_truth.add)
    for _ in range(2):
        once.run(**ONE_AND_TWO)
    assert len(RAN) == 1
    assert said(traced, OUTCOME) == [("ok",), ("denied",)]


@tool
@noted
def exhausted() -> Any:
    """Say of something else that it was used up."""
    return ToolFailure(message="come back tomorrow", reason=ToolFailureReason.USAGE_LIMIT)


@pytest.mark.parametrize("way", [program.run, program.text, lambda *_: exhausted.run()])
def test_a_tool_that_ran_and_says_so_itself_has_failed(traced, way):
    way([asked("exhausted")], exhausted)
    assert len(RAN) == 1
    assert said(traced, OUTCOME) == [("tool_error",)]


def test_a_call_to_which_nobody_gave_an_id_has_none(traced, monkeypatch):
    wish = SimpleNamespace(function_call=SimpleNamespace(name="add", args=ONE_AND_TWO))
    monkeypatch.setattr(program, "as_call", lambda _call: wish)
    program.run([asked("add")])
    assert len(RAN) == 1
    assert said(traced, OUTCOME, ID) == [("ok", None)]


def test_what_hooks_of_the_program_change_is_still_one_call(traced):
    def before(context):
        context.tool_input["a"] = 7

    def after(context):
        return f"<{context.tool_result}>"

    register_before_tool_call_hook(before)
    register_after_tool_call_hook(after)
    try:
        program.run([asked("add", ONE_AND_TWO)])
    finally:
        unregister_before_tool_call_hook(before)
        unregister_after_tool_call_hook(after)
    assert [one.arguments for one in RAN] == [{"a": 7, "b": 2}]
    assert said(traced, OUTCOME, ID) == [("ok", "call-1")]


def test_a_denial_that_another_hook_rewrites_is_a_denial(traced):
    def before(_context):
        return False

    def after(_context):
        return "never mind"

    register_before_tool_call_hook(before)
    register_after_tool_call_hook(after)
    try:
        program.both([asked("add", ONE_AND_TWO)])
    finally:
        unregister_before_tool_call_hook(before)
        unregister_after_tool_call_hook(after)
    assert RAN == []
    assert said(traced, OUTCOME) == [("denied",)] * 2


@pytest.mark.parametrize(("name", "word"), [("boom", "error"), ("complain", "tool_error")])
def test_a_failure_that_ends_the_run_is_the_same_failure(traced, name, word):
    calls = [asked(name, {"reason": "broken"})]
    helper = program.agent(
        "helper", calls, program.TOOLS, tool_failure_policy=ToolFailurePolicy.RAISE
    )
    with pytest.raises(ToolExecutionFailedError):
        helper.kickoff("hello")
    assert said(traced, OUTCOME, ID) == [(word, "call-1")]


def test_a_coworker_works_in_the_call_that_asks_for_it(trace_with):
    traced = trace_with(settings=Settings(capture=True))
    work = {"task": "sums", "context": "none", "coworker": "researcher"}
    helper = program.agent(
        "helper", [asked("delegate_work_to_coworker", work)], [], allow_delegation=True
    )
    inner = [asked("add", ONE_AND_TWO, id="inner-1")]
    researcher = program.agent("researcher", inner, program.TOOLS)
    crew_of(helper, researcher).kickoff()
    by_id = {span.context.span_id: span for span in traced.spans}
    delegate, add = traced.tools
    assert json.loads(delegate.attributes["gen_ai.tool.call.arguments"]) == work
    assert path_of(delegate, by_id) == (None,)
    assert path_of(add, by_id) == (None, "Delegate work to coworker", "researcher")
    assert said(traced, OUTCOME, ID, "gen_ai.agent.name") == [
        ("ok", "call-1", "helper"),
        ("ok", "inner-1", "researcher"),
    ]


class Sums(Flow):
    """An agent in each step, one in a thread and one awaited."""

    @start()
    def first(self):
        program.run([asked("add", ONE_AND_TWO)])

    @listen(first)
    async def second(self):
        calls = [asked("add_async", ONE_AND_TWO)]
        await program.agent("helper", calls, program.TOOLS).kickoff_async("hello")


@pytest.mark.parametrize("way", ["kickoff", "kickoff_async"])
def test_a_flow_is_one_run(traced, way):
    result = getattr(Sums(), way)()
    if way == "kickoff_async":
        ground_truth.finished(result)
    by_id = {span.context.span_id: span for span in traced.spans}
    assert len({span.context.trace_id for span in traced.spans}) == 1
    assert [path_of(span, by_id) for span in traced.tools] == [(None,)] * 2
    assert traced.spans[0].name == "invoke_workflow Sums"
    assert said(traced, WORKFLOW) == [("Sums",)] * 2


def test_an_agent_by_itself_is_in_no_workflow(traced):
    program.run([asked("add", ONE_AND_TWO)])
    assert [span.name for span in traced.spans] == ["invoke_agent helper", "execute_tool add"]
    assert said(traced, WORKFLOW) == [(None,)]


def test_a_crew_that_streams_is_one_run(traced):
    program.streamed([asked("add", ONE_AND_TWO)])
    assert [span.name for span in traced.spans] == ["invoke_workflow crew", "execute_tool add"]


@pytest.mark.parametrize("way", ["akickoff", "kickoff_async"])
def test_a_crew_that_is_awaited_is_one_run(traced, way):
    crew = crew_of(program.agent("helper", [asked("add", ONE_AND_TWO)], program.TOOLS))
    ground_truth.finished(getattr(crew, way)())
    assert [span.name for span in traced.spans] == ["invoke_workflow crew", "execute_tool add"]
    assert len(RAN) == 1


# -- a step of a plan ----------------------------------------------------------------------------

STEPS = {
    "ok": asked("add", ONE_AND_TWO),
    "error": asked("boom", {"reason": "broken"}),
    "tool_error": asked("complain", {"reason": "broken"}),
    "unknown_tool": asked("delete", {"everything": True}),
    "invalid_arguments": asked("add", {"a": "one"}),
    "denied": asked("add", ONE_AND_TWO),
}


@pytest.mark.parametrize("word", STEPS)
def test_a_step_of_a_plan_calls_as_an_agent_does(traced, word):
    _, functions, _ = convert_tools_to_openai_schema(program.TOOLS)
    call, refusals = STEPS[word], {"unknown_tool", "invalid_arguments", "denied"}

    def before(_context):
        return word != "denied"

    register_before_tool_call_hook(before)
    try:
        step_executor.execute_single_native_tool_call(
            program.as_call(call),
            available_functions=functions,
            original_tools=program.TOOLS,
            event_source=None,
            **dict.fromkeys(("structured_tools", "tools_handler", "agent", "task", "crew")),
        )
    finally:
        unregister_before_tool_call_hook(before)
    assert len(RAN) == (word not in refusals)
    assert said(traced, OUTCOME, ID) == [(word, "call-1")]


def test_arguments_that_are_no_json_are_invalid(traced, monkeypatch):
    wish = program.as_call(asked("add"))
    wish["function"]["arguments"] = '{"a": 1'
    monkeypatch.setattr(program, "as_call", lambda _call: wish)
    program.run([asked("add")])
    assert (RAN, said(traced, OUTCOME, ID)) == ([], [("invalid_arguments", "call-1")])


# -- its own telemetry ---------------------------------------------------------------------------


def test_its_own_traces_and_ours_stay_apart(traced):
    session = pytest.importorskip("crewai.telemetry.tracing.session")
    theirs = InMemorySpanExporter()
    own = session.TraceSession("run-1", [theirs])
    try:
        with own.activate():
            crew_of(program.agent("helper", [asked("add", ONE_AND_TWO)], program.TOOLS)).kickoff()
        own.flush()
    finally:
        own.shutdown()
    assert "call tool" in {span.name for span in theirs.get_finished_spans()}
    assert {span.instrumentation_scope.name for span in traced.spans} == {"toolspan"}
    mine, others = (
        {one.context.trace_id for one in spans}
        for spans in (traced.spans, theirs.get_finished_spans())
    )
    assert mine.isdisjoint(others)
    assert said(traced, OUTCOME) == [("ok",)]
    assert [row.outcomes["ok"] for row in toolspan.stats().rows()] == [1]
    assert toolspan.status().spans == {**toolspan.status().spans, "adopted": 0}


def test_it_sets_no_provider_for_the_process():
    assert not type(trace.get_tracer_provider()).__module__.startswith("crewai")
