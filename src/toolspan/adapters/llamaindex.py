"""LlamaIndex: a tool is of any class below BaseTool; an agent is a workflow that calls tools.

An agent's step knows the call's id, and where it looks up the tools, whose turn it is of several
agents. Nobody checks arguments: the call of the tool's function does. Every class of tools reports
to a dispatcher, whose listeners make spans: it is decided there whose span a call has. Those of
llama-index-observability-otel keep their texts. What is not seen: what a CodeActAgent's code calls.
"""

from __future__ import annotations

from typing import Any

from toolspan.hooks import Adapter, Carrier, Hook, Invocation, Refusal, Run, RunFacts, Witness
from toolspan.hooks.readers import raises
from toolspan.toolcall import Outcome, ToolCall, is_a


def read(invocation: Invocation) -> ToolCall:
    """Read a tool that is called, whoever calls it."""
    tool = invocation.instance
    known, made = tool.metadata, is_a(tool, "FunctionTool")
    given = invocation.by_name(getattr(known.fn_schema, "model_fields", ()))
    if made:
        given = {**tool.partial_params, **given}
        given.pop(tool.ctx_param_name, None)
    name, runs = known.name or type(tool).__name__, (tool.fn, tool.async_fn) if made else ()
    return ToolCall(name, given, known.description, functions=runs)


def outcome(value: Any) -> Outcome:
    """Unwrap what the tool gave, and the error that it may tell the model of."""
    if not is_a(value, "ToolOutput"):
        return Outcome(value)
    result = value.content if value.raw_output is None else value.raw_output
    if not value.is_error:
        return Outcome(result)
    return Outcome(result, error="tool_error", message=value.content, exception=value.exception)


def raised(error: BaseException) -> Outcome | None:
    """Tell a wait for somebody's answer, and arguments that do not fit, from failures."""
    if is_a(error, "WaitingForEvent"):
        return Outcome(error="interrupted")
    if is_a(error, "TypeError") and _is_of_the_call(error):
        return Outcome(error="invalid_arguments", exception=error)
    return None


def _is_of_the_call(error: BaseException) -> bool:
    """Whether the tool's function was not even entered: the framework itself called in vain."""
    trace: Any = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == FUNCTION_TOOL


def gave(invocation: Invocation, _value: Any) -> Outcome | None:
    """What a tool gave, before those end their spans who listen to the dispatcher."""
    return outcome(invocation.get("result")) if _is_a_tools(invocation) else None


def failed(invocation: Invocation, _value: Any) -> Outcome | None:
    """What a tool raised, before that."""
    return raises(raised, "err")(invocation, None) if _is_a_tools(invocation) else None


def _is_a_tools(invocation: Invocation) -> bool:
    way = invocation.get("id_").partition("-")[0].rpartition(".")[2]
    return way in WAYS and is_a(invocation.get("instance"), "BaseTool")


def asked(invocation: Invocation) -> list[ToolCall]:
    """What an agent's step, or a helper for loops of one's own, is about to call."""
    wish, agent = invocation.get("ev", invocation.get("tool_call")), _agent(invocation.instance)
    return [ToolCall(name=wish.tool_name, id=wish.tool_id, agent=agent)]


def _agent(workflow: Any) -> str | None:
    return workflow.name if is_a(workflow, "BaseWorkflowAgent") else None


def taking_turns(invocation: Invocation) -> list[ToolCall]:
    """Of several agents, whose turn it is."""
    return [ToolCall(name=invocation.get("input_str"), agent=invocation.get("agent_name"))]


def unknown_tool(invocation: Invocation, result: Any) -> tuple[ToolCall, Outcome] | None:
    """The model asked for a tool that the agent does not have."""
    event, output = invocation.get("ev"), result.tool_output
    if not output.is_error or not output.content.startswith(f"Tool {event.tool_name} not found."):
        return None
    return ToolCall(event.tool_name, event.tool_kwargs), Outcome(error="unknown_tool")


def read_run(invocation: Invocation) -> RunFacts:
    """A run of an agent, or of a workflow: of several agents, or of anything."""
    workflow = invocation.instance.workflow
    event: Any = invocation.get("start_event")
    agent, name = _agent(workflow), type(workflow).__name__
    memory = event.get("memory") if is_a(event, "AgentWorkflowStartEvent") else None
    conversation = getattr(memory, "session_id", None) if is_a(memory, "Memory") else None
    return RunFacts(name, agent, conversation, workflow=name if agent is None else None)


#: Ways to call a tool, and the class that each begins with.
WAYS = {"call": "AsyncBaseTool", "acall": "AsyncBaseTool", "__call__": "BaseTool"}
TOOLS, FUNCTION_TOOL = "llama_index.core.tools", "llama_index.core.tools.function_tool"
DISPATCHER = "llama_index_instrumentation.dispatcher:Dispatcher"
ENTERED = (f"{DISPATCHER}.span_enter",)
AGENTS = "llama_index.core.agent.workflow.multi_agent_workflow:AgentWorkflow"
STEPS = (
    "llama_index.core.agent.workflow.base_agent:BaseWorkflowAgent.call_tool",
    f"{AGENTS}.call_tool",
)
LOOPS = ("control_loop.runner", "control_loop")

ADAPTER = Adapter(
    name="llamaindex",
    title="LlamaIndex",
    traces="every tool of any class; unknown tools, arguments that do not fit, waits for a "
    "person; the run of an agent or a workflow",
    distribution="llama-index-core",
    versions=">=0.14.22,<0.15",
    words=(
        *(
            Hook(path, read, outcome, raised, ENTERED, inside=True, subclasses=True)
            for path in (f"{TOOLS}.types:{root}.{way}" for way, root in WAYS.items())
        ),
        Witness(f"{DISPATCHER}.span_exit", gave, "before"),
        Witness(f"{DISPATCHER}.span_drop", failed, "before"),
        *(Refusal(step, unknown_tool) for step in STEPS),
        *(Carrier(step, asked) for step in STEPS),
        Carrier(f"{AGENTS}.get_tools", taking_turns, "before"),
        *(
            Carrier(f"{TOOLS}.calling:{one}_tool_with_selection", asked, also=(TOOLS,))
            for one in ("call", "acall")
        ),
        Run(tuple(f"workflows.runtime.{one}:_ControlLoopRunner.run" for one in LOOPS), read_run),
    ),
)
