"""Pydantic AI with a scripted model; the tools write down themselves what ran."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    DeferredToolResults,
    InstrumentationSettings,
    ModelRetry,
    RunContext,
    Tool,
    ToolDenied,
)
from pydantic_ai.capabilities import instrumentation as native
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tool_manager import ToolManager
from pydantic_ai.toolsets import FunctionToolset
from pydantic_ai.usage import RunUsage

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth
from ground_truth import asked, cancelled, finished, in_threads, noted, turns

FRAMEWORK = "pydantic-ai"


# -- an agent without a provider -----------------------------------------------------------------


def scripted(calls):
    """A model that says one turn after the other, in every conversation from the beginning."""
    script = turns(calls)

    def turn_after(messages):
        said = sum(isinstance(message, ModelResponse) for message in messages)
        return script[said] if said < len(script) else None

    def answer(messages, _info):
        turn = turn_after(messages)
        if turn is None:
            return ModelResponse([TextPart("done")])
        return ModelResponse([ToolCallPart(c.name, c.arguments, c.id) for c in turn])

    async def stream(messages, _info):
        turn = turn_after(messages)
        if turn is None:
            yield "done"
        else:
            yield {
                number: DeltaToolCall(call.name, json.dumps(call.arguments), tool_call_id=call.id)
                for number, call in enumerate(turn)
            }

    return FunctionModel(answer, stream_function=stream)


# -- its tools -----------------------------------------------------------------------------------


@noted
def complain(reason: str) -> str:
    """Fail, and tell the model why."""
    raise ModelRetry(reason)


@noted
def flaky() -> str:
    """Fail two times out of three, in the way that makes the model try again."""
    if len(ground_truth.RAN) % 3:
        raise ModelRetry("again")
    return "fine"


@noted
async def research(topic: str) -> str:
    """Ask another agent."""
    return (await researcher.run(topic)).output


add, nap = Tool(ground_truth.add), Tool(ground_truth.nap)
add_if_allowed = Tool(ground_truth.add, requires_approval=True)
short_nap = Tool(ground_truth.nap, timeout=0.02)
TOOLS = [add, ground_truth.add_async, ground_truth.boom, complain, flaky, research]


def agent(calls, tools=TOOLS, name="helper", **options):
    """An agent whose model asks for these calls."""
    return Agent(scripted(calls), name=name, tools=tools, retries=3, **options)


researcher = agent([asked("add", ground_truth.ONE_AND_TWO, id="inner-1")], [add], "researcher")


# -- for the contract ----------------------------------------------------------------------------

GIVEN: list[Any] = []


async def echo(value: Any) -> Any:
    """Give back what came in."""
    return value


async def keep() -> Any:
    """Give back what the program, not the model, handed in."""
    return GIVEN[0]


async def fail() -> None:
    """Raise what the program handed in."""
    raise GIVEN[0]


async def direct(tool, arguments=None, call_id="direct-1", given=None):
    """Have a tool called without an agent."""
    GIVEN[:] = [given]
    context = RunContext(deps=None, model=TestModel(), usage=RunUsage())
    manager = await ToolManager(FunctionToolset([tool])).for_run_step(context)
    name = tool.name if isinstance(tool, Tool) else tool.__name__
    return await manager.handle_call(ToolCallPart(name, arguments or {}, call_id))


#: Ways in which a value goes through a tool and comes back.
DOORS = {
    "argument": lambda value: finished(direct(echo, {"value": value})),
    "injected": lambda value: finished(direct(keep, given=value)),
    "async": lambda value: finished(direct(keep, given=value, call_id="direct-2")),
}
#: What a host may copy and pickle.
OBJECTS = {
    "tool": add,
    "class": Agent,
    "manager": ToolManager,
    "call": ToolCallPart("add", {}, "call-1"),
}


def call(value):
    """Call a tool that gives back its argument, which the model gave."""
    return DOORS["argument"](value)


def raising(error):
    """Call a tool that raises `error`."""
    return finished(direct(fail, given=error))


def named(name):
    """Call a tool of that name."""

    async def named() -> str:
        """Be named."""
        return "ok"

    return finished(direct(Tool(named, name=name)))


def schemas():
    """What a model is told of a tool that is made just now, byte for byte."""

    def price(city: str, days: int = 2, *, currency: str | None = None) -> float:
        """Ask what a stay costs."""

    made = Tool(price).tool_def
    return json.dumps([made.name, made.description, made.parameters_json_schema])


# -- the situations of every framework -----------------------------------------------------------


def run(calls, *tools):
    """One run, in a loop that the framework itself would leave open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        agent(calls, list(tools) or TOOLS).run_sync("hello")
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def run_async(calls, *tools):
    asyncio.run(agent(calls, list(tools) or TOOLS).run("hello"))


async def streamed(calls):
    async with agent(calls).run_stream("hello") as result:
        await result.get_output()


def raising_out(calls):
    with suppress(ValueError):
        run_async(calls)


async def reviewed(calls, decision):
    """A person looks at the call before it runs."""
    careful = agent(calls, [add_if_allowed], output_type=[str, DeferredToolRequests])
    first = await careful.run("hello")
    (waiting,) = first.output.approvals
    decided = DeferredToolResults(approvals={waiting.tool_call_id: decision})
    await careful.run(message_history=first.all_messages(), deferred_tool_results=decided)


def through_mcp(calls):
    from mcp.server import MCPServer
    from pydantic_ai.mcp import MCPToolset

    server = MCPServer("sums")
    server.add_tool(ground_truth.add)
    asyncio.run(agent(calls, [], toolsets=[MCPToolset(server)]).run("hello"))


SITUATIONS = {
    "sync": run,
    "async": run_async,
    "streaming": lambda calls: asyncio.run(streamed(calls)),
    "parallel": run_async,
    "raising": raising_out,
    "soft error": run_async,
    "unknown tool": run_async,
    "invalid arguments": run_async,
    "cancelled": lambda calls: asyncio.run(cancelled(agent(calls, [nap]).run("hello"))),
    "timed out": lambda calls: run_async(calls, short_nap),
    "approval refused": lambda calls: asyncio.run(reviewed(calls, ToolDenied())),
    "approval granted later": lambda calls: asyncio.run(reviewed(calls, decision=True)),
    "retry": run_async,
    "agent as a tool": run_async,
    "direct call": lambda calls: [
        asyncio.run(direct(add, call.arguments, call.id)) for call in calls
    ],
    "MCP tools": through_mcp,
    "200 calls at once": lambda calls: in_threads(run, calls),
}
GAPS = {}
NEEDS = {"MCP tools": "fastmcp"}
#: A call that the program makes has an id of the program's; to try again, a tool says so.
CALLS = {
    "direct call": (ground_truth.Call("add", ground_truth.ONE_AND_TWO, id="direct-1"),),
    "retry": tuple(
        asked("flaky", outcome=word, number=n, turn=n)
        for n, word in enumerate(("tool_error", "tool_error", "ok"))
    ),
}


@contextmanager
def traced_by_itself(provider):
    """With the framework's own spans."""
    Agent.instrument_all(InstrumentationSettings(tracer_provider=provider))
    try:
        yield
    finally:
        Agent.instrument_all(instrument=False)


#: What makes those spans can be reached from 2.68 on.
MODES = {"native": traced_by_itself} if hasattr(native, "start_as_current_span") else {}

if __name__ == "__main__":
    ground_truth.show(sys.modules[__name__])
