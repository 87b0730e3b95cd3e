"""LangChain and LangGraph with a scripted model; the tools write down themselves what ran."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import InjectedToolArg, StructuredTool, ToolException, tool
from langchain_core.tools.base import InjectedToolCallId
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from opentelemetry import trace

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth
from ground_truth import noted, turns

try:
    from langchain.agents import create_agent
except ImportError:
    from langgraph.prebuilt import ToolNode, create_react_agent
    from pydantic import ValidationError

    def create_agent(model, tools, *, name, **options):
        """Make what was the agent before LangChain 1.0, as the one of 1.0 is made."""
        node = ToolNode(tools, handle_tool_errors=(ValidationError,))
        graph = create_react_agent(model, node, **options)
        graph.name = name or graph.name
        return graph.with_config(metadata={"lc_agent_name": name})


FRAMEWORK = "langchain"
#: Each execution of a tool's body: the tool's name, and the id of the span that was current in it.
RAN: list[tuple[str, int]] = []
HELLO = {"messages": [("user", "hello")]}


def counted(function):
    """Write down every execution of a tool's body, as it begins."""
    function = noted(function)

    def note():
        RAN.append((function.__name__, trace.get_current_span().get_span_context().span_id))

    @functools.wraps(function)
    def run(*args, **kwargs):
        note()
        return function(*args, **kwargs)

    @functools.wraps(function)
    async def run_async(*args, **kwargs):
        note()
        return await function(*args, **kwargs)

    return run_async if inspect.iscoroutinefunction(function) else run


# -- an agent without a provider -----------------------------------------------------------------


class Scripted(BaseChatModel):
    """Says one message of its script after the other, in every conversation from the beginning."""

    script: list[AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools, **_options):  # it follows its script
        return self

    def _generate(self, messages, *_args, **_options) -> ChatResult:
        said = sum(isinstance(message, AIMessage) for message in messages)
        answer = self.script[said].model_copy(deep=True)
        return ChatResult(generations=[ChatGeneration(message=answer)])


def asks(*calls) -> AIMessage:
    """The model's wish to call tools: of each its name, its arguments and the call's id."""
    return AIMessage("", tool_calls=[{"name": n, "args": a, "id": i} for n, a, i in calls])


def agent(*script, tools, name="helper", **options):
    """An agent whose model says `script`, and then that it is done."""
    model = Scripted(script=[*script, AIMessage("done")])
    return create_agent(model, tools, name=name, **options)


def remembering(*script, **options):
    """An agent that keeps its conversations, so that they can be resumed."""
    return agent(*script, checkpointer=InMemorySaver(), **options)


def thread(name):
    """The configuration that names a conversation."""
    return {"configurable": {"thread_id": name}}


# -- its tools -----------------------------------------------------------------------------------


@tool
@counted
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
@counted
async def add_async(a: int, b: int) -> int:
    """Add two numbers, later."""
    await asyncio.sleep(0)
    return a + b


@tool
@counted
def boom(reason: str = "broken") -> str:
    """Fail."""
    raise ValueError(reason)


@tool
@counted
def complain(reason: str = "no such city") -> str:
    """Fail in the way that LangChain offers to tools."""
    raise ToolException(reason)


@tool
@counted
def flaky() -> str:
    """Fail two times out of three."""
    if sum(name == "flaky" for name, _ in RAN) % 3:
        raise ConnectionError
    return "fine"


@tool
@counted
async def nap() -> None:
    """Sleep for longer than anybody waits."""
    await asyncio.sleep(60)


@tool
@counted
def block() -> str:
    """Sleep in a thread, where nothing can be cancelled."""
    time.sleep(0.05)
    return "slept"


@tool
@counted
def ask(question: str) -> str:
    """Ask a person."""
    return interrupt(question)


@tool
@counted
def twice(a: int) -> int:
    """Double a number by another tool."""
    return add.invoke({"a": a, "b": a})


@tool
@counted
def factorial(n: int) -> int:
    """Multiply, by calling itself."""
    return 1 if n < 2 else n * factorial.invoke({"n": n - 1})


