"""Calls that are told of in events, and bodies in another task: one span each, none left open."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import types
from collections import Counter

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

import toolspan
from toolspan.hooks import Adapter, Began, Body, Ended, Events, Hook, Placement, Run, RunFacts
from toolspan.lifecycle import events, wrapper_for
from toolspan.lifecycle.memory import Memory
from toolspan.settings import Settings
from toolspan.toolcall import Outcome, ToolCall

CANARY = "canary-77c1"
MCP = {"mcp.method.name": "tools/call"}


class Session:
    """Tells of calls that run elsewhere, and runs some itself, in a task of its own."""

    def __init__(self, *frames):
        self.frames = frames

    async def messages(self):
        """What the program reads, of a run."""
        async for frame in self.stream():
            yield frame

    async def stream(self):
        for frame in self.frames:
            if isinstance(frame, BaseException):
                raise frame
            if frame is None:
                await asyncio.sleep(60)
            yield frame

    async def ask(self, key, name):
        """Have a body run in the server's task, as a session's server does."""
        done = asyncio.get_running_loop().create_future()
        self.server.put_nowait((key, name, done))
        return await done

    async def serve(self):
        """Started before anybody asks: its context is nobody's."""
        self.server = asyncio.Queue()
        while True:
            key, name, done = await self.server.get()
            done.set_result(await self.body(key, name))

    async def body(self, key, name):
        return await self.handled(name)

    async def handled(self, name):
        toolspan.record("inner", started=time.time(), duration=0.0)
        return trace.get_current_span().get_span_context().span_id


def began(key, name="look", **more):
    return "began", key, name, more


def ended(key, error=None, result="seen", at=0):
    return "ended", key, error, result, at


def told(_invocation, frame):
    if frame[0] == "ended":
        _, key, error, result, at = frame
        yield Ended(key, Outcome(result, error=error), at)
    elif frame[0] == "began":
        _, key, name, more = frame
        given, started = more.get("given"), more.get("started", 0)
        id_ = key if type(key) is str else None
        call = ToolCall(name, given, id=id_, agent=more.get("agent"), started=started)
        yield Began(key, call, more.get("within"), more.get("hooked", False))


ADAPTER = Adapter(
    name="host",
    distribution="host",
    versions=">=1",
    words=(
        Run("host:Session.messages", lambda _: RunFacts("run", agent="helper")),
        Events("host:Session.stream", told),
        Hook(
            "host:Session.ask",
            lambda given: ToolCall(given.get("name"), id=given.get("key")),
            keyed=True,
        ),
        Body("host:Session.body", lambda given: given.get("key")),
        Hook(
            "host:Session.handled",
            lambda given: ToolCall(given.get("name"), kind="server", attributes=MCP),
        ),
    ),
)


@pytest.fixture
def place(monkeypatch):
    """A framework of one session, hooked."""
    module = types.ModuleType("host")
    module.Session = Session
    monkeypatch.setitem(sys.modules, "host", module)
    placement = Placement(ADAPTER, wrapper_for)
    placement.place()
    yield placement
    placement.remove()


@pytest.fixture
def host(place, traced):
    return traced


async def heard(session):
    return [frame async for frame in session.messages()]


def hear(*frames):
    """What the program gets of a session, to its end."""
    return asyncio.run(heard(Session(*frames)))


def words(traced):
    return [
        (span.attributes["gen_ai.tool.name"], span.attributes["toolspan.outcome"])
        for span in traced.tools
    ]


def in_flight():
    return sum(row.in_flight for row in toolspan.stats().rows())


# -- beginning and end ---------------------------------------------------------------------------


def test_a_call_is_from_its_beginning_to_its_end_and_the_program_gets_every_message(host):
    second = 1_000_000_000
    frames = began("1", started=5 * second), "between", ended("1", at=7 * second)
    assert hear(*frames) == list(frames)
    (span,) = host.tools
    assert (span.start_time, span.end_time) == (5 * second, 7 * second)
    assert span.attributes["gen_ai.tool.call.id"] == "1"
    assert words(host) == [("look", "ok")]
    run = host.named("invoke_agent helper")
    assert span.parent.span_id == run.context.span_id
    (row,) = toolspan.stats().rows()
    assert (row.outcomes["ok"], row.in_flight) == (1, 0)
    assert row.max == pytest.approx(2.0)


def test_an_end_before_its_beginning_by_the_clock_takes_no_time(host):
    hear(began("1", started=7_000), ended("1", at=5_000))
    (span,) = host.tools
    assert span.start_time == span.end_time == 7_000


