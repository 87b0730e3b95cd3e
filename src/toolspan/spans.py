"""ToolCall and Outcome -> attributes of an `execute_tool` span; the only writer of attributes.

Source: OpenTelemetry GenAI conventions (execute_tool, invoke_agent) and MCP conventions
(CLIENT and SERVER spans); what they lack stands under `toolspan.*` (docs/attributes.md).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.trace import SpanKind, Status, StatusCode

from toolspan import semconv
from toolspan.content import Redactor, fingerprint, render, size_of
from toolspan.toolcall import clean, type_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, Tracer

    from toolspan.settings import Settings
    from toolspan.toolcall import AttributeValue, Kind, Outcome, ToolCall

DESCRIPTION_LIMIT: Final = 1_024
_KINDS: Final = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
}
_ERROR: Final = StatusCode.ERROR


class Known(NamedTuple):
    """What the spans of one tool have in common."""

    span_name: str
    kind: SpanKind
    attributes: dict[str, AttributeValue]


def open_span(
    tracer: Tracer,
    call: ToolCall,
    context: Context,
    settings: Settings,
    links: Sequence[Link] = (),
) -> Span:
    """Start the span of `call` as a child of what is current in `context`."""
    known = known_of(call)
    attributes = start_attributes(call, known, settings)
    span = tracer.start_span(known.span_name, context, known.kind, attributes, links, call.started)
    if settings.capture or call.capture:
        write_arguments(span, call, settings)
    return span


def known_of(call: ToolCall) -> Known:
    """What is the same in every call of this tool, remembered."""
    name, description = call.name, call.description
    if type(name) is not str:
        name = clean(name)
    if description is not None and type(description) is not str:
        description = type_name(type(description))
    return _known(name, call.kind, call.type, description, call.parameters)


@lru_cache(maxsize=4_096)
def _known(
    name: str, kind: Kind, type_: str, description: str | None, parameters: tuple[str, ...]
) -> Known:
    name = clean(name)
    attributes: dict[str, AttributeValue] = {
        semconv.OPERATION: semconv.EXECUTE_TOOL,
        semconv.TOOL_NAME: name,
    }
    if kind != "internal":  # the MCP spans have no definition to tell of
        return Known(f"{semconv.TOOLS_CALL} {name}", _KINDS[kind], attributes)
    attributes[semconv.TOOL_TYPE] = type_
    if description:
        attributes[semconv.TOOL_DESCRIPTION] = _text(description)
    attributes[semconv.TOOL_FINGERPRINT] = _definition(name, description, parameters)
    return Known(f"{semconv.EXECUTE_TOOL} {name}", SpanKind.INTERNAL, attributes)


def start_attributes(call: ToolCall, known: Known, settings: Settings) -> dict[str, AttributeValue]:
    """Everything known before the tool runs, so that samplers see it."""
    attributes = known.attributes.copy()
    if call.id is not None:
        attributes[semconv.CALL_ID] = _text(call.id)
    if call.agent is not None:
        attributes[semconv.AGENT_NAME] = clean(call.agent)
    if call.conversation is not None:
        attributes[semconv.CONVERSATION_ID] = _text(call.conversation)
    if call.attempt > 1:
        attributes[semconv.ATTEMPT] = call.attempt
    if call.wait is not None:
        attributes[semconv.WAIT] = float(call.wait)
    if call.attributes:
        attributes.update(call.attributes)
    arguments = call.arguments
    if arguments is not None:
        if (mark := fingerprint(arguments, settings.fingerprint_key)) is not None:
            attributes[semconv.ARGUMENTS_FINGERPRINT] = mark
        if (size := size_of(arguments)) is not None:
            attributes[semconv.ARGUMENTS_SIZE] = size
    return attributes


def adopt_span(span: Span, call: ToolCall, settings: Settings) -> None:
    """Write onto another tracer's span of the same call what it does not say itself."""
    if not span.is_recording():
        return
    known: Any = getattr(span, "attributes", None) or {}
    for key, value in start_attributes(call, known_of(call), settings).items():
        if known.get(key) is None:
            span.set_attribute(key, value)
    write_arguments(span, call, settings)


