"""What an MCP call says in every version of the SDK: its texts, its errors, its trace context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from toolspan.toolcall import Outcome, ToolCall, Word, clean, is_a, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolspan.hooks import Invocation
    from toolspan.toolcall import AttributeValue

CALL: Final = "tools/call"
METHOD: Final = {"mcp.method.name": CALL}
_CODES: Final[dict[int, Word]] = {408: "timeout", -32001: "timeout", -32602: "invalid_arguments"}


def client_call(invocation: Invocation, known: Mapping[str, AttributeValue] = METHOD) -> ToolCall:
    """The client's side, as every version is asked: a tool's name, and what it is given."""
    name, given = invocation.get("name"), invocation.get("arguments")
    return ToolCall(name, given, kind="client", attributes=known)


def server_call(name: str, given: Any, meta: object, version: str | None, message: Any) -> ToolCall:
    """The server's side; the client's trace context lies in the request's meta."""
    told = {} if version is None else {"mcp.protocol.version": version}
    http = over_http(message.message_metadata)
    known = {**METHOD, **told, **identified(message.request_id), **http}
    return ToolCall(name, given, kind="server", carrier=carrier(meta), attributes=known)


def outcome_of_result(content: Any, *, failed: bool) -> Outcome:
    """A CallToolResult: its text blocks are the result, `isError` is an error of the tool."""
    texts = [_text(block) for block in content or ()]
    result = texts[0] if len(texts) == 1 else texts or None
    if not failed:
        return Outcome(result)
    message = result if type(result) is str else None
    return Outcome(result, error="tool_error", message=message, type="tool_error")


def _text(block: Any) -> Any:
    fields = block if type(block) is dict else block.__dict__
    return fields.get("text", f"<{fields.get('type')}>")


def outcome_of_code(code: int, message: str | None = None) -> Outcome:
    """A JSON-RPC error: its code is the error's type."""
    word, known = _CODES.get(code, "error"), {"rpc.response.status_code": str(code)}
    return Outcome(error=word, message=message, type=str(code), attributes=known)


def outcome_of_error(error: Any) -> Outcome:
    """An error as the peers send it."""
    return outcome_of_code(error.code, error.message)


def raised(error: BaseException) -> Outcome | None:
    """A protocol error carries its code."""
    if not is_a(error, "McpError") and not is_a(error, "MCPError"):
        return None
    return outcome_of_error(getattr(error, "error", None))


def carrier(meta: object) -> dict[str, str]:
    """The trace context in `params._meta` (SEP-414: keys without prefix), which may be anything."""
    if type(meta) is not dict:
        return {}
    keys = ("traceparent", "tracestate", "baggage")
    return {key: meta[key] for key in keys if type(meta.get(key)) is str}


def over_http(metadata: Any) -> dict[str, str]:
    """What a server's message tells of the HTTP request that brought it; nothing without one."""
    if type_name(type(metadata)) != "mcp.shared.message.ServerMessageMetadata":
        return {}
    request = metadata.request_context
    if type_name(type(request)) != "starlette.requests.Request":
        return {}
    session = _headers(request.scope).get(b"mcp-session-id")
    known = {} if session is None else {"mcp.session.id": clean(session.decode("latin-1"))}
    return {"network.transport": "tcp", **known}


def _headers(scope: Any) -> dict[bytes, bytes]:
    given = scope.get("headers") if type(scope) is dict else None
    rows = given if type(given) is list else []
    pairs = [tuple(row) for row in rows if type(row) in (list, tuple)]
    return dict(pair for pair in pairs if [type(part) for part in pair] == [bytes, bytes])


def identified(id_: Any) -> dict[str, str]:
    """The request's id, by the peer's choice a number or text of any length."""
    return {"jsonrpc.request.id": clean(str(id_))} if type(id_) in (int, str) else {}
