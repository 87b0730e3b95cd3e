"""A FastMCP server and its client in one process; the tools write down themselves what ran."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

from fastmcp import Client, FastMCP, telemetry
from fastmcp.exceptions import ToolError
from fastmcp.tools import Tool

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth
from ground_truth import asked_by_a_client, cancelled, finished, in_threads, noted

FRAMEWORK = "fastmcp"


@noted
def complain(reason: str) -> str:
    """Fail, and tell the client why."""
    raise ToolError(reason)


TOOLS = (ground_truth.add, ground_truth.add_async, ground_truth.boom, ground_truth.nap, complain)


def served():
    """A server with tools."""
    server = FastMCP("calculator")
    for function in TOOLS:
        server.tool(function)
    return server


# -- for the contract ----------------------------------------------------------------------------

GIVEN: contextvars.ContextVar[Any] = contextvars.ContextVar("given")


class Plain(Tool):
    """Gives whatever it likes, which from 4.2 has to be a result."""

    def _mark_non_object_result(self, result):
        return result


class Echo(Plain):
    """Gives back what came in."""

    async def run(self, arguments):
        return arguments["value"]


class Keep(Plain):
    """Gives back what the program, not the client, handed in."""

    async def run(self, arguments):
        return GIVEN.get()


class Later(Keep):
    """The same, a moment later."""

    async def run(self, arguments):
        await asyncio.sleep(0)
        return await super().run(arguments)


class Fail(Plain):
    """Raises what the program handed in."""

    async def run(self, arguments):
        raise GIVEN.get()


PARAMETERS = {"type": "object", "properties": {}}
echo, keep, later, fail = (
    kind(name=kind.__name__, parameters=PARAMETERS) for kind in (Echo, Keep, Later, Fail)
)
adder = Tool.from_function(ground_truth.add)


async def direct(tool, arguments=None, given=None):
    """Have a tool run as its server does."""
    GIVEN.set(given)
    return await tool._run(arguments or {})


#: Ways in which a value goes through a tool and comes back.
DOORS = {
    "argument": lambda value: finished(direct(echo, {"value": value})),
    "injected": lambda value: finished(direct(keep, given=value)),
    "async": lambda value: finished(direct(later, given=value)),
}
#: What a host may copy and pickle.
OBJECTS = {"tool": adder, "class": Tool, "server": FastMCP, "client": Client}


def call(value):
    """Call a tool that gives back its argument."""
    return DOORS["argument"](value)


def raising(error):
    """Call a tool that raises `error`."""
    return finished(direct(fail, given=error))


def named(name):
    """Call a tool of that name."""
    return finished(direct(Keep.model_construct(name=name, parameters=PARAMETERS), given="ok"))


def schemas():
    """What a client is told of a tool that is made just now, byte for byte."""

    def price(city: str, days: int = 2, *, currency: str | None = None) -> float:
        """Ask what a stay costs."""

    return Tool.from_function(price).to_mcp_tool().model_dump_json()


# -- the situations of every framework -----------------------------------------------------------


async def asked(calls, **options):
    """A client asks for all of these at once; what fails is an answer."""
    async with Client(served()) as client:
        await asyncio.gather(
            *(client.call_tool(c.name, c.arguments, raise_on_error=False, **options) for c in calls)
        )


def run(calls, **options):
    asyncio.run(asked(calls, **options))


def timed_out(calls):
    with suppress(Exception):  # of the SDK's versions, each has its own
        run(calls, timeout=0.05)


def directly(calls):
    """The program lets its server run a tool."""
    asyncio.run(served().call_tool(calls[0].name, calls[0].arguments))


SITUATIONS = {
    "sync": run,
    "async": run,
    "parallel": run,
    "raising": run,
    "soft error": run,
    "unknown tool": run,
    "invalid arguments": run,
    "cancelled": lambda calls: asyncio.run(cancelled(asked(calls))),
    "timed out": timed_out,
    "direct call": directly,
    "MCP tools": run,
    "200 calls at once": lambda calls: in_threads(run, calls),
}
GAPS = {
    "streaming": "there is no agent here, and no model: a tool has one answer",
    "unknown tool": "the server answers as to a tool that failed, and so the client's span says",
    "invalid arguments": "the server answers as to a tool that failed, and so the client's span says",
    "approval refused": "a server asks for a person from inside its tool, which runs",
    "approval granted later": "a server asks for a person from inside its tool, which runs",
    "retry": "no client asks again; what a server's middleware tries again is below the one request",
    "agent as a tool": "there is no agent here, and no model",
}
CALLS = asked_by_a_client()
WATCHED = {
    "streaming": ("stream|partial", "fastmcp:Client.call_tool", "fastmcp:FastMCP.tool"),
    "approval refused": ("approv|confirm|consent", "fastmcp:Client", "fastmcp:FastMCP.tool"),
    "approval granted later": ("approv|confirm|consent", "fastmcp:Client", "fastmcp:FastMCP.tool"),
    "retry": ("retr|attempt", "fastmcp:Client", "fastmcp:Client.call_tool"),
    "agent as a tool": ("agent", "fastmcp", "fastmcp:FastMCP"),
}


@contextmanager
def traced_by_itself(provider):
    """With FastMCP's own spans, and those of the SDK below it where it has any."""
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(telemetry, "otel_get_tracer", provider.get_tracer))
        if find_spec("mcp.shared._otel"):
            sdk = provider.get_tracer("mcp-python-sdk")
            patches.enter_context(mock.patch("mcp.shared._otel._tracer", sdk))
        yield


MODES = {"native": traced_by_itself}

if __name__ == "__main__":
    ground_truth.show(sys.modules[__name__])
