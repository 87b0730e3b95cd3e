"""An MCP client that calls, over HTTP, tools of a server in the same process; SDK 1.x and 2.x.

The tools write down themselves what ran. What one side cannot do alone is not here.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth
from ground_truth import Call, noted
from programs.http_serving import served_over_http
from programs.mcp_client import VERSION, connected

if VERSION == 1:
    from mcp.server.fastmcp import FastMCP as MCPServer
else:
    from mcp.server.mcpserver import MCPServer

FRAMEWORK = f"mcp-{VERSION}"


def boom(reason: str) -> str:
    """Fail where nobody writes it down: on the wire an exception has no type."""
    note(reason)
    raise ValueError(reason)


@noted
def note(reason):
    return reason


note.__wrapped__.__name__ = "boom"


def served_app():
    if VERSION == 1:
        server = MCPServer("sums", stateless_http=True, json_response=True)
        app = server.streamable_http_app()
    else:
        server = MCPServer("sums")
        app = server.streamable_http_app(stateless_http=True, json_response=True)
    for tool in (ground_truth.add, ground_truth.add_async, boom):
        server.add_tool(tool)
    return app


def ask(calls):
    """Call all of them at once, in one session."""

    async def main(url):
        async with connected(url) as session:
            await asyncio.gather(*(session.call_tool(c.name, c.arguments) for c in calls))

    with served_over_http(served_app()) as url:
        asyncio.run(main(url))


ADD = Call("add", ground_truth.ONE_AND_TWO)
CALLS = {
    "sync": (ADD,),
    "async": (Call("add_async", ground_truth.ONE_AND_TWO),),
    "parallel": tuple(Call("add_async", {"a": n, "b": 1}) for n in range(4)),
    "raising": (Call("boom", {"reason": "broken"}, "tool_error"),),
}
SITUATIONS = dict.fromkeys(CALLS, ask)
GAPS = dict.fromkeys(ground_truth.SITUATIONS.keys() - CALLS.keys(), "a client alone has none")

if __name__ == "__main__":
    ground_truth.show(sys.modules[__name__])
