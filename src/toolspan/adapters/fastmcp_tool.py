"""What FastMCP does in every version: a client's calls, and what runs a tool in the server.

The client's own span is adopted, or muted below a framework's call. The server's call is the one
that the SDK's adapter opens around the request; what runs a tool there is the same call. It is one
by itself where the program, or a tool, lets the server run a tool, and where a mounted server's
tool has another name than the request's, or middleware gave it another name or other arguments:
from there it cannot be told from a call that a tool makes. Not seen: `Tool.run`, where a program
calls that itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from toolspan.adapters.mcp_wire import CALL, client_call, outcome_of_result, raised
from toolspan.hooks import Enrich, Hook, Invocation, Mute, Refusal
from toolspan.toolcall import Outcome, ToolCall, is_a

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toolspan.hooks import WordOfAdapter


def read(invocation: Invocation) -> ToolCall:
    """What runs in the server, for a request or for the program itself."""
    tool, given = invocation.instance, invocation.get("arguments")
    known = {"fastmcp.component.type": "tool", "fastmcp.component.key": tool.key}
    return ToolCall(tool.name, given, tool.description, attributes=known)


def gave(result: Any) -> Outcome:
    """What a tool gave: blocks of content, or a wish for more input."""
    if is_a(result, "InputRequiredToolResult"):
        return Outcome(error="interrupted")
    if not is_a(result, "ToolResult"):
        return Outcome(result)
    return outcome_of_result(result.content, failed=getattr(result, "is_error", None) is True)


def failed(error: BaseException) -> Outcome | None:
    """A tool tells its client why it cannot, or its arguments do not fit."""
    if is_a(error, "ToolError"):
        return Outcome(error="tool_error", exception=error)
    if is_a(error, "_ToolBodyError"):
        return Outcome(error="error", exception=error.__cause__)
    fits = not is_a(error, "ValidationError")
    return None if fits else Outcome(error="invalid_arguments", exception=error)


def is_call(invocation: Invocation) -> bool:
    """Whether the span is to be that of a tool's call."""
    return bool(invocation.get("method") == CALL)


def said(invocation: Invocation) -> Mapping[str, Any]:
    """Whose span it is to be, and the server's name; what is set on it later comes by itself."""
    given = {
        "gen_ai.tool.name": invocation.get("tool_name"),
        "fastmcp.server.name": invocation.get("server_name"),
    }
    return {key: value for key, value in given.items() if value is not None}


def missing(
    in_request: Callable[[], bool],
) -> Callable[[Invocation, Any], tuple[ToolCall, Outcome] | None]:
    """The program asks its server for a tool that is not there; a request has its answer."""

    def read(invocation: Invocation, error: Any) -> tuple[ToolCall, Outcome] | None:
        outer = invocation.get("run_middleware", default=True) is not False  # of the two entries
        if outer or not is_a(error, "NotFoundError") or in_request():
            return None
        call = ToolCall(invocation.get("name"), invocation.get("arguments"))
        return call, Outcome(error="unknown_tool", exception=error)

    return read


CLIENT: Final = "fastmcp.client.mixins.tools"
ASKS, BEGUN = f"{CLIENT}:ClientToolsMixin.call_tool_mcp", f"{CLIENT}:inject_trace_context"


def words(
    outcome: Callable[[Any], Outcome], server: Hook, in_request: Callable[[], bool]
) -> tuple[WordOfAdapter, ...]:
    """All of them; `server` is the very hook of the SDK's adapter, for what is said of its call."""
    client = Hook(ASKS, client_call, outcome, raised, (BEGUN,), "before", inside=True, prefix="_")
    return (
        Hook("fastmcp.tools.base:Tool._run", read, gave, failed, inside=True, prefix="_"),
        Refusal("fastmcp.server.server:FastMCP.call_tool", missing(in_request), "raised"),
        # Begun before the first, and again below it; around the SDK's own client:
        Mute("fastmcp.server.server:server_span", is_call, said, beside=True),
        Mute("fastmcp.server.providers.proxy:client_span", is_call, said, beside=True),
        client,
        Enrich(f"{CLIENT}:client_span", is_call),
        Mute(f"{CLIENT}:client_span", is_call),
        server,
    )
