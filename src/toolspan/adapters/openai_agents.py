"""OpenAI Agents: every function tool, MCP's and another agent's too, is invoked at one place.

Tools that are no functions have places of their own (`openai_local`). What a tool raises is
swallowed below those and told to the model, so a witness says it. A program that calls a tool's own
`on_invoke_tool` passes by. A voice's session is no run: unless the program has a span around it,
each of its calls is a trace.
"""

from __future__ import annotations

from typing import Any

from toolspan.adapters import openai_local, openai_refused
from toolspan.adapters.openai_local import ACTIONS, STARTS
from toolspan.adapters.openai_refused import asked
from toolspan.hooks import Adapter, Hook, Invocation, Pending, Refusal, Run, RunFacts, Witness
from toolspan.hooks.readers import fails, parsed, refuses
from toolspan.toolcall import Outcome, ToolCall, is_a


def read(invocation: Invocation) -> ToolCall:
    """Read the tool, and the context that the framework made for this very call."""
    told, text = invocation.get("context"), invocation.get("function_tool").description
    name, given = told.qualified_tool_name, parsed(invocation.get("arguments"))
    return ToolCall(name, given, text, told.tool_call_id, agent=getattr(told.agent, "name", None))


def outcome(result: Any) -> Outcome:
    """Unwrap the tool's own value."""
    return Outcome(result.output)


def timed_out(invocation: Invocation, _none: Any) -> Outcome:
    """The framework gave up waiting, whether it raises that or tells the model."""
    return Outcome(error="timeout", exception=invocation.instance)


def swallowed(invocation: Invocation, message: Any) -> Outcome | None:
    """What the tool raised: a handler of its author's makes an answer of it, the default hides."""
    error, tool = invocation.get("error"), invocation.get("function_tool")
    if _says(error, "Invalid JSON input for tool"):
        return Outcome(error="invalid_arguments", exception=error)
    own = message is not None and not getattr(tool, "_use_default_failure_error_function", True)
    return Outcome(error="tool_error" if own else "error", exception=error)


def unknown_tool(invocation: Invocation, error: Any) -> tuple[ToolCall, Outcome] | None:
    """The run fails over the first call of the response whose tool is not there."""
    calls = [one for one in invocation.get("response").output if hasattr(one, "arguments")]
    lost = [one for one in calls if _says(error, f"Tool {one.name} not found in agent")]
    return (asked(lost[0]), Outcome(error="unknown_tool")) if lost else None


def denied(invocation: Invocation, _message: Any) -> tuple[ToolCall, Outcome]:
    """A person rejected the call, of whatever kind."""
    wish, kind = invocation.get("tool_call"), invocation.get("tool_type")
    known = ToolCall(name=invocation.get("tool_name"), id=invocation.get("call_id"))
    return asked(wish) if kind == "function" else known, Outcome(error="denied")


def waits(invocation: Invocation, result: Any) -> ToolCall | None:
    """A person is to be asked, inside the framework's own span of the call."""
    item = getattr(result, "run_item", None)
    return asked(invocation.get("tool_call")) if is_a(item, "ToolApprovalItem") else None


def _says(error: Any, beginning: str) -> bool:
    """Whether the framework blames the model in these words: it has no others."""
    return is_a(error, "ModelBehaviorError") and error.message.startswith(beginning)


def read_run(invocation: Invocation) -> RunFacts:
    """A run of an agent, or the rest of one that waited for a person."""
    name, session = invocation.get("starting_agent").name, invocation.get("session")
    conversation = invocation.get("conversation_id") or getattr(session, "session_id", None)
    resumes = invocation.get("is_resumed_state", is_a(invocation.get("input"), "RunState"))
    return RunFacts(name=name, agent=name, conversation=conversation, resumes=resumes)


TOOL, RUN, STREAM = "agents.tool", "agents.run", "agents.run_internal.run_loop:start_streaming"
TURNS, CALLS = "agents.run_internal.turn_resolution", "agents.run_internal.tool_execution"


def is_agents(invocation: Invocation) -> bool:
    """Whether the agent's own span begins: not everybody traces that of the task before it."""
    return is_a(invocation.instance.span_data, "AgentSpanData")


TOLD = refuses("unknown_tool", "tool_call", asked)

ADAPTER = Adapter(
    name="openai-agents",
    title="OpenAI Agents",
    traces="every tool that runs here: functions, MCP's, agents as tools, shells, patches, "
    "computers; unknown tools, rejected calls; the run",
    distribution="openai-agents",
    versions=">=0.20,<1",
    words=(
        Hook(f"{TOOL}:_invoke_function_tool_with_metadata", read, outcome, also=(CALLS,)),
        Witness(f"{TOOL}:maybe_invoke_function_tool_failure_error_function", swallowed),
        Witness("agents.exceptions:ToolTimeoutError.__init__", timed_out, "before"),
        # An agent that is this tool waits for a person, and will go on in a further call:
        Witness("agents.agent:record_agent_tool_run_result", fails("interrupted"), "before"),
        Refusal(f"{TURNS}:process_model_response", unknown_tool, "raised"),
        Refusal(f"{TURNS}:_resolve_tool_not_found_message", TOLD),
        Refusal(f"{CALLS}:resolve_approval_rejection_message", denied, also=(TURNS, ACTIONS)),
        *openai_refused.WORDS,
        *openai_local.WORDS,
        Pending(f"{CALLS}:_FunctionToolBatchExecutor._maybe_execute_tool_approval", waits),
        Run(f"{RUN}:AgentRunner.run", read_run, decide=STARTS, deciding_at=is_agents),
        Run(STREAM, read_run, decide=STARTS, deciding_at=is_agents, also=(RUN,)),
    ),
)
