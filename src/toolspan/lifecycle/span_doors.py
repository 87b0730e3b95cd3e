"""The spans and context managers that a framework's own telemetry is handed instead of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import (
    INVALID_SPAN,
    INVALID_SPAN_CONTEXT,
    Span,
    Status,
    StatusCode,
    get_current_span,
    use_span,
)

from toolspan import semconv
from toolspan.containment import contained
from toolspan.lifecycle.tracing import TRACING
from toolspan.toolcall import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.trace import SpanContext

    from toolspan.lifecycle.call import LiveCall


class _Silent(Span):
    """A span that takes attributes and neither texts nor an end."""

    def end(self, end_time: int | None = None) -> None:
        """Nothing: whoever opened the real one ends it."""

    def add_event(self, *_: Any, **__: Any) -> None:
        """Nothing: an event's attributes may be texts."""

    def record_exception(self, *_: Any, **__: Any) -> None:
        """Nothing: its message and stack are texts."""

    def update_name(self, name: str) -> None:
        """Nothing: the name is ours."""

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Take each attribute by itself."""
        for key, value in attributes.items():
            self.set_attribute(key, value)


class Lent(_Silent):
    """The framework's own span, without the texts while content is off; its status waits.

    A framework may call a cancellation an error: at the end the outcome says which it was.
    """

    def __init__(self, real: Span, texts: tuple[str, ...]) -> None:
        self._real = real
        self._texts = texts
        self.loud = TRACING.settings.capture
        self._status: Status | None = None

    def get_span_context(self) -> SpanContext:
        """The real span's."""
        return self._real.get_span_context()

    def is_recording(self) -> bool:
        """As the real span."""
        return self._real.is_recording()

    def __getattr__(self, name: str) -> Any:
        """What else the real one shows: its attributes, its times."""
        return getattr(self._real, name)

    def add_link(self, *args: Any, **kwargs: Any) -> None:
        """Hand it on."""
        self._real.add_link(*args, **kwargs)

    def add_event(self, *args: Any, **kwargs: Any) -> None:
        """Hand it on where content may leave."""
        if self.loud:
            self._real.add_event(*args, **kwargs)

    def record_exception(self, *args: Any, **kwargs: Any) -> None:
        """Hand it on where content may leave."""
        if self.loud:
            self._real.record_exception(*args, **kwargs)

    def set_attribute(self, key: str, value: Any) -> None:
        """Hand it on, unless it is known to be a text."""
        if self.loud or key not in self._texts:
            self._real.set_attribute(key, value)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Keep it; its description is a text."""
        given = status if isinstance(status, Status) else Status(status, description)
        self._status = given if self.loud else Status(given.status_code)

    def settle(self) -> None:
        """Say the status that was kept."""
        if self._status is not None:
            self._real.set_status(self._status)


class Echo(_Silent):
    """An inert span whose attributes go to the call that is already ours."""

    def __init__(self, live: LiveCall, texts: tuple[str, ...]) -> None:
        self._live = live
        self._silent = (semconv.ERROR_TYPE, *texts)

    def get_span_context(self) -> SpanContext:
        """Of no span at all."""
        return INVALID_SPAN_CONTEXT

    def is_recording(self) -> bool:
        """It takes attributes."""
        return True

    def set_attribute(self, key: str, value: Any) -> None:
        """Give it to our span, but what we say there ourselves: texts, and the error's name."""
        if key not in self._silent:
            _enrich(self._live, {key: value})

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Nothing: the outcome says it."""


@contained
def _enrich(live: LiveCall, attributes: dict[str, Any]) -> None:
    live.enrich(attributes)


class Muted:
    """Stands for the framework's context manager and makes nothing current."""

    def __init__(self, live: LiveCall | None, texts: tuple[str, ...]) -> None:
        self._span = INVALID_SPAN if live is None else Echo(live, texts)

    def __enter__(self) -> Span:
        return self._span

    def __exit__(self, *_: object) -> None:
        return None

    def current(self) -> AbstractContextManager[Span]:
        """Make it current after all, for a function that writes on whatever is."""
        return use_span(self._span, record_exception=False, set_status_on_exception=False)


class Adopting:
    """The framework's context manager, whose span the undecided call adopts.

    While content is off it hears of no exception, whose texts it would write: it leaves as after a
    success, ours says what happened, and the exception goes its way as it went through it before.
    """

    def __init__(self, manager: Any, life: Any, texts: tuple[str, ...]) -> None:
        self._manager = manager
        self._life = life
        self._texts = texts
        self._lent: Lent | None = None

    def __enter__(self) -> Any:
        around = get_current_span()
        span = self._manager.__enter__()
        self._lent = _adopted(self._life, span, around, self._texts)
        return self._lent or span

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> Any:
        _told(self._life, self._lent, error)
        if self._lent is None or self._lent.loud:
            return self._manager.__exit__(kind, error, trace)
        self._manager.__exit__(None, None, None)
        return None


@contained
def _adopted(life: Any, span: Span, around: Span, texts: tuple[str, ...]) -> Lent:
    if _is_somebodys(span, around):
        life.noticed = (span, *life.noticed)
    life.decide()
    return Lent(span, texts)


def _is_somebodys(span: Span, around: Span) -> bool:
    """Whether `span` was made now: a tracer without provider gives the caller's back."""
    context = span.get_span_context()
    same = context.span_id == around.get_span_context().span_id
    return context.is_valid and not context.is_remote and not same


@contained
def _told(life: Any, lent: Lent | None, error: BaseException | None) -> None:
    outcome = (life.told or Outcome()) if error is None else life.outcome_of_error(error)
    if lent is not None and (error is None or outcome.failed):
        lent.settle()
    life.tell(outcome)
