"""Google ADK: every call of an agent is executed at one place, which traces itself, always.

Its own span is adopted; what it writes there at the end passes us, for it records an exception
twice, texts and all. A turn of several calls gets one more for all answers together: that is muted.
Of what the program or a workflow's node runs without an agent, the tools of functions are seen. A
tool that streams in a live session goes on after its call, which ends with an answer that is
pending: not seen is what it gives or raises then.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from toolspan.hooks import Adapter, Enrich, Hook, Invocation, Mute, Run, RunFacts, Witness
from toolspan.toolcall import Outcome, ToolCall, Word

#: What ADK answers in a tool's stead, and what that means.
ANSWERS: Final[dict[str, Word]] = {
    "This tool call requires confirmation, please approve or reject.": "interrupted",
    "This tool call is rejected.": "denied",
}


def read(invocation: Invocation) -> ToolCall:
    """Read the call that is prepared; a tool that is not there has a stand-in of its name."""
    call, agent = invocation.get("prepared_call"), getattr(invocation.get("agent"), "name", None)
    tool, given, id_ = call.tool, call.function_args, call.function_call.id
    return ToolCall(tool.name, given, tool.description, id_, agent=agent)


def read_tool(invocation: Invocation) -> ToolCall | None:
    """A function's tool that runs by itself: in an agent that is the same call.

    Of a tool that streams in a live session that call is over by now: its answer is `pending`.
    """
    tool, context = invocation.instance, invocation.get("tool_context")
    asked = getattr(context, "function_call_id", None) is not None
    if asked and inspect.isasyncgenfunction(tool.func):
        return None
    return ToolCall(tool.name, invocation.get("args"), tool.description)


def event_of(_event: Any) -> Outcome:
    """Nothing is read of the event: whoever executed the tool saw its value."""
    return Outcome()


def outcome(value: Any) -> Outcome:
    """What a tool gave: a dictionary with an error is how it, ADK or a person says no."""
    error = value.get("error") if type(value) is dict else None
    if type(error) is not str:
        soft = error is not None and (type(error) not in (bool, list, dict) or bool(error))
        return Outcome(value, error="tool_error" if soft else None)
    word = ANSWERS.get(error, "tool_error" if error else None)
    if error.startswith("Invoking `"):
        invalid = "argument validation errors" in error or "mandatory input" in error
        word = "invalid_arguments" if invalid else "tool_error"
    return Outcome(value, error=word, message=error)


def gave(invocation: Invocation, value: Any) -> Outcome:
    """The same, where a tool may have asked for a person in its body."""
    asks = invocation.get("tool_context").actions.requested_tool_confirmations
    return Outcome(value, error="interrupted") if asks else outcome(value)


def handled(invocation: Invocation, answer: Any) -> Outcome | None:
    """A callback made an answer of what the tool raised, or of a tool that is not there."""
    if type(invocation.get("tool")).__name__ == "BaseTool":
        return Outcome(error="unknown_tool")
    error = invocation.get("error")
    return None if answer is None else Outcome(error="error", exception=error)


def named(start: str) -> Any:
    """A `when`: ADK is about to make a span whose name starts so."""

    def when(invocation: Invocation) -> bool:
        name = invocation.args[0] if invocation.args else None
        return type(name) is str and name.startswith(start)

    return when


def read_run(invocation: Invocation) -> RunFacts:
    """A run of an agent, or what follows a person's answer, inside ADK's own span of it, if any."""
    context = invocation.get("invocation_context")
    agent = context.agent
    parts = getattr(context.user_content, "parts", None) or ()
    return RunFacts(
        name=agent.name,
        agent=agent.name,
        conversation=context.session.id,
        resumes=any(getattr(part, "function_response", None) is not None for part in parts),
    )


FLOWS, TOOLS = "google.adk.flows.llm_flows", "google.adk.flows.llm_flows.tools"
CALL = f"{TOOLS}._caller:_execute_single_prepared_call"
FUNCTION = "google.adk.tools.function_tool:FunctionTool.run_async"
#: What a call does first, inside ADK's span of it.
BEGUN = ("google.adk.plugins.plugin_manager:PluginManager.run_before_tool_callback",)
TRACING = "google.adk.telemetry.tracing"
SPAN = f"{TRACING}:tracer.start_as_current_span"

#: Of what ADK writes at the end: content, and what our own words say better.
SAID: Final = (
    *("gcp.vertex.agent.tool_call_args", "gcp.vertex.agent.tool_response"),
    *("gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
    *("gen_ai.tool.call.id", "gen_ai.tool.type", "gen_ai.agent.name"),
    *("gen_ai.tool.name", "gen_ai.tool.description"),
)

ADAPTER = Adapter(
    name="google-adk",
    title="Google ADK",
    traces="every tool of an agent, its own span adopted; tools of functions without an agent; "
    "unknown tools, rejected and awaited calls; the agent's run",
    distribution="google-adk",
    versions=">=2.13,<3",  # those before it and toolspan want other versions of OpenTelemetry
    words=(
        Hook(
            CALL, read, event_of, decide=BEGUN, deciding="before", also=(f"{TOOLS}._live_caller",)
        ),
        Hook(FUNCTION, read_tool, outcome, inside=True),
        Witness(f"{TOOLS}._caller:_call_tool_async", gave),
        Witness(f"{TOOLS}._live_caller:_call_tool_async", gave),
        Witness(f"{TOOLS}._caller:apply_confirmation_gate", gave),
        Witness(f"{TOOLS}._error_handler:run_on_tool_error_callbacks", handled),
        Enrich(SPAN, named("execute_tool ")),
        Mute(f"{TRACING}:trace_tool_call", texts=SAID, runs=True),
        Mute(SPAN, named("execute_tool (merged)"), beside=True),
        Mute(f"{TOOLS}._batch_executor:trace_merged_tool_calls", beside=True),
        Run(f"{FLOWS}.base_llm_flow:BaseLlmFlow.run_async", read_run),
        Run(f"{FLOWS}.base_llm_flow:BaseLlmFlow.run_live", read_run),
    ),
)
