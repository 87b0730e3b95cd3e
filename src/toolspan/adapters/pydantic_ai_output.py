"""Pydantic AI's calls that end a run, and what they leave unrun.

The model asks for an output as for a tool. Where a function of the program makes it, that is a
call, once for each part of a stream; where the arguments are the output, nothing runs.
"""

from __future__ import annotations

from typing import Any

from toolspan.hooks import Hook, Invocation, Refusal, WordOfAdapter
from toolspan.hooks.readers import parsed
from toolspan.toolcall import Outcome, ToolCall, is_a


def call_of(call: Any, tool: Any, context: Any, given: Any) -> ToolCall:
    """A call of a tool, which may not be there."""
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


def read_output(invocation: Invocation) -> ToolCall | None:
    """Read the call of an output that a function makes."""
    known = invocation.get("validated")
    made = known.tool.toolset.processors[known.call.tool_name]
    if getattr(made, "_function_schema", None) is None:
        return None
    return call_of(known.call, known.tool, known.ctx, known.validated_args)


def failed_validator(_invocation: Invocation, checked: Any) -> tuple[ToolCall, Outcome] | None:
    """The tool's own validator says that the call is not to be tried again."""
    error = checked.validation_error
    if not is_a(error, "ToolFailedError"):
        return None
    call = call_of(checked.call, checked.tool, checked.ctx, parsed(checked.call.args))
    return call, Outcome(error="invalid_arguments", exception=error.__cause__)


def skipped(invocation: Invocation, _none: Any) -> tuple[ToolCall, Outcome] | None:
    """The run has its output already."""
    call, context = invocation.get("call"), invocation.instance.tool_manager.ctx
    if call is None:
        return None
    return call_of(call, None, context, parsed(call.args)), Outcome(error="denied")


def denied(invocation: Invocation, _part: Any) -> tuple[ToolCall, Outcome] | None:
    """A person rejected the call."""
    if not is_a(invocation.get("tool_result"), "ToolDenied"):
        return None
    call = invocation.get("call")
    asked = ToolCall(call.tool_name, parsed(call.args), id=call.tool_call_id)
    return asked, Outcome(error="denied")


MANAGER = "pydantic_ai.tool_manager:ToolManager"
PROCESSOR = "pydantic_ai._tool_execution:_ToolCallProcessor"
#: Where it has no function of its own yet, calls that come too late are not seen.
SKIPS = (f"{PROCESSOR}._skip_function_call", f"{PROCESSOR}.run")
#: Inside the framework's own span of such a call.
MAKES = "pydantic_ai._output:ObjectOutputProcessor.hook_execute"

WORDS: tuple[WordOfAdapter, ...] = (
    Hook(f"{MANAGER}.execute_output_tool_call", read_output, outcome, raised, (MAKES,), "before"),
    Refusal(f"{MANAGER}.validate_tool_call", failed_validator),
    Refusal(SKIPS, skipped, "before"),
    Refusal("pydantic_ai._tool_execution:build_tool_return_part", denied),
)
