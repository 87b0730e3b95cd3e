"""The MCP SDK, 1.x and 2.x, client and server, joined through `params._meta`.

2.x traces itself: its CLIENT span is muted, its SERVER span adopted. 1.x has nothing. On the
client a call is `ClientSession.call_tool`; on any server a request is `_on_request` (2.x) or
`_handle_request` (1.x), which answers through `respond` and sees no exception of a tool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolspan.hooks import Adapter, Enrich, Hook, Invocation, Mute, Propagate, Witness
from toolspan.toolcall import Outcome, ToolCall, Word

if TYPE_CHECKING:
    from collections.abc import Mapping

CALL = "tools/call"
METHOD = {"mcp.method.name": CALL}
CODES: dict[int, Word] = {408: "timeout", -32001: "timeout", -32602: "invalid_arguments"}


def read_client(invocation: Invocation) -> ToolCall:
    """The client's side of a call; 1.x numbers its requests in the session."""
    session = invocation.instance
    version = getattr(session, "_negotiated_version", None)
    number = getattr(session, "_request_id", None)
    return ToolCall(
        name=invocation.get("name"),
        arguments=invocation.get("arguments"),
        kind="client",
        attributes={
            **METHOD,
            **({} if version is None else {"mcp.protocol.version": version}),
            **({"jsonrpc.request.id": str(number)} if type(number) is int else {}),
        },
    )


def read_server_1(invocation: Invocation) -> ToolCall | None:
    """The server's side in 1.x; the client's trace context lies in the request's meta."""
    message, request = invocation.get("message"), invocation.get("req")
    if getattr(request, "method", None) != CALL:
        return None
    client = invocation.get("session").client_params
    return ToolCall(
        name=request.params.name,
        arguments=request.params.arguments,
        kind="server",
        carrier=_carrier(getattr(request.params.meta, "__pydantic_extra__", None)),
        attributes={
            **METHOD,
            "jsonrpc.request.id": str(message.request_id),
            **({} if client is None else {"mcp.protocol.version": str(client.protocolVersion)}),
        },
    )


def read_server_2(invocation: Invocation) -> ToolCall | None:
    """The server's side in 2.x, as the request came over the wire."""
    params = invocation.get("params") or {}
    if invocation.get("method") != CALL:
        return None
    return ToolCall(
        name=params.get("name"),
        arguments=params.get("arguments"),
        kind="server",
        carrier=_carrier(params.get("_meta")),
        attributes={
            **METHOD,
            "mcp.protocol.version": invocation.instance.connection.protocol_version,
        },
    )


def _carrier(meta: Any) -> Mapping[str, str]:
    keys = ("traceparent", "tracestate", "baggage")
    return {key: meta[key] for key in keys if type((meta or {}).get(key)) is str}


def outcome(value: Any) -> Outcome:
    """A CallToolResult, as an object of either version or as on the wire."""
    fields = value if type(value) is dict else getattr(value, "__dict__", {})
    texts = [_text(block) for block in fields.get("content") or ()]
    result = texts[0] if len(texts) == 1 else texts or None
    if fields.get("isError") or fields.get("is_error"):
        return Outcome(result, error="tool_error", message=result, type="tool_error")
    return Outcome(result)


def _text(block: Any) -> Any:
    fields = block if type(block) is dict else getattr(block, "__dict__", {})
    return fields.get("text", f"<{fields.get('type')}>")


def raised(error: BaseException) -> Outcome | None:
    """A protocol error carries its JSON-RPC code."""
    if type(error).__name__ == "ValidationError":
        return Outcome(error="invalid_arguments", type="-32602")
    if type(error).__name__ not in ("McpError", "MCPError"):
        return None
    return _refused(error.error)  # type: ignore[attr-defined]  # both classes have it


def _refused(error: Any) -> Outcome:
    code = str(error.code)
    return Outcome(
        error=CODES.get(error.code, "error"),
        message=error.message,
        type=code,
        attributes={"rpc.response.status_code": code},
    )


def unanswered(_value: Any) -> Outcome:
    """A 1.x server that returns without an answer was cancelled by its client."""
    return Outcome(error="cancelled")


def answer(invocation: Invocation, _value: Any) -> Outcome:
    """What a 1.x server sends back."""
    response = invocation.get("response")
    if hasattr(response, "code"):
        return _refused(response)
    return outcome(getattr(response, "root", response))


def is_call(invocation: Invocation) -> bool:
    """Whether the span that 2.x is about to make is a tool call's."""
    return (invocation.get("attributes") or {}).get("mcp.method.name") == CALL


def inject_1(invocation: Invocation, carrier: Mapping[str, str]) -> None:
    """1.x: into the request object that the session made for this call."""
    request = getattr(invocation.get("request"), "root", None)
    if getattr(request, "method", None) == CALL:
        known = request.params.meta  # type: ignore[union-attr]  # a tools/call has them
        fields = {} if known is None else known.model_dump(exclude_none=True)
        request.params.meta = type(request.params).Meta(**{**fields, **carrier})  # type: ignore[union-attr]


def inject_2(invocation: Invocation, carrier: Mapping[str, str]) -> Any:
    """2.x in memory without a wire; on a wire it injects by itself."""
    if invocation.get("method") != CALL:
        return None
    params = dict(invocation.get("params") or {})
    params["_meta"] = {**(params.get("_meta") or {}), **carrier}
    return invocation.replacing("params", params)


RUNNER = "mcp.server.runner:ServerRunner"
SERVER_2 = Hook(
    f"{RUNNER}._on_request",
    read_server_2,
    outcome,
    raised,
    decide=("mcp.server.lowlevel.server:Server.get_request_handler",),
)
SERVER_1 = Hook(
    "mcp.server.lowlevel.server:Server._handle_request", read_server_1, unanswered, raised
)

ADAPTER = Adapter(
    name="mcp",
    title="MCP SDK, client and server",
    distribution="mcp",
    versions=">=1.20,<3",
    words=(
        Hook("mcp.client.session:ClientSession.call_tool", read_client, outcome, raised, inside=True),
        Propagate("mcp.shared.session:BaseSession.send_request", inject_1),
        Propagate("mcp.shared.direct_dispatcher:DirectDispatcher.send_raw_request", inject_2),
        Mute("mcp.shared.jsonrpc_dispatcher:otel_span", is_call, lambda call: call.get("attributes")),
        SERVER_1,
        Witness("mcp.shared.session:RequestResponder.respond", answer, "before"),
        SERVER_2,
        Enrich("mcp.server._otel:otel_span", is_call),
        Witness(f"{RUNNER}._serialize", lambda _call, answer: outcome(answer)),
    ),
)
