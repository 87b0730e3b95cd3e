"""OpenAI Agents with a scripted model; the tools write down themselves what ran."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents import (
    Agent,
    FunctionTool,
    ModelBehaviorError,
    RunContextWrapper,
    Runner,
    function_tool,
    set_trace_processors,
)
from agents.items import ModelResponse
from agents.models.interface import Model
from agents.tool import invoke_function_tool
from agents.tool_context import ToolContext
from agents.usage import Usage
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth
from ground_truth import asked, cancelled, finished, in_threads, noted, turns

FRAMEWORK = "openai-agents"
set_trace_processors([])  # the one that is there would send to OpenAI


# -- an agent without a provider -----------------------------------------------------------------


class Scripted(Model):
    """Says one turn of its script after the other, in every conversation from the beginning."""

    def __init__(self, script):
        self.script = script

    def said(self, given):
        """What comes after the turns whose answers are there."""
        items = given if isinstance(given, list) else []
        answered = {item.get("call_id") for item in items if "output" in item}
        for turn in self.script:
            if not answered >= {call.id for call in turn}:
                return [wish(call) for call in turn]
        text = ResponseOutputText(text="done", type="output_text", annotations=[])
        return [
            ResponseOutputMessage(
                id="1", content=[text], role="assistant", status="completed", type="message"
            )
        ]

    async def get_response(self, system_instructions, input, *_args, **_options):  # noqa: A002  # theirs
        return ModelResponse(output=self.said(input), usage=Usage(), response_id=None)

    async def stream_response(self, system_instructions, input, *_args, **_options):  # noqa: A002  # theirs
        response = Response(
            id="1",
            created_at=0,
            model="scripted",
            object="response",
            output=self.said(input),
            tool_choice="none",
            tools=[],
            parallel_tool_calls=True,
        )
        yield ResponseCompletedEvent(
            type="response.completed", response=response, sequence_number=0
        )


def wish(call):
    """The model's wish to call a tool."""
    return ResponseFunctionToolCall(
        call_id=call.id, name=call.name, arguments=json.dumps(call.arguments), type="function_call"
    )


# -- its tools -----------------------------------------------------------------------------------

add, add_async, boom = map(
    function_tool, (ground_truth.add, ground_truth.add_async, ground_truth.boom)
)
add_if_allowed = function_tool(ground_truth.add, needs_approval=True)
nap, short_nap = function_tool(ground_truth.nap), function_tool(ground_truth.nap, timeout=0.02)


def told(_context, error):
    """How the tool's author lets the model know."""
    return f"sorry: {error}"


@function_tool(failure_error_function=told)
@noted
def complain(reason: str) -> str:
    """Fail, and tell the model why."""
    raise LookupError(reason)


@function_tool
@noted
def flaky() -> str:
    """Fail two times out of three."""
    if len(ground_truth.RAN) % 3:
        raise ConnectionError
    return "fine"


TOOLS = [add, add_async, boom, complain, flaky]


def agent(calls, tools=TOOLS, name="helper", **options):
    """An agent whose model asks for these calls."""
    return Agent(name=name, model=Scripted(turns(calls)), tools=tools, **options)


inner = [asked("add", ground_truth.ONE_AND_TWO, id="inner-1")]
researcher = agent(inner, [add], "researcher")


@function_tool
@noted
async def research(topic: str) -> str:
    """Ask another agent."""
    return (await Runner.run(researcher, topic)).final_output


# -- for the contract ----------------------------------------------------------------------------


@function_tool
async def echo(value: str) -> str:
    """Give back what came in."""
    return value


@function_tool
async def keep(wrapper: RunContextWrapper[Any]) -> Any:
    """Give back what the program, not the model, handed in."""
    return wrapper.context


@function_tool(failure_error_function=None)
async def fail(wrapper: RunContextWrapper[Any]) -> None:
    """Raise what the program handed in."""
    raise wrapper.context


async def direct(tool, arguments="{}", call_id="direct-1", given=None):
    """Invoke a tool without an agent."""
    context = ToolContext(given, None, tool.name, call_id, arguments)
    return await invoke_function_tool(function_tool=tool, context=context, arguments=arguments)


