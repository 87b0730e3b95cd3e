"""Where OpenAI's agents say no to a call: the guardrails of a tool, and a conversation by voice."""

from __future__ import annotations

from typing import Any

from toolspan.hooks import Invocation, Refusal, WordOfAdapter
from toolspan.hooks.readers import parsed
from toolspan.toolcall import Outcome, ToolCall, is_a


def asked(call: Any, agent: Any = None) -> ToolCall:
    """What the model asks for."""
    return ToolCall(
        name=call.name,
        arguments=parsed(call.arguments),
        id=call.call_id,
        agent=getattr(agent, "name", None),
    )


def guarded(invocation: Invocation, seen: Any) -> tuple[ToolCall, Outcome] | None:
    """A guardrail answers in the tool's stead, or ends the run; None is its consent."""
    stopped = is_a(seen, "ToolInputGuardrailTripwireTriggered")
    if seen is None or (isinstance(seen, BaseException) and not stopped):
        return None
    return _guarded(invocation), Outcome(error="denied")


def _guarded(invocation: Invocation) -> ToolCall:
    context, agent = invocation.get("tool_context"), invocation.get("agent")
    call = asked(invocation.get("tool_call") or context.tool_call, agent)
    if context is not None:
        call.name = context.qualified_tool_name
    return call


def rejected(invocation: Invocation, _none: Any) -> tuple[ToolCall, Outcome]:
    """A person rejected the call."""
    return asked(invocation.get("event"), invocation.get("agent")), Outcome(error="denied")


def unknown_tool(invocation: Invocation, _none: Any) -> tuple[ToolCall, Outcome] | None:
    """The model is told so, as if it were the answer."""
    answer = invocation.get("pending_output")
    call = answer.tool_call
    missing = answer.output == f"Tool {call.name} not found" and answer.tool_end_event is None
    return (asked(call), Outcome(error="unknown_tool")) if missing else None


SESSION = "agents.realtime.session:RealtimeSession"
GUARDS = (
    "agents.run_internal.tool_execution:_execute_tool_input_guardrails",
    f"{SESSION}._run_tool_input_guardrails",
)

WORDS: tuple[WordOfAdapter, ...] = (
    *(Refusal(path, guarded, when) for path in GUARDS for when in ("after", "raised")),
    Refusal(f"{SESSION}._send_tool_rejection", rejected, "before"),
    Refusal(f"{SESSION}._send_tool_output_completion", unknown_tool, "before"),
)
