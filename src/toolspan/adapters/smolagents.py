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
    """Read a tool that is called, or an agent as one, whoever calls it."""
    tool, given = invocation.instance, dict(invocation.kwargs)
    given.pop("sanitize_inputs_outputs", None)
    given = _named(getattr(tool, "inputs", ("task",)), invocation.args, given)
    return ToolCall(tool.name or type(tool).__name__, given, tool.description)


def _named(inputs: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
    """The arguments by name: one dict of them is taken for all, as the framework does."""
    if len(args) == 1 and not given and type(args[0]) is dict:
        known = [type(name) is str and name in inputs for name in args[0]]
        return args[0] if all(known) else {next(iter(inputs), "0"): args[0]}
    return {**dict(zip(inputs, args, strict=False)), **given}


def read_wish(invocation: Invocation) -> ToolCall:
    """Read a call that the model asks for, of a tool, of a managed agent, or of nothing there."""
    return _wish(invocation.instance, invocation.get("tool_name"), invocation.get("arguments"))


def wishes(invocation: Invocation) -> list[ToolCall]:
    """All calls of one turn, with the ids that nobody tells the hooks below."""
    agent, asked = invocation.instance, invocation.get("chat_message").tool_calls
    wished = [(one.function, one.id) for one in asked]
    return [_wish(agent, what.name, what.arguments, id_) for what, id_ in wished]


def _wish(agent: Any, name: str, given: Any, id_: str | None = None) -> ToolCall:
    tool = agent.tools.get(name) or agent.managed_agents.get(name)
    given = _wished(agent.state, getattr(tool, "inputs", {}), given)
    return ToolCall(name, given, getattr(tool, "description", None), id_, agent=agent.name)


def _wished(kept: Any, inputs: Any, given: Any) -> Any:
    """The arguments as the tool gets them: a text may name a value that the agent keeps."""
    if type(given) is dict:
        return {key: kept.get(one, one) if type(one) is str else one for key, one in given.items()}
    if given is None or (type(given) is str and not given):
        return {}
    return _named(inputs, (given,), {})


def raised(error: BaseException) -> Outcome | None:
    """Unwrap what the tool raised; without such a cause there is no such tool."""
    cause = error.__cause__
    if is_a(error, "AgentToolCallError"):
        return Outcome(error="invalid_arguments", exception=cause)
    if not is_a(error, "AgentToolExecutionError"):
        return None
    return Outcome(error="unknown_tool" if cause is None else "error", exception=cause)


def read_run(invocation: Invocation) -> RunFacts:
    """A run of an agent, to its end or step by step."""
    agent = invocation.instance
    return RunFacts(name=agent.name or type(agent).__name__, agent=agent.name)


AGENTS, WISH = "smolagents.agents", "smolagents.agents:ToolCallingAgent.execute_tool_call"
CALLED = ("tools:Tool", "tools:PipelineTool", "agents:MultiStepAgent")
CALLS = tuple(f"smolagents.{one}.__call__" for one in CALLED)
#: Code has a pool since 1.25; in the one of the agent, which keeps the context, ours is idle.
POOL = "ThreadPoolExecutor"

ADAPTER = Adapter(
    name="smolagents",
    title="smolagents",
    traces="every tool and managed agent, wished for or called in a CodeAgent's local code; "
    "unknown tools, invalid arguments; the run",
    distribution="smolagents",
    versions=">=1.23,<2",
    words=(
        *(Hook(path, read, inside=True) for path in CALLS),
        Hook(WISH, read_wish, raised=raised, decide=CALLS, deciding="beside"),
        Carrier(f"{AGENTS}:ToolCallingAgent.process_tool_calls", wishes),
        KeepContext((f"smolagents.local_python_executor:{POOL}", f"{AGENTS}:{POOL}")),
        Run(f"{AGENTS}:MultiStepAgent._run_stream", read_run),
    ),
)
