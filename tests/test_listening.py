"""`on_call`: a listener hears every call in order, and can neither block nor break one."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
import time

import pytest

import toolspan
from toolspan import on_call, tool


@tool
def add(a, b=1):
    """Add two numbers."""
    return a + b


@tool
def fail():
    """Fail."""
    raise ValueError("secret")


@tool
async def fetch(url):
    """Fetch a page."""
    await asyncio.sleep(0)
    return url


@pytest.fixture
def listening():
    """`on_call`, stopped when the test is over."""
    started = []

    def listen(*args, **kwargs):
        started.append(on_call(*args, **kwargs))
        return started[-1]

    yield listen
    for one in started:
        one.stop()


def test_a_listener_hears_what_began_and_how_it_ended(traced, listening):
    heard = []
    subscription = listening(
        lambda call: heard.append(("started", call.name, call.arguments)),
        lambda call, outcome, seconds: heard.append(
            (call.name, outcome.word, outcome.result, 0 <= seconds < 1)
        ),
    )
    add(1, 2)
    with pytest.raises(ValueError, match="secret"):
        fail()
    toolspan.record("import", started=1_700_000_000, duration=0.5, outcome="denied")
    assert subscription.wait()
    assert heard == [
        ("started", "add", {"a": 1, "b": 2}),
        ("add", "ok", 3, True),
        ("started", "fail", {}),
        ("fail", "error", None, True),
        ("started", "import", None),
        ("import", "denied", None, True),
    ]
    assert subscription.dropped == 0
    assert len(traced.spans) == 3


def test_the_duration_is_in_seconds(traced, listening):
    heard = []
    subscription = listening(finished=lambda _call, _outcome, seconds: heard.append(seconds))
    toolspan.record("import", started=1_700_000_000, duration=2.5)
    with toolspan.call("slow"):
        time.sleep(0.03)
    assert subscription.wait()
    assert heard[0] == 2.5
    assert 0.03 <= heard[1] < 0.5
    assert len(traced.spans) == 2


def test_the_order_is_kept_over_many_calls(traced, listening):
    heard = []
    subscription = listening(
        lambda call: heard.append(call.arguments["a"]),
        lambda call, *_: heard.append(-call.arguments["a"]),
    )
    for number in range(1, 2_001):
        add(number)
    assert subscription.wait(10)
    assert heard == [sign * n for n in range(1, 2_001) for sign in (1, -1)]
    assert len(traced.spans) == 2_000


def test_the_exception_is_the_tools_own(traced, listening):
    heard = []
    subscription = listening(finished=lambda _call, outcome, _: heard.append(outcome))
    with pytest.raises(ValueError, match="secret") as raised:
        fail()
    assert subscription.wait()
    assert heard[0].exception is raised.value
    assert (heard[0].type, heard[0].failed) == ("ValueError", True)
    assert traced.outcomes == ["error"]


def test_a_listener_that_blocks_delays_no_call(traced, listening):
    release = threading.Event()
    subscription = listening(finished=lambda *_: release.wait(30))
    before = time.perf_counter()
    for number in range(100):
        assert add(number) == number + 1
    assert time.perf_counter() - before < 5
    assert not subscription.wait(0.05)
    release.set()
    assert subscription.wait()
    assert len(traced.spans) == 100


def test_a_slow_listener_delays_no_call_and_hears_all(traced, listening):
    heard = []

    def slow(call, *_):
        time.sleep(0.01)
        heard.append(call.arguments["a"])

    subscription = listening(finished=slow)
    before = time.perf_counter()
    for number in range(100):
        add(number)
    assert time.perf_counter() - before < 0.7
    assert subscription.wait(5)
    assert heard == list(range(100))
    assert len(traced.spans) == 100


def test_a_listener_too_far_behind_misses_calls_and_says_how_many(traced, listening, caplog):
    caplog.set_level(logging.WARNING, "toolspan")
    release, heard = threading.Event(), []

    def blocked(call, *_):
        release.wait(30)
        heard.append(call.arguments["a"])

    subscription = listening(finished=blocked)
    for number in range(10_200):
        add(number)
    release.set()
    assert subscription.wait(10)
    assert subscription.dropped + len(heard) == 10_200
    assert 150 <= subscription.dropped <= 200
    assert heard == sorted(heard)
    assert toolspan.stats()["add"].calls == 10_200
    said = [one.getMessage() for one in caplog.records if one.name == "toolspan"]
    assert len(said) == 1
    assert "on_call" in said[0]
    assert len(traced.exporter.get_finished_spans()) == 10_200


def test_a_listener_that_cannot_be_called_gets_one_line_and_is_left_out(traced, listening, caplog):
    caplog.set_level(logging.WARNING, "toolspan")
    heard = []
    subscription = listening(started=7, finished=lambda call, _outcome, _time: heard.append(call))
    listening(finished="print")
    add(1)
    assert subscription.wait()
    assert [call.name for call in heard] == ["add"]
    assert [one.getMessage() for one in caplog.records] == [
        "on_call(started=, finished=) takes functions; another value is left out"
    ]


def raising(error):
    """A listener that raises `error`."""

    def listener(*_):
        raise error

    return listener


@pytest.mark.contains
@pytest.mark.parametrize("wrap", [lambda f: f, functools.partial], ids=["function", "partial"])
def test_a_listener_that_raises_breaks_nothing_and_hears_on(traced, listening, caplog, wrap):
    caplog.set_level(logging.WARNING, "toolspan")
    heard = []

    def broken(call, *_):
        heard.append(call.name)
        raise OSError("secret")

    subscription = listening(wrap(broken), wrap(broken))
    assert [add(1), add(2)] == [2, 3]
    assert subscription.wait()
    assert heard == ["add"] * 4
    said = [one.getMessage() for one in caplog.records if one.name == "toolspan"]
    assert len(said) == 1
    assert "OSError" in said[0]
    assert "secret" not in said[0]
    assert traced.outcomes == ["ok", "ok"]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_a_listener_that_wants_out_breaks_nothing_and_hears_on(
    traced, listening, error, monkeypatch
):
    heard, ended = [], []
    monkeypatch.setattr(threading, "excepthook", ended.append)  # it may come after the next test

    def leaving(call, *_):
        heard.append(call.arguments["a"])
        raise error

    subscription = listening(finished=leaving)
    for number in range(3):
        add(number)
    deadline = time.monotonic() + 5
    while len(heard) < 3 and time.monotonic() < deadline:
        subscription.wait(0.05)
    assert heard == [0, 1, 2]
    assert traced.outcomes == ["ok"] * 3
    assert subscription.dropped == 0
    subscription.stop()
    for thread in threading.enumerate():
        if thread.name == "toolspan-listener":
            thread.join(5)
    assert all(type(one.exc_value) is type(error) for one in ended)


def test_a_listener_that_calls_a_tool_does_not_hear_itself(traced, listening):
    heard = []

    def curious(call, *_):
        heard.append(call.name)
        add(1)

    subscription = listening(finished=curious)
    add(1)
    assert subscription.wait()
    assert heard == ["add"]
    assert len(traced.spans) == 1


def test_several_listeners_hear_alike_and_stop_alone(traced, listening):
    first, second = [], []
    one = listening(finished=lambda call, *_: first.append(call.name))
    two = listening(finished=lambda call, *_: second.append(call.name))
    add(1)
    assert one.wait()
    one.stop()
    one.stop()
    add(1)
    assert two.wait()
    assert (first, second) == (["add"], ["add", "add"])
    assert len(traced.spans) == 2


def test_a_block_ends_the_listening_and_what_was_told_still_arrives(traced):
    heard = []
    with on_call(finished=lambda call, *_: heard.append(call.name)) as subscription:
        add(1)
    add(1)
    assert subscription.wait()
    assert heard == ["add"]
    assert len(traced.spans) == 2


def test_a_stopped_listener_leaves_no_thread(traced):
    def listeners():
        return [one for one in threading.enumerate() if one.name == "toolspan-listener"]

    before = len(listeners())
    for _ in range(20):
        with on_call(finished=lambda *_: None) as subscription:
            add(1)
            assert subscription.wait()
    deadline = time.monotonic() + 5
    while len(listeners()) > before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(listeners()) <= before
    assert len(traced.spans) == 20


def test_a_listener_outlives_turning_off_and_on(trace_with, listening):
    heard = []
    subscription = listening(finished=lambda call, *_: heard.append(call.arguments["a"]))
    add(1)
    trace_with()
    add(2)
    toolspan.uninstrument()
    add(3)
    trace_with()
    add(4)
    assert subscription.wait()
    assert heard == [2, 4]


def test_half_a_listener_is_enough(traced, listening):
    heard = []
    subscription = listening(lambda call: heard.append(call.name))
    nothing = listening()
    add(1)
    assert subscription.wait()
    assert nothing.wait()
    assert heard == ["add"]
    assert len(traced.spans) == 1


def test_listeners_hear_calls_of_all_threads_and_tasks(traced, listening):
    heard = []
    subscription = listening(finished=lambda call, *_: heard.append(call.name))
    threads = [threading.Thread(target=add, args=(1,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def main():
        await asyncio.gather(*(fetch("u") for _ in range(20)))

    asyncio.run(main())
    assert subscription.wait()
    assert sorted(heard) == ["add"] * 20 + ["fetch"] * 20
    assert len(traced.spans) == 40


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_hears_its_own_calls_and_the_parent_its_own(traced, listening):
    heard = []
    subscription = listening(finished=lambda call, *_: heard.append(call.arguments["a"]))
    add(1)
    assert subscription.wait()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        told = b"child failed"
        try:
            quiet = subscription.wait(0.5)
            add(2)
            heard_all = subscription.wait()
            told = f"{quiet} {heard_all} {heard}".encode()
        finally:
            os.write(writer, told)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "True True [1, 2]"
    assert os.waitpid(child, 0)[1] == 0
    add(3)
    assert subscription.wait()
    assert heard == [1, 3]
    assert len(traced.spans) == 2