#: Ways in which a value goes through a tool and comes back; as an argument, only text is JSON.
DOORS = {
    "argument": lambda value: finished(direct(echo, value)),
    "injected": lambda value: finished(direct(keep, given=value)),
    "async": lambda value: finished(direct(keep, given=value, call_id=None)),
}
#: What a host may copy and pickle.
OBJECTS = {
    "tool": add,
    "handled tool": complain,
    "agent": researcher,
    "class": FunctionTool,
    "run": Runner.run,
}


def call(value):
    """Call a tool that gives back its argument, which the model gave."""
    return finished(direct(echo, json.dumps({"value": value})))


def raising(error):
    """Call a tool that raises `error`."""
    return finished(direct(fail, given=error))


def named(name):
    """Call a tool of that name."""

    @function_tool
    async def named() -> str:
        """Be named."""
        return "ok"

    return finished(direct(replace(named, name=name)))


def schemas():
    """What a model is told of a tool that is made just now, byte for byte."""

    def price(city: str, days: int = 2, *, currency: str | None = None) -> float:
        """Ask what a stay costs."""

    made = function_tool(price)
    return json.dumps([made.name, made.description, made.params_json_schema])


# -- the situations of every framework -----------------------------------------------------------


def run(calls, *tools, **options):
    """One run, in a loop that the framework itself would leave open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return Runner.run_sync(agent(calls, list(tools) or TOOLS, **options), "hello")
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def run_async(calls, *tools, **options):
    return asyncio.run(Runner.run(agent(calls, list(tools) or TOOLS, **options), "hello"))


def in_a_thread(calls):
    async def main():
        await Runner.run(agent(calls), "hello")

    asyncio.run(main())


async def streamed(calls):
    streaming = Runner.run_streamed(agent(calls), "hello")
    async for _ in streaming.stream_events():
        pass


def unknown(calls):
    with suppress(ModelBehaviorError):
        run_async(calls)


async def reviewed(calls, decide):
    """A person looks at the call before it runs."""
    careful = agent(calls, [add_if_allowed])
    first = await Runner.run(careful, "hello")
    state = first.to_state()
    decide(state, first.interruptions[0])
    await Runner.run(careful, state)


async def through_mcp(calls):
    from agents.mcp.server import _MCPServerWithClientSession
    from mcp.client._memory import InMemoryTransport
    from mcp.server import MCPServer

    server = MCPServer("sums")
    server.add_tool(ground_truth.add)

    class InMemory(_MCPServerWithClientSession):
        name = "sums"

        def create_streams(self):
            return InMemoryTransport(server)

    async with InMemory(cache_tools_list=True, client_session_timeout_seconds=5) as memory:
        await Runner.run(agent(calls, [], mcp_servers=[memory]), "hello")


SITUATIONS = {
    "sync": run,
    "async": run_async,
    "streaming": lambda calls: asyncio.run(streamed(calls)),
    "parallel": run_async,
    "raising": run_async,
    "soft error": run_async,
    "unknown tool": unknown,
    "invalid arguments": run_async,
    "cancelled": lambda calls: asyncio.run(cancelled(Runner.run(agent(calls, [nap]), "hello"))),
    "timed out": lambda calls: run_async(calls, short_nap),
    "approval refused": lambda calls: asyncio.run(reviewed(calls, lambda s, i: s.reject(i))),
    "approval granted later": lambda calls: asyncio.run(reviewed(calls, lambda s, i: s.approve(i))),
    "retry": run_async,
    "agent as a tool": lambda calls: run_async(calls, research),
    "direct call": lambda calls: [
        asyncio.run(direct(add, json.dumps(call.arguments), call.id)) for call in calls
    ],
    "MCP tools": lambda calls: asyncio.run(through_mcp(calls)),
    "200 calls at once": lambda calls: in_threads(in_a_thread, calls),
}
GAPS = {}
#: A call that the program makes has an id of the program's.
CALLS = {"direct call": (ground_truth.Call("add", ground_truth.ONE_AND_TWO, id="direct-1"),)}

if __name__ == "__main__":
    ground_truth.show(sys.modules[__name__])
