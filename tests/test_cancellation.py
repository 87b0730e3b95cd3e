"""Cancelled, timed out, interrupted, killed: one ended span, the right word, and it goes through."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import warnings

import pytest
from opentelemetry import trace

import toolspan
from toolspan import tool

MANY = 10_000


@tool
async def sleep(seconds):
    """Sleep."""
    await asyncio.sleep(seconds)
    return "awake"


async def cancelled_after_a_step(awaitable):
    """Start, let it run to its first await, cancel, and see that the cancellation arrives."""
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def words(traced):
    return [span.attributes["toolspan.outcome"] for span in traced.tools]


def test_a_cancelled_tool_is_cancelled_and_no_error(traced):
    asyncio.run(cancelled_after_a_step(sleep(3600)))
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == "cancelled"
    assert span.status.status_code is trace.StatusCode.UNSET
    assert "error.type" not in span.attributes
    assert toolspan.stats()["sleep"].outcomes == {"cancelled": 1}
    assert toolspan.stats()["sleep"].failures == 0


def test_a_timeout_around_the_tool_is_a_cancellation(traced):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(sleep(3600), 0.01)

    asyncio.run(main())
    assert words(traced) == ["cancelled"]


def test_a_timeout_out_of_the_body_is_an_error(traced):
    @tool
    async def inner_timeout():
        await asyncio.wait_for(asyncio.sleep(3600), 0.01)

    @tool
    def plain_timeout():
        raise TimeoutError("too slow")

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(inner_timeout())
    with pytest.raises(TimeoutError):
        plain_timeout()
    assert words(traced) == ["error", "error"]
    name = "asyncio.exceptions.TimeoutError" if sys.version_info < (3, 11) else "TimeoutError"
    assert [s.attributes["error.type"] for s in traced.spans] == [name, "TimeoutError"]


def test_a_tool_that_swallows_its_cancellation_is_ok(traced):
    @tool
    async def stubborn():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "finished all the same"

    async def main():
        task = asyncio.ensure_future(stubborn())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(main()) == "finished all the same"
    assert words(traced) == ["ok"]


def test_a_task_cancelled_before_its_first_step_ran_nothing(traced):
    async def main():
        task = asyncio.ensure_future(sleep(3600))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        gc.collect()
    assert traced.spans == []


BASE_ERRORS = [
    (KeyboardInterrupt("stop"), "cancelled"),
    (asyncio.CancelledError("stop"), "cancelled"),
    (GeneratorExit("stop"), "cancelled"),
    (SystemExit(3), "error"),
    (BaseException("odd"), "error"),
    (StopIteration("value"), "error"),
    (MemoryError(), "error"),
    (RecursionError(), "error"),
]


@pytest.mark.parametrize(("error", "word"), BASE_ERRORS)
def test_what_ends_a_function_passes_through_and_is_named(traced, error, word):
    @tool
    def ending():
        raise error

    with pytest.raises(type(error)) as raised:
        ending()
    assert raised.value is error
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == word
    named = type(error).__name__ if word == "error" else None
    assert span.attributes.get("error.type") == named
    failed = span.status.status_code is trace.StatusCode.ERROR
    assert failed is (word == "error")


@pytest.mark.parametrize(("error", "word"), BASE_ERRORS)
def test_what_ends_an_async_function_passes_through_and_is_named(traced, error, word):
    @tool
    async def ending():
        await asyncio.sleep(0)
        raise error

    step = ending()
    step.send(None)
    expected = RuntimeError if isinstance(error, StopIteration) else type(error)
    with pytest.raises(expected) as raised:
        step.send(None)
    if expected is type(error):
        assert raised.value is error
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == word


def test_a_keyboard_interrupt_amid_a_running_loop_passes_through(traced):
    @tool
    async def interrupted():
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interrupted())
    assert words(traced) == ["cancelled"]


@pytest.mark.parametrize("block", ["with", "async with"])
def test_a_cancelled_block_is_cancelled(traced, block):
    async def body():
        if block == "with":
            with toolspan.call("block"):
                await asyncio.sleep(3600)
        async with toolspan.call("block"):
            await asyncio.sleep(3600)

    asyncio.run(cancelled_after_a_step(body()))
    assert words(traced) == ["cancelled"]


def test_trios_cancellation_is_known_by_its_type(traced, monkeypatch):
    import types

    module = types.ModuleType("trio")
    module.Cancelled = type("Cancelled", (BaseException,), {})
    monkeypatch.setitem(sys.modules, "trio", module)

    @tool
    def cancelled():
        raise module.Cancelled

    with pytest.raises(module.Cancelled):
        cancelled()
    assert words(traced) == ["cancelled"]


def test_cancelling_the_run_cancels_the_tools_below_it(traced):
    async def body():
        async with toolspan.run("work"):
            await asyncio.gather(sleep(3600), sleep(3600))

    async def main():
        task = asyncio.ensure_future(body())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert words(traced) == ["cancelled", "cancelled"]
    run = traced.named("invoke_agent work")
    assert run.status.status_code is trace.StatusCode.UNSET
    assert {span.parent.span_id for span in traced.tools} == {run.context.span_id}


# -- ten thousand ----------------------------------------------------------------------------


def assert_all_ended(traced, caplog):
    toolspan.stats().rows()
    spans = traced.exporter.get_finished_spans()
    assert len(spans) == MANY
    assert {span.attributes["toolspan.outcome"] for span in spans} == {"cancelled"}
    assert {span.parent for span in spans} == {None}
    assert (toolspan.stats()["sleep"].calls, toolspan.stats()["sleep"].in_flight) == (MANY, 0)
    assert [r for r in caplog.records if r.name == "opentelemetry.context"] == []
    traced.exporter.clear()
    with traced.tracer().start_as_current_span("parent") as parent:
        asyncio.run(sleep(0))
    (span,) = traced.tools
    assert span.parent.span_id == parent.get_span_context().span_id


def test_ten_thousand_cancellations(traced, caplog):
    caplog.set_level(logging.ERROR, "opentelemetry.context")

    async def main():
        for _ in range(MANY // 500):
            tasks = [asyncio.ensure_future(sleep(3600)) for _ in range(500)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(result) for result in results} == {asyncio.CancelledError}

    asyncio.run(main())
    assert_all_ended(traced, caplog)


def test_ten_thousand_timeouts_around_tools(traced, caplog):
    caplog.set_level(logging.ERROR, "opentelemetry.context")

    async def impatient():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(sleep(3600), 0.001)

    async def main():
        for _ in range(MANY // 500):
            await asyncio.gather(*(impatient() for _ in range(500)))

    asyncio.run(main())
    assert_all_ended(traced, caplog)


def test_ten_thousand_coroutines_whose_loop_was_closed_first(traced, caplog):
    caplog.set_level(logging.ERROR, "opentelemetry.context")
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    tasks = [loop.create_task(sleep(3600)) for _ in range(MANY)]
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    del tasks, loop
    gc.collect()
    assert_all_ended(traced, caplog)


@pytest.mark.parametrize("block", [toolspan.call, toolspan.run, lambda _: toolspan.untraced()])
def test_blocks_whose_loop_was_closed_first_say_nothing(traced, caplog, block):
    caplog.set_level(logging.ERROR, "opentelemetry.context")

    async def body():
        with block("block"):
            await asyncio.sleep(3600)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    tasks = [loop.create_task(body()) for _ in range(10)]
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    del tasks, loop
    gc.collect()
    assert len(traced.spans) in (0, 10)
    assert all(span.end_time for span in traced.spans)
    assert [r for r in caplog.records if r.name == "opentelemetry.context"] == []
    sleep_ = asyncio.run(sleep(0))
    assert sleep_ == "awake"
    assert traced.tools[-1].parent is None
