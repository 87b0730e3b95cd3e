"""The MCP SDK 2.x: its own CLIENT span is muted, its own SERVER span adopted without its texts.

On a wire it injects the trace context itself; in memory, without a wire, we do. A server whose
own telemetry was taken out gets our SERVER span, decided where the handler is looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolspan.adapters.mcp_wire import (
    CALL,
    METHOD,
    carrier,
    client_call,
    identified,
    outcome_of_result,
    over_http,
    raised,
)
from toolspan.hooks import Adapter, Enrich, Hook, Invocation, Mute, Propagate, Witness, says
from toolspan.toolcall import Outcome, ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNNER = "mcp.server.runner:ServerRunner"
SESSION = "mcp.client.session:ClientSession"
IS_CALL = says("mcp.method.name", CALL)


def read_client(invocation: Invocation) -> ToolCall:
    """The client's side, one call for each round."""
    version = invocation.instance._negotiated_version  # noqa: SLF001  # nowhere else
    told = {} if version is None else {"mcp.protocol.version": version}
    return client_call(invocation, {**METHOD, **told})


def outcome(result: Any) -> Outcome:
    """What the client got, or the server serialised: a result, or a wish for more input."""
    wire = type(result) is dict
    if (result.get("resultType") if wire else result.result_type) == "input_required":
        return Outcome(error="interrupted")
    if wire:
        return outcome_of_result(result.get("content"), failed=result.get("isError") is True)
    if not hasattr(result, "content"):
        return Outcome()  # a shape of its own, which an extension claims
    return outcome_of_result(result.content, failed=result.is_error)


def told(invocation: Invocation) -> Mapping[str, Any]:
    """What the SDK's own span says at its start."""
    attributes: Mapping[str, Any] = invocation.get("attributes")
    return attributes


def inject(invocation: Invocation, context: Mapping[str, str]) -> Any:
    """Into the parameters that go to the peer in memory."""
    if invocation.get("method") != CALL:
        return None
    params = dict(invocation.get("params"))
    params["_meta"] = {**(params.get("_meta") or {}), **context}
    return invocation.replacing("params", params)


def read_server(invocation: Invocation) -> ToolCall | None:
    """The server's side, as the request came."""
    params = invocation.get("params") or {}
    if invocation.get("method") != CALL:
        return None
    message, version = invocation.get("dctx"), invocation.instance.connection.protocol_version
    return ToolCall(
        name=params.get("name", ""),
        arguments=params.get("arguments"),
        kind="server",
        carrier=carrier(params.get("_meta")),
        attributes={
            **METHOD,
            "mcp.protocol.version": version,
            **identified(message.request_id),
            **over_http(message.message_metadata),
        },
    )


def refused(error: BaseException) -> Outcome | None:
    """The server answers parameters that do not fit with a code of the protocol."""
    if type(error).__name__ != "ValidationError":
        return raised(error)
    code = "-32602"
    return Outcome(
        error="invalid_arguments", type=code, attributes={"rpc.response.status_code": code}
    )


def serialised(_invocation: Invocation, answer: Any) -> Outcome:
    """The answer, before the SDK's own span ends."""
    return outcome(answer)


SERVER = Hook(
    f"{RUNNER}._on_request",
    read_server,
    outcome,
    refused,
    decide=("mcp.server.lowlevel.server:Server.get_request_handler",),
)

ADAPTER = Adapter(
    name="mcp",
    title="MCP SDK 2.x, client and server",
    traces="the same; its own client span is muted, its server span adopted",
    distribution="mcp",
    versions=">=2,<3",
    words=(
        Hook(f"{SESSION}.call_tool", read_client, outcome, raised, inside=True, prefix="_"),
        Mute("mcp.shared.jsonrpc_dispatcher:otel_span", IS_CALL, told),
        Propagate("mcp.shared.direct_dispatcher:DirectDispatcher.send_raw_request", inject),
        SERVER,
        Enrich("mcp.server._otel:otel_span", IS_CALL),
        Witness(f"{RUNNER}._serialize", serialised),
    ),
)
