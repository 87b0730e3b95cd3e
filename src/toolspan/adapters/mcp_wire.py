"""What an MCP call says in every version of the SDK: its texts, its errors, its trace context."""

from __future__ import annotations

from typing import Any, Final

from toolspan.toolcall import Outcome, Word

CALL: Final = "tools/call"
METHOD: Final = {"mcp.method.name": CALL}
_CODES: Final[dict[int, Word]] = {
    408: "timeout",
    -32001: "timeout",
    -32602: "invalid_arguments",
}


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


def outcome_of_code(error: Any) -> Outcome:
    """A JSON-RPC error: its code is the error's type."""
    code = str(error.code)
    return Outcome(
        error=_CODES.get(error.code, "error"),
        message=error.message,
        type=code,
        attributes={"rpc.response.status_code": code},
    )


def raised(error: BaseException) -> Outcome | None:
    """A protocol error carries its code."""
    if any(kind.__name__ in ("McpError", "MCPError") for kind in type(error).__mro__):
        return outcome_of_code(error.error)  # type: ignore[attr-defined]  # both classes have it
    return None


def carrier(meta: object) -> dict[str, str]:
    """The trace context in `params._meta` (SEP-414: keys without prefix), which may be anything."""
    if type(meta) is not dict:
        return {}
    keys = ("traceparent", "tracestate", "baggage")
    return {key: meta[key] for key in keys if type(meta.get(key)) is str}