@tool
@counted
def move(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command:
    """Answer with a command to the graph."""
    return Command(update={"messages": [ToolMessage("moved", tool_call_id=tool_call_id)]})


@tool
@counted
def leave() -> Command:
    """Answer with a command to the graph around this one."""
    return Command(graph=Command.PARENT, update={"messages": [AIMessage("left")]}, goto="after")


researcher = agent(asks(("add", {"a": 1, "b": 2}, "inner-1")), tools=[add], name="researcher")


@tool
@counted
def research(topic: str) -> str:
    """Ask another agent."""
    return researcher.invoke({"messages": [("user", topic)]})["messages"][-1].content


@tool
@counted
async def research_async(topic: str) -> str:
    """Ask another agent, and wait."""
    answer = await researcher.ainvoke({"messages": [("user", topic)]})
    return answer["messages"][-1].content


# -- for the contract ----------------------------------------------------------------------------


@tool
@counted
def echo(value: Any) -> Any:
    """Give back what came in."""
    return value


@tool
@counted
def keep(value: Annotated[Any, InjectedToolArg]) -> Any:
    """Give back what the program, not the model, handed in."""
    return value


@tool
@counted
def fail(error: Annotated[Any, InjectedToolArg]) -> None:
    """Raise what the program handed in."""
    raise error


#: Ways in which a value goes through a tool and comes back.
DOORS = {
    "argument": lambda value: echo.invoke({"value": value}),
    "injected": lambda value: keep.invoke({"value": value}),
    "async": lambda value: asyncio.run(keep.ainvoke({"value": value})),
    "message": lambda value: (
        keep.invoke(
            {"type": "tool_call", "name": "keep", "args": {"value": value}, "id": "call-1"}
        ).content
    ),
}
#: What a host may copy and pickle.
OBJECTS = {
    "tool": add,
    "async tool": add_async,
    "bound run": add.run,
    "bound arun": add.arun,
    "class": StructuredTool,
    "model": Scripted(script=[]),
    "agent": researcher,
}


def call(value):
    """Call a tool that gives back its argument, which the model gave."""
    return DOORS["argument"](value)


def raising(error):
    """Call a tool that raises `error`."""
    made = StructuredTool.from_function(lambda: throw(error), name="raising", description="Raise.")
    return made.invoke({})


def throw(error):
    raise error


def named(name):
    """Call a tool of that name."""
    made = StructuredTool.from_function(lambda: "ok", name="named", description="Be named.")
    made.name = name
    return made.invoke({})


def schemas():
    """What a model is told of a tool that is made just now, byte for byte."""

    def price(city: str, days: int = 2, *, currency: str | None = None) -> float:
        """Ask what a stay costs."""

    made = tool(price)
    told = [made.get_input_jsonschema(), made.get_output_jsonschema(), made.args]
    return json.dumps([*told, convert_to_openai_tool(made)])


# -- the situations of every framework -----------------------------------------------------------


def asking(calls, **options):
    """An agent whose model asks for these calls."""
    said = [asks(*((c.name, c.arguments, c.id) for c in turn)) for turn in turns(calls)]
    complaining = complain.model_copy(update={"handle_tool_error": True})
    tools = [add, add_async, boom, complaining, flaky, nap, research]
    return agent(*said, tools=tools, **options)


def raising_out(calls):
    with suppress(ValueError):
        asking(calls).invoke(HELLO)


def reviewed(calls, decision):
    """A person looks at the call before it runs."""
    from langchain.agents.middleware import HumanInTheLoopMiddleware

    review = HumanInTheLoopMiddleware({"add": True})
    graph = asking(calls, checkpointer=InMemorySaver(), middleware=[review])
    graph.invoke(HELLO, thread(f"truth-{decision}"))
    graph.invoke(Command(resume={"decisions": [{"type": decision}]}), thread(f"truth-{decision}"))


def granted(calls):
    """As since LangChain 1.0, or as before: the graph halts where its tools would run."""
    if find_spec("langchain"):
        return reviewed(calls, "approve")
    graph = asking(calls, checkpointer=InMemorySaver(), interrupt_before=["tools"])
    for given in (HELLO, None):
        graph.invoke(given, thread("truth-granted"))
    return None


def retried(calls):
    """As since LangChain 1.0, or as before: the graph runs the node of its tools again."""
    if find_spec("langchain"):
        from langchain.agents.middleware import ToolRetryMiddleware

        again = ToolRetryMiddleware(max_retries=3, initial_delay=0, jitter=False)
        return asking(calls, middleware=[again]).invoke(HELLO)
    return retrying(calls).invoke(HELLO)


def retrying(calls):
    """An agent made by hand: no other has a node whose policy is its user's."""
    from langgraph.graph import MessagesState, StateGraph
    from langgraph.prebuilt import tools_condition
    from langgraph.types import RetryPolicy

    said = [asks(*((c.name, c.arguments, c.id) for c in turn)) for turn in turns(calls)]
    model = Scripted(script=[*said, AIMessage("done")])
    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=Exception)
    graph = StateGraph(MessagesState)
    graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([flaky], handle_tool_errors=False), retry=policy)
    graph.add_edge("__start__", "agent")
    graph.add_edge("tools", "agent")
    graph.add_conditional_edges("agent", tools_condition)
    compiled = graph.compile()
    compiled.name = "helper"
    return compiled.with_config(metadata={"lc_agent_name": "helper"})


