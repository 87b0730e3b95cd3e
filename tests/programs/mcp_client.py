"""An MCP client as anybody writes one; it runs unmodified on the SDK 1.x and 2.x.

    python mcp_client.py STEPS URL
    python mcp_client.py STEPS COMMAND ARGUMENT ...

STEPS is JSON: a list of calls, {"tool": name, "arguments": {...}}, each with what else it needs:
"timeout" (seconds to wait), "cancel" (seconds until the call is cancelled), "times" (so many at
once); {"browse": true} reads everything that is no tool. Prints what each gave, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
from mcp import ClientSession, StdioServerParameters, stdio_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

try:
    from mcp import Client

    VERSION = 2
except ImportError:
    from mcp.client import streamable_http
    from mcp.shared import memory

    VERSION = 1


@asynccontextmanager
async def connected(target: Any, mode: str = "auto") -> AsyncIterator[Any]:
    """A session with a URL, with the server that a command starts, or with a server object."""
    if type(target) is list:
        parameters = StdioServerParameters(command=target[0], args=target[1:], env=dict(os.environ))
        target = stdio_client(parameters)
    if VERSION == 2:
        async with Client(target, mode=mode) as client:
            yield client
    elif type(target) is str:
        # The name of 1.26 and later; before, the other was the only one.
        connect = getattr(streamable_http, "streamable_http_client", None)
        connect = connect or streamable_http.streamablehttp_client
        async with (
            connect(target) as (incoming, outgoing, _),
            ClientSession(incoming, outgoing) as session,
        ):
            await session.initialize()
            yield session
    elif hasattr(target, "__aenter__"):
        async with target as streams, ClientSession(*streams) as session:
            await session.initialize()
            yield session
    else:
        async with memory.create_connected_server_and_client_session(target) as session:
            yield session


async def play(session: Any, step: dict[str, Any]) -> Any:
    """What one step gave."""
    if step.get("browse"):
        return await browse(session)
    if "times" not in step:
        return await call(session, step)
    answers: list[Any] = []

    async def one() -> None:
        answers.append(await call(session, step))

    async with anyio.create_task_group() as group:
        for _ in range(step["times"]):
            group.start_soon(one)
    return answers


async def call(session: Any, step: dict[str, Any]) -> Any:
    """One call: its text, its error, or what was raised."""
    timeout = step.get("timeout")
    if timeout is not None and VERSION == 1:
        timeout = timedelta(seconds=timeout)
    with anyio.move_on_after(step.get("cancel")):
        try:
            answer = await session.call_tool(
                step["tool"], step.get("arguments"), read_timeout_seconds=timeout
            )
        except Exception as error:
            if not hasattr(error, "error"):
                raise
            return {"code": error.error.code, "message": error.error.message}
        failed = answer.is_error if VERSION == 2 else answer.isError
        return {"failed": failed, "text": answer.content[0].text}
    return "cancelled"


async def browse(session: Any) -> list[str]:
    """Everything that a server has besides tools that run."""
    tools = await session.list_tools()
    await session.list_prompts()
    await session.get_prompt("greeting")
    await session.list_resources()
    await session.read_resource("note://today")
    return [tool.name for tool in tools.tools]


async def main(steps: str, target: Any) -> None:
    async with connected(target) as session:
        answers = [await play(session, step) for step in json.loads(steps)]
    print(json.dumps(answers))


if __name__ == "__main__":
    place = sys.argv[2]
    anyio.run(main, sys.argv[1], place if place.startswith("http") else sys.argv[2:])
