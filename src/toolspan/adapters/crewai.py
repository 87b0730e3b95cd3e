"""CrewAI: a model asks for tools by native calls or in its text, a program calls them itself.

A native call is one call from its hooks and its cache to its answer, whatever becomes of it; the
text path tries a failing tool up to six times, each of which is a call. Versions before 1.15.21
pin an OpenTelemetry that is older than ours. Its own telemetry has a provider of its own.
"""

from __future__ import annotations

import sys
from typing import Any

from toolspan.adapters.model_json import arguments
from toolspan.hooks import Adapter, Hook, Invocation, Refusal, Run, RunFacts, Witness
from toolspan.toolcall import Outcome, ToolCall, Word, is_a

#: Why the framework says that a call failed; a call that is repeated too often did run.
WORDS: dict[str, Word | None] = {
    "exception": "error",
    "usage_limit": "denied",
    "unknown_tool": "unknown_tool",
    "invalid_input": "invalid_arguments",
    "repeated_call": None,
}


def read(invocation: Invocation) -> ToolCall:
    """Read a tool that runs, whoever runs it; positional arguments are those of its schema."""
    tool = invocation.instance
    fields = getattr(tool.args_schema, "model_fields", ())
    return _call(tool, {**dict(zip(fields, invocation.args, strict=False)), **invocation.kwargs})


def read_invoked(invocation: Invocation) -> ToolCall:
    """Read a tool that runs in the text path."""
    return _call(invocation.instance, arguments(invocation.get("input")))


def _call(tool: Any, given: Any, id_: str | None = None, *below: Any) -> ToolCall:
    original = getattr(tool, "_original_tool", None)
    bodies = (getattr(one, "func", None) for one in (tool, original))
    return ToolCall(
        name=tool.name,
        description=tool.description,
        arguments=given,
        id=id_,
        functions=(*below, *bodies),
    )


def read_native(invocation: Invocation) -> ToolCall | None:
    """Read what a model asked for, as the framework itself reads it."""
    wish, agent_utils = invocation.get("tool_call"), sys.modules["crewai.utilities.agent_utils"]
    known = agent_utils.extract_tool_call_info(wish)
    if known is None:
        return None
    id_, name, asked = known
    id_ = None if id_ == f"call_{id(wish)}" else id_  # nobody gave one
    functions = invocation.get("available_functions")
    if functions is None:
        functions = invocation.instance._available_functions  # noqa: SLF001  # nowhere else
    run = functions.get(name)
    if run is None:
        return ToolCall(name=name, arguments=arguments(asked), id=id_)
    return _call(run.__self__, arguments(asked), id_, run)


def outcome(value: Any) -> Outcome:
    """A tool may give a failure instead of a result."""
    return _failure(value) if is_a(value, "ToolFailure") else Outcome(value)


def _failure(failure: Any) -> Outcome:
    word = WORDS.get(failure.reason.value, "tool_error")
    return Outcome(failure.message, error=word, message=failure.message)


def answered(answer: Any) -> Outcome:
    """What the model gets; the tool's own value or error is known from below."""
    facts = answer if type(answer) is dict else vars(answer)
    if facts["from_cache"]:
        return Outcome(facts["result"], cached=True)
    blocked = facts["result"] == f"Tool execution blocked by hook. Tool: {facts['func_name']}"
    return Outcome(error="denied" if blocked else None)


def stopped(error: BaseException) -> Outcome | None:
    """The policy that ends the run over a failed tool."""
    record = getattr(error, "record", None) if is_a(error, "ToolExecutionFailedError") else None
    return None if record is None else _failure(record.failure)


def failed(invocation: Invocation, _none: Any) -> Outcome:
    """Why a native call failed: its body may not have run at all."""
    return _failure(invocation.get("failure"))


def blocked(_invocation: Invocation, blocked: Any) -> Outcome | None:
    """A hook of the program said no to a native call."""
    return Outcome(error="denied") if blocked is True else None


def invalid(_invocation: Invocation, error: Any) -> Outcome:
    """The arguments did not fit the tool's schema."""
    return Outcome(error="invalid_arguments", exception=error)


def denied(invocation: Invocation, blocked: Any) -> tuple[ToolCall, Outcome] | None:
    """A hook of the program said no in the text path."""
    if blocked is not True:
        return None
    context = invocation.get("context")
    return _call(context.tool, context.tool_input), Outcome(error="denied")


