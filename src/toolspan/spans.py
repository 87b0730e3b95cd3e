"""ToolCall and Outcome -> attributes of an `execute_tool` span; the only writer of attributes.

Source: OpenTelemetry GenAI conventions (execute_tool, invoke_agent) and MCP conventions
(CLIENT and SERVER spans); what they lack stands under `toolspan.*` (docs/attributes.md).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import NonRecordingSpan, SpanKind, Status, StatusCode

from toolspan import detail, semconv
from toolspan.containment import contained, contained_hot
from toolspan.content import bytes_of, measure, render, rules_of
from toolspan.toolcall import clean, type_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, Tracer

    from toolspan.settings import Settings
    from toolspan.toolcall import AttributeValue, Outcome, ToolCall

DESCRIPTION_LIMIT: Final = 1_024
_LEAST: Final = 64  # bytes of a result, whatever the arguments took
_KINDS: Final = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
}
_ERROR: Final = StatusCode.ERROR


@dataclass(frozen=True, slots=True)
class Known:
    """What the spans of one tool have in common, and of which definition."""

    span_name: str
    kind: SpanKind
    attributes: dict[str, AttributeValue]
    #: Kind, type, description and parameters of the call that this was made from.
    definition: tuple[object, object, object, object]
    #: The well-known tools that its name is like.
    families: tuple[str, ...] = ()


def open_span(  # noqa: PLR0917  # by name it costs more
    tracer: Tracer,
    call: ToolCall,
    context: Context,
    settings: Settings,
    links: Sequence[Link] = (),
    above: Any = None,
) -> Span:
    """Start the span of `call` as a child of what is current in `context`; `above` is that span.

    Below a span that was sampled out, as this one will be too, a sampler sees the tool alone;
    where it is recorded nevertheless, it says the rest a moment later.
    """
    known: Known = call.known or known_of(call)
    dropped = type(above) is NonRecordingSpan and not above.get_span_context().trace_flags.sampled
    attributes = known.attributes if dropped else start_attributes(call, known, settings)
    span = tracer.start_span(known.span_name, context, known.kind, attributes, links, call.started)
    if dropped and span.is_recording():
        span.set_attributes(start_attributes(call, known, settings))
    return span


#: Tool -> what its last call's span had in common with all others.
_KNOWN: Final[dict[str, Known]] = {}
_TOOLS: Final = 4_096


def known_of(call: ToolCall) -> Known:
    """What is the same in every call of this tool, remembered."""
    # Only exact text is looked up: the hash() of a host's own type is the host's code.
    known = _KNOWN.get(call.name) if type(call.name) is str else None
    if known is not None:
        kind, type_, description, parameters = known.definition
        if (
            (description is call.description or _alike(description, call.description))
            and (parameters is call.parameters or parameters == call.parameters)
            and kind is call.kind
            and type_ is call.type
        ):
            return known
    return _remembered(call)


def _alike(one: object, other: object) -> bool:
    return type(one) is str and type(other) is str and one == other


def _remembered(call: ToolCall) -> Known:
    name = clean(call.name)
    definition = call.kind, call.type, call.description, call.parameters
    known = Known(*_described(name, call), definition, detail.families_of(name))
    if name is call.name:
        if len(_KNOWN) >= _TOOLS:
            _KNOWN.clear()
        _KNOWN[name] = known
    return known


def _described(name: str, call: ToolCall) -> tuple[str, SpanKind, dict[str, AttributeValue]]:
    attributes: dict[str, AttributeValue] = {
        semconv.OPERATION: semconv.EXECUTE_TOOL,
        semconv.TOOL_NAME: name,
    }
    if call.kind != "internal":  # the MCP spans have no definition to tell of
        return f"{semconv.TOOLS_CALL} {name}", _KINDS[call.kind], attributes
    attributes[semconv.TOOL_TYPE] = call.type
    description = call.description
    if description is not None and type(description) is not str:
        description = type_name(type(description))
    if description:
        attributes[semconv.TOOL_DESCRIPTION] = _text(description)
    attributes[semconv.TOOL_FINGERPRINT] = _definition(name, description, call.parameters)
    return f"{semconv.EXECUTE_TOOL} {name}", SpanKind.INTERNAL, attributes


def start_attributes(  # noqa: C901  # of what every call passes, a function more is a hundredth
    call: ToolCall, known: Known, settings: Settings
) -> dict[str, AttributeValue]:
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
        mark, size = measure(arguments, settings.fingerprint_key)
        if mark is not None:
            attributes[semconv.ARGUMENTS_FINGERPRINT] = mark
        if size is not None:
            attributes[semconv.ARGUMENTS_SIZE] = size
        if known.families:
            attributes.update(_recognise(call, known.families) or {})
    return attributes


_recognise: Final = contained(detail.recognise)
#: Whether a dict that a tool gave may show of which family it is.
hints: Final = detail.hints


def adopt_span(span: Span, call: ToolCall, settings: Settings) -> None:
    """Write onto another tracer's span of the same call what it does not say itself.

    The provider's id of the call takes the place of one that was made up.
    """
    if not span.is_recording():
        return
    known, ours = getattr(span, "attributes", None) or {}, known_of(call)
    if call.kind != "internal":  # a request's span is begun before its tool is known
        span.update_name(ours.span_name)
    for key, value in start_attributes(call, ours, settings).items():
        if known.get(key) is None or key == semconv.CALL_ID:
            span.set_attribute(key, value)
    if captures(call, settings):
        write_arguments(span, call, settings)


@contained_hot
def write_arguments(span: Span, call: ToolCall, settings: Settings) -> None:
    """Render the arguments of a call whose content may leave onto a span, where that records."""
    if call.arguments is None or not span.is_recording():
        return
    rules = rules_of(settings)
    text, cut = render(call.arguments, rules.limit, rules.redactor, call.name)
    span.set_attribute(semconv.CALL_ARGUMENTS, text)
    if cut:
        span.set_attribute(semconv.ARGUMENTS_TRUNCATED, value=True)
    call.written = bytes_of(text)
    if call.family is not None:
        for key, shown in detail.shown(call, rules.redactor, rules.limit).items():
            span.set_attribute(key, shown)
            call.written += bytes_of(shown)


def write_end(span: Span, call: ToolCall, outcome: Outcome, settings: Settings) -> None:
    """Write how the call ended onto a span that records; its owner ends it."""
    attributes: dict[str, Any] = {}
    if outcome.attributes or outcome.complete is False or outcome.attempts or outcome.cached:
        _write_details(attributes, outcome)
    result = outcome.result
    seen = result if outcome.structured is None else outcome.structured
    if call.family is not None or (type(seen) is dict and detail.hints(seen)):
        _write_answer(attributes, call, outcome, seen, settings)
    if outcome.type is not None:
        attributes[semconv.ERROR_TYPE] = outcome.type
    if attributes:
        if outcome.size is not None:
            attributes[semconv.RESULT_SIZE] = outcome.size
        attributes[semconv.OUTCOME] = outcome.word
        span.set_attributes(attributes)
    else:  # one by one: the SDK takes a mapping at the price of two
        if outcome.size is not None:
            span.set_attribute(semconv.RESULT_SIZE, outcome.size)
        span.set_attribute(semconv.OUTCOME, outcome.error or "ok")
    if outcome.error is not None and outcome.failed:
        span.set_status(Status(_ERROR, _description(call, outcome, settings)))
    if captures(call, settings):
        _write_result(span, call, result, settings)


def write_return(
    span: Span, call: ToolCall, value: object, size: int | None, settings: Settings
) -> None:
    """The same of a call that went well, of which nothing is known but its value."""
    if span.is_recording():
        if size is not None:
            span.set_attribute(semconv.RESULT_SIZE, size)
        span.set_attribute(semconv.OUTCOME, "ok")
        # As `captures` says: of what every call passes, a function more is a hundredth.
        if (settings.capture or call.capture) and call.capture is not False:
            _write_result(span, call, value, settings)


def _write_details(attributes: dict[str, Any], outcome: Outcome) -> None:
    if outcome.attributes:
        attributes.update(outcome.attributes)
    if outcome.complete is False:
        attributes[semconv.STREAM_COMPLETE] = False
    if outcome.attempts is not None:
        attributes[semconv.ATTEMPTS] = outcome.attempts
    if outcome.cached:
        attributes[semconv.CACHED] = True


@contained
def _write_answer(
    attributes: dict[str, Any], call: ToolCall, outcome: Outcome, seen: object, settings: Settings
) -> None:
    """What a tool of a well-known family answered; of any other tool, whether it is of one."""
    if call.family is None:
        attributes.update(detail.prove(call, seen))
        if call.family is not None and captures(call, settings):
            rules = rules_of(settings)
            attributes.update(detail.shown(call, rules.redactor, rules.limit))
    if call.family is not None:
        attributes.update(detail.answered(call, outcome, seen))


def _write_result(span: Span, call: ToolCall, result: object, settings: Settings) -> None:
    if result is None:
        return
    rules = rules_of(settings)
    limit = rules.limit
    if limit is not None and settings.span_limit is not None:
        left = settings.span_limit - call.written
        if left < limit:
            limit = min(limit, max(left, _LEAST))
    text, cut = render(result, limit, rules.redactor, call.name)
    span.set_attribute(semconv.CALL_RESULT, text)
    if cut:
        span.set_attribute(semconv.RESULT_TRUNCATED, value=True)


def _description(call: ToolCall, outcome: Outcome, settings: Settings) -> str | None:
    if outcome.message is None or not captures(call, settings):
        return None
    return render(outcome.message, DESCRIPTION_LIMIT, rules_of(settings).redactor, call.name)[0]


def captures(call: ToolCall, settings: Settings) -> bool:
    """Whether the content of this call may be written."""
    return settings.capture if call.capture is None else call.capture


def error_type(outcome: Outcome) -> str:
    """`error.type`: the exception's type, builtins bare, else the outcome's word."""
    if outcome.exception is None:
        return outcome.word
    return type_name(type(outcome.exception))


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
