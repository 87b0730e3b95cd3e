"""CrewAI's tools, as a program calls them and as a model asks for them in its text.

A text that a tool fails at is tried up to six times, each of which is a call. A tool that is not
async and is awaited by `CrewStructuredTool.ainvoke` runs in the loop's executor, without context.
"""

from __future__ import annotations

import sys
from typing import Any

from toolspan.hooks import Hook, Invocation, Refusal, Witness, WordOfAdapter
from toolspan.hooks.readers import fails, parsed
from toolspan.toolcall import Outcome, ToolCall, Word, is_a

#: Why the framework says that a call failed; one that is repeated too often did run.
REASONS: dict[str, Word | None] = {
    "exception": "error",
    "usage_limit": "denied",
    "unknown_tool": "unknown_tool",
    "invalid_input": "invalid_arguments",
    "repeated_call": None,
}


def call_of(tool: Any, given: Any, *around: Any, id_: str | None = None) -> ToolCall:
    """A call of a tool that is there; `around` are functions that run it."""
    tools = (tool, getattr(tool, "_original_tool", None))
    functions = (*around, *(getattr(one, "func", None) for one in tools))
    return ToolCall(tool.name, given, tool.description, id_, functions=functions)


def read(invocation: Invocation) -> ToolCall:
    """Read a tool that runs, whoever runs it; positional arguments are those of its schema."""
    tool = invocation.instance
    return call_of(tool, invocation.by_name(getattr(tool.args_schema, "model_fields", ())))


def read_invoked(invocation: Invocation) -> ToolCall:
    """Read a tool that runs as the model's text says."""
    return call_of(invocation.instance, parsed(invocation.get("input")))


def outcome(value: Any) -> Outcome:
    """A tool may give a failure instead of a result."""
    failed = is_a(value, "ToolFailure")
    return Outcome(error="tool_error", message=value.message) if failed else Outcome(value)


def outcome_of(failure: Any) -> Outcome:
    """What the framework says of a failure."""
    word = REASONS.get(failure.reason.value, "tool_error")
    return Outcome(error=word, message=failure.message)


def limited(_invocation: Invocation, failure: Any) -> Outcome | None:
    """The tool was used as often as it may."""
    return None if failure is None else Outcome(error="denied")


def denied(invocation: Invocation, blocked: Any) -> tuple[ToolCall, Outcome] | None:
    """A hook of the program said no."""
    context = invocation.get("context")
    if blocked is not True:
        return None
    return call_of(context.tool, context.tool_input), Outcome(error="denied")


def unreadable(invocation: Invocation, calling: Any) -> tuple[ToolCall, Outcome] | None:
    """The text names no tool that is there, or gives it no arguments."""
    if not is_a(calling, "ToolUsageError"):
        return None
    action = invocation.instance.action
    unknown = f"Action '{action.tool}' don't exist" in calling.message
    asked = ToolCall(name=action.tool, arguments=parsed(action.tool_input))
    return asked, Outcome(error="unknown_tool" if unknown else "invalid_arguments")


def unused(invocation: Invocation, _none: Any) -> tuple[ToolCall, Outcome] | None:
    """The answer came from the cache, or says that the tool was used as often as it may."""
    usage, calling = invocation.instance, invocation.get("tool_calling")
    asked, answer = call_of(invocation.get("tool"), calling.arguments), usage.last_raw_result
    if invocation.get("from_cache"):
        return asked, Outcome(answer, cached=True)
    told = None if usage.last_failure is None else usage.last_failure.reason.value
    over = told == "usage_limit" and type(answer) is str  # else it is the tool that says so
    return (asked, Outcome(error="denied")) if over else None


def repeated(invocation: Invocation, repeats: Any) -> tuple[ToolCall, Outcome] | None:
    """The text asks for what it has just got."""
    calling, tools = invocation.get("calling"), invocation.instance.tools
    if repeats is not True:
        return None
    plain = sys.modules["crewai.utilities.string_utils"].sanitize_tool_name
    tool = next(one for one in tools if plain(one.name) == plain(calling.tool_name))
    return call_of(tool, calling.arguments), Outcome(error="denied")


BASE, STRUCTURED = "crewai.tools.base_tool", "crewai.tools.structured_tool:CrewStructuredTool"
#: What a tool passes just before its body, and inside whatever span a neighbour has for it.
ENTERED = (
    f"{BASE}:BaseTool._validate_kwargs",
    f"{BASE}:BaseTool._claim_usage",
    f"{STRUCTURED}._parse_args",
)
USAGE = "crewai.tools.tool_usage:ToolUsage"

WORDS: tuple[WordOfAdapter, ...] = (
    *(
        Hook(f"{BASE}:{one}", read, outcome, decide=ENTERED, deciding="beside", inside=True)
        for one in ("BaseTool.run", "BaseTool.arun", "Tool.run", "Tool.arun")
    ),
    Hook(f"{STRUCTURED}.invoke", read_invoked, outcome, inside=True),
    Hook(f"{STRUCTURED}.ainvoke", read_invoked, outcome, inside=True),
    Witness(f"{BASE}:BaseTool._claim_usage", limited),
    Witness(f"{BASE}:BaseTool._validate_kwargs", fails("invalid_arguments"), "raised"),
    Witness(f"{STRUCTURED}._parse_args", fails("invalid_arguments"), "raised"),
    Refusal("crewai.utilities.tool_utils:run_before_tool_call_hooks", denied),
    Refusal(f"{USAGE}.parse_tool_calling", unreadable),
    Refusal(f"{USAGE}.on_tool_use_finished", unused, "before"),
    Refusal(f"{USAGE}._check_tool_repeated_usage", repeated),
)
