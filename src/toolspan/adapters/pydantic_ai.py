"""Pydantic AI: a call is validated, maybe refused, and executed; its own span, if on, is adopted.

That span begins inside `execute_tool_call` and around `_raw_execute`, where it is decided whose it
is; a failed validation has one before. What makes both can be reached from 2.68 on: before, they
keep texts, a cancellation's ERROR, and the one of a failed validation stands beside ours.
"""

from __future__ import annotations

from typing import Any

from toolspan.hooks import Adapter, Enrich, Hook, Invocation, Mute, Refusal, Run, RunFacts, Witness
from toolspan.hooks.readers import gives, parsed, raises, says
from toolspan.toolcall import Outcome, ToolCall, is_a


def read(invocation: Invocation) -> ToolCall | None:
    """Read the call with its validated arguments; one that was refused has its span already."""
    known = invocation.get("validated")
    call = _call(known.call, known.tool, known.ctx, known.validated_args)
    return call if known.args_valid else None


def _call(call: Any, tool: Any, context: Any, given: Any) -> ToolCall:
    described = getattr(getattr(tool, "tool_def", tool), "description", None)
    agent, conversation = getattr(context.agent, "name", None), context.conversation_id
    name, id_ = call.tool_name, call.tool_call_id
    return ToolCall(name, given, described, id_, agent=agent, conversation=conversation)


def outcome(value: Any) -> Outcome:
    """Unwrap what goes to the model from what goes beside it."""
    return Outcome(value.return_value if is_a(value, "ToolReturn") else value)


def raised(error: BaseException) -> Outcome | None:
    """Tell control flow and what a tool lets the model know from failures."""
    if is_a(error, "CallDeferred") or is_a(error, "ApprovalRequired"):
        return Outcome(error="interrupted")
    told = any(is_a(error, one) for one in ("ToolRetryError", "UnexpectedModelBehavior"))
    cause: Any = error.__cause__ if told else error
    if is_a(cause, "ModelRetry"):
        timed_out = is_a(cause.__context__, "TimeoutError") and cause.message.startswith("Timed")
        return Outcome(error="timeout" if timed_out else "tool_error", exception=cause)
    if is_a(error, "ToolFailedError"):
        return Outcome(error="tool_error", exception=error.__cause__ or error)
    return None


def read_invalid(invocation: Invocation) -> ToolCall:
    """Read the call whose failed validation the framework traces itself."""
    call, tool = invocation.get("call"), invocation.get("tool_def")
    return _call(call, tool, invocation.get("ctx"), parsed(call.args))


def invalid(error: BaseException) -> Outcome:
    """That ends with the error which it is about."""
    return Outcome(error="invalid_arguments", exception=error)


def refused(invocation: Invocation, _none: Any) -> tuple[ToolCall, Outcome] | None:
    """No such tool, none for now, or arguments that do not fit, where nobody traced that."""
    call, tool, context = (invocation.get(name) for name in ("call", "tool", "ctx"))
    error, asked = invocation.get("error"), _call(call, tool, context, parsed(call.args))
    if tool is None:
        return asked, Outcome(error="unknown_tool")
    if is_a(error, "_ToolUnavailable"):
        return asked, Outcome(error="denied")
    return (asked, invalid(error)) if is_a(context.tracer, "NoOpTracer") else None


def denied(invocation: Invocation, _part: Any) -> tuple[ToolCall, Outcome] | None:
    """A person rejected the call."""
    if not is_a(invocation.get("tool_result"), "ToolDenied"):
        return None
    call = invocation.get("call")
    asked = ToolCall(call.tool_name, parsed(call.args), id=call.tool_call_id)
    return asked, Outcome(error="denied")


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
BODY = f"{MANAGER}._raw_execute"
NATIVE = "pydantic_ai.capabilities.instrumentation"
#: Bound by the first, made in the second.
SPANS = tuple(f"{one}:start_as_current_span" for one in (NATIVE, "pydantic_ai._durable_replay"))
#: What its span says of arguments and results, in its versions 1 to 5.
TEXTS = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "tool_arguments", "tool_response")

ADAPTER = Adapter(
    name="pydantic-ai",
    title="Pydantic AI",
    traces="every function and MCP tool, its own span adopted where it is on (whole from 2.68); "
    "refused calls; the run",
    distribution="pydantic-ai-slim",
    versions=">=2.30,<3",
    words=(
        Hook(f"{MANAGER}.execute_tool_call", read, outcome, raised, (BODY,), "before"),
        # Before the framework's own span ends:
        Witness(BODY, gives(outcome)),
        Witness(BODY, raises(raised), "raised"),
        Enrich(SPANS, says("gen_ai.operation.name", "execute_tool"), texts=TEXTS),
        Hook(f"{NATIVE}:Instrumentation.on_tool_validate_error", read_invalid, raised=invalid),
        Mute(SPANS, says("pydantic_ai.tool.failure_stage", "validation"), texts=TEXTS),
        Refusal(f"{MANAGER}._make_validation_failure", refused, "before"),
        Refusal("pydantic_ai._tool_execution:build_tool_return_part", denied),
        Run("pydantic_ai.agent:Agent.iter", read_run, manager=True),
    ),
)
