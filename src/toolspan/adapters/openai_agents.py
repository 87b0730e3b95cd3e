"""OpenAI Agents: every function tool, MCP's and another agent's too, is invoked at one place.

What the tool raises is swallowed below that and told to the model, so a witness says it. A program
that calls a tool's own `on_invoke_tool` passes by.
"""

from __future__ import annotations

from typing import Any

from toolspan.adapters.model_json import arguments
from toolspan.hooks import Adapter, Hook, Invocation, Pending, Refusal, Run, RunFacts, Witness
from toolspan.toolcall import Outcome, ToolCall, is_a


def read(invocation: Invocation) -> ToolCall:
    """Read the tool, and the context that the framework made for this very call."""
    tool, context = invocation.get("function_tool"), invocation.get("context")
    return ToolCall(
        name=context.qualified_tool_name,
        description=tool.description,
        arguments=arguments(invocation.get("arguments")),
        id=context.tool_call_id,
        agent=getattr(context.agent, "name", None),
    )


def outcome(result: Any) -> Outcome:
    """Unwrap the tool's own value."""
    return Outcome(result.output)


def raised(error: BaseException) -> Outcome | None:
    """Tell the tool's timeout from other failures."""
    return Outcome(error="timeout") if is_a(error, "ToolTimeoutError") else None


def timed_out(_invocation: Invocation, _message: Any) -> Outcome:
    """The model is told so; a `timeout_error_function` of the tool's author leaves no sign."""
    return Outcome(error="timeout", type="agents.exceptions.ToolTimeoutError")


def swallowed(invocation: Invocation, message: Any) -> Outcome | None:
    """What the tool raised: a handler of its author's makes an answer of it, the default hides."""
    error, tool = invocation.get("error"), invocation.get("function_tool")
    if message is None:
        return None
    if _says(error, "Invalid JSON input for tool"):
        return Outcome(error="invalid_arguments", exception=error)
    default = getattr(tool, "_use_default_failure_error_function", True)
    return Outcome(error="error" if default else "tool_error", exception=error)


def unknown_tool(invocation: Invocation, error: Any) -> tuple[ToolCall, Outcome] | None:
    """The run fails over the first call of the response whose tool is not there."""
    calls = [one for one in invocation.get("response").output if hasattr(one, "arguments")]
    found = (one for one in calls if _says(error, f"Tool {one.name} not found in agent"))
    call = next(found, None)
    return None if call is None else (_asked(call), Outcome(error="unknown_tool"))


def unknown_tool_told(invocation: Invocation, _message: Any) -> tuple[ToolCall, Outcome]:
    """Where the run is configured to tell the model."""
    return _asked(invocation.get("tool_call")), Outcome(error="unknown_tool")


def denied(invocation: Invocation, _message: Any) -> tuple[ToolCall, Outcome]:
    """A person rejected the call."""
    return _asked(invocation.get("tool_call")), Outcome(error="denied")


def waits(invocation: Invocation, result: Any) -> ToolCall | None:
    """A person is to be asked, inside the framework's own span of the call."""
    waiting = is_a(getattr(result, "run_item", None), "ToolApprovalItem")
    return _asked(invocation.get("tool_call")) if waiting else None


def _asked(call: Any) -> ToolCall:
    return ToolCall(name=call.name, arguments=arguments(call.arguments), id=call.call_id)


def _says(error: Any, beginning: str) -> bool:
    """Whether the framework blames the model in these words: it has no others."""
    return is_a(error, "ModelBehaviorError") and error.message.startswith(beginning)


def read_run(invocation: Invocation) -> RunFacts:
    """A run of an agent, or the rest of one that waited for a person."""
    name, session = invocation.get("starting_agent").name, invocation.get("session")
    conversation = invocation.get("conversation_id") or getattr(session, "session_id", None)
    resumes = invocation.get("is_resumed_state", is_a(invocation.get("input"), "RunState"))
    return RunFacts(name=name, agent=name, conversation=conversation, resumes=resumes)


TURNS = "agents.run_internal.turn_resolution"
CALLS = "agents.run_internal.tool_execution"


def is_agents(invocation: Invocation) -> bool:
    """Whether the agent's own span begins: not everybody traces that of the task before it."""
    return is_a(invocation.instance.span_data, "AgentSpanData")


#: What the framework shows to whoever listens: a neighbour has its span then.
STARTS = tuple(f"agents.tracing.spans:{span}.start" for span in ("SpanImpl", "NoOpSpan"))

ADAPTER = Adapter(
    name="openai-agents",
    title="OpenAI Agents",
    traces=(
        "every function tool, MCP's and agents' as tools; unknown tools, rejected calls; the run"
    ),
    distribution="openai-agents",
    versions=">=0.20,<1",
    words=(
        Hook(
            "agents.tool:_invoke_function_tool_with_metadata", read, outcome, raised, also=(CALLS,)
        ),
        Witness("agents.tool:maybe_invoke_function_tool_failure_error_function", swallowed),
        Witness("agents.tool:default_tool_timeout_error_message", timed_out),
        Refusal(f"{TURNS}:process_model_response", unknown_tool, "raised"),
        Refusal(f"{TURNS}:_resolve_tool_not_found_message", unknown_tool_told),
        Refusal(f"{CALLS}:resolve_approval_rejection_message", denied, also=(TURNS,)),
        Pending(f"{CALLS}:_FunctionToolBatchExecutor._maybe_execute_tool_approval", waits),
        Run("agents.run:Runner.run", read_run, decide=STARTS, deciding_at=is_agents),
        Run("agents.run:Runner.run_sync", read_run, decide=STARTS, deciding_at=is_agents),
        Run(
            "agents.run_internal.run_loop:start_streaming",
            read_run,
            decide=STARTS,
            deciding_at=is_agents,
            also=("agents.run",),
        ),
    ),
)
