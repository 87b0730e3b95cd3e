"""An MCP server as anybody writes one; it runs unmodified on the SDK 1.x and 2.x.

    python mcp_server.py stdio
    python mcp_server.py http PORT
    python mcp_server.py lowlevel
    python mcp_server.py silent

The last two speak stdio as well, "silent" without the telemetry of the SDK itself (2.x). Each
execution of a tool appends the tool's name to the file that MCP_SERVER_CALLS names.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.types import CallToolRequest, CallToolResult, ErrorData, ListToolsResult, Tool

try:
    from mcp.server.fastmcp import FastMCP
    from mcp.shared.exceptions import McpError as ProtocolError
    from mcp.types import ServerResult

    VERSION = 1
except ImportError:
    from mcp.server.mcpserver import MCPServer as FastMCP
    from mcp.shared.exceptions import MCPError as ProtocolError

    VERSION = 2


def executed(tool: str) -> None:
    with Path(os.environ["MCP_SERVER_CALLS"]).open("a") as calls:
        calls.write(f"{tool}\n")


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    executed("add")
    return a + b


async def echo(text: str) -> str:
    """Say it again."""
    executed("echo")
    return text


async def boom(secret: str) -> str:
    """Fail, and tell the secret in the exception."""
    executed("boom")
    raise ValueError(f"the secret is {secret}")


async def refuse(reason: str) -> CallToolResult:
    """Report an error as a result."""
    executed("refuse")
    return result(f"refused: {reason}", failed=True)


async def slow(seconds: float) -> str:
    """Take a while."""
    executed("slow")
    await anyio.sleep(seconds)
    return "at last"


async def relay(url: str, a: int, b: int) -> str:
    """Ask another MCP server."""
    import mcp_client  # beside this program

    executed("relay")
    async with mcp_client.connected(url) as session:
        answer = await session.call_tool("add", {"a": a, "b": b})
    return answer.content[0].text


def result(text: str, *, failed: bool = False) -> CallToolResult:
    wire = {"content": [{"type": "text", "text": text}], "isError": failed}
    return CallToolResult.model_validate(wire)


def high_level() -> FastMCP:
    """The way most servers are written."""
    server = FastMCP("high")
    for function in (add, echo, boom, refuse, slow, relay):
        server.tool()(function)
    server.prompt()(greeting)
    server.resource("note://today")(note)
    return server


def greeting() -> str:
    """Greet."""
    return "hello"


def note() -> str:
    """A note."""
    return "buy milk"


async def answer(name: str, arguments: dict[str, str]) -> CallToolResult:
    """What the low-level server answers: it may also fail as a protocol."""
    if name == "unknown":
        raise protocol_error(-32602, f"Unknown tool: {name}")
    if name == "coded":
        executed(name)
        raise protocol_error(-32050, f"the secret is {arguments['secret']}")
    if name == "misfit":
        executed(name)
        return CallToolResult.model_validate({"content": "no list"})
    if name == "broken":
        executed(name)
        raise ValueError(f"the secret is {arguments['secret']}")
    return result(await echo(arguments["text"]))


class OwnError(ProtocolError):
    """Servers derive their own errors from the protocol's."""


def protocol_error(code: int, message: str) -> Exception:
    if VERSION == 1:
        return OwnError(ErrorData(code=code, message=message))
    return OwnError(code, message)


def listed() -> ListToolsResult:
    schema = {"type": "object"}
    tools = [{"name": name, "inputSchema": schema} for name in ("echo", "coded", "broken")]
    return ListToolsResult(tools=[Tool.model_validate(tool) for tool in tools])


def low_level() -> Server:
    """The server without its upper half: its handler's exceptions are the protocol's."""
    if VERSION == 2:
        return Server("low", on_list_tools=_list, on_call_tool=_call)
    server = Server("low")
    server.list_tools()(_list_1)
    server.request_handlers[CallToolRequest] = _call_1
    return server


async def _list(_context: object, _params: object) -> ListToolsResult:
    return listed()


async def _call(_context: object, params: object) -> CallToolResult:
    return await answer(params.name, params.arguments or {})


async def _list_1() -> list[Tool]:
    return listed().tools


async def _call_1(request: CallToolRequest) -> ServerResult:
    return ServerResult(await answer(request.params.name, request.params.arguments or {}))


def silent() -> Server:
    server = low_level()
    if VERSION == 2:
        server.middleware.clear()
    return server


async def serve(server: Server) -> None:
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def main(mode: str, *port: str) -> None:
    if mode in ("lowlevel", "silent"):
        anyio.run(serve, low_level() if mode == "lowlevel" else silent())
    elif mode == "stdio":
        high_level().run("stdio")
    elif VERSION == 2:
        high_level().run("streamable-http", port=int(*port))
    else:
        server = high_level()
        server.settings.port = int(*port)
        server.run("streamable-http")


if __name__ == "__main__":
    main(*sys.argv[1:])
