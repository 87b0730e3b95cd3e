"""OpenAI Agents: every function tool, MCP's and another agent's too, is invoked at one place.

Tools that are no functions have places of their own (`openai_local`). What a tool raises is
swallowed below those and told to the model, so a witness says it. A program that calls a tool's own
`on_invoke_tool` passes by. A voice's session is no run: unless the program has a span around it,
each of its calls is a trace.
"""

from __future__ import annotations

from typing import Any

from toolspan.adapters import openai_local, openai_refused
from toolspan.adapters.model_json import arguments
from toolspan.adapters.openai_local import ACTIONS, STARTS
from toolspan.adapters.openai_refused import asked
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


def waits_inside(_invocation: Invocation, _none: Any) -> Outcome:
    """An agent that is this tool waits for a person, and will go on in a further call."""
    return Outcome(error="interrupted")


def unknown_tool(invocation: Invocation, error: Any) -> tuple[ToolCall, Outcome] | None:
    """The run fails over the first call of the response whose tool is not there."""
    calls = [one for one in invocation.get("response").output if hasattr(one, "arguments")]
    found = (one for one in calls if _says(error, f"Tool {one.name} not found in agent"))
    call = next(found, None)
    return None if call is None else (asked(call), Outcome(error="unknown_tool"))


def unknown_tool_told(invocation: Invocation, _message: Any) -> tuple[ToolCall, Outcome]:
    """Where the run is configured to tell the model."""
    return asked(invocation.get("tool_call")), Outcome(error="unknown_tool")


def denied(invocation: Invocation, _message: Any) -> tuple[ToolCall, Outcome]:
    """A person rejected the call, of whatever kind."""
    wish, kind = invocation.get("tool_call"), invocation.get("tool_type")
    known = ToolCall(name=invocation.get("tool_name"), id=invocation.get("call_id"))
    return asked(wish) if kind == "function" else known, Outcome(error="denied")


def waits(invocation: Invocation, result: Any) -> ToolCall | None:
    """A person is to be asked, inside the framework's own span of the call."""
    waiting = is_a(getattr(result, "run_item", None), "ToolApprovalItem")
    return asked(invocation.get("tool_call")) if waiting else None


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


ADAPTER = Adapter(
    name="openai-agents",
    title="OpenAI Agents",
    traces=(
        "every tool that runs here: functions, MCP's, agents as tools, shells, patches, computers; "
        "unknown tools, rejected calls; the run"
    ),
    distribution="openai-agents",
    versions=">=0.20,<1",
    words=(
        Hook(
            "agents.tool:_invoke_function_tool_with_metadata", read, outcome, raised, also=(CALLS,)
        ),
        Witness("agents.tool:maybe_invoke_function_tool_failure_error_function", swallowed),
        Witness("agents.agent:record_agent_tool_run_result", waits_inside, "before"),
        Witness("agents.tool:default_tool_timeout_error_message", timed_out),
        Refusal(f"{TURNS}:process_model_response", unknown_tool, "raised"),
        Refusal(f"{TURNS}:_resolve_tool_not_found_message", unknown_tool_told),
        Refusal(f"{CALLS}:resolve_approval_rejection_message", denied, also=(TURNS, ACTIONS)),
        *openai_refused.WORDS,
        *openai_local.WORDS,
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
