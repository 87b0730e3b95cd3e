"""The life of one agent run: one INTERNAL span, and what every tool span below it inherits.

Source: OpenTelemetry GenAI conventions, invoke_agent and invoke_workflow spans.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel
from opentelemetry.trace import INVALID_SPAN, Link, SpanKind, Status, StatusCode

from toolspan import semconv
from toolspan.containment import contained, say_once
from toolspan.lifecycle.call import life_around
from toolspan.lifecycle.life import Life
from toolspan.lifecycle.memory import Memory
from toolspan.lifecycle.tracing import LIFE, SPAN, TRACING, drain
from toolspan.lifecycle.words import outcome_of_error
from toolspan.neighbours import SEEN, is_run_span, makes_current, names_no_agent
from toolspan.spans import error_type
from toolspan.toolcall import Outcome, clean

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

    from toolspan.hooks import Run, RunFacts
    from toolspan.toolcall import AttributeValue, ToolCall

#: As many attributes as runs may put on one span; with ours and MCP's they are at most 60.
_MOST: Final = 25
#: What toolspan writes itself, besides `toolspan.*`: no run may say otherwise.
_OURS: Final = frozenset(
    {
        semconv.OPERATION,
        semconv.TOOL_NAME,
        semconv.TOOL_TYPE,
        semconv.TOOL_DESCRIPTION,
        semconv.CALL_ID,
        semconv.CALL_ARGUMENTS,
        semconv.CALL_RESULT,
        semconv.AGENT_NAME,
        semconv.CONVERSATION_ID,
        semconv.WORKFLOW_NAME,
        semconv.ERROR_TYPE,
    }
)
_TEXT: Final = 1_024
_WORD: Final = 1 << 63  # where a span's integers end
#: Conversation -> the span of its last run, for the link of a resumed one.
_LAST: Memory[str, SpanContext] = Memory(1_024)


class Scope:
    """What a run tells the calls below it; a run inside a run adds to it."""

    __slots__ = ("agent", "attributes", "conversation", "nested")

    def __init__(self, facts: RunFacts, outer: Scope | None) -> None:
        inherited = outer.attributes if outer is not None else {}
        self.agent: str | None = facts.agent or (outer.agent if outer is not None else None)
        self.conversation: str | None = facts.conversation or (
            outer.conversation if outer else None
        )
        #: A run around this one has the same conversation: that one is taken up, if any.
        self.nested = outer is not None and outer.conversation == self.conversation
        attributes = {**inherited, **(facts.attributes or {})}
        if len(attributes) > _MOST:
            say_once("most", "run(attributes=...): of more than %d, the first are taken", _MOST)
        self.attributes: dict[str, AttributeValue] = dict(islice(attributes.items(), _MOST))
        if facts.workflow is not None:
            self.attributes[semconv.WORKFLOW_NAME] = clean(facts.workflow)

    def inform(self, call: ToolCall) -> None:
        """Fill in what the call does not know itself."""
        if call.agent is None:
            call.agent = self.agent
        if call.conversation is None:
            call.conversation = self.conversation
        if self.attributes:
            call.attributes = {**self.attributes, **(call.attributes or {})}


@contained
def plain_attributes(given: Any) -> dict[str, AttributeValue]:
    """What a span takes of the attributes that a user gives; one line names what it does not."""
    if not isinstance(given, Mapping):
        say_once("attributes", "run(attributes=...) takes a mapping of names to values")
        return {}
    kept: dict[str, AttributeValue] = {}
    for key, value in given.items():
        fitting = _fitting(value)
        mine = type(key) is not str or not key or key in _OURS or key.startswith("toolspan.")
        if mine or fitting is None:
            say_once(
                "attribute",
                "run(attributes=...): %r is left out; allowed: names that toolspan does not write "
                "itself, with text, bool, float, an int of 64 bits, or a list of one of these",
                clean(key),
            )
        else:
            kept[clean(key)] = fitting
    return kept


def _fitting(value: Any) -> AttributeValue | None:
    kind = type(value)
    if kind is list or kind is tuple:
        items = [None if type(item) in (list, tuple) else _fitting(item) for item in value]
        alike = all(item is not None and type(item) is type(items[0]) for item in items)
        return items if alike else None  # type: ignore[return-value]  # they are of one kind
    if kind is str:
        return clean(value, _TEXT)
    if kind is int:
        return value if -_WORD <= value < _WORD else None
    return value if kind is bool or kind is float else None


class LiveRun(Life):
    """One run of an agent, from its first step to its end."""

    scope: Scope

    def __init__(self, facts: RunFacts, word: Run | None, around: Life | None) -> None:
        scope = Scope(facts, None if around is None else around.scope)
        super().__init__(None if around is None else around.innermost, scope)
        self._facts = facts
        self.word = word

    def decide(self) -> None:
        """Open the run's span, unless a neighbour's began inside: then the calls are below that."""
        if not self.undecided:
            return
        self.undecided = False
        current = otel.get_current()
        if self.word is not None and self.word.manager:  # what it enters may be traced too
            self.noticed = tuple(span for span in self.noticed if is_run_span(span))
        if not self.noticed:
            self.open(current)
        elif not makes_current(self.noticed[0]):
            self.enter(otel.Context({**current, LIFE: self, SPAN: self._inmost(current)}))

    def _inmost(self, current: Context) -> object:
        """The neighbour's span that is current, else its first; Logfire shows a wrapper of it."""
        around: Any = current.get(SPAN)
        known = {one.get_span_context().span_id for one in self.noticed}
        mine = around is not None and around.get_span_context().span_id in known
        return around if mine else self.noticed[0]

    def open(self, context: Context) -> None:
        """Start the run's span and make it current."""
        tracer = TRACING.tracer or TRACING.bind()
        inside: dict[str, object] = {**context, LIFE: self}
        if tracer is not None:
            inside[SPAN] = self.span = tracer.start_span(
                self._name(),
                context,
                SpanKind.INTERNAL,
                self._attributes(),
                self._links(),
                time.time_ns(),
            )
            if self._facts.conversation is not None and not self.scope.nested:
                _LAST.put(self._facts.conversation, self.span.get_span_context())
        self.enter(otel.Context(inside))

    def name_agent(self, span: Span) -> None:
        """Say on a neighbour's span of this run whose it is, where the neighbour cannot."""
        if self._facts.agent is not None and names_no_agent(span):
            span.set_attribute(semconv.AGENT_NAME, clean(self._facts.agent))

    def _name(self) -> str:
        facts = self._facts
        if facts.workflow is not None:
            return f"{semconv.INVOKE_WORKFLOW} {clean(facts.workflow)}"
        return f"{semconv.INVOKE_AGENT} {clean(facts.agent or facts.name)}"

    def _attributes(self) -> dict[str, AttributeValue]:
        workflow = self._facts.workflow is not None
        attributes: dict[str, AttributeValue] = {
            **self.scope.attributes,
            semconv.OPERATION: semconv.INVOKE_WORKFLOW if workflow else semconv.INVOKE_AGENT,
        }
        if self._facts.agent is not None and not workflow:
            attributes[semconv.AGENT_NAME] = clean(self._facts.agent)
        if self.scope.conversation is not None:
            attributes[semconv.CONVERSATION_ID] = self.scope.conversation
        return attributes

    def _links(self) -> list[Link]:
        conversation = self._facts.conversation
        if not self._facts.resumes or conversation is None:
            return []
        earlier = _LAST.get(conversation)
        return [] if earlier is None else [Link(earlier)]

    def outcome_of(self, value: Any) -> Outcome:  # noqa: ARG002  # the interface of a life
        """A run that returned is over; its value is not a tool's result."""
        return Outcome()

    def outcome_of_error(self, error: BaseException) -> Outcome:
        """What ended the run."""
        return outcome_of_error(error, None if self.word is None else self.word.raised)

    def finish(self, outcome: Outcome, duration: int) -> None:  # noqa: ARG002  # a run is not measured
        """End the run's span."""
        if self.span is None:
            return
        try:
            if outcome.failed:
                self.span.set_attribute(semconv.ERROR_TYPE, outcome.type or error_type(outcome))
                self.span.set_status(Status(StatusCode.ERROR))
        finally:
            self.span.end()


def begin_run(facts: RunFacts, word: Run | None = None) -> LiveRun:
    """Enter a run: its facts at once, its span now or when `word` says it is decided."""
    drain()
    current = otel.get_current()
    run = LiveRun(facts, word, life_around(current))
    around: Any = current.get(SPAN, INVALID_SPAN)
    if is_run_span(around):
        run.name_agent(around)
        run.enter(current if SEEN else otel.Context({**current, LIFE: run}))
    elif word is not None and (word.decide or word.manager):
        if TRACING.tracer is None:
            TRACING.bind()  # now, for our processor to see what begins inside
        run.undecided = True
        run.enter(current)
    else:
        run.open(current)
    return run
