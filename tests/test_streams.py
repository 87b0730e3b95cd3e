"""Generators: one span from the first step to the end, however it comes; none without a step."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import logging
import subprocess
import sys
import threading
import time
import warnings

import pytest
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

import toolspan
from toolspan import tool

MANY = 10_000


class Broken(Exception):
    """What a body raises, or a consumer throws in."""


@tool
def numbers(upto, *, fails=False):
    """Count, and notice what the consumer does."""
    for number in range(upto):
        try:
            answer = yield number
        except KeyError:
            answer = "caught"
        if answer is not None:
            yield answer
    if fails:
        raise Broken
    return "the end"


@tool(name="numbers")
async def numbers_later(upto, *, fails=False):
    """The same, async."""
    for number in range(upto):
        await asyncio.sleep(0)
        try:
            answer = yield number
        except KeyError:
            answer = "caught"
        if answer is not None:
            yield answer
    if fails:
        raise Broken


def ended(traced):
    """The spans that ended, without asking for those that are put off."""
    return traced.exporter.get_finished_spans()


# -- how a stream ends -----------------------------------------------------------------------


def exhaust(stream):
    assert list(stream) == [0, 1, 2]


def break_off(stream):
    for number in stream:
        if number == 1:
            break


def close(stream):
    assert next(stream) == 0
    stream.close()


def fail_inside(stream):
    with pytest.raises(Broken):
        list(stream)


def throw_in(stream):
    assert next(stream) == 0
    error = Broken()
    with pytest.raises(Broken) as raised:
        stream.throw(error)
    assert raised.value is error


def throw_in_what_is_caught(stream):
    assert next(stream) == 0
    assert stream.throw(KeyError()) == "caught"
    assert list(stream) == [1, 2]


def never_iterate(stream):
    assert iter(stream) is stream


def drop(stream):
    assert next(stream) == 0


def drop_in_a_cycle(stream):
    assert next(stream) == 0
    cycle = [stream]
    cycle.append(cycle)


async def exhaust_later(stream):
    assert [number async for number in stream] == [0, 1, 2]


async def break_off_later(stream):
    async for number in stream:
        if number == 1:
            break
    await stream.aclose()


async def close_later(stream):
    assert await anext(stream) == 0
    await stream.aclose()


async def fail_inside_later(stream):
    with pytest.raises(Broken):
        [number async for number in stream]


async def throw_in_later(stream):
    assert await anext(stream) == 0
    error = Broken()
    with pytest.raises(Broken) as raised:
        await stream.athrow(error)
    assert raised.value is error


async def throw_in_what_is_caught_later(stream):
    assert await anext(stream) == 0
    assert await stream.athrow(KeyError()) == "caught"
    assert [number async for number in stream] == [1, 2]


async def never_iterate_later(stream):
    assert aiter(stream) is stream


async def drop_later(stream):
    assert await anext(stream) == 0


async def drop_in_a_cycle_later(stream):
    assert await anext(stream) == 0
    cycle = [stream]
    cycle.append(cycle)


BROKEN_OFF = ("ok", False)
ENDS = [
    (exhaust, exhaust_later, ("ok", None), {}),
    (break_off, break_off_later, BROKEN_OFF, {}),
    (close, close_later, BROKEN_OFF, {}),
    (fail_inside, fail_inside_later, ("error", None), {"fails": True}),
    (throw_in, throw_in_later, ("error", None), {}),
    (throw_in_what_is_caught, throw_in_what_is_caught_later, ("ok", None), {}),
    (never_iterate, never_iterate_later, None, {}),
    (drop, drop_later, BROKEN_OFF, {}),
    (drop_in_a_cycle, drop_in_a_cycle_later, BROKEN_OFF, {}),
]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(("end", "end_later", "expected", "options"), ENDS)
def test_a_stream_is_one_ended_span_however_it_ends(
    traced, kind, end, end_later, expected, options
):
    if kind == "sync":
        end(numbers(3, **options))
    else:

        async def main():
            await end_later(numbers_later(3, **options))
            gc.collect()
            await asyncio.sleep(0)

        asyncio.run(main())
    gc.collect()
    assert trace.get_current_span() is trace.INVALID_SPAN
    found = [
        (span.attributes["toolspan.outcome"], span.attributes.get("toolspan.stream.complete"))
        for span in traced.spans
    ]
    assert found == ([] if expected is None else [expected])
    assert all(span.end_time for span in traced.spans)
    calls = toolspan.stats()["numbers"] if expected else None
    assert calls is None or (calls.calls, calls.in_flight) == (1, 0)


@pytest.mark.parametrize(("end", "expected"), [(end, word) for end, _, word, o in ENDS if not o])
def test_a_stream_decorated_twice_is_still_one_span(traced, end, expected):
    end(tool(numbers)(3))
    gc.collect()
    found = [
        (span.attributes["toolspan.outcome"], span.attributes.get("toolspan.stream.complete"))
        for span in traced.spans
    ]
    assert found == ([] if expected is None else [expected])


def test_what_a_stream_raised_is_its_error_type(traced):
    fail_inside(numbers(3, fails=True))
    throw_in(numbers(3))
    kinds = [span.attributes["error.type"] for span in traced.spans]
    assert [kind.rpartition(".")[2] for kind in kinds] == ["Broken", "Broken"]


def test_closing_ends_the_span_at_once(traced):
    stream = numbers(3)
    next(stream)
    stream.close()
    assert len(ended(traced)) == 1

    async def main():
        later = numbers_later(3)
        await anext(later)
        await later.aclose()
        assert len(ended(traced)) == 2

    asyncio.run(main())


def test_a_collected_stream_is_ended_at_the_next_chance(traced):
    stream = numbers(3)
    next(stream)
    del stream
    assert len(ended(traced)) == 0
    list(numbers(1))
    assert len(ended(traced)) == 2


def test_whoever_asks_for_statistics_sees_the_collected_ones(traced):
    drop(numbers(3))
    assert toolspan.stats()["numbers"].outcomes["ok"] == 1
    drop(numbers(3))
    toolspan.status()
    assert len(ended(traced)) == 2


# -- durations -------------------------------------------------------------------------------


def seconds(span):
    return (span.end_time - span.start_time) / 1e9


def test_a_span_lasts_from_the_first_step_to_the_last(traced):
    @tool
    def slow():
        time.sleep(0.03)
        yield 1
        time.sleep(0.03)

    stream = slow()
    time.sleep(0.1)
    before = time.time_ns()
    assert list(stream) == [1]
    after = time.time_ns()
    (span,) = traced.spans
    assert before <= span.start_time
    assert span.end_time <= after + 1_000_000
    assert 0.06 <= seconds(span) < 0.1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_collected_stream_lasted_until_it_was_collected(traced, kind):
    if kind == "sync":
        stream = numbers(3)
        next(stream)
    else:
        stream = numbers_later(3)
        with contextlib.suppress(StopIteration):
            step = stream.__anext__()
            step.send(None)
            step.send(None)
        del step
    time.sleep(0.03)
    del stream
    gc.collect()
    time.sleep(0.1)
    (span,) = traced.spans
    assert 0.03 <= seconds(span) < 0.1


# -- what consumer and body see --------------------------------------------------------------


def test_the_consumers_context_is_untouched_between_items(traced):
    with traced.tracer().start_as_current_span("consumer") as mine:
        stream = numbers(3)
        context = otel.get_current()
        for _ in stream:
            assert trace.get_current_span() is mine
            assert otel.get_current() is context
    consumer, span = traced.spans
    assert span.parent.span_id == consumer.context.span_id


def test_the_consumers_context_is_untouched_between_async_items(traced):
    async def main():
        with traced.tracer().start_as_current_span("consumer") as mine:
            context = otel.get_current()
            async for _ in numbers_later(3):
                assert trace.get_current_span() is mine
                assert otel.get_current() is context

    asyncio.run(main())
    consumer, span = traced.spans
    assert span.parent.span_id == consumer.context.span_id


def _tool_span_around():
    return trace.get_current_span().get_span_context().span_id


def test_the_span_is_current_in_every_step_of_the_body(traced):
    seen = []

    @tool
    def body():
        try:
            for number in range(2):
                seen.append(_tool_span_around())
                yield number
        finally:
            seen.append(_tool_span_around())

    @tool
    async def body_later():
        try:
            for number in range(2):
                seen.append(_tool_span_around())
                await asyncio.sleep(0)
                yield number
        finally:
            await asyncio.sleep(0)
            seen.append(_tool_span_around())

    async def main():
        stream = body_later()
        await anext(stream)
        await stream.aclose()

    list(body())
    asyncio.run(main())
    first, second = (span.context.span_id for span in traced.spans)
    assert seen == [first] * 3 + [second] * 2


def test_what_the_body_attached_is_kept_for_its_next_step(traced):
    tracer, seen = traced.tracer(), []

    @tool
    def body():
        with tracer.start_as_current_span("inner") as inner:
            token = otel.attach(otel.set_value("key", "mine"))
            for number in range(3):
                seen.append((trace.get_current_span() is inner, otel.get_value("key")))
                yield number
            otel.detach(token)
        seen.append((trace.get_current_span() is inner, otel.get_value("key")))

    for _ in body():
        assert trace.get_current_span() is trace.INVALID_SPAN
        assert otel.get_value("key") is None
    assert seen == [(True, "mine")] * 3 + [(False, None)]
    span, inner = traced.spans
    assert inner.parent.span_id == span.context.span_id


def test_what_the_async_body_attached_is_kept_for_its_next_step(traced):
    tracer, seen = traced.tracer(), []

    @tool
    async def body():
        with tracer.start_as_current_span("inner") as inner:
            for number in range(3):
                await asyncio.sleep(0)
                seen.append(trace.get_current_span() is inner)
                yield number
        seen.append(trace.get_current_span() is inner)

    async def main():
        async for _ in body():
            assert trace.get_current_span() is trace.INVALID_SPAN

    asyncio.run(main())
    assert seen == [True, True, True, False]


def test_a_context_variable_of_the_host_goes_through_as_without_us(traced):
    variable = contextvars.ContextVar("variable", default=0)

    def body():
        for _ in range(3):
            variable.set(variable.get() + 1)
            yield variable.get()

    def run(function):
        seen = []
        for number in function():
            variable.set(variable.get() + 10)
            seen.append((number, variable.get()))
        return seen

    plain = contextvars.copy_context().run(run, body)
    assert contextvars.copy_context().run(run, tool(body)) == plain
    assert len(traced.spans) == 1


def test_two_streams_read_in_turn_do_not_mix(traced):
    first, second = numbers(3), numbers(3)
    assert [*zip(first, second, strict=True)] == [(0, 0), (1, 1), (2, 2)]
    assert [span.parent for span in traced.spans] == [None, None]


def test_a_stream_may_be_stepped_in_other_threads_and_contexts(traced):
    stream, seen = numbers(3), []
    for _ in range(3):
        thread = threading.Thread(target=lambda: seen.append(next(stream)))
        thread.start()
        thread.join()
    assert contextvars.Context().run(next, stream, None) is None
    assert seen == [0, 1, 2]
    assert len(traced.spans) == 1


# -- send, throw, return ---------------------------------------------------------------------


def _talk(function):
    stream, seen = function(), []
    seen.append(next(stream))
    seen.append(stream.send("hello"))
    seen.append(stream.throw(KeyError("out")))
    try:
        stream.send("bye")
    except StopIteration as stop:
        seen.append(stop.value)
    return seen


def _conversation():
    said = yield "begin"
    try:
        yield said
    except KeyError as error:
        yield error.args
    return "returned"


def test_send_throw_and_the_return_value_pass(traced):
    expected = ["begin", "hello", ("out",), "returned"]
    assert _talk(_conversation) == expected
    assert _talk(tool(_conversation)) == expected

    def delegating():
        value = yield from tool(_conversation)()
        yield value

    assert list(delegating()) == ["begin", None, "returned"]
    assert [span.attributes["toolspan.outcome"] for span in traced.spans] == ["ok", "ok"]


def test_without_instrumentation_they_pass_as_well():
    assert _talk(tool(_conversation)) == _talk(_conversation)
    assert asyncio.run(_talk_later(tool(_conversation_later))) == ["begin", "hello", ("out",)]
    stream = numbers(3)
    assert next(stream) == 0
    stream.close()
    assert list(stream) == []


async def _talk_later(function):
    stream, seen = function(), []
    seen.append(await anext(stream))
    seen.append(await stream.asend("hello"))
    seen.append(await stream.athrow(KeyError("out")))
    with pytest.raises(StopAsyncIteration):
        await stream.asend("bye")
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    return seen


async def _conversation_later():
    said = yield "begin"
    try:
        await asyncio.sleep(0)
        yield said
    except KeyError as error:
        yield error.args


def test_asend_and_athrow_pass(traced):
    expected = ["begin", "hello", ("out",)]
    assert asyncio.run(_talk_later(_conversation_later)) == expected
    assert asyncio.run(_talk_later(tool(_conversation_later))) == expected
    assert [span.attributes["toolspan.outcome"] for span in traced.spans] == ["ok"]


@pytest.mark.parametrize("wrap", [lambda f: f, tool], ids=["plain", "ours"])
def test_a_body_that_refuses_to_be_closed_is_told_as_without_us(traced, wrap):
    @wrap
    def stubborn():
        while True:
            with contextlib.suppress(GeneratorExit):
                yield 1
                continue
            yield 2

    stream = stubborn()
    next(stream)
    with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
        stream.close()


@pytest.mark.parametrize("wrap", [lambda f: f, tool], ids=["plain", "ours"])
def test_a_stop_iteration_raised_in_the_body_is_told_as_without_us(traced, wrap):
    @wrap
    def stops():
        yield 1
        raise StopIteration

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        list(stops())


@pytest.mark.parametrize("wrap", [lambda f: f, tool], ids=["plain", "ours"])
def test_what_cleaning_up_raises_reaches_whoever_closes(traced, wrap):
    @wrap
    def messy():
        try:
            yield 1
        finally:
            raise Broken

    stream = messy()
    next(stream)
    with pytest.raises(Broken):
        stream.close()
    outcomes = [span.attributes["toolspan.outcome"] for span in traced.spans]
    assert outcomes == ([] if wrap is not tool else ["error"])


def test_cleaning_up_may_await(traced):
    cleaned = []

    @tool
    async def stream():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0.02)
            cleaned.append(_tool_span_around())

    async def main():
        one = stream()
        await anext(one)
        await one.aclose()

    asyncio.run(main())
    (span,) = traced.spans
    assert cleaned == [span.context.span_id]
    assert seconds(span) >= 0.02


# -- the garbage collector -------------------------------------------------------------------


class Locked(SpanProcessor):
    """A processor like many: it takes its lock as a span ends, and whoever holds it waits."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ended = 0

    def on_end(self, span) -> None:
        with self.lock:
            self.ended += 1


