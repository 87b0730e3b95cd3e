"""LlamaIndex with a scripted model; the tools write down themselves what ran."""

from __future__ import annotations

import asyncio
import json
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    CustomLLM,
    LLMMetadata,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import AsyncBaseTool, FunctionTool, ToolMetadata, ToolOutput
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
from workflows.errors import WorkflowTimeoutError

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth
from ground_truth import asked, cancelled, finished, in_threads, noted, turns

FRAMEWORK = "llamaindex"


# -- an agent without a provider -----------------------------------------------------------------


class Scripted(CustomLLM, FunctionCallingLLM):
    """Says one turn of its script after the other, in every conversation from the beginning."""

    script: list[Any]

    @property
    def metadata(self):
        return LLMMetadata(is_function_calling_model=True, model_name="scripted")

    def said(self, chat_history):
        """What comes after the turns that were said."""
        number = sum(message.role == "assistant" for message in chat_history)
        turn = self.script[number] if number < len(self.script) else ()
        wishes = [
            ToolSelection(tool_id=c.id, tool_name=c.name, tool_kwargs=c.arguments) for c in turn
        ]
        text = ChatMessage(role="assistant", content="" if turn else "done")
        return ChatResponse(message=text, additional_kwargs={"wishes": wishes})

    async def achat_with_tools(self, *_args, chat_history, **_options):
        return self.said(chat_history)

    async def astream_chat_with_tools(self, *_args, chat_history, **_options):
        async def stream():
            yield self.said(chat_history)

        return stream()

    def get_tool_calls_from_response(self, response, **_options):
        return response.additional_kwargs["wishes"]

    def _prepare_chat_with_tools(self, *_args, **_options):
        raise NotImplementedError

    def complete(self, *_args, **_options):
        return CompletionResponse(text="")

    def stream_complete(self, *_args, **_options):
        raise NotImplementedError


# -- its tools -----------------------------------------------------------------------------------


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return ground_truth.add(a=a, b=b)


@noted
def flaky() -> str:
    """Fail two times out of three."""
    if len(ground_truth.RAN) % 3:
        raise ConnectionError
    return "fine"


class Complaint(AsyncBaseTool):
    """A tool of a user's class, that tells the model of a failure."""

    metadata = ToolMetadata("Fail, and tell the model why.", "complain")

    def call(self, **given):
        @noted
        def complain(reason):
            return ToolOutput("complain", reason, raw_input=given, is_error=True)

        return complain(**given)

    async def acall(self, **given):
        return self.call(**given)


async def careful(ctx: Context, a: int, b: int) -> int:
    """Add two numbers, if a person allows it."""

    @noted
    async def careful(a, b):
        await ctx.wait_for_event(HumanResponseEvent, waiter_event=InputRequiredEvent())
        return a + b

    return await careful(a, b)


careful.__annotations__["ctx"] = Context  # the framework compares what stands here


@noted
async def research(topic: str) -> str:
    """Ask another agent."""
    return str(await researcher.run(topic))


def tools_of(*functions):
    return [FunctionTool.from_defaults(one) for one in functions]


ADD = FunctionTool.from_defaults(add)
TOOLS = [
    ADD,
    Complaint(),
    *tools_of(
        ground_truth.add_async, ground_truth.boom, ground_truth.nap, flaky, careful, research
    ),
]


def agent(calls, tools=TOOLS, name="helper", **options):
    """An agent whose model asks for these calls."""
    options = {"streaming": False, "description": name, **options}
    return FunctionAgent(name=name, llm=Scripted(script=turns(calls)), tools=tools, **options)


def quietly(act):
    """Every agent that is made or takes a step asks itself for all it has, deprecated or not."""

    def quiet(*args):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return act(*args)

    return quiet


INNER = [asked("add", ground_truth.ONE_AND_TWO, id="inner-1")]
researcher = quietly(agent)(INNER, [ADD], "researcher")


# -- for the contract ----------------------------------------------------------------------------


def give(value: Any) -> Any:
    """Give back what came in."""
    return value


