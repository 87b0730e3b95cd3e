"""Threads, tasks and forked children: nothing lost, nothing counted twice, the right parents."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

import toolspan
from toolspan import registry, tool
from toolspan.hooks import seats

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@tool
def add(a, b=1):
    """Add two numbers."""
    return a + b


@tool
async def fetch(url):
    """Fetch a page."""
    await asyncio.sleep(0.001)
    return url


@tool
def numbers(upto):
    """Count."""
    yield from range(upto)


# -- threads ---------------------------------------------------------------------------------


def test_calls_in_a_pool_belong_where_the_context_says(traced):
    with ThreadPoolExecutor(4) as pool:
        with traced.tracer().start_as_current_span("request") as request:
            inside = [
                pool.submit(contextvars.copy_context().run, add, number) for number in range(20)
            ]
        outside = [pool.submit(add, number) for number in range(20)]
        assert [one.result() for one in inside + outside] == [*range(1, 21)] * 2
    parents = [span.parent and span.parent.span_id for span in traced.tools]
    assert sorted(parents, key=bool) == [None] * 20 + [request.get_span_context().span_id] * 20


def test_a_tool_that_asks_a_pool_is_the_parent_of_what_runs_there(traced):
    @tool
    def spread(count):
        with ThreadPoolExecutor(4) as pool:
            waiting = [
                pool.submit(contextvars.copy_context().run, add, number) for number in range(count)
            ]
            return sum(one.result() for one in waiting)

    assert spread(10) == 55
    (outer,) = [span for span in traced.spans if span.name == "execute_tool spread"]
    inner = [span for span in traced.spans if span.name == "execute_tool add"]
    assert [span.parent.span_id for span in inner] == [outer.context.span_id] * 10


def test_counts_from_many_threads_are_exact(traced):
    def work():
        for number in range(500):
            add(number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert toolspan.stats()["add"].calls == 4_000
    assert toolspan.stats()["add"].in_flight == 0
    assert len(traced.exporter.get_finished_spans()) == 4_000


def test_calls_in_flight_are_seen_from_another_thread(traced):
    release = threading.Event()

    @tool
    def waiting():
        release.wait(30)

    threads = [threading.Thread(target=waiting) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while not toolspan.stats().rows() and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert toolspan.stats()["waiting"].in_flight == 3
    assert toolspan.stats()["waiting"].oldest >= 0.02
    assert toolspan.stats()["waiting"].calls == 0
    release.set()
    for thread in threads:
        thread.join()
    assert toolspan.stats()["waiting"].in_flight == 0
    assert len(traced.spans) == 3


def test_turning_on_and_off_amid_calls_breaks_none(trace_with):
    stop, failures = threading.Event(), []

    def work():
        while not stop.is_set():
            try:
                assert add(1) == 2
                assert asyncio.run(fetch("u")) == "u"
                assert list(numbers(2)) == [0, 1]
            except BaseException as error:
                failures.append(error)
                raise

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        trace_with()
        time.sleep(0.01)
        toolspan.uninstrument()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_call_amid_which_tracing_is_turned_off_still_ends_its_span(trace_with):
    traced = trace_with()
    with toolspan.call("search"):
        toolspan.uninstrument()
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert [span.name for span in traced.spans] == ["execute_tool search"]
    trace_with()
    assert all(row.in_flight == 0 for row in toolspan.stats().rows())


# -- tasks -----------------------------------------------------------------------------------


def one_trace_with_children(traced, count):
    (root,) = [span for span in traced.spans if span.parent is None]
    assert [span.parent.span_id for span in traced.tools] == [root.context.span_id] * count
    assert len({span.context.trace_id for span in traced.spans}) == 1


def test_gathered_calls_are_siblings_in_one_trace(traced):
    async def main():
        with traced.tracer().start_as_current_span("request"):
            return await asyncio.gather(*(fetch(number) for number in range(50)))

    assert asyncio.run(main()) == list(range(50))
    one_trace_with_children(traced, 50)


@pytest.mark.skipif(not hasattr(asyncio, "TaskGroup"), reason="Python 3.10 has no TaskGroup")
def test_a_task_group_with_a_failure_ends_every_span(traced):
    @tool
    async def fail():
        await asyncio.sleep(0.005)
        raise LookupError

    async def main():
        with traced.tracer().start_as_current_span("request"):
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(slow())
                group.create_task(fail())

    @tool
    async def slow():
        await asyncio.sleep(3600)

    with pytest.raises(ExceptionGroup):  # noqa: F821  # Python 3.11 has it
        asyncio.run(main())
    one_trace_with_children(traced, 6)
    assert sorted(traced.outcomes) == ["cancelled"] * 5 + ["error"]


def test_a_thread_from_a_task_belongs_to_it(traced):
    async def main():
        with traced.tracer().start_as_current_span("request"):
            return await asyncio.gather(*(asyncio.to_thread(add, n) for n in range(10)))

    assert asyncio.run(main()) == list(range(1, 11))
    one_trace_with_children(traced, 10)


def test_tasks_that_outlive_the_tool_that_began_them_keep_their_parent(traced):
    @tool
    async def start():
        return asyncio.ensure_future(fetch("later"))

    async def main():
        task = await start()
        return await task

    assert asyncio.run(main()) == "later"
    first, second = traced.spans
    assert second.parent.span_id == first.context.span_id
    assert second.end_time > first.end_time


# -- fork ------------------------------------------------------------------------------------


def in_child(function):
    """What `function` gives in a forked child, as JSON; the child is gone afterwards."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.alarm(30)
            answer = json.dumps(function())
        except BaseException as error:  # noqa: BLE001  # the child ends here
            answer = json.dumps(repr(error))
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(answer)


