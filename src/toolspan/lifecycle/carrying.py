"""What an outer function knows of the calls below it waits for them, in the context.

It is a life without a span, whose scope tells each call once what it does not know itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel

from toolspan.hooks import RunFacts
from toolspan.lifecycle.call import begin_call, current_call, life_around
from toolspan.lifecycle.life import Life
from toolspan.lifecycle.run import Scope
from toolspan.lifecycle.same import same_arguments
from toolspan.lifecycle.tracing import LIFE
from toolspan.toolcall import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context

    from toolspan.toolcall import ToolCall


class Expected(Scope):
    """The calls that are to come, beside what the run around them tells."""

    __slots__ = ("_around", "_began", "_calls", "_unrun")

    def __init__(self, calls: Iterable[ToolCall], outer: Scope | None) -> None:
        super().__init__(RunFacts(""), outer)
        self._around = current_call()
        self._calls = dict(enumerate(calls))
        self._unrun = tuple(self._calls.values())
        self._began: set[str] = set()

    def inform(self, call: ToolCall) -> None:
        """Fill in what was known of this call, then what the run knows."""
        known = self._take(call)
        if known is not None:
            _complete(call, known)
        if type(call.id) is str:
            self._began.add(call.id)
        super().inform(call)

    def unrun(self) -> list[ToolCall]:
        """The calls that did not begin; of one without an id nobody knows."""
        known = [call for call in self._unrun if type(call.id) is str]
        return [call for call in known if call.id not in self._began]

    def learn(self, calls: Iterable[ToolCall]) -> None:
        """Know more of the calls that are to come."""
        for call in calls:
            for known in list(self._calls.values()):
                if _alike(known, call):
                    _complete(known, call)

    def _take(self, call: ToolCall) -> ToolCall | None:
        if current_call() is not self._around:  # a tool that calls another: nobody expected that
            return None
        for key, known in list(self._calls.items()):
            # Calls run in parallel: whoever takes one first has it.
            if _alike(known, call):
                taken = self._calls.pop(key, None)
                if taken is not None:
                    return taken
        return None


def _alike(known: ToolCall, call: ToolCall) -> bool:
    """Whether name and arguments are the same, where both have arguments."""
    if type(known.name) is not str or type(call.name) is not str or known.name != call.name:
        return False
    given = known.arguments is not None and call.arguments is not None
    return not given or same_arguments(known.arguments, call.arguments)


def _complete(call: ToolCall, known: ToolCall) -> None:
    call.id = known.id if call.id is None else call.id
    call.agent = known.agent if call.agent is None else call.agent
    call.conversation = known.conversation if call.conversation is None else call.conversation


class Carrying(Life):
    """From the first to the last step of the function that knows."""

    #: What it means that the function answered and a call did not begin.
    meaning: Callable[[Any], Outcome] | None = None
    _answered = False

    def outcome_of(self, value: Any) -> Outcome:
        """Nobody is told how it ended, save where that is how a call ended that never ran."""
        self._answered = self.meaning is not None
        return Outcome() if self.meaning is None else self.meaning(value)

    def outcome_of_error(self, error: BaseException) -> Outcome:  # noqa: ARG002  # the interface of a life
        """Nor with what error."""
        return Outcome()

    def finish(self, outcome: Outcome, duration: int) -> None:  # noqa: ARG002  # as above
        """There is no span to end; calls that it did not let run have theirs."""
        unrun = self.scope.unrun() if self._answered and type(self.scope) is Expected else ()
        for live in map(begin_call, unrun):
            if live is not None:
                live.over(replace(outcome))


def begin_carrying(
    calls: Iterable[ToolCall],
    current: Context,
    unrun: Callable[[Any], Outcome] | None = None,
) -> Carrying:
    """Let `calls` be known to what is called from here."""
    around = life_around(current)
    scope = Expected(calls, None if around is None else around.scope)
    carrying = Carrying(None if around is None else around.innermost, scope)
    carrying.meaning = unrun
    carrying.enter(otel.Context({**current, LIFE: carrying}))
    return carrying


def learn(calls: Iterable[ToolCall]) -> None:
    """Let more be known of the calls that the function around has announced."""
    around = life_around(otel.get_current())
    if around is not None and type(around.scope) is Expected:
        around.scope.learn(calls)
