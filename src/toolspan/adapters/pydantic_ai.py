"""Pydantic AI: a call is validated, maybe refused, and executed; its own span, if on, is adopted.

That span begins inside `execute_tool_call` and around `_raw_execute`, so it is decided there whose
span it is. A failed validation has a span of its own, before the refusal is known.
"""

from __future__ import annotations

from typing import Any

from toolspan.adapters.model_json import arguments
from toolspan.hooks import Adapter, Enrich, Hook, Invocation, Refusal, Run, RunFacts
from toolspan.toolcall import Outcome, ToolCall, is_a


def read(invocation: Invocation) -> ToolCall | None:
    """Read the call with its validated arguments; one that was refused has its span already."""
    validated = invocation.get("validated")
    if not validated.args_valid:
        return None
    return _call(validated.call, validated.tool.tool_def, validated.ctx, validated.validated_args)


def _call(call: Any, definition: Any, context: Any, given: Any) -> ToolCall:
    return ToolCall(
        name=call.tool_name,
        description=getattr(definition, "description", None),
        arguments=given,
        id=call.tool_call_id,
        agent=getattr(context.agent, "name", None),
        conversation=context.conversation_id,
    )


def outcome(value: Any) -> Outcome:
    """Unwrap what goes to the model from what goes beside it."""
    return Outcome(value.return_value if is_a(value, "ToolReturn") else value)


def raised(error: BaseException) -> Outcome | None:
    """Tell control flow and what a tool lets the model know from failures."""
    if is_a(error, "CallDeferred") or is_a(error, "ApprovalRequired"):
        return Outcome(error="interrupted")
    cause = error.__cause__ if is_a(error, "ToolRetryError") or _gave_up(error) else error
    if is_a(cause, "ModelRetry"):
        return Outcome(error="timeout" if _timed_out(cause) else "tool_error", exception=cause)
    if is_a(error, "ToolFailedError"):
        return Outcome(error="tool_error", exception=error.__cause__ or error)
    return None


def _gave_up(error: BaseException) -> bool:
    """Whether the model's tries are used up: the run ends over the tool's last complaint."""
    return is_a(error, "UnexpectedModelBehavior")


def _timed_out(cause: Any) -> bool:
    return is_a(cause.__context__, "TimeoutError") and cause.message.startswith("Timed out after")


def read_refused(invocation: Invocation) -> ToolCall:
    """The framework's own span of a failed validation, which it makes where it is traced."""
    call = invocation.get("call")
    context, definition = invocation.get("ctx"), invocation.get("tool_def")
    return _call(call, definition, context, arguments(call.args))


def invalid(error: BaseException) -> Outcome:
    """It ends with the error that it is about."""
    return Outcome(error="invalid_arguments", exception=error)


def refused(invocation: Invocation, _none: Any) -> tuple[ToolCall, Outcome] | None:
    """No such tool, none for now, or arguments that do not fit."""
    error, tool, context = (invocation.get(name) for name in ("error", "tool", "ctx"))
    call = invocation.get("call")
    asked = _call(call, getattr(tool, "tool_def", None), context, arguments(call.args))
    if is_a(error, "_UnknownTool"):
        return asked, Outcome(error="unknown_tool")
    if is_a(error, "_ToolUnavailable"):
        return asked, Outcome(error="denied")
    return (asked, invalid(error)) if is_a(context.tracer, "NoOpTracer") else None


def denied(invocation: Invocation, _part: Any) -> tuple[ToolCall, Outcome] | None:
    """A person rejected the call."""
    if not is_a(invocation.get("tool_result"), "ToolDenied"):
        return None
    call = invocation.get("call")
    asked = ToolCall(name=call.tool_name, arguments=arguments(call.args), id=call.tool_call_id)
    return asked, Outcome(error="denied")


def is_tool(invocation: Invocation) -> bool:
    """Whether the span that the framework is about to make is a tool call's."""
    known = invocation.get("attributes") or {}
    return bool(known.get("gen_ai.operation.name") == "execute_tool")


def read_run(invocation: Invocation) -> RunFacts:
    """A run of an agent; its conversation, if the program named it."""
    agent, conversation = invocation.instance, invocation.get("conversation_id")
    return RunFacts(
        name=agent.name or "agent",
        agent=agent.name,
        conversation=None if conversation == "new" else conversation,
        resumes=invocation.get("deferred_tool_results") is not None,
    )


MANAGER = "pydantic_ai.tool_manager:ToolManager"
NATIVE = "pydantic_ai.capabilities.instrumentation"
#: What its span says of arguments and results, in its versions 1 to 5.
TEXTS = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "tool_arguments", "tool_response")

ADAPTER = Adapter(
    name="pydantic-ai",
    title="Pydantic AI",
    distribution="pydantic-ai-slim",
    versions=">=2.68,<3",
    words=(
        Hook(
            f"{MANAGER}.execute_tool_call",
            read,
            outcome,
            raised,
            decide=(f"{MANAGER}._raw_execute",),
            deciding="before",
        ),
        Hook(
            f"{NATIVE}:Instrumentation.on_tool_validate_error",
            read_refused,
            raised=invalid,
            decide=(f"{NATIVE}:_record_retry",),
        ),
        Enrich(f"{NATIVE}:start_as_current_span", is_tool, texts=TEXTS),
        Refusal(f"{MANAGER}._make_validation_failure", refused, "before"),
        Refusal("pydantic_ai._tool_execution:build_tool_return_part", denied),
        Run("pydantic_ai.agent:Agent.iter", read_run, manager=True),
    ),
)
