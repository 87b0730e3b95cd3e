"""Tool spans that others made: which they are, and what they say.

Source of the marks: the vendors' own spans, measured (docs/statistics.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from toolspan import semconv
from toolspan.toolcall import Outcome, ToolCall, clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

    from toolspan.toolcall import Kind, Word

_OPENINFERENCE: Final = "openinference.span.kind"
_TRACELOOP: Final = "traceloop.span.kind"
_LOGFIRE: Final = "logfire.msg"
_LOGFIRE_SCOPE: Final = "logfire.openai_agents"
_LOGFIRE_CALL: Final = "Function: "
_ADK_SCOPES: Final = frozenset({"gcp.vertex.agent", "openinference.instrumentation.google_adk"})
#: One of these keys stands on every tool span that is known.
MARKS: Final = frozenset(
    {
        semconv.OPERATION,
        semconv.MCP_METHOD,
        semconv.TOOL_NAME,
        _OPENINFERENCE,
        _TRACELOOP,
        _LOGFIRE,
    }
)
_NAMES: Final = (semconv.TOOL_NAME, "tool.name", "traceloop.entity.name")
_PREFIXES: Final = (f"{semconv.EXECUTE_TOOL} ", f"{semconv.TOOLS_CALL} ", _LOGFIRE_CALL)
#: No tool ran: ADK's summary of parallel calls, OpenLIT's spans named after the model.
_PSEUDO_NAME: Final = f"{semconv.EXECUTE_TOOL} (merged tools)"
_PSEUDO_SCOPE: Final = "openlit.instrumentation.pydantic_ai"
_KINDS: Final[dict[SpanKind, Kind]] = {SpanKind.CLIENT: "client", SpanKind.SERVER: "server"}
#: Last part of an `error.type` that says more than `error`.
_WORDS: Final[dict[str, Word]] = {
    "CancelledError": "cancelled",
    "GraphInterrupt": "interrupted",
    "tool_error": "tool_error",
}


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """The attributes as one plain dict: their own mapping looks up ten times slower."""
    attributes: Any = span.attributes
    return attributes.copy()  # type: ignore[no-any-return]  # a proxy of a dict


def read_span(span: ReadableSpan, known: Mapping[str, Any]) -> tuple[ToolCall, Outcome, int] | None:
    """The call that an ended span of somebody else stands for, and its nanoseconds."""
    if semconv.OUTCOME in known or not _is_tool(span, known):
        return None
    started = span.start_time or 0
    call = ToolCall(
        _tool(span, known),
        agent=known.get(semconv.AGENT_NAME),
        kind=_KINDS.get(span.kind, "internal"),
        started=started,
    )
    return call, _outcome(span, known), (span.end_time or started) - started


def is_same_call(span: ReadableSpan, context: Context | None) -> bool:
    """Whether a `tools/call` span that starts is the inside of the tool span around it."""
    around = get_current_span(context)
    if semconv.TOOLS_CALL not in span.name or not isinstance(around, ReadableSpan):
        return False
    known = attributes_of(around)
    inner = attributes_of(span).get(semconv.TOOL_NAME, "")
    return _is_tool(around, known) and _tool(around, known).endswith(clean(inner))


def _is_tool(span: ReadableSpan, known: Mapping[str, Any]) -> bool:
    scope = _scope(span)
    if span.name == _PSEUDO_NAME or scope.startswith(_PSEUDO_SCOPE):
        return False
    return (
        known.get(semconv.OPERATION) == semconv.EXECUTE_TOOL
        or known.get(_OPENINFERENCE) == "TOOL"
        or known.get(_TRACELOOP) == "tool"
        or (known.get(semconv.MCP_METHOD) == semconv.TOOLS_CALL and span.kind in _KINDS)
        or (scope in _ADK_SCOPES and span.name.startswith(_PREFIXES))
        or (scope == _LOGFIRE_SCOPE and clean(known.get(_LOGFIRE)).startswith(_LOGFIRE_CALL))
    )


def _tool(span: ReadableSpan, known: Mapping[str, Any]) -> str:
    for key in _NAMES:
        if type(name := known.get(key)) is str:
            return clean(name)
    name = span.name
    if _scope(span) == _LOGFIRE_SCOPE:
        name = clean(known.get(_LOGFIRE))
    return clean(next((name[len(p) :] for p in _PREFIXES if name.startswith(p)), name))


def _scope(span: ReadableSpan) -> str:
    return span.instrumentation_scope.name if span.instrumentation_scope is not None else ""


def _outcome(span: ReadableSpan, known: Mapping[str, Any]) -> Outcome:
    if span.status.status_code is not StatusCode.ERROR:
        return Outcome()
    said = known.get(semconv.ERROR_TYPE)
    kind = said if type(said) is str else None
    return Outcome(error=_WORDS.get((kind or "").rpartition(".")[2], "error"), type=kind)
