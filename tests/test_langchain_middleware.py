"""What stands between LangChain's agents and their tools: the calls that it lets run, and does not."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from programs import langchain_program as program
from programs.langchain_program import HELLO, RAN, agent, asks, remembering, thread

middlewares = pytest.importorskip("langchain.agents.middleware")

SECRET = "the combination of the safe"
ONE_AND_TWO = {"a": 1, "b": 2}
ADDS = asks(("add", ONE_AND_TWO, "call-1"))


@pytest.fixture(autouse=True)
def _nothing_ran():
    RAN.clear()


class Between(middlewares.AgentMiddleware):
    """Does with a call what the test wants."""

    def __init__(self, act):
        super().__init__()
        self._act = act

    def wrap_tool_call(self, request, handler):
        return self._act(request, handler)

    async def awrap_tool_call(self, request, handler):
        value = self._act(request, handler)
        return await value if asyncio.iscoroutine(value) else value


def answers(request, _handler):
    return ToolMessage(SECRET, tool_call_id=request.tool_call["id"])


def fails(_request, _handler):
    raise RuntimeError(SECRET)


def rewrites(request, handler):
    return handler(request.override(tool_call={**request.tool_call, "args": {"a": 5, "b": 6}}))


def puts_another_there(request, handler):
    return handler(request.override(tool=program.echo, tool_call=program_call(request)))


def program_call(request):
    return {**request.tool_call, "name": "echo", "args": {"value": 1}}


def tells(traced, *told):
    """The spans are these, each that ran was current where it did, all below the one run."""
    said = [(span.attributes["gen_ai.tool.name"], span) for span in traced.tools]
    assert sorted((name, span.attributes["toolspan.outcome"]) for name, span in said) == sorted(
        told
    )
    ran = Counter(
        (n, s.context.span_id) for n, s in said if s.attributes["toolspan.outcome"] == "ok"
    )
    assert ran == Counter(RAN)
    assert len({span.context.trace_id for span in traced.spans}) == 1
    assert SECRET not in "".join(span.to_json() for span in traced.spans)


WAYS = {
    "sync": lambda graph: graph.invoke(HELLO),
    "async": lambda graph: asyncio.run(graph.ainvoke(HELLO)),
    "stream": lambda graph: list(graph.stream(HELLO)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("act", "told"),
    [
        (answers, [("add", "denied")]),
        (rewrites, [("add", "ok")]),
        (puts_another_there, [("echo", "ok")]),
        (lambda request, handler: handler(request), [("add", "ok")]),
    ],
    ids=["answers", "rewrites", "puts another there", "lets it run"],
)
def test_a_call_runs_once_or_is_denied_once_whatever_is_between(traced, act, told, way):
    WAYS[way](agent(ADDS, tools=[program.add, program.echo], middleware=[Between(act)]))
    tells(traced, *told)
    (span,) = traced.tools
    assert span.attributes["gen_ai.tool.call.id"] == "call-1"


def test_a_call_that_is_let_run_twice_is_two(traced):
    def twice(request, handler):
        handler(request)
        return handler(request)

    agent(ADDS, tools=[program.add], middleware=[Between(twice)]).invoke(HELLO)
    tells(traced, ("add", "ok"), ("add", "ok"))


def test_middleware_that_raises_before_a_tool_has_decided_nothing(traced):
    with pytest.raises(RuntimeError):
        agent(ADDS, tools=[program.add], middleware=[Between(fails)]).invoke(HELLO)
    tells(traced)


def test_an_unknown_tool_behind_middleware_is_one_unknown_tool(traced):
    through = Between(lambda request, handler: handler(request))
    asked = asks(("delete", {"what": SECRET}, "call-1"))
    agent(asked, tools=[program.add], middleware=[through]).invoke(HELLO)
    tells(traced, ("delete", "unknown_tool"))


def test_a_model_that_plays_the_tool_answers_in_its_place(traced):
    played = middlewares.LLMToolEmulator(
        tools=["add"], model=program.Scripted(script=[AIMessage("3")])
    )
    agent(ADDS, tools=[program.add], middleware=[played]).invoke(HELLO)
    tells(traced, ("add", "denied"))


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [("continue", [("add", "ok"), ("add", "denied")]), ("end", [("add", "denied")] * 2)],
)
def test_calls_over_a_limit_are_denied(traced, behaviour, told):
    limit = middlewares.ToolCallLimitMiddleware(run_limit=1, exit_behavior=behaviour)
    both = asks(("add", ONE_AND_TWO, "call-1"), ("add", {"a": 3, "b": 4}, "call-2"))
    agent(both, tools=[program.add], middleware=[limit]).invoke(HELLO)
    tells(traced, *told)


def test_an_interrupt_between_is_no_refusal_and_the_granted_call_runs(traced):
    from langgraph.types import Command, interrupt

    def asks_first(request, handler):
        interrupt("may it?")
        return handler(request)

    graph = remembering(ADDS, tools=[program.add], middleware=[Between(asks_first)])
    graph.invoke(HELLO, thread("between"))
    assert traced.tools == []
    graph.invoke(Command(resume="yes"), thread("between"))
    assert traced.outcomes == ["ok"]
    assert len(RAN) == 1
