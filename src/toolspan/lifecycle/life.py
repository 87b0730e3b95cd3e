"""What a traced call and a traced run share: their place in the current context, and their end."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel

from toolspan.containment import contained, contained_hot
from toolspan.lifecycle.tracing import DEFERRED, HERE, TRACING
from toolspan.neighbours import SEEN
from toolspan.spans import hints
from toolspan.toolcall import Outcome

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from toolspan.lifecycle.call import LiveCall
    from toolspan.lifecycle.run import Scope


class Life:
    """From open to close: attached while its code runs, detached across every yield.

    Invariant: what `enter` or `resume` attached is detached in the same context, or not at all.
    """

    # What most lives never change stands on the class: beginning one is hot.
    undecided = False
    #: Whether a server that is called from here is the call around it, run for it in this process.
    serving = False
    noticed: tuple[Span, ...] = ()
    context: Context | None = None
    _here: Token[Any] | None = None

    def __init__(self, parent: LiveCall | None = None, scope: Scope | None = None) -> None:
        #: The call around this life, and what the runs around it tell the calls inside.
        self.parent = parent
        self.scope = scope
        self.done = False
        #: Whether what the code returns is all that there is to tell of its end.
        self.plain = False
        self.span: Span | None = None
        self._token: Any = None
        self._clock = perf_counter_ns()

    @property
    def innermost(self) -> LiveCall | None:
        """The call that code inside this life is in."""
        return self.parent

    def enter(self, context: Context) -> None:
        """Make `context` current until `_leave` or `pause`."""
        token = otel.attach(context)
        if self._token is None:
            self._token = token
            if SEEN or self.undecided:
                self.mark()

    def mark(self) -> None:
        """Remember where this is: a coroutine may be closed elsewhere, and a neighbour enter."""
        if self._here is None:
            self._here = HERE.set(self)

    def _leave(self) -> None:
        token, self._token = self._token, None
        if token is not None and (self._here is None or self._is_here()):
            otel.detach(token)

    def _is_here(self) -> bool:
        """Whether this is the context that was entered; elsewhere there is nothing to restore."""
        here, self._here = self._here, None
        try:
            HERE.reset(here)  # type: ignore[arg-type]  # asked only where it was marked
        except (ValueError, RuntimeError):
            return False
        return True

    @contained
    def pause(self, _item: Any = None) -> None:
        """Give a stream's consumer its own context back; keep the body's for its next step."""
        self.context = otel.get_current()
        self._leave()

    @contained
    def resume(self) -> None:
        """Make the body's context current for one more step."""
        if self.context is not None:
            self.enter(self.context)

    def notice(self, span: Span) -> None:
        """A neighbour's span began inside, before it was decided whose call this is."""
        self.noticed = (*self.noticed, span)

    @contained_hot
    def ended(self, value: Any) -> None:
        """The code returned `value`."""
        duration = perf_counter_ns() - self._clock
        try:
            token, self._token = self._token, None  # as in `_leave`, for every call passes here
            if token is not None and (self._here is None or self._is_here()):
                otel.detach(token)
        finally:
            if not self.done:
                self.done = True
                if self._clock <= TRACING.forked_at:
                    pass  # its parent ends it
                elif self.plain and (type(value) is not dict or not hints(value)):
                    self.returned(value, duration)
                else:
                    self._read(value, duration)

    def _read(self, value: Any, duration: int) -> None:
        outcome = None
        try:
            outcome = self.outcome_of(value)
        finally:
            self.finish(outcome or Outcome(), duration)

    @contained
    def raised(self, error: BaseException, *, collected: bool = False) -> None:
        """The code raised `error`; a GeneratorExit may be the garbage collector's."""
        duration = perf_counter_ns() - self._clock
        outcome = Outcome(error="error", exception=error)
        try:
            self._leave()
            outcome = self.outcome_of_error(error)
        finally:
            self._end(outcome, duration, later=collected or type(error) is GeneratorExit)

    @contained
    def over(self, outcome: Outcome, *, collected: bool = False) -> None:
        """The code is over and its outcome known; the collector may hold any lock."""
        duration = perf_counter_ns() - self._clock
        try:
            self._leave()
        finally:
            self._end(outcome, duration, later=collected)

    @contained
    def recorded(self, outcome: Outcome, duration: int) -> None:
        """The code was over before this life began; `duration` in nanoseconds."""
        try:
            self._leave()
        finally:
            self._finish_once(outcome, duration)

    def _end(self, outcome: Outcome, duration: int, *, later: bool) -> None:
        if later:
            DEFERRED.append(lambda: self._finish_once(outcome, duration))
        else:
            self._finish_once(outcome, duration)

    def _finish_once(self, outcome: Outcome, duration: int) -> None:
        if not self.done:
            self.done = True
            if self._clock > TRACING.forked_at:
                self.finish(outcome, duration)

    def decide(self) -> None:
        """Adopt what was noticed, or open a span of our own."""
        raise NotImplementedError

    def returned(self, value: Any, duration: int) -> None:
        """The same as `finish`, where the life is plain."""
        raise NotImplementedError

    def finish(self, outcome: Outcome, duration: int) -> None:
        """Close the span and tell everybody; called once."""
        raise NotImplementedError

    def outcome_of(self, value: Any) -> Outcome:
        """What the value means that the code returned."""
        raise NotImplementedError

    def outcome_of_error(self, error: BaseException) -> Outcome:
        """What the exception means that the code raised."""
        raise NotImplementedError
