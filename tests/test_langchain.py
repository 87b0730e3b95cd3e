"""LangChain and LangGraph: every situation of a tool call, against what the tools wrote down."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import StructuredTool, tool
from langgraph.errors import GraphInterrupt
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import toolspan
from programs import langchain_program as program
from programs.langchain_program import HELLO, RAN, agent, asks, remembering, thread
from toolspan.settings import Settings
from trees import compare_with_golden

#: The outcomes of a call whose tool never ran.
REFUSED = {"denied", "invalid_arguments", "unknown_tool"}
ONE_AND_TWO = {"a": 1, "b": 2}

before_1_0 = find_spec("langchain") is None  # where we test that, only LangGraph is installed
middleware = pytest.mark.skipif(before_1_0, reason="middleware comes with LangChain 1.0")
modern = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="LangGraph itself interrupts async runs from Python 3.11 on"
)


@pytest.fixture(autouse=True)
def _nothing_ran_yet():
    RAN.clear()


def tell(traced, *outcomes):
    """Each execution has its span, current in its body; each refusal has one; nothing is open."""
    ran = [span for span in traced.tools if span.attributes["toolspan.outcome"] not in REFUSED]
    seen = [(span.attributes["gen_ai.tool.name"], span.context.span_id) for span in ran]
    assert Counter(seen) == Counter(RAN)
    assert sorted(traced.outcomes) == sorted(outcomes)
    rows = toolspan.stats().rows()
    counted = Counter(dict.fromkeys(outcomes, 0))
    for row in rows:
        counted.update(row.outcomes)
    assert counted == Counter(outcomes)
    assert [row.tool for row in rows if row.in_flight] == []


def one_trace(traced):
    """Every span shares one trace, and one of them alone has no parent."""
    assert len({span.context.trace_id for span in traced.spans}) == 1
    (root,) = [span for span in traced.spans if span.parent is None]
    return root


def execution(call_id, traced):
    """The spans of one call id, in the order of their starts."""
    return [s for s in traced.tools if s.attributes.get("gen_ai.tool.call.id") == call_id]


async def listed(steps):
    return [step async for step in steps]


# -- every way to call a tool --------------------------------------------------------------------

SYNC = {
    "invoke": lambda t, given: [t.invoke(given)],
    "run": lambda t, given: [t.run(given)],
    "batch": lambda t, given: t.batch([given] * 3),
    "stream": lambda t, given: list(t.stream(given)),
    "chain": lambda t, given: [(RunnableLambda(lambda _: given) | t).invoke(None)],
}
ASYNC = {
    "ainvoke": lambda t, given: asyncio.run(listed_one(t.ainvoke(given))),
    "arun": lambda t, given: asyncio.run(listed_one(t.arun(given))),
    "abatch": lambda t, given: asyncio.run(t.abatch([given] * 3)),
    "astream": lambda t, given: asyncio.run(listed(t.astream(given))),
}


async def listed_one(awaitable):
    return [await awaitable]


both = StructuredTool.from_function(
    program.add.func, program.add_async.coroutine, name="add_async", description="Add."
)


@pytest.mark.parametrize(
    ("way", "given"),
    [(way, program.add) for way in SYNC.values()]
    + [(way, tool) for way in ASYNC.values() for tool in (program.add, program.add_async, both)],
    ids=[f"{way}-sync" for way in SYNC]
    + [f"{way}-{kind}" for way in ASYNC for kind in ("sync", "async", "both")],
)
def test_each_way_to_call_a_tool_is_one_span_for_each_execution(traced, way, given):
    results = way(given, ONE_AND_TWO)
    assert set(results) == {3}
    tell(traced, *["ok"] * len(results))


def test_a_direct_call_says_what_is_known_and_nothing_invented(traced):
    program.add.invoke(ONE_AND_TWO)
    (span,) = traced.spans
    assert span.name == "execute_tool add"
    assert span.attributes["gen_ai.tool.description"] == "Add two numbers."
    assert {"gen_ai.tool.call.id", "gen_ai.agent.name", "gen_ai.conversation.id"}.isdisjoint(
        span.attributes
    )


# -- agents --------------------------------------------------------------------------------------

RUNS = {
    "invoke": lambda graph: graph.invoke(HELLO),
    "batch": lambda graph: graph.batch([HELLO]),
    "stream": lambda graph: list(graph.stream(HELLO)),
    "ainvoke": lambda graph: asyncio.run(graph.ainvoke(HELLO)),
    "astream": lambda graph: asyncio.run(listed(graph.astream(HELLO))),
    "astream_events": lambda graph: asyncio.run(listed(graph.astream_events(HELLO, version="v2"))),
}


@pytest.fixture
def busy():
    """An agent that calls well, calls what does not exist, misfits, and meets a complaint."""
    complaining = program.complain.model_copy(update={"handle_tool_error": True})
    return agent(
        asks(("add", ONE_AND_TWO, "call-1")),
        asks(("delete", {"everything": True}, "call-2")),
        asks(("add", {"a": "one"}, "call-3")),
        asks(("complain", {}, "call-4")),
        tools=[program.add, complaining],
    )


@pytest.mark.parametrize("way", RUNS.values(), ids=RUNS)
def test_an_agents_run_is_one_trace_with_one_root(traced, way, busy):
    way(busy)
    tell(traced, "ok", "unknown_tool", "invalid_arguments", "tool_error")
    one_trace(traced)
    compare_with_golden("langchain_agent", traced.tree())


def test_an_error_that_nobody_handles_ends_the_run_as_an_error(traced):
    with pytest.raises(ValueError, match="broken"):
        agent(asks(("boom", {}, "call-1")), tools=[program.boom]).invoke(HELLO)
    tell(traced, "error")
    compare_with_golden("langchain_error", traced.tree())


@pytest.mark.parametrize("way", [RUNS["invoke"], RUNS["ainvoke"]], ids=["sync", "async"])
def test_two_hundred_parallel_calls_of_one_tool_are_children_of_their_run(traced, way):
    calls = [("add", {"a": number, "b": 1}, f"call-{number}") for number in range(200)]
    way(agent(asks(*calls), tools=[program.add]))
    tell(traced, *["ok"] * 200)
    root = one_trace(traced)
    assert {span.parent.span_id for span in traced.tools} == {root.context.span_id}
    ids = Counter(span.attributes["gen_ai.tool.call.id"] for span in traced.tools)
    assert ids == Counter(call_id for _, _, call_id in calls)


def test_two_hundred_calls_in_eight_threads(traced):
    with ThreadPoolExecutor(8) as threads:
        given = [{"a": number, "b": 1} for number in range(200)]
        assert list(threads.map(program.add.invoke, given)) == list(range(1, 201))
    tell(traced, *["ok"] * 200)


@pytest.mark.parametrize("given", [program.add, program.add_async], ids=["sync", "async"])
def test_two_hundred_tasks_keep_the_parent_they_were_made_under(traced, given):
    async def main():
        with traced.tracer().start_as_current_span("around"):
            await asyncio.gather(*(given.ainvoke({"a": n, "b": 1}) for n in range(200)))

    asyncio.run(main())
    tell(traced, *["ok"] * 200)
    around = traced.named("around")
    assert {span.parent.span_id for span in traced.tools} == {around.context.span_id}


@pytest.mark.parametrize("name", ["research", "research_async"])
def test_an_agent_as_a_tool_runs_below_its_execution(traced, name):
    tools = [getattr(program, name), program.add]
    outer = agent(
        asks((name, {"topic": "sums"}, "call-1")),
        asks(("add", ONE_AND_TWO, "call-2")),
        tools=tools,
        name="outer",
    )
    asyncio.run(outer.ainvoke(HELLO))
    tell(traced, "ok", "ok", "ok")
    compare_with_golden("langchain_sub_agent", traced.tree().replace(name, "research"))


def test_an_agent_that_is_a_tool_may_have_a_tool_of_its_own_name(traced):
    """What it asks for with the same arguments, and in the other way, is a call all the same."""

    @tool
    @program.counted
    def ask(what: str) -> str:
        """Answer."""
        return what

    inner = agent(asks(("ask", {"what": "why?"}, "inner-1")), tools=[ask], name="inner")

    async def delegate(what: str) -> str:
        """Ask another agent."""
        return inner.invoke(HELLO)["messages"][-1].content

    delegate.__name__ = "ask"
    other = tool(program.counted(delegate))
    outer = agent(asks(("ask", {"what": "why?"}, "outer-1")), tools=[other], name="outer")
    asyncio.run(outer.ainvoke(HELLO))
    tell(traced, "ok", "ok")
    one_trace(traced)


def test_a_tool_inside_a_tool_and_a_tool_that_calls_itself_are_nested(traced):
    program.twice.invoke({"a": 2})
    program.factorial.invoke({"n": 3})
    tell(traced, *["ok"] * 5)
    compare_with_golden("langchain_nested", traced.tree())


@pytest.mark.parametrize("name", ["move", "leave"])
def test_a_command_is_an_answer(traced, name):
    inner = agent(asks((name, {}, "call-1")), tools=[getattr(program, name)])
    graph = StateGraph(MessagesState).add_node("inner", inner)
    graph.add_node("after", lambda _: {}).add_edge(START, "inner").add_edge("after", END)
    graph.compile().invoke(HELLO)
    tell(traced, "ok")
    assert one_trace(traced).attributes["gen_ai.operation.name"] == "invoke_agent"
    assert not [span for span in traced.spans if span.status.status_code.name == "ERROR"]


def test_a_graph_that_is_no_agent_is_one_trace_too(traced):
    graph = StateGraph(MessagesState).add_node("tools", ToolNode([program.add]))
    graph.add_edge(START, "tools")
    graph.compile().invoke({"messages": [asks(("add", ONE_AND_TWO, "call-1"))]})
    tell(traced, "ok")
    assert one_trace(traced).name == "invoke_agent LangGraph"
    assert "gen_ai.agent.name" not in traced.tools[0].attributes


def test_a_graph_built_by_hand_gives_its_calls_the_name_that_it_was_given(traced):
    graph = StateGraph(MessagesState).add_node("tools", ToolNode([program.add]))
    graph.add_edge(START, "tools")
    named = graph.compile()
    named.name = "librarian"  # newer ones take it as an argument
    named.invoke({"messages": [asks(("add", ONE_AND_TWO, "call-1"))]})
    tell(traced, "ok")
    assert one_trace(traced).name == "invoke_agent librarian"
    assert traced.tools[0].attributes["gen_ai.agent.name"] == "librarian"


# -- how a call ends -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome", "told"),
    [
        (ValueError("no"), "error", "ValueError"),
        (TimeoutError(), "error", "TimeoutError"),
        (SystemExit(1), "error", "SystemExit"),
        (KeyboardInterrupt(), "cancelled", None),
        (asyncio.CancelledError(), "cancelled", None),
        (GraphInterrupt(()), "interrupted", None),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_what_the_body_raises_decides_the_outcome(traced, error, outcome, told, way):
    with pytest.raises(type(error)) as caught:  # one of two ways
        if way == "invoke":
            program.fail.invoke({"error": error})
        else:
            drive(program.fail.ainvoke({"error": error}))
    assert caught.value is error
    tell(traced, outcome)
    (span,) = traced.tools
    assert span.attributes.get("error.type") == told
    assert span.status.status_code.name == ("ERROR" if told else "UNSET")


def drive(coroutine):
    """Run a coroutine in a loop that lets SystemExit and KeyboardInterrupt through as they are."""

    async def shielded():
        try:
            return await coroutine, None
        except BaseException as error:  # noqa: BLE001  # a loop would treat some of them as its own
            return None, error

    result, error = asyncio.run(shielded())
    if error is not None:
        raise error
    return result


@pytest.mark.parametrize("handler", [True, "sorry", lambda error: f"sorry: {error}"], ids=str)
@pytest.mark.parametrize("call_id", [None, "call-1"])
def test_a_handled_complaint_is_a_tool_error(traced, handler, call_id):
    complaining = program.complain.model_copy(update={"handle_tool_error": handler})
    given = {"type": "tool_call", "name": "complain", "args": {}, "id": call_id}
    answer = complaining.invoke(given if call_id else {})
    assert "sorry" in (answer.content if call_id else answer) or handler is True
    tell(traced, "tool_error")
    (span,) = traced.tools
    assert span.attributes["error.type"] == "langchain_core.tools.base.ToolException"


@pytest.mark.parametrize("handler", [False, True, "sorry", lambda _: "sorry"], ids=str)
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_arguments_that_do_not_fit_run_nothing(traced, handler, way):
    picky = program.add.model_copy(update={"handle_validation_error": handler})
    try:
        call = getattr(picky, way)({"a": "one"})
        answer = asyncio.run(call) if way == "ainvoke" else call
    except ValueError:
        assert handler is False
    else:
        assert handler is True or answer == "sorry"
    tell(traced, "invalid_arguments")


def test_an_error_that_the_node_swallows_is_an_error(traced):
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([program.boom], handle_tool_errors=True))
    graph.add_edge(START, "tools")
    answer = graph.compile().invoke({"messages": [asks(("boom", {}, "call-1"))]})
    assert answer["messages"][-1].status == "error"
    tell(traced, "error")
    assert one_trace(traced).status.status_code.name == "UNSET"


@middleware
def test_each_try_of_a_retry_is_a_span_linked_to_the_one_before(traced):
    from langchain.agents.middleware import ToolRetryMiddleware

    again = ToolRetryMiddleware(max_retries=3, initial_delay=0, jitter=False)
    agent(asks(("flaky", {}, "call-1")), tools=[program.flaky], middleware=[again]).invoke(HELLO)
    tell(traced, "error", "error", "ok")
    compare_with_golden("langchain_retry", traced.tree())
    first, second, third = execution("call-1", traced)
    assert second.links[0].context == first.context
    assert third.links[0].context == second.context
    row = toolspan.stats()["flaky"]
    assert (row.calls, row.first_attempts) == (3, 1)


# -- cancelled -----------------------------------------------------------------------------------


async def cancelled(make, number):
    """Start `number` calls of `nap`, cancel each while it sleeps, and wait for all."""
    before = len(RAN)
    tasks = [asyncio.create_task(make()) for _ in range(number)]
    while len(RAN) - before < number:
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ends} == {asyncio.CancelledError}


def next_call_is_a_root(traced):
    """What comes after has nothing of what was before around it."""
    assert trace.get_current_span() is trace.INVALID_SPAN
    program.add.invoke(ONE_AND_TWO)
    assert traced.tools[-1].parent is None


def test_ten_thousand_cancellations_leave_nothing_behind(traced):
    async def main():
        for _ in range(100):
            await cancelled(lambda: program.nap.ainvoke({}), 100)

    asyncio.run(main())
    tell(traced, *["cancelled"] * 10_000)
    next_call_is_a_root(traced)


def test_a_cancelled_agent_cancels_its_call_and_its_run(traced):
    napping = agent(asks(("nap", {}, "call-1")), tools=[program.nap])
    asyncio.run(cancelled(lambda: napping.ainvoke(HELLO), 20))
    tell(traced, *["cancelled"] * 20)
    assert len(traced.spans) == 40
    assert {span.status.status_code.name for span in traced.spans} == {"UNSET"}
    next_call_is_a_root(traced)


def test_wait_for_looks_like_the_cancellation_that_it_is(traced):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(program.nap.ainvoke({}), 0.05)

    asyncio.run(main())
    tell(traced, "cancelled")


def test_a_thread_that_nobody_waits_for_ends_its_own_call(traced):
    async def main():
        call = asyncio.create_task(program.block.ainvoke({}))
        while not RAN:
            await asyncio.sleep(0.001)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    asyncio.run(main())  # waits for its threads
    tell(traced, "ok")


def test_calls_whose_event_loop_was_closed_first_end_all_the_same(traced, caplog):
    caplog.set_level(logging.CRITICAL, logger="asyncio")  # a task was destroyed: on purpose
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(program.nap.ainvoke({})) for _ in range(50)]
    while len(RAN) < 50:
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del tasks
    gc.collect()
    tell(traced, *["cancelled"] * 50)
    next_call_is_a_root(traced)


def test_a_call_that_is_never_awaited_ran_nothing(traced):
    coroutine = program.add_async.ainvoke(ONE_AND_TWO)
    coroutine.close()
    tell(traced)


# -- a stream that its consumer leaves -----------------------------------------------------------


def leave_sync(graph):
    for _ in graph.stream(HELLO):
        break


def close_sync(graph):
    steps = graph.stream(HELLO)
    next(steps)
    steps.close()


async def leave_async(graph):
    async for _ in graph.astream(HELLO):
        break


async def close_async(graph):
    steps = graph.astream(HELLO)
    await steps.__anext__()
    await steps.__anext__()
    await steps.aclose()


@pytest.mark.parametrize("leave", [leave_sync, close_sync, leave_async, close_async])
def test_a_run_that_its_consumer_leaves_early_ends_once(traced, leave):
    done = leave(agent(asks(("add", ONE_AND_TWO, "call-1")), tools=[program.add]))
    if done is not None:
        asyncio.run(done)
    gc.collect()
    tell(traced, *["ok"] * len(RAN))
    assert [span.name for span in traced.spans if span.parent is None] == ["invoke_agent helper"]
    next_call_is_a_root(traced)


def test_between_two_steps_of_a_stream_the_consumers_context_is_its_own(traced):
    steps = agent(asks(("add", ONE_AND_TWO, "call-1")), tools=[program.add]).stream(HELLO)
    with traced.tracer().start_as_current_span("consumer") as consumer:
        for _ in steps:
            assert trace.get_current_span() is consumer
    tell(traced, "ok")


def test_a_stream_that_is_never_read_is_no_run(traced):
    agent(tools=[program.add]).stream(HELLO)
    agent(tools=[program.add]).astream(HELLO)
    gc.collect()
    assert traced.spans == []


# -- interrupted, and taken up again -------------------------------------------------------------


def resumed(graph, conversation, *answers):
    """Run a conversation to its interrupt, and on with each answer."""
    for given in (HELLO, *(Command(resume=answer) for answer in answers)):
        state = graph.invoke(given, thread(conversation))
    return state["messages"][-1]


async def resumed_async(graph, conversation, *answers):
    for given in (HELLO, *(Command(resume=answer) for answer in answers)):
        state = await graph.ainvoke(given, thread(conversation))
    return state["messages"][-1]


@pytest.mark.parametrize("way", ["sync", pytest.param("async", marks=modern)])
def test_an_interrupted_call_and_its_resumption_are_two_linked_traces(traced, way):
    asking = remembering(asks(("ask", {"question": "why?"}, "call-1")), tools=[program.ask])
    name = f"interrupted-{way}"
    if way == "sync":
        resumed(asking, name, "because")
    else:
        asyncio.run(resumed_async(asking, name, "because"))
    tell(traced, "interrupted", "ok")
    compare_with_golden("langchain_interrupt", traced.tree().replace(name, "interrupted"))
    first, second = execution("call-1", traced)
    assert first.context.trace_id != second.context.trace_id
    assert [link.context for link in second.links] == [first.context]
    before, after = [span for span in traced.spans if span.parent is None]
    assert [link.context for link in after.links] == [before.context]


@pytest.mark.skipif(
    before_1_0, reason="before LangChain 1.0 an agent's calls are one node, of which all run again"
)
def test_only_the_interrupted_one_of_two_parallel_calls_runs_again(traced):
    pair = asks(("add", ONE_AND_TWO, "call-1"), ("ask", {"question": "why?"}, "call-2"))
    resumed(remembering(pair, tools=[program.add, program.ask]), "one-of-two", "because")
    tell(traced, "ok", "interrupted", "ok")
    assert len(execution("call-1", traced)) == 1
    assert [s.attributes.get("toolspan.attempt", 1) for s in execution("call-2", traced)] == [1, 2]


def test_an_interrupt_inside_an_agent_that_is_a_tool_interrupts_both(traced):
    asking = agent(
        asks(("ask", {"question": "why?"}, "inner-1")), tools=[program.ask], name="inner"
    )

    @tool
    @program.counted
    def delegate(config: RunnableConfig) -> str:
        """Let another agent ask, in the same conversation."""
        return asking.invoke(HELLO, config)["messages"][-1].content

    outer = remembering(asks(("delegate", {}, "outer-1")), tools=[delegate], name="outer")
    resumed(outer, "both-interrupted", "because")
    tell(traced, "interrupted", "interrupted", "ok", "ok")
    compare_with_golden("langchain_interrupted_sub_agent", traced.tree())
    before, after = [span for span in traced.spans if span.parent is None]
    assert [link.context for link in after.links] == [before.context]


DECISIONS = {
    "approve": ({"type": "approve"}, ["ok", "ok"]),
    "reject": ({"type": "reject", "message": "no"}, ["denied", "ok"]),
    "respond": ({"type": "respond", "message": "it is 3"}, ["denied", "ok"]),
    "edit": (
        {"type": "edit", "edited_action": {"name": "add", "args": {"a": 3, "b": 4}}},
        ["ok", "ok"],
    ),
}


@middleware
@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("mode", ["batched", "per_call"])
def test_a_reviewed_call_runs_once_or_is_denied_once(traced, decision, mode):
    from langchain.agents.middleware import HumanInTheLoopMiddleware

    answer, outcomes = DECISIONS[decision]
    review = HumanInTheLoopMiddleware({"add": True}, interrupt_mode=mode)
    reviewed = remembering(
        asks(("add", ONE_AND_TWO, "call-1")),
        asks(("add", ONE_AND_TWO, "call-2")),
        tools=[program.add],
        middleware=[review],
    )
    name = f"reviewed-{decision}-{mode}"
    answers = [answer, {"type": "approve"}]
    if mode == "batched":
        answers = [{"decisions": [one]} for one in answers]
    resumed(reviewed, name, *answers)
    tell(traced, *outcomes)
    compare_with_golden(f"langchain_review_{decision}", traced.tree().replace(name, "reviewed"))


def test_the_same_call_id_in_another_conversation_is_another_call(traced):
    adding = remembering(asks(("add", ONE_AND_TWO, "call-1")), tools=[program.add])
    for name in ("first-of-two", "second-of-two"):
        adding.invoke(HELLO, thread(name))
    tell(traced, "ok", "ok")
    assert not [span for span in traced.spans if span.links]
    assert not [span for span in traced.tools if "toolspan.attempt" in span.attributes]


# -- content off ---------------------------------------------------------------------------------

CANARY = "canary-9b2e"


@middleware
@pytest.mark.parametrize("capture", [False, True], ids=["content off", "content on"])
def test_no_text_of_a_conversation_leaves_while_content_is_off(trace_with, capture):
    from langchain.agents.middleware import HumanInTheLoopMiddleware

    traced = trace_with(settings=Settings(capture=capture))
    complaining = program.complain.model_copy(update={"handle_tool_error": True})
    tools = [program.echo, complaining, program.ask, program.boom, program.add]
    review = HumanInTheLoopMiddleware({"add": True})
    talk = remembering(
        asks(("echo", {"value": {CANARY: [CANARY]}}, "call-1")),
        asks(("complain", {"reason": CANARY}, "call-2")),
        asks(("delete", {"what": CANARY}, "call-3")),
        asks(("echo", {"values": CANARY}, "call-4")),
        asks(("add", {"a": CANARY, "b": 1}, "call-5")),
        asks(("ask", {"question": CANARY}, "call-6")),
        asks(("boom", {"reason": CANARY}, "call-7")),
        tools=tools,
        middleware=[review],
    )
    no = {"decisions": [{"type": "reject", "message": CANARY}]}
    with pytest.raises(ValueError, match=CANARY):
        resumed(talk, f"secret-{capture}", no, CANARY)
    tell(
        traced,
        *("ok", "tool_error", "unknown_tool", "invalid_arguments", "denied", "interrupted", "ok"),
        "error",
    )
    exported = encode_spans(traced.spans).SerializeToString()
    assert (CANARY.encode() in exported) is capture


# -- beside the doors for hand-written code ------------------------------------------------------


def test_a_decorated_function_as_a_tool_is_one_span(traced):
    decorated = toolspan.tool(program.add.func)
    given = StructuredTool.from_function(decorated)
    assert given.args == program.add.args
    agent(asks(("add", ONE_AND_TWO, "call-1")), tools=[given]).invoke(HELLO)
    tell(traced, "ok")


def test_a_decorated_function_that_a_tool_starts_after_its_end_is_a_call_of_its_own(traced):
    decorated = toolspan.tool(program.add_async.coroutine)
    left = []

    async def later(over, a, b):
        await over.wait()
        await decorated(a=a, b=b)

    async def start(a: int, b: int) -> str:
        """Leave the work for later."""
        over = asyncio.Event()
        left.append((over, asyncio.create_task(later(over, a, b))))
        return "started"

    async def main():
        starting = StructuredTool.from_function(coroutine=start, name="add_async")
        await starting.ainvoke(ONE_AND_TWO)
        ((over, task),) = left
        over.set()
        await task

    asyncio.run(main())
    assert traced.outcomes == ["ok", "ok"]


def test_run_around_an_agent_is_the_one_run(traced):
    adding = agent(asks(("add", ONE_AND_TWO, "call-1")), tools=[program.add], name=None)
    with toolspan.run("nightly", agent="boss", conversation="tonight", attributes={"phase": "x"}):
        adding.invoke(HELLO)
    tell(traced, "ok")
    compare_with_golden("langchain_run", traced.tree())
    assert traced.tools[0].attributes["phase"] == "x"


def test_untraced_calls_give_no_span_and_are_not_counted(traced):
    adding = agent(asks(("add", ONE_AND_TWO, "call-1")), tools=[program.add])
    with toolspan.untraced():
        adding.invoke(HELLO)
        asyncio.run(adding.ainvoke(HELLO))
    assert [name for name, _ in RAN] == ["add", "add"]
    assert traced.spans == []
    assert toolspan.stats().rows() == []


@pytest.mark.parametrize("operation", ["invoke_agent", "invoke_workflow"])
def test_beside_somebodys_agent_span_there_is_no_second(traced, operation):
    said = {"gen_ai.operation.name": operation}
    with traced.tracer("somebody").start_as_current_span("theirs", attributes=said):
        agent(asks(("add", ONE_AND_TWO, "call-1")), tools=[program.add]).invoke(HELLO)
    tell(traced, "ok")
    assert [span.name for span in traced.spans] == ["theirs", "execute_tool add"]


def test_below_an_ordinary_span_the_run_opens_its_own(traced):
    with traced.tracer("http").start_as_current_span("GET /"):
        agent(asks(("add", ONE_AND_TWO, "call-1")), tools=[program.add]).invoke(HELLO)
    assert one_trace(traced).name == "GET /"
    assert (
        traced.named("invoke_agent helper").parent.span_id == traced.named("GET /").context.span_id
    )


def test_calls_are_counted_where_nothing_is_sampled(trace_with):
    traced = trace_with(sampler=ALWAYS_OFF)
    agent(asks(("add", ONE_AND_TWO, "call-1")), tools=[program.add]).invoke(HELLO)
    assert traced.spans == []
    assert toolspan.stats()["add"].calls == len(RAN) == 1


def test_a_message_of_the_model_without_calls_is_a_run_without_calls(traced):
    agent(AIMessage("nothing to do"), tools=[program.add]).invoke(HELLO)
    tell(traced)
    assert [span.name for span in traced.spans] == ["invoke_agent helper"]
