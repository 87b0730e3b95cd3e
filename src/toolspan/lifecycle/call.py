"""The life of one traced call: whose span it is, how it began, how it ended."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.trace import Link

from toolspan import semconv
from toolspan.containment import contained
from toolspan.content import size_of
from toolspan.hooks import options_of, words_of
from toolspan.lifecycle.life import Life
from toolspan.lifecycle.memory import Memory
from toolspan.lifecycle.propagation import extract
from toolspan.lifecycle.same import same_arguments
from toolspan.lifecycle.tracing import (
    DEFERRED,
    HERE,
    LIFE,
    SPAN,
    TRACING,
    drain,
    wanted_context,
)
from toolspan.lifecycle.words import outcome_of_error
from toolspan.neighbours import (
    SEEN,
    begun_here,
    is_tool_span_of,
    makes_current,
    never_ends,
    note_doubles,
    others_around,
    scope_of,
)
from toolspan.spans import (
    adopt_span,
    error_type,
    open_span,
    write_arguments,
    write_end,
    write_return,
)
from toolspan.toolcall import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span, SpanContext

    from toolspan.hooks import Hook
    from toolspan.lifecycle.run import Scope
    from toolspan.toolcall import ToolCall, Word

#: (call id, tool, conversation or trace) -> the tries seen so far and the last one's span.
_TRIES: Memory[tuple[str, str, object], tuple[int, SpanContext | None]] = Memory(4_096)


class LiveCall(Life):
    """One call between its beginning and its end."""

    #: What an inner function or layer saw of this call's end.
    told: Outcome | None = None
    #: The layers that found this very call below their own door.
    merged: tuple[Hook, ...] = ()
    _key: tuple[str, str, object] | None = None
    _links: tuple[Link, ...] = ()
    #: What further neighbours began for this call, beside the adopted span: it tells the outcome
    #: too, by which the statistics know that the call is counted.
    _doubles: tuple[Span, ...] = ()

    def __init__(
        self, call: ToolCall, word: Hook | None, parent: LiveCall | None, scope: Scope | None
    ) -> None:
        self.call = call
        self.word = word
        self.parent = parent  # from here as in every life: to ask it costs more than all of this
        self.scope = scope
        self.done = False
        self.span = None
        self._token = None
        self.plain = word is None or word.plain
        #: Who is told of the beginning and of the end, also when tracing ends between them.
        self._listeners = TRACING.listeners
        self._clock = perf_counter_ns()

    @property
    def innermost(self) -> LiveCall:
        """This call."""
        return self

    # -- the beginning -----------------------------------------------------------------------

    def begin(self, current: Context) -> None:
        """Enter the call, and adopt or open its span now or when its word says so."""
        call, word = self.call, self.word
        if not call.started:
            call.started = time_ns()
        if call.id is not None:
            self._count_try(current)
        if call.carrier:
            self._link_what_is_ambient(call.carrier, current)
        if word is not None and word.decide and self._is_decided_inside(word, current):
            if TRACING.tracer is None:
                TRACING.bind()  # now, for our processor to see what begins inside
            self.undecided = True
            self.plain = False
            self.enter(current)
        else:
            around: Any = current.get(SPAN)
            if SEEN and (theirs := self._neighbours_span(around)) is not None:
                self.adopt(theirs)
            else:
                self._open(current, around)
            inside = current.copy()  # a plain dict: half as dear as one with ** in it
            inside[LIFE] = self
            inside[SPAN] = self.span or around
            self._token = attach(Context(inside))
            if SEEN:
                self.mark()
        for listener in self._listeners:
            listener.started(call)

    def _is_decided_inside(self, word: Hook, current: Context) -> bool:
        if word.deciding != "beside":
            return True
        around: Any = current.get(SPAN)
        begun = around is not None and self._is_of_this_call(around)
        alone = not SEEN and TRACING.tracer is not None  # at the first call nobody was looked for
        return not alone and not begun

    def _is_of_this_call(self, span: Any) -> bool:
        mine = self.parent is not None and self.parent.span is span
        return not mine and is_tool_span_of(span, self.call.name)

    def _neighbours_span(self, around: Any) -> Span | None:
        """What a neighbour has of this call: the current span, or one that began here."""
        if around is not None and self._is_of_this_call(around):
            return around  # type: ignore[no-any-return]  # a span, or whatever stood in its place
        return begun_here(self.call.name)

    def decide(self) -> None:
        """Adopt the neighbour's span that began inside, or open one; once."""
        if not self.undecided:
            return
        self.undecided = False
        theirs = self._neighbours_span(otel.get_current().get(SPAN)) if SEEN else None
        if self.noticed:
            self.adopt(self.noticed[0])
            self.double(self.noticed[1:])
        elif theirs is not None:
            self.adopt(theirs)
        else:
            current = otel.get_current()
            self._open(current, current.get(SPAN))
        if self.span is None or not makes_current(self.span):
            current = otel.get_current()
            self.enter(Context({**current, LIFE: self, SPAN: self.span or current.get(SPAN)}))

    def adopt(self, span: Span) -> None:
        """Let this call be told on somebody else's span."""
        TRACING.adopted += 1
        self.span = self.call.span = span
        self.plain = False
        self.call.owner = scope_of(span)
        adopt_span(span, self.call, TRACING.settings)
        # Every end is told before the owner ends the span, but one: nobody tells a cancellation.
        span.set_attribute(semconv.OUTCOME, "cancelled")
        for link in self._links:
            span.add_link(link.context)
        self.double(others_around(span, self.call.name))

    def double(self, spans: tuple[Span, ...]) -> None:
        """Further neighbours have spans of this call: they are told how it ends, no more."""
        if spans:
            self.plain = False
            self._doubles += spans
            note_doubles((self.span, *spans) if self.span and self.call.owner else spans)
            self._tell_doubles("cancelled")

    def _tell_doubles(self, word: Word) -> None:
        for span in self._doubles:
            if span.is_recording():
                span.set_attribute(semconv.OUTCOME, word)

    def _open(self, context: Context, around: Any) -> None:
        tracer = TRACING.tracer or TRACING.bind()
        if tracer is None:
            return
        call, settings = self.call, TRACING.settings
        if call.carrier:
            context = extract(call.carrier, context)
            around = context.get(SPAN)
        TRACING.opened += 1
        self.span = call.span = open_span(tracer, call, context, settings, self._links, around)
        if call.family is not None:
            self.plain = False
        if (settings.capture or call.capture) and call.capture is not False:
            write_arguments(self.span, call, settings)
        if self._key is not None:
            _TRIES.put(self._key, (call.attempt, self.span.get_span_context()))

    def _link_what_is_ambient(self, carrier: Mapping[str, str], current: Context) -> None:
        """The parent is the caller in the message; the request that brought it is linked.

        A span that ended is none: a session's task may still have its first request's around it.
        """
        around = trace.get_current_span(current)
        ambient = around.get_span_context()
        caller = trace.get_current_span(extract(carrier, current)).get_span_context()
        if around.is_recording() and caller.is_valid and ambient.trace_id != caller.trace_id:
            self._links = (*self._links, Link(ambient))

    def _count_try(self, current: Context) -> None:
        id_, name = self.call.id, self.call.name
        if type(id_) is not str or type(name) is not str:  # their hash() is the host's
            return
        around = trace.get_current_span(current).get_span_context()
        place = self.call.conversation or (around.trace_id if around.is_valid else None)
        self._key = (id_, name, place)
        earlier = _TRIES.get(self._key)
        if earlier is not None:
            self.plain = False
            self.call.attempt = earlier[0] + 1
            if earlier[1] is not None:
                self._links = (*self._links, Link(earlier[1]))
        _TRIES.put(self._key, (self.call.attempt, None))

    # -- other layers of the same call -------------------------------------------------------

    def takes(self, call: ToolCall, hook: Hook) -> bool:
        """Whether `call`, seen by another layer below, is this very call."""
        known = any(hook is word for one in self.call.functions for word in words_of(one))
        named = known or call.name == self.call.name or self._prefixes(call, hook.prefix)
        asks = self.call.kind == "server" and call.kind == "client"  # another server, in its body
        if self.done or asks or not named or self._is_another(call.id):
            return False
        if hook is self.word or any(hook is one for one in self.merged):
            self.told = None  # the body tries again: how its first try ended is not its own end
            return False
        mine, theirs = self.call.arguments, call.arguments
        given = mine is not None and theirs is not None
        if given and not known and not same_arguments(mine, theirs):
            return False
        self.merge(call, hook)
        return True

    def _is_another(self, id_: object) -> bool:
        """Whether the model asked for that one too: an agent below may have tools of this name."""
        return type(id_) is type(self.call.id) is str and id_ != self.call.id

    def serves(self, call: ToolCall, hook: Hook) -> bool:
        """Whether `call`, seen by a server that runs this call's body, is this very call."""
        if self.done or call.kind != "server" or any(hook is one for one in self.merged):
            return False
        self.merge(call, hook)
        return True

    def merge(self, call: ToolCall, hook: Hook) -> None:
        """Take what another layer of this very call knows, and the span of a neighbour there."""
        TRACING.merged += 1
        self.merged += (hook,)
        self.enrich(call.attributes)
        if SEEN and call.kind == "internal" and not self.undecided:
            around: Any = otel.get_current().get(SPAN)
            if around is not None and around is not self.span and self._is_of_this_call(around):
                self.double((around,))

    def _prefixes(self, call: ToolCall, end: str | None) -> bool:
        """Whether this call's name is that of `call` behind a prefix; without arguments: never."""
        outer = self.call
        if end is None or outer.arguments is None or call.arguments is None:
            return False
        named = type(outer.name) is type(call.name) is str  # a host's own type has its own methods
        return named and outer.name.endswith(end + call.name)

    def enrich(self, attributes: Any) -> None:
        """Add what another layer knows."""
        if attributes and self.span is not None and self.span.is_recording():
            self.span.set_attributes(attributes)

    def hear(self, outcome: Outcome) -> None:
        """An inner layer saw how this call ends; the first that saw an error is right."""
        if self.told is None or (self.told.error is None and not _is_unanswered(outcome)):
            self.told = outcome
            self.plain = False

    def tell(self, outcome: Outcome) -> None:
        """An inner function saw how this call ends, maybe just before its owner ends the span."""
        self.hear(outcome)
        if self.call.owner is not None and not self.undecided:
            outcome = replace(outcome)
            self._settle(outcome)
            outcome.size = size_of(outcome.result)
            self._tell_doubles(outcome.word)
            if self.span is not None and self.span.is_recording():
                write_end(self.span, self.call, outcome, TRACING.settings)

    # -- the end -----------------------------------------------------------------------------

    def outcome_of(self, value: Any) -> Outcome:
        """What the returned value means, by the adapter's reading."""
        word = self.word
        return Outcome(value) if word is None else word.outcome(value)

    def outcome_of_error(self, error: BaseException) -> Outcome:
        """What the exception means, by the adapter's reading first."""
        return outcome_of_error(error, None if self.word is None else self.word.raised)

    def returned(self, value: Any, duration: int) -> None:
        """Write that the call gave `value`, end the span, tell the listeners."""
        call, span = self.call, self.span
        size = size_of(value)
        try:
            try:
                if span is not None:
                    write_return(span, call, value, size, TRACING.settings)
            finally:
                for listener in self._listeners:
                    listener.returned(call, value, size, duration)
        finally:  # at last: it calls the application's processors
            if span is not None:
                span.end(call.started + duration)

    def finish(self, outcome: Outcome, duration: int) -> None:
        """Write the end, end the span if it is ours, tell the listeners."""
        if self.undecided:
            self.undecided = False
            current = otel.get_current()
            self._open(current, current.get(SPAN))
        if self.told is not None or outcome.error is not None:
            self._settle(outcome)
        if outcome.result is not None and outcome.size is None:
            outcome.size = size_of(outcome.result)
        span = self.span
        try:
            try:
                if self._doubles:
                    self._tell_doubles(outcome.word)
                if span is not None and span.is_recording():
                    write_end(span, self.call, outcome, TRACING.settings)
            finally:
                for listener in self._listeners:
                    listener.finished(self.call, outcome, duration)
        finally:
            if span is not None and (self.call.owner is None or never_ends(span)):
                span.end(self.call.started + duration)

    def _settle(self, outcome: Outcome) -> None:
        """Complete the outcome by what was told, and name its error."""
        if self.told is not None:
            _merge(outcome, self.told)
        if outcome.failed and outcome.type is None:
            outcome.type = error_type(outcome)


