"""The MCP SDK 2.x: its own CLIENT span is muted, its own SERVER span adopted without its texts.

On a wire it injects the trace context itself; in memory, without a wire, we do. A server whose
own telemetry was taken out gets our SERVER span, decided where the handler is looked up.
"""

from __future__ import annotations

from typing import Any

from toolspan.adapters import mcp_wire as wire
from toolspan.hooks import Adapter, Enrich, Hook, Invocation, Mute, Propagate, Witness
from toolspan.hooks.readers import gives, says
from toolspan.toolcall import Outcome, ToolCall


def read_client(invocation: Invocation) -> ToolCall:
    """The client's side, one call for each round."""
    version = invocation.instance._negotiated_version  # noqa: SLF001  # nowhere else
    told = {} if version is None else {"mcp.protocol.version": version}
    return wire.client_call(invocation, {**wire.METHOD, **told})


def outcome(result: Any) -> Outcome:
    """What the client got, or the server serialised: a result, or a wish for more input."""
    wired = type(result) is dict
    if (result.get("resultType") if wired else result.result_type) == "input_required":
        return Outcome(error="interrupted")
    if wired:
        return wire.outcome_of_result(result.get("content"), failed=result.get("isError") is True)
    if not hasattr(result, "content"):
        return Outcome()  # a shape of its own, which an extension claims
    return wire.outcome_of_result(result.content, failed=result.is_error)


def told(invocation: Invocation) -> Any:
    """What the SDK's own span says at its start."""
    return invocation.get("attributes")


def inject(invocation: Invocation, context: Any) -> Any:
    """Into the parameters that go to the peer in memory."""
    if invocation.get("method") != wire.CALL:
        return None
    params = dict(invocation.get("params"))
    params["_meta"] = {**(params.get("_meta") or {}), **context}
    return invocation.replacing("params", params)


def read_server(invocation: Invocation) -> ToolCall | None:
    """The server's side, as the request came."""
    params, message = invocation.get("params") or {}, invocation.get("dctx")
    if invocation.get("method") != wire.CALL:
        return None
    name, given, meta = params.get("name", ""), params.get("arguments"), params.get("_meta")
    version = invocation.instance.connection.protocol_version
    return wire.server_call(name, given, meta, version, message)


def refused(error: BaseException) -> Outcome | None:
    """The server answers parameters that do not fit with a code of the protocol."""
    unfit = type(error).__name__ == "ValidationError"
    return wire.outcome_of_code(-32602) if unfit else wire.raised(error)


RUNNER, ASKS = "mcp.server.runner:ServerRunner", "mcp.client.session:ClientSession.call_tool"
LOOKS_UP = ("mcp.server.lowlevel.server:Server.get_request_handler",)
SERVER = Hook(f"{RUNNER}._on_request", read_server, outcome, refused, LOOKS_UP)
IS_CALL = says("mcp.method.name", wire.CALL)

ADAPTER = Adapter(
    name="mcp",
    title="MCP SDK 2.x, client and server",
    traces="the same; its own client span is muted, its server span adopted",
    distribution="mcp",
    versions=">=2,<3",
    words=(
        Hook(ASKS, read_client, outcome, wire.raised, inside=True, prefix="_"),
        Mute("mcp.shared.jsonrpc_dispatcher:otel_span", IS_CALL, told),
        Propagate("mcp.shared.direct_dispatcher:DirectDispatcher.send_raw_request", inject),
        SERVER,
        Enrich("mcp.server._otel:otel_span", IS_CALL),
        # The answer, before the SDK's own span ends:
        Witness(f"{RUNNER}._serialize", gives(outcome)),
    ),
)