def through_mcp(calls):
    from langchain_mcp_adapters.tools import load_mcp_tools
    from mcp.server.fastmcp import FastMCP
    from mcp.shared.memory import create_connected_server_and_client_session

    server = FastMCP("sums")
    server.add_tool(ground_truth.add)

    async def main():
        async with create_connected_server_and_client_session(server._mcp_server) as session:
            said = [asks(*((c.name, c.arguments, c.id) for c in turn)) for turn in turns(calls)]
            await agent(*said, tools=await load_mcp_tools(session)).ainvoke(HELLO)

    asyncio.run(main())


SITUATIONS = {
    "sync": lambda calls: asking(calls).invoke(HELLO),
    "async": lambda calls: asyncio.run(asking(calls).ainvoke(HELLO)),
    "streaming": lambda calls: list(asking(calls).stream(HELLO)),
    "parallel": lambda calls: asyncio.run(asking(calls).ainvoke(HELLO)),
    "raising": raising_out,
    "soft error": lambda calls: asking(calls).invoke(HELLO),
    "unknown tool": lambda calls: asking(calls).invoke(HELLO),
    "invalid arguments": lambda calls: asking(calls).invoke(HELLO),
    "cancelled": lambda calls: asyncio.run(ground_truth.cancelled(asking(calls).ainvoke(HELLO))),
    "approval refused": lambda calls: reviewed(calls, "reject"),
    "approval granted later": granted,
    "retry": retried,
    "agent as a tool": lambda calls: asking(calls).invoke(HELLO),
    "direct call": lambda calls: [add.invoke(call.arguments) for call in calls],
    "MCP tools": through_mcp,
    "200 calls at once": lambda calls: ground_truth.in_threads(
        lambda some: asking(some).invoke(HELLO), calls
    ),
}
GAPS = {
    "timed out": "neither a tool nor its node has a timeout; a graph's `step_timeout` cancels",
}
#: The middleware tries again itself, with the model's one call id.
CALLS = {
    "retry": tuple(ground_truth.asked("flaky", outcome=word) for word in ("error", "error", "ok"))
}
NEEDS = {"MCP tools": "langchain_mcp_adapters"}
YOUNGER = {
    "approval refused": (
        "langchain",
        "`interrupt_before` halts the graph, and a person's no is a message",
    ),
}

WATCHED = {
    "timed out": ("time", "langchain_core.tools:BaseTool", "langgraph.prebuilt:ToolNode"),
}

if __name__ == "__main__":
    ground_truth.show(sys.modules[__name__])