def write_arguments(span: Span, call: ToolCall, settings: Settings) -> None:
    """Render the arguments onto a span that records, where content may leave."""
    if not captures(call, settings) or call.arguments is None or not span.is_recording():
        return
    limit = _least(settings.value_limit, settings.span_limit)
    text = render(call.arguments, limit, redactor(settings), call.name)
    span.set_attribute(semconv.CALL_ARGUMENTS, text.text)
    if text.truncated:
        span.set_attribute(semconv.ARGUMENTS_TRUNCATED, value=True)


def write_end(span: Span, call: ToolCall, outcome: Outcome, settings: Settings) -> None:
    """Write how the call ended; the span's owner ends it."""
    if not span.is_recording():
        return
    attributes: dict[str, Any] = {}
    if outcome.size is not None:
        attributes[semconv.RESULT_SIZE] = outcome.size
    _write_details(attributes, outcome)
    if outcome.type is not None:
        attributes[semconv.ERROR_TYPE] = outcome.type
    if outcome.result is not None and captures(call, settings):
        _write_result(attributes, call, outcome.result, span, settings)
    if attributes:
        attributes[semconv.OUTCOME] = outcome.word
        span.set_attributes(attributes)
    else:
        span.set_attribute(semconv.OUTCOME, outcome.error or "ok")
    if outcome.failed:
        span.set_status(Status(_ERROR, _description(call, outcome, settings)))


def _write_details(attributes: dict[str, Any], outcome: Outcome) -> None:
    if outcome.attributes:
        attributes.update(outcome.attributes)
    if outcome.complete is False:
        attributes[semconv.STREAM_COMPLETE] = False
    if outcome.attempts is not None:
        attributes[semconv.ATTEMPTS] = outcome.attempts
    if outcome.cached:
        attributes[semconv.CACHED] = True


def _write_result(
    attributes: dict[str, Any], call: ToolCall, result: object, span: Span, settings: Settings
) -> None:
    known: Any = getattr(span, "attributes", None) or {}
    used = len(str(known.get(semconv.CALL_ARGUMENTS) or "").encode("utf-8", "replace"))
    left = None if settings.span_limit is None else max(settings.span_limit - used, 64)
    text = render(result, _least(settings.value_limit, left), redactor(settings), call.name)
    attributes[semconv.CALL_RESULT] = text.text
    if text.truncated:
        attributes[semconv.RESULT_TRUNCATED] = True


def _description(call: ToolCall, outcome: Outcome, settings: Settings) -> str | None:
    if outcome.message is None or not captures(call, settings):
        return None
    return render(outcome.message, DESCRIPTION_LIMIT, redactor(settings), call.name).text


def captures(call: ToolCall, settings: Settings) -> bool:
    """Whether the content of this call may be written."""
    return settings.capture if call.capture is None else call.capture


def error_type(outcome: Outcome) -> str:
    """`error.type`: the exception's type, builtins bare, else the outcome's word."""
    if outcome.exception is None:
        return outcome.word
    return type_name(type(outcome.exception))


@lru_cache(maxsize=8)
def redactor(settings: Settings) -> Redactor:
    """The redaction rules of these settings, made once."""
    return Redactor(settings.redact, settings.redactor)


def _text(text: object) -> str:
    """A description as it is, cut, and such that the encoder takes it."""
    if type(text) is not str:
        return type_name(type(text))
    head = text[:DESCRIPTION_LIMIT]
    return head if head.isascii() else head.encode("utf-8", "replace").decode()


def _definition(name: str, description: str | None, parameters: tuple[str, ...]) -> str:
    """A hash of what the model was told of the tool, the same in every process."""
    told = "\0".join((name, description or "", *parameters))
    return hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _least(first: int | None, second: int | None) -> int | None:
    limits = [limit for limit in (first, second) if limit is not None]
    return min(limits) if limits else None