class Kept(AsyncBaseTool):
    """Gives back, or raises, what the program, not the model, handed in."""

    def __init__(self, value=None, error=None, name="keep"):
        self.value, self.error = value, error
        self.metadata = ToolMetadata("Give back what it keeps.", name)

    metadata = None

    def call(self):
        if self.error is not None:
            raise self.error
        return ToolOutput(self.metadata.name, raw_input={}, raw_output=self.value)

    async def acall(self):
        return self.call()


class Echo(Kept):
    """Gives back what came in, which a FunctionTool would also write out."""

    def call(self, value):
        return ToolOutput("echo", raw_input={}, raw_output=value)

    async def acall(self, value):
        return self.call(value)


#: A class of tools, which `call` passes.
MEMBER = FunctionTool
#: Ways in which a value goes through a tool and comes back.
DOORS = {
    "argument": lambda value: Echo()(value).raw_output,
    "injected": lambda value: Kept(value)().raw_output,
    "async": lambda value: finished(Kept(value).acall()).raw_output,
}
#: What a host may copy and pickle.
OBJECTS = {
    "tool": ADD,
    "kept": Kept(1),
    "class": FunctionTool,
    "agent": researcher,
}


def call(value):
    """Call a tool that gives back its argument."""
    return FunctionTool.from_defaults(give)(value=value).raw_output


def raising(error):
    """Call a tool that raises `error`."""
    return Kept(error=error)()


def named(name):
    """Call a tool of that name."""
    return Kept("ok", name=name)().raw_output


def schemas():
    """What a model is told of a tool that is made just now, byte for byte."""

    def price(city: str, days: int = 2, *, currency: str | None = None) -> float:
        """Ask what a stay costs."""

    return json.dumps(
        [FunctionTool.from_defaults(one).metadata.to_openai_tool() for one in (price, add)]
    )


# -- the situations of every framework -----------------------------------------------------------


async def run(calls, tools=TOOLS, **options):
    await agent(calls, tools, **options).run("hello")


def once(calls):
    asyncio.run(run(calls))


async def streamed(calls):
    handler = agent(calls, streaming=True).run("hello")
    async for _ in handler.stream_events():
        pass
    await handler


async def timed_out(calls):
    with suppress(WorkflowTimeoutError):
        await run(calls, timeout=0.1)


async def reviewed(calls):
    """A person looks at the call after its tool has begun."""
    handler = agent(calls).run("hello")
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            handler.ctx.send_event(HumanResponseEvent(response="yes"))
    await handler


async def through_mcp(calls):
    from llama_index.tools.mcp import McpToolSpec
    from mcp.client import Client
    from mcp.server import MCPServer

    server = MCPServer("sums")
    server.add_tool(ground_truth.add)
    async with Client(server) as client:
        await run(calls, await McpToolSpec(client).to_tool_list_async())


WAYS = {
    "streaming": lambda calls: asyncio.run(streamed(calls)),
    "cancelled": lambda calls: asyncio.run(cancelled(run(calls))),
    "timed out": lambda calls: asyncio.run(timed_out(calls)),
    "approval granted later": lambda calls: asyncio.run(reviewed(calls)),
    "direct call": lambda calls: [ADD(**call.arguments) for call in calls],
    "MCP tools": lambda calls: asyncio.run(through_mcp(calls)),
    "200 calls at once": lambda calls: in_threads(once, calls),
}
GAPS = {
    "timed out": "only a run has a time limit, and cancels what runs in it",
    "approval refused": "a tool asks the person itself, and what it answers then is its result",
}
SITUATIONS = {
    name: quietly(WAYS.get(name, once))
    for name in ground_truth.SITUATIONS
    if name != "approval refused"
}
#: The tool begins, waits for a person, and begins again.
CALLS = {
    "approval granted later": tuple(
        asked("careful", ground_truth.ONE_AND_TWO, outcome) for outcome in ("interrupted", "ok")
    ),
}
NEEDS = {"MCP tools": "llama_index.tools.mcp"}

WATCHED = {
    "timed out": ("time", "llama_index.core.tools:FunctionTool"),
    "approval refused": ("approv|confirm|permi", "llama_index.core.tools:FunctionTool"),
}

if __name__ == "__main__":
    ground_truth.show(sys.modules[__name__])
