"""Tool spans that others made: which they are, and what they say.

Source of the marks: the vendors' own spans, measured (docs/statistics.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, get_current_span

from toolspan import semconv
from toolspan.containment import contained
from toolspan.vendors import KINDS, LOGFIRE, OPENINFERENCE, TRACELOOP, is_tool, tool_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

    from toolspan.toolcall import Kind, Word

#: Last part of an `error.type` that says more than `error`.
_WORDS: Final[dict[str, Word]] = {
    "CancelledError": "cancelled",
    "GraphInterrupt": "interrupted",
    "tool_error": "tool_error",
}


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
        said = known.get(semconv.ERROR_TYPE)
        error = said if type(said) is str else "error"
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
