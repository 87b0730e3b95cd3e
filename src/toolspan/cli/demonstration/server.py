"""A real MCP server over stdio, a process of its own: `python -m ... FOLDER`."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Final

from toolspan.cli.demonstration import files

try:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
except ModuleNotFoundError:  # MCP 1 has the same two under their older names
    from mcp.server.fastmcp import FastMCP as MCPServer  # type: ignore[attr-defined,no-redef]
    from mcp.server.fastmcp.exceptions import ToolError  # type: ignore[import-not-found,no-redef]

SLOW: Final = 1.5


def serve(folder: Path) -> None:
    """Serve the files of `folder` until the client closes our stdin."""
    server = MCPServer("files", log_level="ERROR")

    @server.tool()
    def search(text: str) -> str:
        """Find files by their text: the first five, one in a line."""
        return files.search(folder, text)

    @server.tool()
    def read(path: str) -> str:
        """Read the beginning of one file."""
        try:
            return files.read(folder, path)
        except FileNotFoundError as error:
            raise ToolError(str(error)) from error

    @server.tool()
    async def checksum() -> str:
        """One checksum over all files. Takes its time."""
        await asyncio.sleep(SLOW)
        return files.checksum(folder)

    server.run("stdio")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the client, which closes our stdin
    serve(Path(sys.argv[1]))
