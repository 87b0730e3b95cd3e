"""Calls that are told of: they begin and end in events, or their bodies run in another task.

A call is known by its key from its beginning, or from where it was announced, until its end was
told. The stream that told of a call owns it: when the stream is over, no open call is left.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel

from toolspan.containment import contained
from toolspan.hooks import Began
from toolspan.lifecycle.call import LiveCall, begin_call
from toolspan.lifecycle.life import Life
from toolspan.lifecycle.memory import Memory
from toolspan.lifecycle.tracing import LIFE, wanted_context
from toolspan.lifecycle.words import outcome_of_error
from toolspan.toolcall import Outcome

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from toolspan.hooks import Ended, Events, Hook, Invocation
    from toolspan.lifecycle.call import Merged
    from toolspan.toolcall import ToolCall, Word


@dataclass(frozen=True, slots=True)
class Announced:
    """A call that a keyed hook will run, and where it belongs."""

    call: ToolCall
    context: Context


#: Key -> what was announced, or the call, for as long as it lives.
_CALLS: Final[Memory[str, Announced | weakref.ref[LiveCall]]] = Memory(4_096)
#: The calls that one stream may have open, and the nanoseconds for which: the oldest go.
_MOST: Final = 1_024
_LONGEST: Final = 24 * 3_600 * 1_000_000_000


class Watching(Life):
    """From the first to the last thing that a stream of events gives."""

    def __init__(self, word: Events, invocation: Invocation) -> None:
        super().__init__()
        self._word = word
        self._invocation = invocation
        #: What it told of, until its end; None: a hook runs it, or will.
        self._open: dict[str, LiveCall | None] = {}

    @contained
    def pause(self, item: Any = None) -> None:
        """See what the stream gave."""
        for event in self._word.read(self._invocation, item):
            if type(event.key) is not str:
                continue
            if isinstance(event, Began):
                self._began(event)
            else:
                self._told(event)

    def mark(self) -> None:
        """A stream is no place of its own."""

    resume = mark

    def _began(self, event: Began) -> None:
        current = wanted_context()
        if current is None or _CALLS.get(event.key) is not None:
            return
        around = None if event.within is None else call_of(event.within)
        if around is not None and around.context is not None:
            current = around.context
        self._abandon_old()
        live = None if event.hooked else begin_call(event.call, None, current)
        if isinstance(live, LiveCall):
            live.pause()
            self._open[event.key] = live
            _CALLS.put(event.key, weakref.ref(live))
        elif event.hooked:
            self._open[event.key] = None
            _CALLS.put(event.key, Announced(event.call, current))

    def _told(self, event: Ended) -> None:
        known, mine = _CALLS.pop(event.key), self._open.pop(event.key, None)
        live = known() if isinstance(known, weakref.ref) else mine  # many streams forget some
        if isinstance(known, Announced):
            _record(known, event.outcome)
        elif live is None or live.done:
            return
        elif live.word is None:
            _over(live, event)
        elif event.outcome.error is not None:
            live.hear(event.outcome)  # its hook ends it

    def _abandon_old(self) -> None:
        past = time_ns() - _LONGEST
        while self._open:
            key, live = next(iter(self._open.items()))
            if len(self._open) < _MOST and (live is None or live.call.started > past):
                return
            self._lose(key, "abandoned")

    def _lose(self, key: str, word: Word) -> None:
        live = self._open.pop(key, None)
        _CALLS.pop(key)
        if live is not None:
            live.over(Outcome(error=word))

    def outcome_of(self, value: Any) -> Outcome:  # noqa: ARG002  # the interface of a life
        """It gave all that it had."""
        return Outcome()

    def outcome_of_error(self, error: BaseException) -> Outcome:
        """It broke, or somebody stopped it."""
        return outcome_of_error(error, None)

    def finish(self, outcome: Outcome, duration: int) -> None:  # noqa: ARG002  # as above
        """Of what is open nobody will tell any more: it was stopped, or died with what ran it."""
        for key in list(self._open):
            self._lose(key, "abandoned" if outcome.failed else "cancelled")


def _over(live: LiveCall, event: Ended) -> None:
    if event.at:
        live.recorded(event.outcome, max(event.at - live.call.started, 0))
    else:
        live.over(event.outcome)


def _record(known: Announced, outcome: Outcome) -> None:
    """A call that no hook has run was refused; one that was called off before is none."""
    if outcome.error != "cancelled":
        live = begin_call(known.call, None, known.context)
        if live is not None:
            live.over(outcome)


def call_of(key: str) -> LiveCall | None:
    """The open call of that key."""
    known = _CALLS.get(key)
    live = known() if isinstance(known, weakref.ref) else None
    return None if live is None or live.done else live


def begin_keyed(call: ToolCall, hook: Hook, current: Context) -> LiveCall | Merged | None:
    """Begin a call where it was announced; its body finds it by its key."""
    if type(call.id) is not str:
        return begin_call(call, hook, current)
    known = _CALLS.get(call.id)
    if isinstance(known, Announced):
        current, told = known.context, known.call
        call.name, call.agent = told.name, call.agent or told.agent
        call.conversation = call.conversation or told.conversation
    live = begin_call(call, hook, current)
    if isinstance(live, LiveCall):
        live.context = otel.get_current()
        _CALLS.put(call.id, weakref.ref(live))
    return live


class Serving(Life):
    """The body of a call, run in a task of its own."""

    serving = True

    def outcome_of(self, value: Any) -> Outcome:  # noqa: ARG002  # the interface of a life
        """Its call ends elsewhere."""
        return Outcome()

    def outcome_of_error(self, error: BaseException) -> Outcome:  # noqa: ARG002  # as above
        """There too."""
        return Outcome()

    def finish(self, outcome: Outcome, duration: int) -> None:
        """There is no span to end."""


def begin_body(key: str) -> Serving | None:
    """Enter the open call of that key."""
    live = call_of(key)
    if live is None or live.context is None:
        return None
    body = Serving(live, live.scope)
    body.enter(otel.Context({**live.context, LIFE: body}))
    return body
