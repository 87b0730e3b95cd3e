"""The MCP SDK 1.x, which traces nothing itself.

Neighbours open their span of a client's request in `send_request`, around the message that is made
there. Every request of a server passes `_handle_request`, which turns a tool's exception into an
answer: what it sends through `respond` tells the outcome. Not seen on the client's side: a request
that the program makes by hand and sends (`send_request`), and one sent as a task.
"""

from __future__ import annotations

import sys
from typing import Any

from toolspan.adapters import mcp_wire as wire
from toolspan.hooks import Adapter, Hook, Invocation, Propagate, Witness
from toolspan.hooks.readers import gives
from toolspan.toolcall import Outcome, ToolCall


def read_client(invocation: Invocation) -> ToolCall:
    """The client's side: the session numbers its requests."""
    number = invocation.instance._request_id  # noqa: SLF001  # nowhere else
    return wire.client_call(invocation, {**wire.METHOD, **wire.identified(number)})


def outcome(result: Any) -> Outcome:
    """What the client got."""
    return wire.outcome_of_result(result.content, failed=result.isError)


def failed(invocation: Invocation, _none: Any) -> Outcome:
    """The error that is about to be raised, before a neighbour's span of the request ends."""
    return wire.outcome_of_error(invocation.get("error"))


def inject(invocation: Invocation, context: Any) -> None:
    """Into the message that the session is about to send: neighbours have their span by now."""
    request: Any = getattr(invocation.get("message"), "root", None)
    if getattr(request, "method", None) == wire.CALL:
        params = request.params
        params["_meta"] = {**(params.get("_meta") or {}), **context}


def read_server(invocation: Invocation) -> ToolCall | None:
    """The server's side; meta is a model of pydantic's."""
    request, message = invocation.get("req"), invocation.get("message")
    if request.method != wire.CALL:
        return None
    params, version = request.params, agreed(invocation.get("session").client_params)
    meta = getattr(params.meta, "__pydantic_extra__", None)
    return wire.server_call(params.name, params.arguments, meta, version, message)


def agreed(client: Any) -> str | None:
    """The protocol that the server agreed to: what the client asked for, if the SDK knows it."""
    asked: str | None = getattr(client, "protocolVersion", None)
    known = asked in (None, *sys.modules["mcp.shared.version"].SUPPORTED_PROTOCOL_VERSIONS)
    return asked if known else sys.modules["mcp.types"].LATEST_PROTOCOL_VERSION


def gone(_value: Any) -> Outcome:
    """A handler that returns without an answer was cancelled by its client."""
    return Outcome(error="cancelled")


def answered(invocation: Invocation, _value: Any) -> Outcome | None:
    """What the server sends: a result, or an error with its code."""
    if invocation.instance.request.root.method != wire.CALL:
        return None  # of a server in memory that a tool of this one talks to
    told = invocation.get("response")
    if hasattr(told, "code"):
        return wire.outcome_of_error(told)
    return outcome(told.root)


SENDS = "mcp.shared.message:SessionMessage.__init__"
ASKS = "mcp.client.session:ClientSession.call_tool"
CLIENT = Hook(ASKS, read_client, outcome, wire.raised, (SENDS,), "beside", inside=True, prefix="_")
SERVER = Hook("mcp.server.lowlevel.server:Server._handle_request", read_server, gone, wire.raised)

ADAPTER = Adapter(
    name="mcp",
    title="MCP SDK 1.x, client and server",
    traces="every `tools/call`, on both sides, as one trace",
    distribution="mcp",
    versions=">=1.20,<2",
    words=(
        CLIENT,
        Witness("mcp.types:CallToolResult.model_validate", gives(outcome), of=CLIENT),
        Witness("mcp.shared.exceptions:McpError.__init__", failed, "before", of=CLIENT),
        Propagate(SENDS, inject),
        SERVER,
        Witness("mcp.shared.session:RequestResponder.respond", answered, "before"),
    ),
)
