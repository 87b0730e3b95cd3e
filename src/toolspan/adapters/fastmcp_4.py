"""FastMCP on the MCP SDK 2.x: its own CLIENT span and the SERVER span of a request are adopted.

The server's call is the one that the SDK's adapter opens around the request. What runs a tool there
is the same call; it is one by itself where the program, or a tool, lets the server run a tool. A
mounted server's tool that has another name there has a span of its own below the request's.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from toolspan.adapters.mcp_2 import ADAPTER as MCP_2
from toolspan.adapters.mcp_2 import outcome
from toolspan.adapters.mcp_wire import CALL, METHOD, outcome_of_result, raised
from toolspan.hooks import Adapter, Enrich, Hook, Invocation, Mute, Refusal
from toolspan.toolcall import Outcome, ToolCall, is_a

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_client(invocation: Invocation) -> ToolCall:
    """The client's side, all rounds of it."""
    return ToolCall(
        name=invocation.get("name"),
        arguments=invocation.get("arguments"),
        kind="client",
        attributes=METHOD,
    )


def read(invocation: Invocation) -> ToolCall:
    """What runs in the server, for a request or for the program itself."""
    tool = invocation.instance
    return ToolCall(
        name=tool.name,
        description=tool.description,
        arguments=invocation.get("arguments"),
        attributes={"fastmcp.component.type": "tool", "fastmcp.component.key": tool.key},
    )


def gave(result: Any) -> Outcome:
    """What a tool gave: blocks of content, or a wish for more input."""
    if is_a(result, "InputRequiredToolResult"):
        return Outcome(error="interrupted")
    if not is_a(result, "ToolResult"):
        return Outcome(result)
    return outcome_of_result(result.content, failed=result.is_error is True)


def failed(error: BaseException) -> Outcome | None:
    """A tool tells its client why it cannot, or its arguments do not fit."""
    if is_a(error, "ToolError"):
        return Outcome(error="tool_error", exception=error)
    if is_a(error, "_ToolBodyError"):
        return Outcome(error="error", exception=error.__cause__)
    fits = not is_a(error, "ValidationError")
    return None if fits else Outcome(error="invalid_arguments", exception=error)


def missing(invocation: Invocation, error: Any) -> tuple[ToolCall, Outcome] | None:
    """The program asks its server for a tool that is not there; a request has its answer."""
    request = sys.modules["fastmcp.server.dependencies"].fastmcp_request_ctx.get()
    if request is not None or not is_a(error, "NotFoundError"):
        return None
    if invocation.get("run_middleware", default=True) is not False:  # once around the other
        return None
    call = ToolCall(name=invocation.get("name"), arguments=invocation.get("arguments"))
    return call, Outcome(error="unknown_tool", exception=error)


def is_call(invocation: Invocation) -> bool:
    """Whether the span is to be that of a tool's call."""
    return bool(invocation.get("method") == CALL)


def said(invocation: Invocation) -> Mapping[str, Any]:
    """Whose span it is to be; of the rest, what is not said when that begins is set later."""
    return {"gen_ai.tool.name": invocation.get("tool_name")}


def always(_invocation: Invocation) -> bool:
    """Of an exception we say the type ourselves, and nobody its texts."""
    return True


CLIENT = "fastmcp.client.mixins.tools"
#: The same in every version.
WORDS = (
    Hook("fastmcp.tools.base:Tool._run", read, gave, failed, inside=True, prefix="_"),
    # Begun before that, and again below it; around the SDK's own client:
    Mute("fastmcp.server.server:server_span", is_call, said, beside=True),
    Mute("fastmcp.server.providers.proxy:client_span", is_call, said, beside=True),
    Enrich(f"{CLIENT}:client_span", is_call),
    Mute(f"{CLIENT}:client_span", is_call),
)
#: The very hook of the SDK's adapter: what is said here of the server's call is said of that one.
SERVER = next(
    word for word in MCP_2.words if type(word) is Hook and str(word.path).endswith("_on_request")
)

ADAPTER = Adapter(
    name="fastmcp",
    title="FastMCP 4, client and server",
    distribution="fastmcp-slim",
    versions=">=4,<5",
    words=(
        *WORDS,
        Hook(
            f"{CLIENT}:ClientToolsMixin.call_tool_mcp",
            read_client,
            outcome,
            raised,
            decide=(f"{CLIENT}:inject_trace_context",),
            deciding="before",
            inside=True,
            prefix="_",
        ),
        SERVER,
        Enrich("fastmcp.server.low_level:seam_span", is_call),
        Mute("fastmcp.server.telemetry:record_span_exception", always),
        Refusal("fastmcp.server.server:FastMCP.call_tool", missing, "raised"),
    ),
)
