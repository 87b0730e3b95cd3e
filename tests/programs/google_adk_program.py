"""Google ADK with a scripted model; the tools write down themselves what ran."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports what its own dependencies deprecate
    from google.adk.agents import LlmAgent
    from google.adk.agents.invocation_context import InvocationContext
    from google.adk.agents.run_config import RunConfig, StreamingMode
    from google.adk.apps import App
    from google.adk.flows.llm_flows.tools import _caller
    from google.adk.models.base_llm import BaseLlm
    from google.adk.models.llm_response import LlmResponse
    from google.adk.plugins import ReflectAndRetryToolPlugin
    from google.adk.runners import InMemoryRunner
    from google.adk.sessions import InMemorySessionService, Session
    from google.adk.telemetry import tracing
    from google.adk.tools import FunctionTool, LongRunningFunctionTool, ToolContext
    from google.adk.workflow import NodeTimeoutError
    from google.genai import types

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth
from ground_truth import asked, cancelled, finished, in_threads, noted, turns

FRAMEWORK = "google-adk"


# -- an agent without a provider -----------------------------------------------------------------


class Scripted(BaseLlm):
    """Says one turn of its script after the other, in every conversation from the beginning."""

    script: list[Any]

    async def generate_content_async(self, llm_request, stream=False):
        said = [c for c in llm_request.contents if c.role == "model"]
        turn = self.script[len(said)] if len(said) < len(self.script) else []
        parts = [types.Part(function_call=wish(call)) for call in turn]
        content = types.Content(role="model", parts=parts or [types.Part(text="done")])
        if stream and not turn:
            yield LlmResponse(content=content, partial=True)
        yield LlmResponse(content=content, partial=False if stream else None)


def wish(call):
    """The model's wish to call a tool."""
    return types.FunctionCall(id=call.id, name=call.name, args=call.arguments)


# -- its tools -----------------------------------------------------------------------------------


@noted
def complain(reason: str) -> dict:
    """Fail, and tell the model why."""
    return {"error": reason}


@noted
def flaky() -> str:
    """Fail two times out of three."""
    if len(ground_truth.RAN) % 3:
        raise ConnectionError
    return "fine"


@noted
async def research(topic: str) -> str:
    """Ask another agent."""
    await run_async_of(InMemoryRunner(researcher), topic)
    return "done"


def add(a: int, b: int, tool_context: ToolContext) -> int | None:
    """Add two numbers, after a person was asked."""
    done = ground_truth.add(a=a, b=b)
    if tool_context.tool_confirmation is None:
        tool_context.request_confirmation(hint="add?")
        return None
    return done


def was_asked(a: int, b: int, tool_context: ToolContext) -> bool:
    """The tool asks by itself; ADK heeds the answer."""
    return tool_context.tool_confirmation is not None


TOOLS = [ground_truth.add, ground_truth.add_async, ground_truth.boom, complain, flaky, research]
add_if_allowed = FunctionTool(add, require_confirmation=was_asked)


def agent(calls, tools=TOOLS, name="helper", **options):
    """An agent whose model asks for these calls."""
    model = Scripted(model="scripted", script=turns(calls))
    return LlmAgent(name=name, model=model, tools=list(tools), **options)


inner = [asked("add", ground_truth.ONE_AND_TWO, id="inner-1")]
researcher = agent(inner, [ground_truth.add], "researcher")
adder = FunctionTool(ground_truth.add)


def text(words):
    return types.Content(role="user", parts=[types.Part(text=words)])


async def run_async_of(runner, message="hello", session=None, **options):
    """One run; a session of its own, or one that goes on."""
    session = session or await session_of(runner)
    message = text(message) if isinstance(message, str) else message
    events = runner.run_async(user_id="me", session_id=session.id, new_message=message, **options)
    return [event async for event in events]


async def session_of(runner):
    return await runner.session_service.create_session(app_name=runner.app_name, user_id="me")


# -- for the contract ----------------------------------------------------------------------------

GIVEN: contextvars.ContextVar[Any] = contextvars.ContextVar("given")
GAVE: contextvars.ContextVar[list[Any]] = contextvars.ContextVar("gave")


async def echo(value: Any) -> Any:
    """Give back what came in."""
    return value


async def keep() -> Any:
    """Give back what the program, not the model, handed in."""
    return GIVEN.get()


async def fail() -> None:
    """Raise what the program handed in."""
    raise GIVEN.get()


def took(tool, args, tool_context, tool_response):
    """Take the tool's value before ADK makes a model of it, which then waits for another."""
    GAVE.get().append(tool_response)
    return {}


taker = LlmAgent(name="taker", after_tool_callback=took)


async def direct(function, arguments=None, call_id="direct-1", given=None, name=None):
    """Have a call executed as the flow of an agent does."""
    GIVEN.set(given)
    GAVE.set([])
    tool = LongRunningFunctionTool(function)
    tool.name = name or tool.name
    context = InvocationContext(
        session_service=InMemorySessionService(),
        invocation_id="direct",
        agent=taker,
        session=Session(id="direct", app_name="direct", user_id="me"),
    )
    call = types.FunctionCall.model_construct(id=call_id, name=tool.name, args={})
    prepared = _caller._PreparedFunctionCall(
        function_call=call,
        tool=tool,
        tool_context=_caller._create_tool_context(context, call),
        function_args=arguments or {},
        contextvars_snapshot=contextvars.copy_context(),
    )
    await _caller._execute_single_prepared_call_async(context, prepared, taker)
    return GAVE.get()[0]