def test_an_open_call_is_in_flight(host):
    async def half():
        messages = Session(began("1"), "between", ended("1")).messages()
        await anext(messages)
        counts = [in_flight()]
        await anext(messages)
        await anext(messages)
        counts.append(in_flight())
        await messages.aclose()
        return counts

    assert asyncio.run(half()) == [1, 0]
    assert words(host) == [("look", "ok")]


def test_an_end_without_a_beginning_is_nobodys(host):
    hear(ended("1"), ended("1", "tool_error"))
    assert host.tools == []


def test_a_key_that_is_open_begins_no_second_call(host):
    hear(began("1"), began("1", "other"), ended("1"), ended("1", "tool_error"))
    assert words(host) == [("look", "ok")]


def test_a_key_that_comes_again_after_its_end_is_a_further_try(host):
    hear(began("1"), ended("1", "tool_error"), began("1"), ended("1"))
    assert words(host) == [("look", "tool_error"), ("look", "ok")]
    assert host.tools[1].attributes["toolspan.attempt"] == 2


@pytest.mark.parametrize("key", [7, None, ["1"]])
def test_a_key_that_is_no_text_tells_nothing(host, key):
    hear(began(key), ended(key))
    assert host.tools == []


# -- the end that never comes --------------------------------------------------------------------

BREAKS = {
    "it ends": ([], "cancelled"),
    "its process dies": ([ConnectionError()], "abandoned"),
    "it is cancelled": ([asyncio.CancelledError()], "cancelled"),
}


@pytest.mark.parametrize("why", BREAKS)
def test_no_call_outlives_its_stream(host, why):
    frames, word = BREAKS[why]

    async def hearing():
        await asyncio.gather(
            heard(Session(began("1"), began("2"), *frames)), return_exceptions=True
        )

    asyncio.run(hearing())
    assert words(host) == [("look", word)] * 2
    assert in_flight() == 0


def test_a_reader_that_leaves_or_is_cancelled_stops_what_is_open(host):
    async def leaving():
        messages = Session(began("1"), "between").messages()
        await anext(messages)
        await messages.aclose()

    async def cancelled():
        task = asyncio.ensure_future(heard(Session(began("2"), None)))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leaving())
    asyncio.run(cancelled())
    assert words(host) == [("look", "cancelled")] * 2


def test_a_stream_that_is_dropped_leaves_nothing_open(host):
    async def dropping():
        await anext(Session(began("1"), "between").messages())

    asyncio.run(dropping())
    gc.collect()
    assert words(host) == [("look", "cancelled")]
    assert in_flight() == 0


def test_of_too_many_open_calls_the_oldest_is_abandoned(host):
    numbers = range(events._MOST + 10)
    hear(*(began(str(n)) for n in numbers), *(ended(str(n)) for n in numbers))
    assert Counter(word for _, word in words(host)) == {"abandoned": 10, "ok": events._MOST}
    lost = [s for s in host.tools if s.attributes["toolspan.outcome"] == "abandoned"]
    assert {s.attributes["gen_ai.tool.call.id"] for s in lost} == set(map(str, range(10)))


def test_a_call_that_all_streams_together_forgot_is_ended_by_its_own(host, monkeypatch):
    monkeypatch.setattr(events, "_CALLS", Memory(2))
    hear(*(began(str(n)) for n in range(5)), *(ended(str(n)) for n in range(5)))
    assert words(host) == [("look", "ok")] * 5
    assert in_flight() == 0


def test_a_call_that_is_open_for_a_day_is_abandoned_when_another_begins(host):
    hear(began("old", started=1), began("young"), ended("young"), ended("old"))
    assert words(host) == [("look", "abandoned"), ("look", "ok")]


# -- where a call belongs ------------------------------------------------------------------------


def test_a_call_within_another_has_it_as_parent_and_all_are_one_trace(host):
    hear(
        began("task", "Task"),
        began("1", within="task", agent="researcher"),
        ended("1"),
        ended("task"),
        began("2", within="task"),
        ended("2"),
    )
    task, inner, late = host.tools
    run = host.named("invoke_agent helper")
    assert [task.parent.span_id, late.parent.span_id] == [run.context.span_id] * 2
    assert inner.parent.span_id == task.context.span_id
    assert {span.context.trace_id for span in host.spans} == {run.context.trace_id}
    agents = [span.attributes["gen_ai.agent.name"] for span in host.tools]
    assert agents == ["helper", "researcher", "helper"]