class Merged:
    """An inner layer of a call that has its span already: it only hands its outcome outward.

    Where its word would decide, what a neighbour begins for it is one more span of the same call.
    """

    __slots__ = ("_around", "_hook", "outer", "undecided")
    serving = False

    def __init__(self, outer: LiveCall, hook: Hook) -> None:
        self.outer = outer
        self._hook = hook
        self.undecided = bool(SEEN and hook.decide and not outer.undecided)
        if self.undecided:
            self._around = HERE.get()
            HERE.set(self)

    @property
    def word(self) -> Hook:
        """What placed it."""
        return self._hook

    @property
    def innermost(self) -> LiveCall:
        """The call of which it is a layer."""
        return self.outer

    @property
    def scope(self) -> Scope | None:
        """What the runs around that call tell."""
        return self.outer.scope

    def notice(self, span: Span) -> None:
        """Whoever has a span for this layer too cannot be stopped; others trace what it does."""
        call = self.outer.call
        if scope_of(span) == call.owner or is_tool_span_of(span, call.name):
            self.outer.double((span,))

    def decide(self) -> None:
        """It was seen what begins for this layer."""
        if self.undecided:
            self.undecided = False
            HERE.set(self._around)

    @contained
    def ended(self, value: Any) -> None:
        """The inner layer returned."""
        self.decide()
        if not self._hook.subclasses:  # else the function that overrides it says more
            self._hand_out(self._hook.outcome(value))

    @contained
    def raised(self, error: BaseException, *, collected: bool = False) -> None:  # noqa: ARG002  # the outer one ends
        """The inner layer raised; the outer one may swallow it, an override make up for it."""
        self.decide()
        if self._hook.subclasses:
            self.outer.told = None
        else:
            self._hand_out(outcome_of_error(error, self._hook.raised))

    def _hand_out(self, outcome: Outcome) -> None:
        if self.outer.call.kind != "server":  # whose answer says it, in the words of the protocol
            self.outer.tell(outcome)

    def over(self, outcome: Outcome, *, collected: bool = False) -> None:
        """The inner layer was dropped; the outer one ends the call."""

    def mark(self) -> None:
        """Nothing was entered."""

    def pause(self, _item: Any = None) -> None:
        """Nor here."""

    resume = mark
    done = True


