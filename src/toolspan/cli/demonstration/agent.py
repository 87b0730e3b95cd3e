"""A real LangGraph agent over a folder: one tool of its own, the others from an MCP server."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import StructuredTool, ToolException
from langsmith import tracing_context
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from toolspan.cli.demonstration import files
from toolspan.cli.demonstration.script import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

SERVER = "toolspan.cli.demonstration.server"


async def ask(folder: Path, server_environment: Mapping[str, str]) -> None:
    """Let the librarian look at `folder`, and the MCP server run in `server_environment`."""
    async with _files_server(folder, server_environment) as session:
        tools = [_count(folder), *[_borrowed(tool, session) for tool in await _listed(session)]]
        agent = create_agent(ScriptedModel(), tools, name="librarian")
        with tracing_context(enabled=False):  # a demonstration sends nobody's files anywhere
            await agent.ainvoke({"messages": [HumanMessage("What is in this folder?")]})


@asynccontextmanager
async def _files_server(
    folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[ClientSession]:
    program = StdioServerParameters(
        command=sys.executable, args=["-m", SERVER, str(folder)], env=dict(environment)
    )
    async with stdio_client(program) as streams, ClientSession(*streams) as session:
        await session.initialize()
        yield session


async def _listed(session: ClientSession) -> list[dict[str, Any]]:
    answer = await session.list_tools()
    return [tool.model_dump(by_alias=True) for tool in answer.tools]


def _count(folder: Path) -> StructuredTool:
    def count() -> str:
        """Count the files by the end of their names."""
        return files.count(folder)

    return StructuredTool.from_function(count)


def _borrowed(tool: dict[str, Any], session: ClientSession) -> StructuredTool:
    """The server's tool as one of LangChain; both major versions of MCP answer alike by alias."""

    async def call(**arguments: Any) -> str:
        answer = await session.call_tool(tool["name"], arguments)
        result = answer.model_dump(by_alias=True)
        text = "\n".join(part["text"] for part in result["content"])
        if result["isError"]:
            raise ToolException(text)
        return text

    return StructuredTool.from_function(
        coroutine=call,
        name=tool["name"],
        description=tool["description"],
        args_schema=tool["inputSchema"],
        handle_tool_error=True,
    )