#: Ways in which a value goes through a tool and comes back.
DOORS = {
    "argument": lambda value: finished(direct(echo, {"value": value})),
    "injected": lambda value: finished(direct(keep, given=value)),
    "async": lambda value: finished(direct(keep, given=value, call_id="direct-2")),
}
#: What a host may copy and pickle.
OBJECTS = {"tool": adder, "agent": researcher, "class": FunctionTool, "agents": LlmAgent}


def call(value):
    """Call a tool that gives back its argument, which the model gave."""
    return DOORS["argument"](value)


def raising(error):
    """Call a tool that raises `error`."""
    return finished(direct(fail, given=error))


def named(name):
    """Call a tool of that name."""
    return finished(direct(keep, given="ok", name=name))


def schemas():
    """What a model is told of a tool that is made just now, byte for byte."""

    def price(city: str, days: int = 2, *, currency: str | None = None) -> float:
        """Ask what a stay costs."""

    return FunctionTool(price)._get_declaration().model_dump_json()


# -- the situations of every framework -----------------------------------------------------------


def run(calls, *tools):
    """One run, in the thread that the framework starts for it."""
    runner = InMemoryRunner(agent(calls, tools or TOOLS))
    session = asyncio.run(session_of(runner))
    list(runner.run(user_id="me", session_id=session.id, new_message=text("hello")))


def run_async(calls, *tools, plugins=None, **options):
    app = App(name="sums", root_agent=agent(calls, tools or TOOLS), plugins=plugins or [])
    runner = InMemoryRunner(app=app)
    asyncio.run(run_async_of(runner, **options))


def raising_out(calls):
    with suppress(ValueError):
        run_async(calls)


def timed_out(calls):
    """An agent is a node of a workflow, and has its time limit."""
    runner = InMemoryRunner(agent(calls, [ground_truth.nap], timeout=0.2))
    with suppress(TimeoutError, NodeTimeoutError):
        asyncio.run(asyncio.wait_for(run_async_of(runner), 5))


async def reviewed(calls, decision, tool=add_if_allowed):
    """A person looks at the call before it runs."""
    runner = InMemoryRunner(agent(calls[:1], [tool]))
    session = await session_of(runner)
    for event in await run_async_of(runner, session=session):
        for call in event.get_function_calls():
            if call.name == "adk_request_confirmation":
                question = call
    answer = types.FunctionResponse(
        id=question.id, name=question.name, response={"confirmed": decision}
    )
    said = types.Content(role="user", parts=[types.Part(function_response=answer)])
    await run_async_of(runner, said, session)


async def through_mcp(calls):
    from google.adk.tools.mcp_tool import McpTool, StdioConnectionParams
    from google.adk.tools.mcp_tool.mcp_session_manager import MCPSessionManager
    from mcp import ClientSession, StdioServerParameters
    from mcp.client._memory import InMemoryTransport
    from mcp.server import MCPServer

    server = MCPServer("sums")
    server.add_tool(ground_truth.add)

    class InMemory(MCPSessionManager):
        async def create_session(self, *args, **kwargs):
            return session

    nowhere = StdioConnectionParams(server_params=StdioServerParameters(command="nothing"))
    async with InMemoryTransport(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        (found,) = (await session.list_tools()).tools
        tool = McpTool(mcp_tool=found, mcp_session_manager=InMemory(nowhere))
        await run_async_of(InMemoryRunner(agent(calls, [tool])))


async def directly(calls):
    for one in calls:
        await adder.run_async(args=one.arguments, tool_context=None)


SITUATIONS = {
    "sync": run,
    "async": run_async,
    "streaming": lambda calls: run_async(
        calls, run_config=RunConfig(streaming_mode=StreamingMode.SSE)
    ),
    "parallel": run_async,
    "raising": raising_out,
    "soft error": run_async,
    "unknown tool": run_async,
    "invalid arguments": run_async,
    "cancelled": lambda calls: asyncio.run(
        cancelled(run_async_of(InMemoryRunner(agent(calls, [ground_truth.nap]))))
    ),
    "timed out": timed_out,
    "approval refused": lambda calls: asyncio.run(reviewed(calls, decision=False)),
    "approval granted later": lambda calls: asyncio.run(reviewed(calls, decision=True)),
    "retry": lambda calls: run_async(calls, plugins=[ReflectAndRetryToolPlugin(max_retries=3)]),
    "agent as a tool": run_async,
    "direct call": lambda calls: asyncio.run(directly(calls)),
    "MCP tools": lambda calls: asyncio.run(through_mcp(calls)),
    "200 calls at once": lambda calls: in_threads(run_async, calls),
}
GAPS = {
    "timed out": "a tool has no time limit; that of an agent, a workflow's node, cancels what runs in it",
}
WATCHED = {"timed out": ("time", "google.adk.tools:BaseTool", "google.adk.tools:FunctionTool")}
#: The tool asks for a person itself, in its body.
CALLS = {
    "approval refused": (
        asked("add", ground_truth.ONE_AND_TWO, "interrupted"),
        asked("add", ground_truth.ONE_AND_TWO, "denied", run=1),
    ),
    "approval granted later": (
        asked("add", ground_truth.ONE_AND_TWO, "interrupted"),
        asked("add", ground_truth.ONE_AND_TWO, run=1),
    ),
}


@contextmanager
def traced_by_itself(provider):
    """With the framework's own spans, in the shape that has one for each agent and no other."""
    os.environ["ADK_TELEMETRY_SCHEMA_VERSION_OPT_IN"] = "1"
    tracing.tracer._real_tracer = provider.get_tracer("gcp.vertex.agent")
    try:
        yield
    finally:
        tracing.tracer._real_tracer = None
        del os.environ["ADK_TELEMETRY_SCHEMA_VERSION_OPT_IN"]


MODES = {"native": traced_by_itself}

if __name__ == "__main__":
    ground_truth.show(sys.modules[__name__])