def within(seconds_, function):
    """What `function` gives in a thread of its own; a deadlock fails the test."""
    result = []
    thread = threading.Thread(target=lambda: result.append(function()), daemon=True)
    thread.start()
    thread.join(seconds_)
    assert not thread.is_alive(), "it hangs"
    return result[0]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("how", ["reference", "cycle"])
def test_a_stream_collected_inside_a_held_lock_cannot_deadlock(traced, kind, how):
    locked = Locked()
    traced.provider.add_span_processor(locked)

    def begin():
        if kind == "sync":
            stream = numbers(3)
            next(stream)
            return stream
        stream = numbers_later(3)
        step = stream.__anext__()
        with contextlib.suppress(StopIteration):
            step.send(None)
            step.send(None)
        return stream

    def collect_while_holding_the_lock():
        held = [begin()]
        if how == "cycle":
            held.append(held)
        with locked.lock:
            del held
            gc.collect()
        return locked.ended

    assert within(10, collect_while_holding_the_lock) == 0
    toolspan.stats().rows()
    assert locked.ended == 1


def test_a_coroutine_collected_inside_a_held_lock_cannot_deadlock(traced):
    locked = Locked()
    traced.provider.add_span_processor(locked)

    @tool
    async def wait():
        await asyncio.sleep(3600)

    def collect_while_holding_the_lock():
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        held = [loop.create_task(wait())]
        held.append(held)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        with locked.lock:
            del held, loop
            gc.collect()
        return locked.ended

    assert within(10, collect_while_holding_the_lock) == 0
    assert [span.attributes["toolspan.outcome"] for span in traced.spans] == ["cancelled"]
    assert locked.ended == 1


