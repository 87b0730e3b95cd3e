"""CrewAI with a scripted model; the tools write down themselves what ran."""

from __future__ import annotations

import asyncio
import atexit
import gc
import io
import json
import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import warnings
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

HOME = tempfile.mkdtemp()
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ.update(
    HOME=HOME,  # it keeps files there
    CREWAI_DISABLE_TELEMETRY="true",  # it would send to CrewAI
    CREWAI_TRACING_ENABLED="false",
    CREWAI_TESTING="true",  # or it asks a new user whether it may
    CREWAI_DISABLE_VERSION_CHECK="true",
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of one of its modules that lets nobody set its attributes
    from crewai import Agent, BaseLLM, Crew, Task
from crewai.events.event_listener import event_listener  # noqa: E402  # it reads them at once
from crewai.hooks import (  # noqa: E402
    register_before_tool_call_hook,
    unregister_before_tool_call_hook,
)
from crewai.mcp import MCPServerHTTP  # noqa: E402
from crewai.tools import BaseTool, tool  # noqa: E402
from crewai.tools.structured_tool import CrewStructuredTool  # noqa: E402
from crewai.tools.tool_failure import ToolFailure  # noqa: E402
from crewai.utilities.agent_utils import convert_tools_to_openai_schema  # noqa: E402
from pydantic import PrivateAttr  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth  # noqa: E402
from ground_truth import Call, asked, cancelled, in_threads, noted, turns  # noqa: E402

FRAMEWORK = "crewai"
event_listener.formatter.console.quiet = True
logging.getLogger("crewai").setLevel("ERROR")  # it counts the tokens of a model it does not know


# -- an agent without a provider -----------------------------------------------------------------


class Scripted(BaseLLM):
    """Says one turn of its script after the other, as native calls or as text."""

    native: bool = True
    _script: Any = PrivateAttr()

    def supports_function_calling(self):
        return self.native

    def call(self, *_args, **_options):
        calls = next(self._script, None)
        if calls is None:
            return "done" if self.native else "Thought: I know\nFinal Answer: done"
        return [as_call(call) for call in calls] if self.native else as_text(*calls)


def as_call(call):
    """The model's wish to call a tool."""
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def as_text(call):
    """The model's text that asks for a tool, one in each turn."""
    return f"Thought: so\nAction: {call.name}\nAction Input: {json.dumps(call.arguments)}\n"


def agent(role, calls, tools, *, native=True, **options):
    """An agent whose model asks for these calls."""
    model = Scripted(model="scripted", native=native)
    model._script = iter(turns(calls))
    return Agent(role=role, goal=role, backstory=role, llm=model, tools=tools, **options)


# -- its tools -----------------------------------------------------------------------------------


@tool
@noted
def complain(reason: str) -> Any:
    """Fail, and tell the model why."""
    return ToolFailure(message=reason)


@tool
@noted
def flaky() -> str:
    """Fail two times out of three."""
    if len(ground_truth.RAN) % 3:
        raise ConnectionError
    return "fine"


@tool
@noted
def research(topic: str) -> str:
    """Let another agent work."""
    inner = [asked("add", ground_truth.ONE_AND_TWO, id="inner-1")]
    return agent("researcher", inner, [add]).kickoff(topic).raw


class Napping(BaseTool):
    """A tool that is awaited."""

    name: str = "nap"
    description: str = "Sleep for longer than anybody waits."

    def _run(self):
        raise NotImplementedError

    async def _arun(self):
        return await ground_truth.nap()


add, add_async, boom = map(tool, (ground_truth.add, ground_truth.add_async, ground_truth.boom))
TOOLS = [add, add_async, boom, complain, flaky, research]


# -- for the contract ----------------------------------------------------------------------------


class Echo(BaseTool):
    """Gives back what came in."""

    name: str = "give"
    description: str = "Give back what came in."

    def _run(self, value: Any):
        return value


class Kept(BaseTool):
    """Gives back, or raises, what the program, not the model, handed in."""

    name: str = "keep"
    description: str = "Give back what it keeps."
    _value: Any = PrivateAttr(None)
    _error: Any = PrivateAttr(None)

    def _run(self):
        if self._error is not None:
            raise self._error
        return self._value

    async def _arun(self):
        return self._value


def keeping(name="keep", value=None, error=None):
    """A tool that keeps a value."""
    made = Kept(name=name)
    made._value, made._error = value, error
    return made


echo = Echo()
#: Ways in which a value goes through a tool and comes back.
DOORS = {
    "argument": lambda value: echo.run(value=value),
    "positional": lambda value: echo.run(value),
    "injected": lambda value: keeping(value=value).run(),
    "async": lambda value: ground_truth.finished(keeping(value=value).arun()),
    "text": lambda value: keeping(value=value).to_structured_tool().invoke({}),
}
#: What a host may copy and pickle.
STRUCTURED = CrewStructuredTool.from_function(ground_truth.add)  # others hold a lock
OBJECTS = {"tool": STRUCTURED, "class": Kept, "run": Agent.message}


def call(value):
    """Call a tool that gives back its argument."""
    return echo.run(value=value)


def raising(error):
    """Call a tool that raises `error`."""
    return keeping(error=error).run()


def named(name):
    """Call a tool of that name."""
    return keeping(name, "ok").run()


def schemas():
    """What a model is told of a tool that is made just now, byte for byte."""
    fresh = tool(ground_truth.add)
    native, _, _ = convert_tools_to_openai_schema([fresh])
    return json.dumps([native, fresh.formatted_description])


# -- the situations of every framework -----------------------------------------------------------


def run(calls, *tools, **options):
    return agent("helper", calls, list(tools) or TOOLS, **options).kickoff("hello")


def text(calls, *tools, **options):
    return agent("writer", calls, list(tools) or TOOLS, native=False, **options).kickoff("hello")


def both(calls, **options):
    run(calls, **options)
    text(calls, **options)


def streamed(calls):
    helper = agent("helper", calls, TOOLS)
    task = Task(description="hello", expected_output="an answer", agent=helper)
    for _ in Crew(name="crew", agents=[helper], tasks=[task], stream=True).kickoff():
        pass


def asking(answer):
    """A person is asked before each call."""

    def approve(context):
        return context.request_human_input("May it?") == "yes"

    def situation(calls):
        before, sys.stdin = sys.stdin, io.StringIO(f"{answer}\n" * 2)
        register_before_tool_call_hook(approve)
        try:
            with redirect_stdout(io.StringIO()):
                both(calls)
        finally:
            unregister_before_tool_call_hook(approve)
            sys.stdin = before

    return situation


def at_once(_calls):
    in_threads(run, ALL["200 calls at once"])


#: Its number is part of the tool's name.
LISTENING = socket.create_server(("127.0.0.1", 0))
atexit.register(LISTENING.close)
URL = f"http://localhost:{LISTENING.getsockname()[1]}/mcp"
REMOTE = f"localhost:{LISTENING.getsockname()[1]}_mcp_add"


@contextmanager
def served():
    """An MCP server on this machine, whose tools run in this process."""
    import uvicorn
    from mcp.server.fastmcp import FastMCP

    def remote(a: int, b: int) -> int:
        return a + b

    remote.__name__ = REMOTE
    server = FastMCP("sums", stateless_http=True, json_response=True)
    server.add_tool(noted(remote), name="add")
    serving = uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="error"))
    with LISTENING.dup() as listening:
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
        thread.start()
        while not serving.started:
            time.sleep(0.01)
        try:
            yield
        finally:
            serving.should_exit = True
            thread.join()