@needs_fork
@pytest.mark.parametrize("lock", [seats._LOCK, registry.LOCK], ids=["places", "adapters"])
def test_a_child_that_is_forked_while_another_thread_instruments_can_do_so_itself(lock):
    held = threading.Event()

    def hold():
        with lock:
            held.set()
            time.sleep(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    assert in_child(lambda: lock.acquire(timeout=5))
    holder.join()
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(lambda: lock.acquire(timeout=5) and not lock.release()).result()


def counted(name="add"):
    rows = {row.tool: row for row in toolspan.stats().rows()}
    return [rows[name].calls, rows[name].in_flight] if name in rows else [0, 0]


@needs_fork
def test_a_child_starts_at_zero_and_all_together_are_exact(traced):
    for number in range(7):
        add(number)

    def child(calls):
        before = counted()
        for number in range(calls):
            add(number)
        return before, counted()

    told = [in_child(lambda calls=calls: child(calls)) for calls in (1, 2, 3, 4)]
    assert [before for before, _ in told] == [[0, 0]] * 4
    assert [after for _, after in told] == [[1, 0], [2, 0], [3, 0], [4, 0]]
    assert counted() == [7, 0]
    assert sum(after[0] for _, after in told) + counted()[0] == 17
    assert len(traced.spans) == 7


@needs_fork
def test_a_child_forked_inside_a_tool_is_below_it_and_counts_only_its_own(traced):
    @tool
    def forking():
        def child():
            in_flight = counted("forking")
            add(1)
            return [in_flight, counted(), traced.spans[-1].parent.span_id]

        return in_child(child)

    in_flight, own, parent = forking()
    assert (in_flight, own) == ([0, 0], [1, 0])
    (span,) = traced.spans
    assert parent == span.context.span_id
    assert counted("forking") == [1, 0]
    assert counted() == [0, 0]


@needs_fork
def test_what_was_put_off_is_ended_by_the_parent_alone(traced):
    stream = numbers(3)
    next(stream)
    del stream

    def child():
        toolspan.status()
        return [counted("numbers"), len(traced.exporter.get_finished_spans())]

    assert in_child(child) == [[0, 0], 0]
    assert counted("numbers") == [1, 0]
    assert len(traced.spans) == 1


ENDS = {
    "drops it": list.clear,
    "closes it": lambda held: held[0].close(),
    "reads it to its end": lambda held: list(held[0]),
    "breaks it": lambda held: held[0].throw(KeyError()),
}


@needs_fork
@pytest.mark.parametrize("end", ENDS)
def test_a_call_that_was_open_at_the_fork_is_ended_by_the_parent_alone(traced, end):
    held = [numbers(3)]
    next(held[0])

    def child():
        with suppress(KeyError):
            ENDS[end](held)
        gc.collect()
        toolspan.status()
        return [counted("numbers"), len(traced.exporter.get_finished_spans())]

    assert in_child(child) == [[0, 0], 0]
    assert list(held[0]) == [1, 2]
    assert counted("numbers") == [1, 0]
    assert traced.outcomes == ["ok"]


@needs_fork
def test_a_child_that_leaves_what_it_was_forked_in_ends_neither_the_call_nor_its_run(traced):
    reader, writer = os.pipe()
    try:
        with toolspan.run("job", agent="helper"), toolspan.call("forking"):
            child = os.fork()
            if not child:
                raise SystemExit
    except SystemExit:
        seen = [counted("forking"), len(traced.exporter.get_finished_spans())]
        os.write(writer, json.dumps(seen).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert json.load(pipe) == [[0, 0], 0]
    assert os.waitpid(child, 0)[1] == 0
    assert {span.name for span in traced.spans} == {"invoke_agent helper", "execute_tool forking"}


class RecordOnly(Sampler):
    """Spans record and are not exported: the exporter of the tests has a lock of its own."""

    def should_sample(self, *_args, **_options):
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self):
        return "RecordOnly"


@needs_fork
def test_a_child_forked_while_threads_call_tools_does_not_hang(trace_with):
    trace_with(sampler=RecordOnly())
    stop = threading.Event()

    def work():
        while not stop.is_set():
            add(1)
            with toolspan.call("search", id="call_1"):
                pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()

    def child():
        add(1)
        with toolspan.call("search", id="call_1"):
            toolspan.status()
        return counted()

    try:
        assert [in_child(child) for _ in range(10)] == [[1, 0]] * 10
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert counted()[1] == 0


def _in_pool(number):
    return add(number), counted()


@needs_fork
def test_a_pool_of_forked_workers_counts_its_own(traced):
    add(1)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        told = pool.map(_in_pool, range(6), chunksize=3)
    assert [value for value, _ in told] == [1, 2, 3, 4, 5, 6]
    assert max(calls for _, (calls, _) in told) <= 6
    assert all(in_flight == 0 for _, (_, in_flight) in told)
    assert counted() == [1, 0]
    assert len(traced.spans) == 1
