"""An MCP server and its client in one process, without an agent; SDK 1.x and 2.x.

The tools write down themselves what ran. Of the two spans of a call that of the client is compared.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from mcp import ClientSession, types
from pydantic import ValidationError

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth
from ground_truth import asked_by_a_client, cancelled, finished, in_threads, noted
from programs.mcp_client import VERSION, connected

if VERSION == 1:
    from mcp.server.fastmcp import FastMCP as MCPServer
    from mcp.server.fastmcp.exceptions import ToolError
else:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

FRAMEWORK = "mcp"


@noted
def complain(reason: str) -> str:
    """Fail, and tell the client why."""
    raise ToolError(reason)


TOOLS = (ground_truth.add, ground_truth.add_async, ground_truth.boom, ground_truth.nap, complain)


def served(*functions):
    """A server with tools."""
    server = MCPServer("calculator", log_level="CRITICAL")
    for function in functions or TOOLS:
        server.add_tool(function)
    return server


# -- for the contract ----------------------------------------------------------------------------


class Session(ClientSession):
    """Its peer is a function that answers with objects, which a wire could not carry."""

    def __init__(self, peer):
        super().__init__(object(), object())
        self.peer = peer

    async def send_request(self, request, result_type, *_args, **_kwargs):
        request = getattr(request, "root", request)  # the envelope of 1.x
        if request.method == "tools/list":
            return types.ListToolsResult(tools=[])
        text = await self.peer(**(request.params.arguments or {}))
        content = [types.TextContent.model_construct(type="text", text=text)]
        result = types.CallToolResult.model_construct(content=content)
        return result_type.model_validate(result) if VERSION == 1 else result


def direct(peer, arguments=None, name="echo"):
    """Have a client call a tool of that peer, and give the text of its answer."""
    result = finished(Session(peer).call_tool(name, arguments))
    return result.content[0].text


async def echo(value):
    return value


def giving(value, pause=None):
    """A peer that gives back what the program, not the client, handed in."""

    async def give():
        if pause is not None:
            await asyncio.sleep(pause)
        return value

    return give


#: Ways in which a value goes through a tool and comes back.
DOORS = {
    "argument": lambda value: direct(echo, {"value": value}),
    "injected": lambda value: direct(giving(value)),
    "async": lambda value: direct(giving(value, 0)),
}
#: What a host may copy and pickle.
OBJECTS = {
    "tool": types.Tool.model_validate({"name": "add", "inputSchema": {"type": "object"}}),
    "request": types.CallToolRequestParams(name="add", arguments=ground_truth.ONE_AND_TWO),
    "server": MCPServer,
    "client": ClientSession,
}


def call(value):
    """Call a tool that gives back its argument."""
    return DOORS["argument"](value)


def raising(error):
    """Call a tool that raises `error`."""

    async def fail():
        raise error

    return direct(fail)


def named(name):
    """Call a tool of that name; what is no Unicode the client itself refuses, in its request."""
    try:
        return direct(giving("ok"), name=name)
    except ValidationError:
        with suppress(UnicodeEncodeError):
            name.encode()
            raise
        return "ok"


def schemas():
    """What a client is told of a tool that is made just now, byte for byte."""

    def price(city: str, days: int = 2, *, currency: str | None = None) -> float:
        """Ask what a stay costs."""

    (tool,) = asyncio.run(served(price).list_tools())
    return tool.model_dump_json()


# -- the situations of every framework -----------------------------------------------------------


async def asked(calls, wait=None):
    """A client asks for all of these at once; what fails is an answer."""
    async with connected(served()) as client:
        await asyncio.gather(
            *(client.call_tool(c.name, c.arguments, read_timeout_seconds=wait) for c in calls)
        )


async def called_off(call):
    """A client calls its request off, in a session that goes on."""
    async with connected(served()) as client:
        await cancelled(client.call_tool(call.name, call.arguments))


def run(calls, wait=None):
    asyncio.run(asked(calls, wait))


def timed_out(calls):
    with suppress(Exception):  # each version has its own
        run(calls, timedelta(seconds=0.05) if VERSION == 1 else 0.05)


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
    "cancelled": lambda calls: asyncio.run(called_off(*calls)),
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
    "retry": "no client asks again",
    "agent as a tool": "there is no agent here, and no model",
    "direct call": "a server's own `call_tool` runs the function and sends no request to trace",
}
CALLS = asked_by_a_client()
WATCHED = {
    "streaming": ("stream|partial", "mcp:ClientSession.call_tool", "mcp.types:CallToolResult"),
    "approval refused": ("approv|confirm|consent", "mcp:ClientSession.call_tool", "mcp.types:Tool"),
    "approval granted later": ("approv|confirm|consent", "mcp:ClientSession", "mcp.types:Tool"),
    "retry": ("retr|attempt", "mcp:ClientSession", "mcp:ClientSession.call_tool"),
    "agent as a tool": ("agent", "mcp", "mcp.types"),
}

if __name__ == "__main__":
    ground_truth.show(sys.modules[__name__])
