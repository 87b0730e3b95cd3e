"""CrewAI beyond the situations of every framework: what it does not run, and what is around it."""

from __future__ import annotations

import asyncio
import json
import warnings
from dataclasses import replace

import pytest

pytest.importorskip("crewai", exc_type=ImportError)

import programs.crewai_program as program
from crewai import Crew, Task
from crewai.flow.flow import Flow, listen, start
from crewai.hooks import (
    register_after_tool_call_hook,
    register_before_tool_call_hook,
    unregister_after_tool_call_hook,
    unregister_before_tool_call_hook,
)
from crewai.tools import tool
from crewai.tools.tool_failure import ToolExecutionFailedError, ToolFailurePolicy

import ground_truth
from ground_truth import ONE_AND_TWO, RAN, asked, noted, path_of
from toolspan.settings import Settings


@pytest.fixture(autouse=True)
def _quiet():
    RAN.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def twice(name, arguments):
    """The model asks for the same thing in two turns."""
    return [asked(name, arguments, number=n, turn=n) for n in range(2)]


def crew_of(*agents, **options):
    task = Task(description="hello", expected_output="an answer", agent=agents[0])
    return Crew(name="crew", agents=list(agents), tasks=[task], **options)


def said(traced, *keys):
    return [tuple(span.attributes.get(key) for key in keys) for span in traced.tools]


OUTCOME, CACHED, ID = "toolspan.outcome", "toolspan.cached", "gen_ai.tool.call.id"


@pytest.mark.parametrize("native", [True, False], ids=["native", "text"])
def test_an_answer_from_the_cache_is_a_call_that_ran_nothing(traced, native):
    between = [asked("boom", {"reason": "x"}, number=5, turn=1)] if not native else []
    calls = [*twice("add", ONE_AND_TWO)]
    calls = [calls[0], *between, replace(calls[1], turn=2)]
    helper = program.agent("helper", calls, program.TOOLS, native=native)
    crew_of(helper, cache=True).kickoff()
    adds = [one for one in said(traced, "gen_ai.tool.name", OUTCOME, CACHED) if one[0] == "add"]
    assert len([one for one in RAN if one.name == "add"]) == 1
    assert adds == [("add", "ok", None), ("add", "ok", True)]


@pytest.mark.parametrize("native", [True, False], ids=["native", "text"])
def test_a_tool_that_was_used_as_often_as_it_may_is_denied(traced, native):
    once = tool(max_usage_count=1)(ground_truth.add)
    calls = [
        asked("add", {"a": n, "b": 1}, number=n, turn=n) for n in range(2)
    ]
    program.agent("helper", calls, [once], native=native).kickoff("hello")
    assert len(RAN) == 1
    assert said(traced, OUTCOME) == [("ok",), ("denied",)]


def test_direct_calls_above_the_limit_are_denied(traced):
    once = tool(max_usage_count=1)(ground_truth.add)
    for _ in range(2):
        once.run(**ONE_AND_TWO)
    assert len(RAN) == 1
    assert said(traced, OUTCOME) == [("ok",), ("denied",)]


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


@pytest.mark.parametrize("way", ["akickoff", "kickoff_async"])
def test_a_crew_that_is_awaited_is_one_run(traced, way):
    crew = crew_of(program.agent("helper", [asked("add", ONE_AND_TWO)], program.TOOLS))
    ground_truth.finished(getattr(crew, way)())
    assert [span.name for span in traced.spans] == ["invoke_workflow crew", "execute_tool add"]
    assert len(RAN) == 1
