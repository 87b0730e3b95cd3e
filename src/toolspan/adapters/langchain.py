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
from toolspan.hooks.readers import fails, gives, raises
from toolspan.toolcall import Outcome, ToolCall, is_a

UNNAMED, AGENT = "LangGraph", "lc_agent_name"


def read(invocation: Invocation) -> ToolCall:
    """Read the tool and its input without what the framework injects; the run knows the agent."""
    tool, thread = invocation.instance, _conversation(invocation.get("config") or {})
    given, id_ = _arguments(tool, invocation.get("tool_input")), invocation.get("tool_call_id")
    runs = (getattr(tool, "func", None), getattr(tool, "coroutine", None))
    return ToolCall(tool.name, given, tool.description, id_, conversation=thread, functions=runs)


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


CALLBACKS = "langchain_core.callbacks.manager"
MANAGERS = (f"{CALLBACKS}:CallbackManager", f"{CALLBACKS}:AsyncCallbackManager")
TOOL_STARTS = tuple(f"{manager}.on_tool_start" for manager in MANAGERS)
RUN_STARTS = tuple(f"{manager}.on_chain_start" for manager in MANAGERS)
ENDS = tuple(f"{manager}ForToolRun" for manager in MANAGERS)
TOOLS = "langchain_core.tools.base"
GRAPHS = ("langgraph.pregel.main:Pregel", "langgraph.pregel:Pregel")

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
        Witness(f"{TOOLS}:BaseTool._to_args_and_kwargs", fails("invalid_arguments"), "raised"),
        Witness(f"{TOOLS}:_handle_tool_error", fails("tool_error", "e")),
        # What the callbacks are told, before a neighbour's span ends there:
        *(Witness(f"{one}.on_tool_end", gives(outcome, "output"), "before") for one in ENDS),
        *(Witness(f"{one}.on_tool_error", raises(raised, "error"), "before") for one in ENDS),
        *WORDS,
        *(
            Run(tuple(f"{graph}.{way}" for graph in GRAPHS), read_run, raised, RUN_STARTS)
            for way in ("stream", "astream")
        ),
    ),
)