def unreadable(invocation: Invocation, calling: Any) -> tuple[ToolCall, Outcome] | None:
    """The text names no tool that is there, or gives it no arguments."""
    if not is_a(calling, "ToolUsageError"):
        return None
    action = invocation.instance.action
    unknown = f"Action '{action.tool}' don't exist" in calling.message
    asked = ToolCall(name=action.tool, arguments=arguments(action.tool_input))
    return asked, Outcome(error="unknown_tool" if unknown else "invalid_arguments")


def unused(invocation: Invocation, _none: Any) -> tuple[ToolCall, Outcome] | None:
    """The answer in the text path came from the cache, or says that the tool may not run again."""
    usage, tool = invocation.instance, invocation.get("tool")
    asked, seen = _call(tool, invocation.get("tool_calling").arguments), usage.last_raw_result
    if invocation.get("from_cache"):
        return asked, Outcome(seen, cached=True)
    limit = type(seen) is str and is_a(usage.last_failure, "ToolFailure")
    over = limit and usage.last_failure.reason.value == "usage_limit"
    return (asked, Outcome(error="denied")) if over else None


def repeated(invocation: Invocation, repeats: Any) -> tuple[ToolCall, Outcome] | None:
    """The text asks for what it has just got."""
    calling, tools = invocation.get("calling"), invocation.instance.tools
    if repeats is not True:
        return None
    sanitized = sys.modules["crewai.utilities.string_utils"].sanitize_tool_name
    tool = next(tool for tool in tools if sanitized(tool.name) == sanitized(calling.tool_name))
    return _call(tool, calling.arguments), Outcome(error="denied")


def read_agent(invocation: Invocation) -> RunFacts:
    """A run of an agent, by itself or for a task."""
    role = invocation.instance.role.strip()
    return RunFacts(name=role, agent=role)


def read_crew(invocation: Invocation) -> RunFacts | None:
    """A run of a crew or a flow: a streamed one calls this once more, when it runs."""
    whole = invocation.instance
    if whole.stream or is_a(whole, "AgentExecutor"):
        return None
    name = whole.name or type(whole).__name__
    return RunFacts(name=name, workflow=name)


TOOLS, UTILITIES = "crewai.tools", "crewai.utilities"
EXECUTORS = ("crewai.agents.agent_executor", "crewai.experimental.agent_executor")
USAGE = f"{TOOLS}.tool_usage:ToolUsage"
FAILURE = "handle_tool_failure"
BEFORE = "run_before_tool_call_hooks"

ADAPTER = Adapter(
    name="crewai",
    title="CrewAI",
    distribution="crewai",
    versions=">=1.15.21,<2",
    words=(
        *(
            Hook(f"{TOOLS}.base_tool:{kind}.{way}", read, outcome, inside=True)
            for kind in ("BaseTool", "Tool")
            for way in ("run", "arun")
        ),
        *(
            Hook(f"{TOOLS}.structured_tool:CrewStructuredTool.{way}", read_invoked, outcome)
            for way in ("invoke", "ainvoke")
        ),
        Witness(f"{TOOLS}.base_tool:BaseTool._validate_kwargs", invalid, "raised"),
        Witness(f"{TOOLS}.structured_tool:CrewStructuredTool._parse_args", invalid, "raised"),
        Hook(
            tuple(f"{one}:AgentExecutor._execute_single_native_tool_call" for one in EXECUTORS),
            read_native,
            answered,
            stopped,
        ),
        Hook(
            f"{UTILITIES}.agent_utils:execute_single_native_tool_call",
            read_native,
            answered,
            stopped,
            also=("crewai.agents.step_executor",),
        ),
        Witness(tuple(f"{one}:{FAILURE}" for one in EXECUTORS), failed, "before"),
        Witness(f"{UTILITIES}.agent_utils:{FAILURE}", failed, "before"),
        Witness(tuple(f"{one}:{BEFORE}" for one in EXECUTORS), blocked),
        Refusal(f"{UTILITIES}.tool_utils:{BEFORE}", denied),
        Refusal(f"{USAGE}.parse_tool_calling", unreadable),
        Refusal(f"{USAGE}.on_tool_use_finished", unused, "before"),
        Refusal(f"{USAGE}._check_tool_repeated_usage", repeated),
        *(
            Run(f"crewai.agent.core:Agent.{way}", read_agent)
            for way in ("kickoff", "kickoff_async", "execute_task", "aexecute_task")
        ),
        Run("crewai.lite_agent:LiteAgent.kickoff", read_agent),
        Run("crewai.crew:Crew.kickoff", read_crew),
        Run("crewai.crew:Crew.akickoff", read_crew),
        Run("crewai.flow.runtime:Flow.kickoff_async", read_crew),
    ),
)
