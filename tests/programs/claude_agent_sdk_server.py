"""An MCP server for a command line to start: it writes a line for each call that it runs.

python tests/programs/claude_agent_sdk_server.py FILE
"""

import json
import sys
from pathlib import Path

try:
    from mcp.server.mcpserver import MCPServer
except ImportError:
    from mcp.server.fastmcp import FastMCP as MCPServer

server = MCPServer("tools")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    with Path(sys.argv[1]).open("a", encoding="utf-8") as ran:
        ran.write(json.dumps({"a": a, "b": b}) + "\n")
    return a + b


server.run()