@pytest.mark.parametrize("block", [toolspan.call, toolspan.run], ids=["call", "run"])
def test_a_block_inside_a_collected_generator_cannot_deadlock(traced, block):
    locked = Locked()
    traced.provider.add_span_processor(locked)

    def hosts_own():
        with block("inside"):
            yield 1

    def collect_while_holding_the_lock():
        held = [hosts_own()]
        held.append(held)
        next(held[0])
        with locked.lock:
            del held
            gc.collect()
        return locked.ended

    assert within(10, collect_while_holding_the_lock) == 0
    assert len(traced.spans) == locked.ended == 1


def test_a_body_that_fails_as_it_is_collected_cannot_deadlock(traced):
    locked = Locked()
    traced.provider.add_span_processor(locked)

    @tool
    def messy():
        try:
            yield 1
        finally:
            raise Broken

    def collect_while_holding_the_lock():
        stream = messy()
        next(stream)
        with locked.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            del stream
            gc.collect()
        return locked.ended

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.unraisablehook", lambda *_: None)
        assert within(10, collect_while_holding_the_lock) == 0
    assert [span.attributes["toolspan.outcome"] for span in traced.spans] == ["error"]


# -- ten thousand ----------------------------------------------------------------------------


def assert_all_ended(traced, caplog, name="numbers"):
    """Ten thousand ended spans, nothing open, no complaint, and the next one has its parent."""
    toolspan.stats().rows()
    spans = ended(traced)
    assert len(spans) == MANY
    assert {span.attributes["toolspan.stream.complete"] for span in spans} == {False}
    assert (toolspan.stats()[name].calls, toolspan.stats()[name].in_flight) == (MANY, 0)
    assert [r for r in caplog.records if r.name == "opentelemetry.context"] == []
    traced.exporter.clear()
    with traced.tracer().start_as_current_span("parent") as parent:
        list(numbers(1))
    span = traced.tools[0]
    assert span.parent.span_id == parent.get_span_context().span_id
    list(numbers(1))
    assert traced.tools[-1].parent is None


