"""Pydantic AI where a program's capabilities, validators and outputs are around its tools."""

from __future__ import annotations

import asyncio

import pytest

program = pytest.importorskip("programs.pydantic_ai_program")

from packaging.version import Version  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from pydantic_ai import Agent, ModelRetry, Tool, ToolOutput  # noqa: E402  # only where it is installed
from pydantic_ai.capabilities import AbstractCapability  # noqa: E402
from pydantic_ai.exceptions import ToolFailed  # noqa: E402

from ground_truth import RAN, asked, note  # noqa: E402
from toolspan.versions import version_of  # noqa: E402

SECRET = "the combination of the safe"
pytestmark = pytest.mark.usefixtures("nothing_ran")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    note("add")
    return a + b


class Answer(BaseModel):
    """What a run is to give."""

    x: int


def wish(name, number=1, **arguments):
    return asked(name, arguments, number=number, turn=number)


ADD = wish("add", a=1, b=2)


def run(*calls, tools=(add,), **options):
    agent = Agent(program.scripted(calls), name="helper", tools=tools, retries=3, **options)
    return asyncio.run(agent.run("hello")).output


def assert_each_ran_in_its_own(traced):
    spans = {span.context.span_id for span in traced.tools}
    assert {one.span_id for one in RAN} == spans
    assert len(RAN) == len(spans)


class Again(AbstractCapability):
    """Runs every tool a second time."""

    async def wrap_tool_execute(self, _ctx, *, args, handler, **_known):
        await handler(args)
        return await handler(args)


class Recovering(AbstractCapability):
    """Runs a tool that raised a second time, with other arguments."""

    async def wrap_tool_execute(self, _ctx, *, args, handler, **_known):
        try:
            return await handler(args)
        except ConnectionError:
            return await handler({**args, "b": 3})


class Rewriting(AbstractCapability):
    """Gives the tool other arguments than the model's."""

    async def before_tool_execute(self, _ctx, **_known):
        return {"a": 5, "b": 6}


def test_a_tool_that_a_capability_runs_twice_is_two_calls(traced):
    run(ADD, capabilities=[Again()])
    assert traced.told("toolspan.outcome") == [("add", "ok")] * 2
    assert_each_ran_in_its_own(traced)
    attempts = {span.attributes.get("toolspan.attempt", 1) for span in traced.tools}
    assert attempts == {1, 2}


def test_a_failure_that_a_capability_makes_good_is_not_how_the_call_ended(traced):
    def flaky(a: int, b: int) -> int:
        """Fail the first time."""
        note("flaky")
        if len(RAN) == 1:
            raise ConnectionError(SECRET)
        return a + b

    assert run(wish("flaky", a=1, b=2), tools=[flaky], capabilities=[Recovering()]) == "done"
    assert traced.told("toolspan.outcome") == [("flaky", "ok")] * 2
    assert_each_ran_in_its_own(traced)
    assert SECRET not in "".join(span.to_json() for span in traced.spans)


def test_a_tool_that_gets_other_arguments_is_one_call(traced):
    run(ADD, capabilities=[Rewriting()])
    assert traced.told("toolspan.outcome") == [("add", "ok")]
    assert_each_ran_in_its_own(traced)


def test_a_call_that_the_tools_own_validator_fails_is_one_refused_call(traced):
    def never(_ctx, a, b):
        raise ToolFailed(SECRET)

    run(ADD, tools=[Tool(add, args_validator=never)])
    assert (traced.told("toolspan.outcome"), RAN) == ([("add", "invalid_arguments")], [])
    assert SECRET not in traced.tools[0].to_json()


@pytest.mark.skipif(
    Version(version_of("pydantic-ai-slim")) < Version("2.68"), reason="nothing is called to skip it"
)
def test_a_call_that_comes_too_late_is_denied(traced):
    calls = [asked("final_result", {"x": 1}, number=1), asked("add", {"a": 1, "b": 2}, number=2)]
    run(*calls, output_type=ToolOutput(Answer, name="final_result"), end_strategy="early")
    assert (traced.told("toolspan.outcome"), RAN) == ([("add", "denied")], [])


def test_a_function_that_makes_the_output_is_a_call_and_a_type_is_none(traced):
    def report(a: int) -> str:
        """Tell the answer."""
        note("report")
        if len(RAN) == 1:
            raise ModelRetry(SECRET)
        return str(a)

    calls = [wish("report", number, a=number) for number in (0, 1)]
    assert run(*calls, output_type=ToolOutput(report, name="report")) == "1"
    assert traced.told("toolspan.outcome") == [("report", "tool_error"), ("report", "ok")]
    assert_each_ran_in_its_own(traced)
    assert [span.attributes["gen_ai.tool.call.id"] for span in traced.tools] == [
        "call-0",
        "call-1",
    ]
    assert SECRET not in "".join(span.to_json() for span in traced.spans)
    run(wish("answer", 0, x=1), output_type=ToolOutput(Answer, name="answer"))
    assert len(traced.tools) == 2


def test_a_tool_of_langchain_is_one_call(traced):
    langchain_core = pytest.importorskip("langchain_core.tools")
    from pydantic_ai.ext.langchain import tool_from_langchain

    made = langchain_core.tool(add)
    run(ADD, tools=[tool_from_langchain(made)])
    assert traced.told("toolspan.outcome") == [("add", "ok")]
    assert_each_ran_in_its_own(traced)
