"""Where LangChain and LangGraph do not run a tool: it is not there, or somebody is before it."""

from __future__ import annotations

from typing import Any

from toolspan.hooks import Carrier, Invocation, Refusal, WordOfAdapter
from toolspan.hooks.readers import refuses
from toolspan.toolcall import Outcome, ToolCall


def asked(call: Any) -> ToolCall:
    """What the model asks for."""
    return ToolCall(call["name"], call["args"], id=call["id"])


def denied(invocation: Invocation, answer: Any) -> tuple[ToolCall, Outcome] | None:
    """A person rejected the call, or answered in the tool's place."""
    message = answer[1] if type(answer) is tuple else answer
    if message is None:
        return None
    return asked(invocation.get("tool_call")), Outcome(error="denied")


def over_the_limit(invocation: Invocation, sorted_out: Any) -> list[tuple[ToolCall, Outcome]]:
    """Tools were called as often as they may be; that may stop all calls of a turn."""
    blocked = sorted_out[1]
    if blocked and invocation.instance.exit_behavior == "end":
        blocked = invocation.get("tool_calls")
    return [(asked(call), Outcome(error="denied")) for call in blocked]


def handed_on(invocation: Invocation) -> list[ToolCall]:
    """A call that goes through the program's middleware first."""
    ways = ("_wrap_tool_call", "_awrap_tool_call")
    between = any(getattr(invocation.instance, way, None) is not None for way in ways)
    return [asked(invocation.get("call"))] if between else []


def answered(_answer: Any) -> Outcome:
    """That answered in the tool's place."""
    return Outcome(error="denied")


NODE = "langgraph.prebuilt.tool_node:ToolNode"
MIDDLEWARE = "langchain.agents.middleware"
REVIEW = f"{MIDDLEWARE}.human_in_the_loop"
LIMIT = f"{MIDDLEWARE}.tool_call_limit:ToolCallLimitMiddleware"

WORDS: tuple[WordOfAdapter, ...] = (
    Refusal(f"{NODE}._validate_tool_call", refuses("unknown_tool", "call", asked)),
    Refusal(
        (f"{REVIEW}:_answer_message", f"{REVIEW}:HumanInTheLoopMiddleware._process_decision"),
        denied,
    ),
    Refusal(f"{LIMIT}._separate_tool_calls", over_the_limit),
    *(Carrier(f"{NODE}.{way}", handed_on, unrun=answered) for way in ("_run_one", "_arun_one")),
)