def test_ten_thousand_broken_off_generators(traced, caplog):
    caplog.set_level(logging.ERROR, "opentelemetry.context")
    for _ in range(MANY):
        next(numbers(3))
    assert_all_ended(traced, caplog)


def test_ten_thousand_broken_off_async_generators(traced, caplog):
    caplog.set_level(logging.ERROR, "opentelemetry.context")

    async def main():
        for _ in range(MANY // 100):
            await asyncio.gather(*(anext(numbers_later(3)) for _ in range(100)))
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert_all_ended(traced, caplog)


def test_ten_thousand_async_generators_whose_loop_was_closed_first(traced, caplog):
    caplog.set_level(logging.ERROR, "opentelemetry.context")
    kept = []

    async def main():
        for _ in range(MANY):
            kept.append(numbers_later(3))
            await anext(kept[-1])

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    kept.clear()
    gc.collect()
    assert_all_ended(traced, caplog)


def test_streams_that_are_amid_a_step_when_the_loop_closes_are_ended(traced, caplog):
    async def main():
        streams = [waiting() for _ in range(100)]
        return streams, [asyncio.ensure_future(anext(stream)) for stream in streams]

    @tool
    async def waiting():
        await asyncio.sleep(3600)
        yield 1

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    streams, tasks = loop.run_until_complete(main())
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    del streams, tasks, loop
    gc.collect()
    assert len(traced.spans) == 100
    assert toolspan.stats()["waiting"].in_flight == 0
    assert [r for r in caplog.records if r.name == "opentelemetry.context"] == []


AT_THE_END = """
import asyncio
import toolspan
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

provider = TracerProvider()
exporter = ConsoleSpanExporter(formatter=lambda span: span.name + chr(10))
provider.add_span_processor(BatchSpanProcessor(exporter))
toolspan.instrument(tracer_provider=provider)

@toolspan.tool
def count():
    yield 1

@toolspan.tool
async def stream():
    yield 1

@toolspan.tool
async def wait():
    await asyncio.sleep(3600)

loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda *_: None)
kept = [count(), stream(), loop.create_task(wait())]
next(kept[0])
loop.run_until_complete(anext(kept[1])) if "anext" in dir(__builtins__) else None
loop.run_until_complete(asyncio.sleep(0))
loop.close()
kept.append(kept)
dropped = count()
next(dropped)
del dropped
"""


def test_what_was_put_off_is_ended_before_the_program_ends_and_nothing_is_said():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AT_THE_END],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "execute_tool count" in done.stdout.splitlines()