def through_mcp(calls):
    with served():
        both(calls, mcps=[MCPServerHTTP(url=URL)])


@contextmanager
def quietly():
    """It warns of what it uses itself, and leaves a crew's database open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()


def quiet(situation):
    """Do that around a situation."""

    def act(calls):
        with quietly():
            situation(calls)

    return act


SITUATIONS = {
    "sync": run,
    "async": both,
    "streaming": streamed,
    "parallel": run,
    "raising": both,
    "soft error": both,
    "unknown tool": both,
    "invalid arguments": both,
    "cancelled": lambda _calls: asyncio.run(cancelled(Napping().arun())),
    "approval refused": asking("no"),
    "approval granted later": asking("yes"),
    "retry": both,
    "agent as a tool": both,
    "direct call": lambda calls: [add.run(**call.arguments) for call in calls],
    "MCP tools": through_mcp,
    "200 calls at once": at_once,
}
SITUATIONS = {name: quiet(situation) for name, situation in SITUATIONS.items()}
GAPS = {
    "timed out": "a tool has no time limit; that of an agent leaves the tool running in its thread",
}


def in_text(call):
    """The same call in what the model says: it has no id."""
    path = ("writer", *call.path[1:])
    mine = {"agent": "writer", "id": None} if call.agent == "helper" else {}
    return replace(call, path=path, run=100, turn=0, **mine)


def with_text(calls, times=1):
    """A tool that fails is tried again at once, without the model."""
    return (*calls, *(in_text(call) for call in calls for _ in range(times)))


ALL = ground_truth.SITUATIONS
CALLS = {
    **{name: with_text(ALL[name]) for name in ("async", "soft error", "unknown tool")},
    **{name: with_text(ALL[name], 6) for name in ("raising", "invalid arguments")},
    "agent as a tool": with_text(ALL["agent as a tool"]),
    # Whatever text asks once more for what it has just got is told not to.
    "retry": (
        *with_text(ALL["retry"]),
        *(in_text(replace(call, outcome="denied")) for call in ALL["retry"][1:]),
    ),
    "streaming": (replace(*ALL["streaming"], path=(None,)),),  # a crew is a workflow
    "cancelled": (Call("nap", outcome="cancelled"),),  # what an agent calls runs in a thread
    "approval refused": with_text([asked("add", ground_truth.ONE_AND_TWO, "denied")]),
    "approval granted later": with_text([asked("add", ground_truth.ONE_AND_TWO)]),
    "MCP tools": with_text([asked(REMOTE, ground_truth.ONE_AND_TWO)]),
}
#: Neighbours have a span for each agent of a crew too.
BESIDE = {"streaming": ALL["streaming"]}

WATCHED = {"timed out": ("time", "crewai.tools:BaseTool", "crewai.tools:tool")}

if __name__ == "__main__":
    ground_truth.show(sys.modules[__name__])
