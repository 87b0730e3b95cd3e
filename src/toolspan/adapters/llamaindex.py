"""LlamaIndex: a tool is of any class below BaseTool; an agent is a workflow that calls tools.

An agent's step knows the call's id, and where it looks up the tools, whose turn it is of several
agents. Nobody checks arguments: the call of the tool's function does. Every class of tools reports
to a dispatcher, whose listeners make spans: it is decided there whose span a call has. Those of
llama-index-observability-otel keep their texts. What is not seen: what a CodeActAgent's code calls.
"""

from __future__ import annotations

from typing import Any

from toolspan.hooks import Adapter, Carrier, Hook, Invocation, Refusal, Run, RunFacts, Witness
from toolspan.toolcall import Outcome, ToolCall, is_a


def read(invocation: Invocation) -> ToolCall:
    """Read a tool that is called, whoever calls it."""
    tool = invocation.instance
    known, made = tool.metadata, is_a(tool, "FunctionTool")
    given = {**(tool.partial_params if made else {}), **invocation.kwargs}
    if invocation.args:
        names = getattr(known.fn_schema, "model_fields", {})
        given.update(zip(names, invocation.args, strict=False))
    if made and tool.ctx_param_name is not None:
        given.pop(tool.ctx_param_name, None)
    return ToolCall(
        name=known.name or type(tool).__name__,
        description=known.description,
        arguments=given,
        functions=(tool.fn, tool.async_fn) if made else (),
    )


def outcome(value: Any) -> Outcome:
    """Unwrap what the tool gave, and the error that it may tell the model of."""
    if not is_a(value, "ToolOutput"):
        return Outcome(value)
    result = value.content if value.raw_output is None else value.raw_output
    if value.is_error:
        message, error = value.content, value.exception
        return Outcome(result, error="tool_error", message=message, exception=error)
    return Outcome(result)


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
    """What a tool gave, before those end their spans who listen to the framework's own."""
    return outcome(invocation.get("result")) if _is_a_tools_end(invocation) else None


def failed(invocation: Invocation, _value: Any) -> Outcome | None:
    """What a tool raised, before that."""
    error = invocation.get("err")
    if not _is_a_tools_end(invocation) or not isinstance(error, Exception):
        return None
    return raised(error) or Outcome(error="error", exception=error)


def _is_a_tools_end(invocation: Invocation) -> bool:
    way = invocation.get("id_").partition("-")[0].rpartition(".")[2]
    return way in WAYS and is_a(invocation.get("instance"), "BaseTool")


def asked(invocation: Invocation) -> list[ToolCall]:
    """What an agent is about to call."""
    event, agent = invocation.get("ev"), _agent(invocation.instance)
    return [ToolCall(name=event.tool_name, id=event.tool_id, agent=agent)]


def _agent(workflow: Any) -> str | None:
    return workflow.name if is_a(workflow, "BaseWorkflowAgent") else None


def taking_turns(invocation: Invocation) -> list[ToolCall]:
    """Of several agents, whose turn it is."""
    return [ToolCall(name=invocation.get("input_str"), agent=invocation.get("agent_name"))]


def selected(invocation: Invocation) -> list[ToolCall]:
    """What a program of its own lets be called."""
    selection = invocation.get("tool_call")
    return [ToolCall(name=selection.tool_name, id=selection.tool_id)]


def unknown_tool(invocation: Invocation, result: Any) -> tuple[ToolCall, Outcome] | None:
    """The model asked for a tool that the agent does not have."""
    event, output = invocation.get("ev"), result.tool_output
    told = output.is_error and output.raw_output is None and output.exception is None
    if not told or not output.content.startswith(f"Tool {event.tool_name} not found."):
        return None
    return ToolCall(event.tool_name, event.tool_kwargs), Outcome(error="unknown_tool")


def read_run(invocation: Invocation) -> RunFacts:
    """A run of an agent, or of a workflow: of several agents, or of anything."""
    workflow = invocation.instance.workflow
    event: Any = invocation.get("start_event")
    agent, name = _agent(workflow), type(workflow).__name__
    memory: Any = event.get("memory") if is_a(event, "AgentWorkflowStartEvent") else None
    return RunFacts(
        name=name,
        agent=agent,
        conversation=memory.session_id if is_a(memory, "Memory") else None,
        workflow=name if agent is None else None,
    )


#: Ways to call a tool, and the class that each begins with.
WAYS = {"call": "AsyncBaseTool", "acall": "AsyncBaseTool", "__call__": "BaseTool"}
TOOLS, FUNCTION_TOOL = "llama_index.core.tools", "llama_index.core.tools.function_tool"
DISPATCHER = "llama_index_instrumentation.dispatcher:Dispatcher"
AGENT = "llama_index.core.agent.workflow.base_agent:BaseWorkflowAgent"
AGENTS = "llama_index.core.agent.workflow.multi_agent_workflow:AgentWorkflow"
LOOPS = ("control_loop.runner", "control_loop")

ADAPTER = Adapter(
    name="llamaindex",
    title="LlamaIndex",
    traces=(
        "every tool of any class, whoever calls it; unknown tools, arguments that do not fit, "
        "waits for a person; the run of an agent or a workflow"
    ),
    distribution="llama-index-core",
    versions=">=0.14.22,<0.15",
    words=(
        *(
            Hook(
                f"{TOOLS}.types:{root}.{way}",
                read,
                outcome,
                raised,
                decide=(f"{DISPATCHER}.span_enter",),
                inside=True,
                subclasses=True,
            )
            for way, root in WAYS.items()
        ),
        Witness(f"{DISPATCHER}.span_exit", gave, "before"),
        Witness(f"{DISPATCHER}.span_drop", failed, "before"),
        *(Refusal(f"{one}.call_tool", unknown_tool) for one in (AGENT, AGENTS)),
        *(Carrier(f"{one}.call_tool", asked) for one in (AGENT, AGENTS)),
        Carrier(f"{AGENTS}.get_tools", taking_turns, "before"),
        Carrier(f"{TOOLS}.calling:call_tool_with_selection", selected, also=(TOOLS,)),
        Carrier(f"{TOOLS}.calling:acall_tool_with_selection", selected, also=(TOOLS,)),
        Run(tuple(f"workflows.runtime.{one}:_ControlLoopRunner.run" for one in LOOPS), read_run),
    ),
)