def begin_call(
    call: ToolCall, hook: Hook | None = None, current: Context | None = None
) -> LiveCall | Merged | None:
    """Begin a call in the current context; None where nobody wants to know."""
    if DEFERRED:
        drain()
    if current is None and (current := wanted_context()) is None:
        return None
    # As `life_around` finds it: of what every call passes, a function more is a hundredth.
    around: Any = HERE.get() if SEEN else None
    if around is None:
        around = current.get(LIFE)
    outer = scope = None
    if around is not None:
        outer, scope = around.innermost, around.scope
        if outer is not None and hook is not None:  # most hooks are neither
            same = hook.inside and outer.takes(call, hook)
            if same or (around.serving and outer.serves(call, hook)):
                return Merged(outer, hook)
    if call.functions:
        _ask_decorators(call)
    if scope is not None:
        scope.inform(call)
    live = LiveCall(call, hook, outer, scope)
    live.begin(current)
    return live


def _ask_decorators(call: ToolCall) -> None:
    """What `@tool` was told of a function that runs below holds for the whole call."""
    for options in map(options_of, call.functions):
        if call.agent is None:
            call.agent = options.get("agent")
        if call.capture is None:
            call.capture = options.get("capture")


def tell_waiting(call: ToolCall, current: Context) -> None:
    """Let a neighbour's span of a call that waits say so: it is nobody's call yet, nor counted."""
    span: Any = current.get(SPAN)
    if span is not None and is_tool_span_of(span, call.name):
        adopt_span(span, call, TRACING.settings)
        for one in (span, *others_around(span)):
            one.set_attribute(semconv.OUTCOME, "interrupted")


