"""FastMCP on the MCP SDK 2.x: its CLIENT span is muted, its SERVER span adopted without its texts.

The server's call is the one that the SDK's adapter opens around the request; the SDK's own client
session, below, is the same call as FastMCP's client.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from toolspan.adapters.mcp_2 import ADAPTER as MCP_2
from toolspan.adapters.mcp_2 import outcome
from toolspan.adapters.mcp_wire import CALL, METHOD, raised
from toolspan.hooks import Adapter, Enrich, Hook, Invocation, Mute, Propagate
from toolspan.toolcall import ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping


def read(invocation: Invocation) -> ToolCall:
    """The client's side, all rounds of it."""
    return ToolCall(
        name=invocation.get("name"),
        arguments=invocation.get("arguments"),
        kind="client",
        attributes=METHOD,
    )


def is_call(invocation: Invocation) -> bool:
    """Whether the span is to be that of a tool's call."""
    return bool(invocation.get("method") == CALL)


def is_second(invocation: Invocation) -> bool:
    """Whether it would make a span beside that of the request, which else it tells of the tool."""
    telemetry: Any = sys.modules["fastmcp.server.telemetry"]
    request = telemetry._active_seam_span.get()  # noqa: SLF001  # nowhere else
    current = request is not None and request is telemetry.get_current_span()
    return is_call(invocation) and not (current and request.is_recording())


def is_all(_invocation: Invocation) -> bool:
    """An exception's type we say ourselves, and its texts nobody."""
    return True


def of_client(invocation: Invocation) -> Mapping[str, Any]:
    """What FastMCP's own client span says at its start and ours does not."""
    known = {"mcp.session.id": invocation.get("session_id")}
    known["fastmcp.component.key"] = invocation.get("component_key")
    return {key: value for key, value in known.items() if value is not None}


def of_server(invocation: Invocation) -> Mapping[str, Any]:
    """What it learns of the tool inside the request."""
    names = ("server_name", "server.name"), ("component_type", "component.type")
    return {
        "fastmcp.component.key": invocation.get("component_key"),
        **{f"fastmcp.{name}": invocation.get(argument) for argument, name in names},
    }


def quiet(invocation: Invocation, _context: Mapping[str, str]) -> Any:
    """The span of the request, as it is made current, is told to record no exception."""
    span = invocation.get("span")
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", None)
    if scope != "fastmcp" or span.name != CALL:
        return None
    args, kwargs = invocation.replacing("record_exception", value=False)
    return args, {**kwargs, "set_status_on_exception": False}


#: The very hook of the SDK's adapter: what is said here of the server's call is said of that one.
SERVER = next(
    word for word in MCP_2.words if type(word) is Hook and str(word.path).endswith("_on_request")
)

ADAPTER = Adapter(
    name="fastmcp",
    title="FastMCP, client and server",
    distribution="fastmcp",
    versions=">=4.1.2,<5",
    words=(
        Hook(
            "fastmcp.client.mixins.tools:ClientToolsMixin.call_tool_mcp",
            read,
            outcome,
            raised,
            inside=True,
            prefix="_",
        ),
        Mute("fastmcp.client.mixins.tools:client_span", is_call, of_client),
        SERVER,
        Enrich("fastmcp.server.low_level:seam_span", is_call),
        Propagate("fastmcp.telemetry:trace.use_span", quiet),
        Mute("fastmcp.server.server:server_span", is_second, of_server),
        Mute("fastmcp.server.telemetry:record_span_exception", is_all),
    ),
)