def test_streams_in_tasks_and_threads_take_nothing_from_one_another(host):
    def frames(stream):
        keys = [f"{stream}-{number}" for number in range(20)]
        return *(began(key, stream) for key in keys), *(ended(key) for key in reversed(keys))

    async def four(thread):
        await asyncio.gather(*(heard(Session(*frames(f"{thread}{letter}"))) for letter in "abcd"))

    threads = [threading.Thread(target=lambda n=n: asyncio.run(four(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(words(host)) == {
        (f"{n}{letter}", "ok"): 20 for n in range(4) for letter in "abcd"
    }
    runs = {s.context.span_id: s for s in host.spans if s.name == "invoke_agent helper"}
    by_name = {(s.attributes["gen_ai.tool.name"], s.parent.span_id) for s in host.tools}
    assert len(by_name) == len(runs) == 16


def test_the_reader_of_a_stream_is_in_no_call(host):
    async def reading():
        async for _ in Session(began("1"), "between", ended("1")).messages():
            assert not trace.get_current_span().get_span_context().is_valid

    asyncio.run(reading())


# -- a call that this process runs ---------------------------------------------------------------


def serving(frames, *asks):
    """A session whose calls run here, in the task of a server, as its messages come."""

    async def scene():
        session = Session(*frames)
        server = asyncio.ensure_future(session.serve())
        await asyncio.sleep(0)
        messages, inside = session.messages(), []
        for _ in frames[: len(frames) // 2]:
            await anext(messages)
        inside += [await session.ask(*one) for one in asks]
        async for _ in messages:
            pass
        server.cancel()
        return inside

    return asyncio.run(scene())


def test_a_call_that_runs_here_is_one_span_which_is_current_in_its_body(host):
    (inside,) = serving([began("1", hooked=True, agent="researcher"), ended("1")], ("1", "look"))
    run, look, inner = host.spans
    assert words(host) == [("look", "ok"), ("inner", "ok")]
    assert look.context.span_id == inside == inner.parent.span_id
    assert look.parent.span_id == run.context.span_id
    assert look.attributes["gen_ai.agent.name"] == "researcher"
    assert look.kind is trace.SpanKind.INTERNAL


def test_a_call_that_runs_here_before_it_is_announced_is_one_span_too(host):
    frames = ["first", "second", began("1", hooked=True), ended("1")]
    (inside,) = serving(frames, ("1", "look"))
    look = host.named("execute_tool look")
    assert words(host) == [("look", "ok"), ("inner", "ok")]
    assert look.context.span_id == inside


@pytest.mark.parametrize("word", ["denied", "unknown_tool", "invalid_arguments"])
def test_an_announced_call_that_nobody_ran_was_refused(host, word):
    hear(began("1", hooked=True), ended("1", word))
    assert words(host) == [("look", word)]


def test_an_announced_call_that_was_called_off_before_it_ran_is_none(host):
    hear(began("1", hooked=True), ended("1", "cancelled"), began("2", hooked=True))
    assert host.tools == []
    assert in_flight() == 0


def test_a_body_of_nobodys_call_is_left_alone(host):
    async def alone():
        session = Session()
        return await session.body("unknown", "look"), await session.body(None, "look")

    asyncio.run(alone())
    assert [name for name, _ in words(host)] == ["look", "inner"] * 2


# -- on and off, and content ---------------------------------------------------------------------


def test_what_is_open_when_the_hooks_go_still_ends_and_nothing_begins(host, place):
    async def between():
        messages = Session(began("1"), began("2"), ended("1")).messages()
        await anext(messages)
        place.remove()
        toolspan.uninstrument()
        return [frame async for frame in messages]

    assert len(asyncio.run(between())) == 2
    assert words(host) == [("look", "ok")]
    assert hear(began("3"), ended("3")) == [began("3"), ended("3")]
    assert len(host.tools) == 1


@pytest.mark.parametrize("capture", [False, True])
def test_what_events_hold_leaves_only_where_content_may(trace_with, place, capture):  # placed
    traced = trace_with(settings=Settings(capture=capture))
    hear(began("1", given={"key": CANARY}), ended("1", "tool_error", CANARY))
    hear(began("2", given=CANARY, hooked=True), ended("2", "denied", CANARY))
    exported = encode_spans(traced.spans).SerializeToString()
    assert (CANARY.encode() in exported) is capture
    assert [word for _, word in words(traced)] == ["tool_error", "denied"]
