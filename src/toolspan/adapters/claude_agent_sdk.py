"""Claude Agent SDK: tools run in its command line, in its MCP servers, or in this process.

The command line tells of every call in its stream: what the model asks for, and the answer. A
server of this process is asked by a control message, that names the call; there its handler runs
in a task of the server's, which swallows what it raises. When the stream is read late, a tool of a
sub-agent may run here before it is known whose it is. What is not seen: tools that the model's
provider runs, and a handler that a program calls itself.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from toolspan.hooks import (
    Adapter,
    Began,
    Body,
    Ended,
    Events,
    Hook,
    Invocation,
    Mute,
    Run,
    RunFacts,
    Witness,
    says,
)
from toolspan.toolcall import Outcome, ToolCall, Word, is_a

if TYPE_CHECKING:
    from collections.abc import Iterator

CALL, ID = "tools/call", "claudecode/toolUseId"
#: How the command line begins what it tells the model of a call that came to nothing.
_SAID: Final[tuple[tuple[str, Word], ...]] = (
    (r"<tool_use_error>Error: No such tool available: ", "unknown_tool"),
    (r"<tool_use_error>InputValidationError: ", "invalid_arguments"),
    (r'MCP server ".*" tool ".*" timed out after ', "timeout"),
    (r"Exit code 143\nCommand timed out after ", "timeout"),
    (r"", "tool_error"),
)
_CODES: Final[dict[object, Word]] = {
    -32800: "cancelled",
    -32601: "unknown_tool",
    -32602: "invalid_arguments",
}


def named(server: str, tool: str) -> str:
    """What the model calls a tool of an MCP server."""
    return f"mcp__{re.sub('[^a-zA-Z0-9_-]', '_', server)}__{tool}"


def told(invocation: Invocation, frame: Any) -> Iterator[Began | Ended]:
    """What one message of the command line tells of calls."""
    content = frame["message"]["content"] if frame.get("type") in ("assistant", "user") else ()
    for block in content if type(content) is list else ():
        if block["type"] == "tool_use":
            yield _began(invocation.instance, frame, block)
        elif block["type"] == "tool_result":
            yield Ended(block["tool_use_id"], _outcome(frame, block), _time(frame))


def _began(query: Any, frame: Any, block: Any) -> Began:
    call = ToolCall(
        name=block["name"],
        arguments=block["input"],
        id=block["id"],
        agent=frame.get("subagent_type"),
        conversation=frame.get("session_id"),
        started=_time(frame),
    )
    here = (named(server, "") for server in query.sdk_mcp_servers)
    hooked = type(call.name) is str and call.name.startswith(tuple(here))
    return Began(block["id"], call, frame.get("parent_tool_use_id"), hooked)


def _outcome(frame: Any, block: Any) -> Outcome:
    """The answer; beside it stands what was decided, where it was."""
    result = _text(block.get("content"))
    if not block.get("is_error"):
        return Outcome(result)
    known = [
        one for one in frame.get("tool_result_meta") or () if one["id"] == block["tool_use_id"]
    ]
    decided = [(one.get("permission_decision") or {}).get("decision") for one in known]
    if "reject" in decided:
        return Outcome(error="denied", message=result)
    if any("non_execution_kind" in one for one in known):
        return Outcome(error="cancelled")
    said = result if type(result) is str else ""
    word = next(word for beginning, word in _SAID if re.match(beginning, said))
    return Outcome(result, error=word, message=said or None)


def _text(content: Any) -> Any:
    """The text of one block, or of each."""
    if type(content) is not list:
        return content
    texts = [block.get("text", f"<{block.get('type')}>") for block in content]
    return texts[0] if len(texts) == 1 else texts or None


def _time(frame: Any) -> int:
    """When the command line wrote it: the program may read it late."""
    with suppress(ValueError, TypeError, AttributeError):
        at = datetime.fromisoformat(frame.get("timestamp").replace("Z", "+00:00"))
        return int(at.timestamp() * 1_000) * 1_000_000
    return 0


def read(invocation: Invocation) -> ToolCall | None:
    """Read a call of a tool of this process."""
    message = invocation.get("message")
    if message.get("method") != CALL:
        return None
    given = message["params"]
    return ToolCall(
        name=named(invocation.get("server_name"), given["name"]),
        arguments=given.get("arguments") or {},
        id=(given.get("_meta") or {}).get(ID),
    )


def answered(response: Any) -> Outcome:
    """What the server answered."""
    error = response.get("error")
    if error is not None:
        word = _CODES.get(error["code"], "error")
        return Outcome(error=word, message=error["message"])
    result = response["result"]
    text = _text(result.get("content"))
    return Outcome(text, error="tool_error") if result.get("isError") else Outcome(text)


def swallowed(invocation: Invocation, _seen: Any) -> Outcome:
    """The handler raised, or the SDK found a fault in the call before."""
    error = sys.exc_info()[1]
    if error is None:
        return Outcome(error="unknown_tool")
    said = invocation.get("message")
    if is_a(error, "ValidationError") and said.startswith("Input validation error: "):
        return Outcome(error="invalid_arguments")
    return Outcome(error="error", exception=error)


def key(invocation: Invocation) -> str | None:
    """Whose body a server is about to run: one of MCP 2, or of MCP 1."""
    request = invocation.get("req") or getattr(invocation.get("message"), "request", None)
    request = getattr(request, "root", request)
    if getattr(request, "method", None) != CALL:
        return None
    given: Any = request.params
    if type(given) is dict:
        return (given.get("_meta") or {}).get(ID)
    return (getattr(given.meta, "__pydantic_extra__", None) or {}).get(ID)


def read_run(invocation: Invocation) -> RunFacts:
    """A prompt and all that comes of it; a client's options say the same as a query's."""
    options = invocation.get("options") or invocation.instance.options
    agent = (options.extra_args or {}).get("agent")
    resumed = options.resume
    return RunFacts(name="claude", agent=agent, conversation=resumed, resumes=resumed is not None)


SDK = "claude_agent_sdk"
QUERY, CLIENT = f"{SDK}._internal.query:Query", f"{SDK}.client:ClaudeSDKClient"

ADAPTER = Adapter(
    name="claude-agent-sdk",
    title="Claude Agent SDK",
    distribution="claude-agent-sdk",
    versions=">=0.2.187,<0.3",
    words=(
        Hook(f"{QUERY}._handle_sdk_mcp_request", read, answered, keyed=True),
        Body(
            (
                "mcp.shared.jsonrpc_dispatcher:JSONRPCDispatcher._handle_request",
                "mcp.server.lowlevel.server:Server._handle_message",
            ),
            key,
        ),
        Mute("mcp.server._otel:otel_span", says("mcp.method.name", CALL)),
        Witness(f"{SDK}:_tool_error_result", swallowed, "before"),
        Events(f"{QUERY}.receive_messages", told),
        Run(f"{SDK}._internal.client:InternalClient.process_query", read_run),
        Run(f"{CLIENT}.receive_response", read_run),
        Run(f"{CLIENT}.receive_messages", read_run),
    ),
)
