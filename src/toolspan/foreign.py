"""Tool spans that others made: which they are, what they say, and that in the standard's words.

Source of the marks and keys: the vendors' own spans, measured (docs/statistics.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, get_current_span

from toolspan import semconv
from toolspan.containment import contained
from toolspan.content import render, rules_of
from toolspan.toolcall import FAILURES, clean
from toolspan.vendors import KINDS, LOGFIRE, OPENINFERENCE, TRACELOOP, is_tool, tool_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context

    from toolspan.settings import Settings
    from toolspan.toolcall import Kind, Word

#: Last part of an `error.type` that says more than `error`.
_WORDS: Final[dict[str, Word]] = {
    "CancelledError": "cancelled",
    "GraphInterrupt": "interrupted",
    "tool_error": "tool_error",
}
#: What the standard calls it, and who else says it: OpenInference, OpenLLMetry.
_FACTS: Final = {
    semconv.TOOL_DESCRIPTION: ("tool.description",),
    semconv.CALL_ID: ("tool_call.id", "tool.id"),
    semconv.AGENT_NAME: ("agent.name", "traceloop.association.properties.lc_agent_name"),
}
#: The same of content: OpenInference, OpenLLMetry, Pydantic AI, Google ADK.
_CONTENT: Final = {
    semconv.CALL_ARGUMENTS: (
        *("input.value", "tool.parameters", "traceloop.entity.input"),
        *("tool_arguments", "gcp.vertex.agent.tool_call_args"),
    ),
    semconv.CALL_RESULT: (
        *("output.value", "traceloop.entity.output"),
        *("tool_response", "gcp.vertex.agent.tool_response"),
    ),
}
_TRUNCATED: Final = {
    semconv.CALL_ARGUMENTS: semconv.ARGUMENTS_TRUNCATED,
    semconv.CALL_RESULT: semconv.RESULT_TRUNCATED,
}
_TEXT: Final = 1_024  # characters of a description or an id


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """The attributes as a plain dict, to be read only."""
    try:
        # Every span passes here, and the public way costs four times as much.
        return span._attributes._dict  # type: ignore[union-attr, no-any-return]  # noqa: SLF001
    except AttributeError:
        return _public_attributes_of(span) or {}


@contained
def _public_attributes_of(span: ReadableSpan) -> dict[str, Any]:
    attributes: Any = span.attributes
    return attributes.copy()  # type: ignore[no-any-return]  # a proxy of a dict


def marks_of(span: ReadableSpan) -> dict[str, Any] | None:
    """The attributes of a span that may stand for a tool call; None for all others, quickly."""
    known = attributes_of(span)
    if (
        semconv.OPERATION in known
        or OPENINFERENCE in known
        or TRACELOOP in known
        or semconv.MCP_METHOD in known
        or semconv.TOOL_NAME in known
        or LOGFIRE in known
    ):
        return known
    return None


class ForeignCall(NamedTuple):
    """What the ended span of somebody else says of a tool call; nanoseconds."""

    tool: str
    agent: object
    kind: Kind
    word: Word
    error: str | None
    started: int
    duration: int


def read_span(span: ReadableSpan, known: Mapping[str, Any]) -> ForeignCall | None:
    """The call that a span stands for, if it is no span of ours and none that we wrote to."""
    scope = _scope(span)
    if semconv.OUTCOME in known or scope == semconv.SCOPE or not is_tool(span, scope, known):
        return None
    word: Word = "ok"
    error = None
    if span.status.status_code is StatusCode.ERROR:
        error = _error_type(span, known)
        word = _WORDS.get(error.rpartition(".")[2], "error")
    started = span.start_time or 0
    return ForeignCall(
        tool_of(span, scope, known),
        known.get(semconv.AGENT_NAME),
        KINDS.get(span.kind, "internal"),
        word,
        error,
        started,
        (span.end_time or started) - started,
    )


def _error_type(span: ReadableSpan, known: Mapping[str, Any]) -> str:
    """What the span says, or the exception that it holds as an event."""
    held = [event.attributes or {} for event in span.events if event.name == "exception"]
    types = (known.get(semconv.ERROR_TYPE), *(one.get("exception.type") for one in held[-1:]))
    return next((one for one in types if type(one) is str), "error")


class _Translated(ReadableSpan):
    """A copy of an ended span with more attributes; it dropped what the original did."""

    def __init__(self, span: ReadableSpan, attributes: dict[str, Any]) -> None:
        super().__init__(
            span.name,
            span.context,
            span.parent,
            span.resource,
            attributes,
            span.events,
            span.links,
            span.kind,
            None,
            span.status,
            span.start_time,
            span.end_time,
            span.instrumentation_scope,
        )
        self._original = span

    dropped_attributes = property(lambda self: self._original.dropped_attributes)
    dropped_events = property(lambda self: self._original.dropped_events)
    dropped_links = property(lambda self: self._original.dropped_links)


@contained
def translated(span: ReadableSpan, settings: Settings) -> ReadableSpan:
    """A tool span of others with the standard's attributes beside its own; any other as it is.

    Its name and what its owner says stay: whoever looks for them finds them.
    """
    known = marks_of(span)
    call = None if known is None else read_span(span, known)
    if known is None or call is None:
        return span
    attributes = _standard(call, known)
    if settings.capture:
        attributes.update(_content(call, known, settings))
    attributes.update({key: value for key, value in known.items() if value is not None})
    return _Translated(span, attributes)


def _standard(call: ForeignCall, known: Mapping[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        semconv.OPERATION: semconv.EXECUTE_TOOL,
        semconv.TOOL_NAME: clean(call.tool),
        semconv.OUTCOME: call.word,
    }
    if call.kind == "internal":
        attributes[semconv.TOOL_TYPE] = "function"
    if call.word in FAILURES:
        attributes[semconv.ERROR_TYPE] = call.error
    for key, names in _FACTS.items():
        if (said := _first(known, names)) is not None:
            attributes[key] = said[:_TEXT]
    return attributes


def _content(call: ForeignCall, known: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    rules = rules_of(settings)
    attributes: dict[str, Any] = {}
    for key, names in _CONTENT.items():
        if (said := _first(known, names)) is not None:
            attributes[key], cut = render(said, rules.limit, rules.redactor, call.tool)
            if cut:
                attributes[_TRUNCATED[key]] = True
    return attributes


def _first(known: Mapping[str, Any], names: Iterable[str]) -> str | None:
    return next((said for name in names if type(said := known.get(name)) is str), None)


def is_same_call(span: ReadableSpan, context: Context | None) -> bool:
    """Whether a `tools/call` span that starts is the inside of the tool span around it."""
    around = get_current_span(context)
    if semconv.TOOLS_CALL not in span.name or not isinstance(around, ReadableSpan):
        return False
    known, scope = attributes_of(around), _scope(around)
    inner = tool_of(span, _scope(span), attributes_of(span))
    outer = tool_of(around, scope, known)
    before = outer[: len(outer) - len(inner)]
    prefixed = outer.endswith(inner) and not before[-1:].isalnum()
    return is_tool(around, scope, known) and (inner == span.name or prefixed)


def _scope(span: ReadableSpan) -> str:
    scope = span.instrumentation_scope
    return scope.name if scope is not None else ""