# -- event loops -----------------------------------------------------------------------------


def _left_open(function, told):
    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, seen: told.append(seen))
        streams = [function() for _ in range(10)]
        for stream in streams:
            await anext(stream)
        return streams

    return asyncio.run(main())


@pytest.mark.parametrize("wrap", [lambda f: f, tool, lambda f: tool(tool(f))])
def test_a_loop_that_ends_closes_what_is_open_in_peace(traced, wrap):
    cleaned, told = [], []

    @wrap
    async def stream():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            cleaned.append(_tool_span_around())

    assert len(_left_open(stream, told)) == 10
    assert told == []
    assert len(cleaned) == 10
    assert all(span.attributes["toolspan.outcome"] == "ok" for span in traced.spans)
    assert {span.context.span_id for span in traced.spans} == set(cleaned) - {0}


@pytest.mark.parametrize("wrap", [lambda f: f, tool])
def test_a_stream_collected_in_a_running_loop_cleans_up_in_peace(traced, wrap):
    cleaned, told = [], []

    @wrap
    async def stream(_cycle=None):
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            cleaned.append(1)

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, seen: told.append(seen))
        await anext(stream())
        cycle = []
        cycle.append(stream(cycle))
        await anext(cycle[0])
        del cycle
        gc.collect()
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert (cleaned, told) == ([1, 1], [])
    assert len(traced.spans) == (2 if wrap is tool else 0)


