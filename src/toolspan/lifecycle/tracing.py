"""The state of instrumentation in this process: tracer, settings, listeners, deferred ends."""

from __future__ import annotations

import atexit
import os
from collections import deque
from contextvars import ContextVar
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, ProxyTracerProvider, set_span_in_context

from toolspan import semconv
from toolspan.containment import contained, say_once
from toolspan.settings import Settings, sdk_is_disabled
from toolspan.toolcall import Outcome
from toolspan.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer, TracerProvider

    from toolspan.toolcall import ToolCall

#: The key under which the API keeps the current span, learned through its public door.
SPAN: Final[str] = next(iter(set_span_in_context(INVALID_SPAN, otel.Context())))
#: The innermost call or run around the current code.
LIFE: Final = otel.create_key("toolspan-life")
UNTRACED: Final = otel.create_key("toolspan-untraced")
#: The same, while it is undecided and beside neighbours: they may put a context of their own in
#: the place of ours.
HERE: Final[ContextVar[Any]] = ContextVar("toolspan-here", default=None)
_SUPPRESSED: Final = otel._SUPPRESS_INSTRUMENTATION_KEY  # noqa: SLF001  # the API offers no other door


class Listener(Protocol):
    """Whoever is told of every call that passes a hook."""

    def started(self, call: ToolCall) -> None:
        """The call is about to run."""

    def finished(self, call: ToolCall, outcome: Outcome, duration: int) -> None:
        """The call ended after `duration` nanoseconds."""

    def returned(self, call: ToolCall, value: object, size: int | None, duration: int) -> None:
        """The call ended well: nothing is known but its `value`, and the `size` of that."""
        self.finished(call, Outcome(value, size=size), duration)


class Tracing:
    """What every call reads; written by `instrument()` and `uninstrument()` alone."""

    def __init__(self) -> None:
        self.active = False
        self.settings = Settings()
        self.tracer: Tracer | None = None
        self.listeners: tuple[Listener, ...] = ()
        self.provider: TracerProvider | None = None
        #: Spans opened and adopted, layers merged; as exact as `+=` is in threads.
        self.opened = self.adopted = self.merged = 0
        #: By the clock of lives, when this process was forked: what began before, its parent ends.
        self.forked_at = 0
        #: Called once with the provider that the first call finds.
        self.on_provider: Callable[[Any], None] | None = None

    def bind(self) -> Tracer | None:
        """The tracer, as soon as there is a provider; None and one line of advice before."""
        provider = self.provider or trace.get_tracer_provider()
        if isinstance(provider, ProxyTracerProvider):
            if not sdk_is_disabled():
                say_once("no provider", NO_PROVIDER)
            return None
        self.provider = provider
        atexit.unregister(drain)
        atexit.register(drain)  # the last registered runs first: before the provider shuts down
        if self.on_provider is not None:
            self.on_provider(provider)
        self.tracer = provider.get_tracer(semconv.SCOPE, version_of("toolspan"), semconv.SCHEMA_URL)
        return self.tracer


NO_PROVIDER: Final = (
    "toolspan: a tool was called and no tracer provider is set, so calls are counted but give no "
    "spans. Set one, or call toolspan.configure(); for opentelemetry-instrument install "
    "opentelemetry-distro"
)
TRACING: Final = Tracing()
#: Ends that came from the garbage collector, which may hold any lock: done at the next chance.
DEFERRED: Final[deque[Callable[[], None]]] = deque()


def _forked() -> None:
    TRACING.forked_at = perf_counter_ns()
    DEFERRED.clear()


if (_register := getattr(os, "register_at_fork", None)) is not None:
    _register(after_in_child=_forked)


def wanted_context() -> Context | None:
    """The current context, or None where calls are not traced."""
    if not TRACING.active:
        return None
    current = otel.get_current()
    return None if UNTRACED in current or current.get(_SUPPRESSED) else current


@contained
def drain() -> None:
    """End the calls whose end the garbage collector brought."""
    while DEFERRED:
        try:
            end = DEFERRED.popleft()
        except IndexError:  # another thread took the last one
            return
        end()


def undecided() -> Any:
    """The call or run around the current code that may still adopt a neighbour's span."""
    life = HERE.get()
    return life if life is not None and life.undecided else None
