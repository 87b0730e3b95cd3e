"""`on_call`: a listener in the process that can neither block nor break a call."""

from __future__ import annotations

import os
import queue
import threading
from typing import TYPE_CHECKING, Any, Final

from toolspan.containment import contained, say_once
from toolspan.lifecycle import TRACING

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolspan.toolcall import Outcome, ToolCall

_WAITING: Final = 10_000


class Subscription:
    """What `on_call` gives: `stop()` ends it, and so does the end of a `with` block."""

    def __init__(
        self,
        started: Callable[[ToolCall], object] | None,
        finished: Callable[[ToolCall, Outcome, float], object] | None,
    ) -> None:
        #: How many tellings were dropped because the listener was 10,000 behind.
        self.dropped = 0
        self._tell_started = None if started is None else contained(started)
        self._tell_finished = None if finished is None else contained(finished)
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()

    def started(self, call: ToolCall) -> None:
        """The core tells: a call is about to run."""
        if self._tell_started is not None:
            self._post((self._tell_started, call))

    def finished(self, call: ToolCall, outcome: Outcome, duration: int) -> None:
        """The core tells: a call ended after `duration` nanoseconds."""
        if self._tell_finished is not None:
            self._post((self._tell_finished, call, outcome, duration / 1e9))

    def _post(self, telling: Any) -> None:
        if self._process != os.getpid():
            self._restart_in_child()
        if self._queue.qsize() >= _WAITING:
            self.dropped += 1
            say_once("listener", "a listener of toolspan.on_call() is too slow; calls are not told")
            return
        self._queue.put(telling)
        if self._worker is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._worker is None:
                self._worker = threading.Thread(
                    target=self._work, name="toolspan-listener", daemon=True
                )
                self._worker.start()

    def _restart_in_child(self) -> None:
        self._process = os.getpid()
        self._queue = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._worker = None

    def _work(self) -> None:
        while True:
            telling = self._queue.get()
            if isinstance(telling, threading.Event):
                telling.set()
            else:
                telling[0](*telling[1:])

    def wait(self, timeout: float = 2.0) -> bool:
        """Whether everything told so far has reached the listener, within `timeout` seconds."""
        if self._worker is None:
            return True
        reached = threading.Event()
        self._queue.put(reached)
        return reached.wait(timeout)

    def stop(self) -> None:
        """Tell this listener nothing more."""
        TRACING.listeners = tuple(one for one in TRACING.listeners if one is not self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def on_call(
    started: Callable[[ToolCall], object] | None = None,
    finished: Callable[[ToolCall, Outcome, float], object] | None = None,
) -> Subscription:
    """Tell `started(call)` and `finished(call, outcome, seconds)` of every call, in their order.

    They run in a thread of their own: what they raise is contained, and what they take delays
    no call. One that falls 10,000 behind misses calls, and `dropped` says how many.
    """
    subscription = Subscription(started, finished)
    TRACING.listeners = (*TRACING.listeners, subscription)
    return subscription