def _merge(outcome: Outcome, told: Outcome) -> None:
    """What an inner function saw completes what the outer one returned or raised."""
    if outcome.result is None:
        outcome.result, outcome.structured = told.result, told.structured
    if told.attributes:
        outcome.attributes = {**told.attributes, **(outcome.attributes or {})}
    if _is_unanswered(outcome):
        outcome.error = None
    if told.error is None or outcome.error in ("interrupted", "cancelled"):
        return
    if outcome.exception is None or outcome.exception is told.exception:
        outcome.error = told.error
        if outcome.exception is None:
            outcome.exception = told.exception
        outcome.type = outcome.type or told.type
        outcome.message = outcome.message or told.message


def _is_unanswered(outcome: Outcome) -> bool:
    """Whether all that is known is that nobody answered: what was told is more."""
    return outcome.error == "cancelled" and outcome.exception is None


def current_call() -> LiveCall | None:
    """The call around the current code."""
    around = life_around(otel.get_current())
    return None if around is None else around.innermost


def life_around(current: Context) -> Life | None:
    """The innermost call or run around the current code.

    OpenTelemetry's context knows, save beside a neighbour that put its own in the place of ours.
    """
    life: Life | None = HERE.get() if SEEN else None
    return current.get(LIFE) if life is None else life  # type: ignore[return-value]  # no others