def test_a_stream_that_is_cancelled_amid_a_step_is_cancelled(traced):
    @tool
    async def waiting():
        yield 1
        await asyncio.sleep(3600)
        yield 2

    async def main():
        stream = waiting()
        await anext(stream)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.__anext__(), 0.01)

    asyncio.run(main())
    assert [span.attributes["toolspan.outcome"] for span in traced.spans] == ["cancelled"]


def test_a_tool_called_while_a_stream_is_read_is_no_child_of_it(traced):
    @tool
    def other():
        return 1

    for _ in numbers(2):
        other()
    assert [span.parent for span in traced.spans] == [None] * 3


def test_a_stream_that_reads_a_stream_is_its_parent(traced):
    @tool
    def outer():
        yield from numbers(2)

    assert list(outer()) == [0, 1]
    first, second = traced.spans
    assert first.name == "execute_tool outer"
    assert second.parent.span_id == first.context.span_id


HOLDING_A_SPAN = """
import asyncio, gc, json, logging
import toolspan
from opentelemetry.sdk.trace import TracerProvider

provider, records = TracerProvider(), []
tracer = provider.get_tracer("host")
handler = logging.Handler()
handler.emit = records.append
logging.getLogger("opentelemetry.context").addHandler(handler)

def numbers():
    with tracer.start_as_current_span("inner"):
        yield from range(3)

async def numbers_later():
    with tracer.start_as_current_span("inner"):
        for number in range(3):
            await asyncio.sleep(0)
            yield number

def collected():
    kept = []
    for _ in range(20):
        kept.append(numbers())
        next(kept[-1])

async def closed_by_the_loop():
    for _ in range(20):
        await anext(numbers_later())
        await asyncio.sleep(0)

async def kept_open(kept):
    for _ in range(20):
        kept.append(numbers_later())
        await anext(kept[-1])

def after_its_loop():
    kept = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(kept_open(kept))
    loop.close()

def said():
    counts = []
    for way in (collected, lambda: asyncio.run(closed_by_the_loop()), after_its_loop):
        way()
        gc.collect()
        len(toolspan.stats())  # ends what was put off
        counts.append(len(records))
        records.clear()
    return counts

without = said()
toolspan.instrument(tracer_provider=provider)
numbers, numbers_later = toolspan.tool(numbers), toolspan.tool(numbers_later)
print(json.dumps([without, said(), toolspan.stats()["numbers_later"].calls]))
"""


def test_bodies_that_hold_a_span_across_a_yield_cause_as_many_records_as_without_us():
    done = subprocess.run(
        [sys.executable, "-c", HOLDING_A_SPAN], capture_output=True, text=True, check=True
    )
    without, with_us, calls = json.loads(done.stdout)
    assert without == with_us
    assert without[1] > 0
    assert calls == 40


def test_an_async_stream_left_as_the_last_thing_before_its_loop_ends_is_broken_off(traced):
    async def main():
        async for _ in numbers_later(3):
            break

    asyncio.run(main())
    gc.collect()
    (span,) = traced.tools
    assert span.attributes["toolspan.outcome"] == "ok"
    assert span.attributes["toolspan.stream.complete"] is False


def test_a_cancellation_inside_an_async_streams_step_is_one(traced):
    @tool
    async def slow():
        yield 1
        await asyncio.sleep(60)
        yield 2

    async def read():
        async for _ in slow():
            pass

    async def main():
        task = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert traced.outcomes == ["cancelled"]
