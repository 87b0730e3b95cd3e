"""The MCP SDK 1.x, which traces nothing itself.

Neighbours open their span of a client's request in `send_request`, around the message that is made
there. Every request of a server passes `_handle_request`, which turns a tool's exception into an
answer: what it sends through `respond` tells the outcome.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from toolspan.adapters.mcp_wire import (
    CALL,
    METHOD,
    carrier,
    client_call,
    identified,
    outcome_of_code,
    outcome_of_result,
    over_http,
    raised,
)
from toolspan.hooks import Adapter, Hook, Invocation, Propagate, Witness
from toolspan.toolcall import Outcome, ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_client(invocation: Invocation) -> ToolCall:
    """The client's side: the session numbers its requests."""
    number = invocation.instance._request_id  # noqa: SLF001  # nowhere else
    return client_call(invocation, {**METHOD, **identified(number)})


def outcome(result: Any) -> Outcome:
    """What the client got."""
    return outcome_of_result(result.content, failed=result.isError)


def gave(_invocation: Invocation, result: Any) -> Outcome:
    """The answer, before a neighbour's span of the request ends."""
    return outcome(result)


def failed(invocation: Invocation, _none: Any) -> Outcome:
    """The error that is about to be raised, before that."""
    return outcome_of_code(invocation.get("error"))


def inject(invocation: Invocation, context: Mapping[str, str]) -> None:
    """Into the message that the session is about to send: neighbours have their span by now."""
    request: Any = getattr(invocation.get("message"), "root", None)
    if getattr(request, "method", None) == CALL:
        params = request.params
        params["_meta"] = {**(params.get("_meta") or {}), **context}


def read_server(invocation: Invocation) -> ToolCall | None:
    """The server's side; the client's trace context lies in the request's meta."""
    request, message = invocation.get("req"), invocation.get("message")
    if request.method != CALL:
        return None
    return ToolCall(
        name=request.params.name,
        arguments=request.params.arguments,
        kind="server",
        carrier=carrier(getattr(request.params.meta, "__pydantic_extra__", None)),
        attributes={
            **METHOD,
            **agreed(invocation.get("session").client_params),
            **identified(message.request_id),
            **over_http(message.message_metadata),
        },
    )


def agreed(client: Any) -> dict[str, str]:
    """The protocol that the server agreed to: what the client asked for, if the SDK knows it."""
    if client is None:
        return {}
    asked = client.protocolVersion
    known = asked in sys.modules["mcp.shared.version"].SUPPORTED_PROTOCOL_VERSIONS
    latest = sys.modules["mcp.types"].LATEST_PROTOCOL_VERSION
    return {"mcp.protocol.version": asked if known else latest}


def unanswered(_value: Any) -> Outcome:
    """A handler that returns without an answer was cancelled by its client."""
    return Outcome(error="cancelled")


def answered(invocation: Invocation, _value: Any) -> Outcome | None:
    """What the server sends: a result, or an error with its code."""
    if invocation.instance.request.root.method != CALL:
        return None  # of a server in memory that a tool of this one talks to
    response = invocation.get("response")
    if hasattr(response, "code"):
        return outcome_of_code(response)
    return outcome(response.root)


MESSAGE = "mcp.shared.message:SessionMessage.__init__"
CLIENT = Hook(
    "mcp.client.session:ClientSession.call_tool",
    read_client,
    outcome,
    raised,
    decide=(MESSAGE,),
    deciding="beside",
    inside=True,
    prefix="_",
)
SERVER = Hook("mcp.server.lowlevel.server:Server._handle_request", read_server, unanswered, raised)

ADAPTER = Adapter(
    name="mcp",
    title="MCP SDK 1.x, client and server",
    traces="every `tools/call`, on both sides, as one trace",
    distribution="mcp",
    versions=">=1.20,<2",
    words=(
        CLIENT,
        Witness("mcp.types:CallToolResult.model_validate", gave, of=CLIENT),
        Witness("mcp.shared.exceptions:McpError.__init__", failed, "before", of=CLIENT),
        Propagate(MESSAGE, inject),
        SERVER,
        Witness("mcp.shared.session:RequestResponder.respond", answered, "before"),
    ),
)
