"""An MCP server for a command line to start: it writes a line for each call that it runs.

python tests/programs/claude_agent_sdk_server.py FILE
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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


@server.tool()
def read_file(path: str) -> str:
    """Read a file."""
    return Path(path).read_text(encoding="utf-8")


@server.tool()
def bash(command: str) -> dict[str, Any]:
    """Run a command."""
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    return {"stdout": done.stdout, "stderr": done.stderr, "exit_code": done.returncode}


if __name__ == "__main__":
    server.run()
