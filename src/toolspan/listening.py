"""`on_call`: a listener in the process that can neither block nor break a call."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel

from toolspan.containment import contained, say_once
from toolspan.lifecycle import TRACING, UNTRACED, Listener

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from toolspan.toolcall import Outcome, ToolCall

_WAITING: Final = 10_000


class Subscription(Listener):
    """What `on_call` gives: `stop()` ends it, and so does the end of a `with` block."""

    def __init__(
        self,
        started: Callable[[ToolCall], object] | None,
        finished: Callable[[ToolCall, Outcome, float], object] | None,
    ) -> None:
        #: How many tellings were dropped because the listener was 10,000 behind.
        self.dropped = 0
        self._tell_started = _listener(started)
        self._tell_finished = _listener(finished)
        self._stopped = False
        self._begin()

    def _begin(self) -> None:
        """Nothing told and no thread: at first, and in a forked child."""
        self._process = os.getpid()
        self._lock = threading.RLock()
        from queue import SimpleQueue  # noqa: PLC0415  # few programs listen

        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._worker: threading.Thread | None = None

    @contained
    def started(self, call: ToolCall) -> None:
        """The core tells: a call is about to run."""
        if self._tell_started is not None:
            self._post((self._tell_started, call))

    @contained
    def finished(self, call: ToolCall, outcome: Outcome, duration: int) -> None:
        """The core tells: a call ended after `duration` nanoseconds."""
        if self._tell_finished is not None:
            self._post((self._tell_finished, call, outcome, duration / 1e9))

    def _post(self, telling: tuple[Any, ...]) -> None:
        if self._process != os.getpid():
            self._begin()
        if self._stopped:
            return
        if self._queue.qsize() < _WAITING:
            self._put(telling)
        else:
            self.dropped += 1
            say_once("listener", "a listener of toolspan.on_call() is too slow; calls are not told")

    def _put(self, telling: tuple[Any, ...] | threading.Event) -> None:
        self._queue.put(telling)
        if self._worker is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._worker is None:
                self._worker = threading.Thread(
                    target=self._work, args=(self._queue,), name="toolspan-listener", daemon=True
                )
                self._worker.start()

    def _work(self, waiting: SimpleQueue[Any]) -> None:
        otel.attach(otel.set_value(UNTRACED, value=True))  # no listener hears what it does itself
        try:
            while not (self._stopped and waiting.empty()):
                telling = waiting.get()
                if type(telling) is tuple:
                    _users_listener(*telling)
                else:
                    telling.set()
        finally:  # a listener may end its thread: the next telling begins another
            self._worker = None

    def wait(self, timeout: float = 2.0) -> bool:
        """Whether everything told so far has reached the listener, within `timeout` seconds."""
        if self._process != os.getpid() or (self._worker is None and self._queue.empty()):
            return True
        reached = threading.Event()
        self._put(reached)
        return reached.wait(timeout)

    def stop(self) -> None:
        """Tell this listener nothing more; what was told already still reaches it."""
        TRACING.listeners = tuple(one for one in TRACING.listeners if one is not self)
        self._stopped = True
        if self._worker is not None:
            self._queue.put(threading.Event())  # wakes the thread up, to end

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _listener(given: Any) -> Any:
    """What is to be told; None, and one line, for what cannot be called."""
    if given is None or callable(given):
        return given
    say_once(
        "no listener", "on_call(started=, finished=) takes functions; another value is left out"
    )
    return None


@contained
def _users_listener(listener: Callable[..., object], *told: object) -> None:
    listener(*told)


def on_call(
    started: Callable[[ToolCall], object] | None = None,
    finished: Callable[[ToolCall, Outcome, float], object] | None = None,
) -> Subscription:
    """Tell `started(call)` and `finished(call, outcome, seconds)` of every call, in their order.

    They run in a thread of their own: what they raise is contained, and what they take delays
    no call. One that falls 10,000 behind misses calls, and `dropped` says how many.

    >>> import toolspan
    >>> toolspan.instrument()
    >>> with on_call(finished=lambda call, outcome, seconds: print(call.name, outcome.word)) as on:
    ...     toolspan.record("search", started=1_700_000_000, duration=2.5)
    ...     heard = on.wait()
    search ok
    """
    subscription = Subscription(started, finished)
    TRACING.listeners = (*TRACING.listeners, subscription)
    return subscription
