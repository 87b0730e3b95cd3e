"""LangChain and LangGraph: every tool runs through BaseTool.run or arun, every graph streams.

The callback-based neighbours open their spans inside `on_tool_start` and `on_chain_start`, so it
is decided there whose span it is. A handled error leaves `run` as an ordinary message. Another
framework's tool may be one of these. Not seen: a tool of a class that has an `invoke` of its own,
without its parent's.
"""

from __future__ import annotations

from typing import Any

from toolspan.adapters.langchain_refused import WORDS
from toolspan.hooks import Adapter, Hook, Invocation, Run, RunFacts, Witness
from toolspan.toolcall import Outcome, ToolCall, is_a

CALLBACKS = "langchain_core.callbacks.manager"
UNNAMED, AGENT = "LangGraph", "lc_agent_name"


def read(invocation: Invocation) -> ToolCall:
    """Read the tool and its input without what the framework injects; the run knows the agent."""
    tool = invocation.instance
    return ToolCall(
        name=tool.name,
        description=tool.description,
        arguments=_arguments(tool, invocation.get("tool_input")),
        id=invocation.get("tool_call_id"),
        conversation=_conversation(invocation.get("config") or {}),
        functions=(getattr(tool, "func", None), getattr(tool, "coroutine", None)),
    )


def _arguments(tool: Any, given: Any) -> Any:
    injected = getattr(tool, "_filter_injected_args", None)
    return injected(given) if injected is not None and type(given) is dict else given


def _conversation(config: Any) -> str | None:
    thread = (config.get("configurable") or {}).get("thread_id")
    return thread if type(thread) is str else None


def outcome(value: Any) -> Outcome:
    """A ToolMessage carries the result as content, and a handled error as its status."""
    if not is_a(value, "ToolMessage"):
        return Outcome(value)
    if value.status == "error":
        return Outcome(value.content, error="tool_error", message=_text(value.content))
    return Outcome(value.content)


def raised(error: BaseException) -> Outcome | None:
    """Tell the graph's control flow from failures."""
    if is_a(error, "ParentCommand"):
        return Outcome()
    return Outcome(error="interrupted") if is_a(error, "GraphBubbleUp") else None


def refused_arguments(_invocation: Invocation, error: Any) -> Outcome:
    """The arguments did not fit the tool's schema."""
    return Outcome(error="invalid_arguments", exception=error)


def handled_error(invocation: Invocation, _value: Any) -> Outcome:
    """The exception that `handle_tool_error` turns into a message."""
    return Outcome(error="tool_error", exception=invocation.get("e"))


def answered(invocation: Invocation, _value: Any) -> Outcome:
    """What the callbacks are told, before a neighbour's span ends there."""
    return outcome(invocation.get("output"))


def failed(invocation: Invocation, _value: Any) -> Outcome:
    """The exception that the callbacks are told."""
    error = invocation.get("error")
    return raised(error) or Outcome(error="error", exception=error)


def read_run(invocation: Invocation) -> RunFacts:
    """A graph that starts to stream is a run; a resuming input takes up an earlier one.

    It names its agent itself, if it does: a config that is handed on names the agent around it.
    """
    graph, config = invocation.instance, invocation.get("config") or {}
    mine, around = ((one or {}).get("metadata") or {} for one in (graph.config, config))
    name = None if graph.name == UNNAMED else graph.name
    given = invocation.get("input")
    return RunFacts(
        name=graph.name,
        agent=mine.get(AGENT) or name or around.get(AGENT),
        conversation=_conversation(config),
        resumes=is_a(given, "Command") and given.resume is not None,
    )


def _text(content: Any) -> str | None:
    return content if type(content) is str else None


MANAGERS = (f"{CALLBACKS}:CallbackManager", f"{CALLBACKS}:AsyncCallbackManager")
TOOL_STARTS = tuple(f"{manager}.on_tool_start" for manager in MANAGERS)
RUN_STARTS = tuple(f"{manager}.on_chain_start" for manager in MANAGERS)
TOOLS = "langchain_core.tools.base"
GRAPHS = ("langgraph.pregel.main:Pregel", "langgraph.pregel:Pregel")
ENDS = ("CallbackManagerForToolRun", "AsyncCallbackManagerForToolRun")

ADAPTER = Adapter(
    name="langchain",
    title="LangChain, LangGraph",
    traces="every run of a tool; unknown tools, rejected and interrupted calls, and those that "
    "middleware answers; the graph's run",
    distribution="langchain-core",
    versions=">=0.3.23,<2",
    words=(
        Hook(f"{TOOLS}:BaseTool.run", read, outcome, raised, TOOL_STARTS, inside=True),
        Hook(f"{TOOLS}:BaseTool.arun", read, outcome, raised, TOOL_STARTS, inside=True),
        Witness(f"{TOOLS}:BaseTool._to_args_and_kwargs", refused_arguments, "raised"),
        Witness(f"{TOOLS}:_handle_tool_error", handled_error),
        *(Witness(f"{CALLBACKS}:{end}.on_tool_end", answered, "before") for end in ENDS),
        *(Witness(f"{CALLBACKS}:{end}.on_tool_error", failed, "before") for end in ENDS),
        *WORDS,
        *(
            Run(tuple(f"{graph}.{way}" for graph in GRAPHS), read_run, raised, RUN_STARTS)
            for way in ("stream", "astream")
        ),
    ),
)
