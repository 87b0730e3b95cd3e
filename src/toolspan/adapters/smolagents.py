"""smolagents: a tool is called as a function, by a program, by the model's code, or by its wish.

Only for a wish is there an id, known where the agent holds all wishes of one turn; what the tool
raised is wrapped there. Code runs in a thread, in which the context is kept. `final_answer` is a
tool like any other. What is not seen: tools in a remote executor, and a subclass's own `__call__`
that runs the tool without its parent's, where no ToolCallingAgent calls it.
"""

from __future__ import annotations

from typing import Any

from toolspan.hooks import Adapter, Carrier, Hook, Invocation, KeepContext, Run, RunFacts
from toolspan.toolcall import Outcome, ToolCall, is_a


def read(invocation: Invocation) -> ToolCall:
    """Read a tool that is called, whoever calls it."""
    tool, given = invocation.instance, dict(invocation.kwargs)
    given.pop("sanitize_inputs_outputs", None)
    return ToolCall(
        name=tool.name,
        description=tool.description,
        arguments=_named(tool.inputs, invocation.args, given),
    )


def read_agent(invocation: Invocation) -> ToolCall:
    """Read a managed agent that is called as a tool."""
    agent = invocation.instance
    return ToolCall(
        name=agent.name or type(agent).__name__,
        description=agent.description,
        arguments=_named({"task": None}, invocation.args, dict(invocation.kwargs)),
    )


def _named(inputs: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
    """The arguments by name: one dict of them is taken for all, as the framework does."""
    if len(args) == 1 and not given and type(args[0]) is dict:
        known = [type(name) is str and name in inputs for name in args[0]]
        return args[0] if all(known) else {next(iter(inputs), "0"): args[0]}
    return {**dict(zip(inputs, args, strict=False)), **given}


def read_wish(invocation: Invocation) -> ToolCall:
    """Read a call that the model asks for, of a tool, of a managed agent, or of nothing there."""
    agent, name = invocation.instance, invocation.get("tool_name")
    return ToolCall(
        name=name,
        description=getattr(_tool(agent, name), "description", None),
        arguments=_wished(agent, name, invocation.get("arguments")),
        agent=agent.name,
    )


def _tool(agent: Any, name: str) -> Any:
    return agent.tools.get(name) or agent.managed_agents.get(name)


def _wished(agent: Any, name: str, given: Any) -> Any:
    """The arguments as the tool gets them: a text may name a value that the agent keeps."""
    if type(given) is dict:
        kept = agent.state
        return {key: kept.get(one, one) if type(one) is str else one for key, one in given.items()}
    if given is None or (type(given) is str and not given):
        return {}
    return _named(getattr(_tool(agent, name), "inputs", {}), (given,), {})


def wishes(invocation: Invocation) -> list[ToolCall]:
    """All calls of one turn, with the ids that nobody tells the hooks below."""
    agent, asked = invocation.instance, invocation.get("chat_message").tool_calls
    return [
        ToolCall(name=what.name, arguments=_wished(agent, what.name, what.arguments), id=one.id)
        for one in asked
        for what in (one.function,)
    ]


def raised(error: BaseException) -> Outcome | None:
    """Unwrap what the tool raised; without such a cause there is no such tool."""
    if is_a(error, "AgentToolCallError"):
        return Outcome(error="invalid_arguments", exception=error.__cause__)
    if is_a(error, "AgentToolExecutionError"):
        word = "unknown_tool" if error.__cause__ is None else "error"
        return Outcome(error=word, exception=error.__cause__)  # type: ignore[arg-type]  # two words
    return None


def read_run(invocation: Invocation) -> RunFacts:
    """A run of an agent, to its end or step by step."""
    agent = invocation.instance
    return RunFacts(name=agent.name or type(agent).__name__, agent=agent.name)


TOOLS, AGENTS = "smolagents.tools", "smolagents.agents"
TOOL, PIPELINE = f"{TOOLS}:Tool.__call__", f"{TOOLS}:PipelineTool.__call__"
AGENT, WISH = f"{AGENTS}:MultiStepAgent.__call__", f"{AGENTS}:ToolCallingAgent.execute_tool_call"
CALLS = (TOOL, PIPELINE, AGENT)
#: Code has a pool since 1.25; in the one of the agent, which keeps the context, ours is idle.
POOL = "ThreadPoolExecutor"

ADAPTER = Adapter(
    name="smolagents",
    title="smolagents",
    traces=(
        "every tool and managed agent, wished for or called in a CodeAgent's local code; "
        "unknown tools, invalid arguments; the run"
    ),
    distribution="smolagents",
    versions=">=1.23,<2",
    words=(
        Hook(TOOL, read, inside=True),
        Hook(PIPELINE, read, inside=True),
        Hook(AGENT, read_agent, inside=True),
        Hook(WISH, read_wish, raised=raised, decide=CALLS, deciding="beside"),
        Carrier(f"{AGENTS}:ToolCallingAgent.process_tool_calls", wishes),
        KeepContext((f"smolagents.local_python_executor:{POOL}", f"{AGENTS}:{POOL}")),
        Run(f"{AGENTS}:MultiStepAgent._run_stream", read_run),
    ),
)
