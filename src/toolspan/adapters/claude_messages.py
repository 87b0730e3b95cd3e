"""What the command line of Claude tells of calls: what the model asks for, and the answer."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from toolspan.hooks import Began, Ended, Invocation
from toolspan.toolcall import Outcome, ToolCall, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How it begins what it tells the model of a call that came to nothing.
_SAID: Final[tuple[tuple[str, Word], ...]] = (
    (r"<tool_use_error>Error: No such tool available: ", "unknown_tool"),
    (r"<tool_use_error>InputValidationError: ", "invalid_arguments"),
    (r'MCP server ".*" tool ".*" timed out after ', "timeout"),
    (r"Exit code 143\nCommand timed out after ", "timeout"),
    (r"", "tool_error"),
)


def told(invocation: Invocation, frame: Any) -> Iterator[Began | Ended]:
    """What one of its messages tells of calls."""
    content = frame["message"]["content"] if frame.get("type") in ("assistant", "user") else ()
    for block in content if type(content) is list else ():
        if block["type"] == "tool_use":
            yield began(invocation.instance.sdk_mcp_servers, frame, block)
        elif block["type"] == "tool_result":
            yield Ended(block["tool_use_id"], outcome(frame, block), at(frame))


def began(servers: Any, frame: Any, block: Any) -> Began:
    """What the model asks for; these servers run their tools in this process."""
    call = ToolCall(
        name=block["name"],
        arguments=block["input"],
        id=block["id"],
        agent=frame.get("subagent_type"),
        conversation=frame.get("session_id"),
        started=at(frame),
    )
    here = tuple(named(server, "") for server in servers)
    hooked = type(call.name) is str and call.name.startswith(here)
    return Began(block["id"], call, frame.get("parent_tool_use_id"), hooked)


def named(server: str, tool: str) -> str:
    """What the model calls a tool of an MCP server."""
    return f"mcp__{re.sub('[^a-zA-Z0-9_-]', '_', server)}__{tool}"


def outcome(frame: Any, block: Any) -> Outcome:
    """The answer; beside it stands what was decided before it ran, where it did not."""
    result = text(block.get("content"))
    if not block.get("is_error"):
        return Outcome(result, structured=structured(frame.get("tool_use_result")))
    beside = frame.get("tool_result_meta") or ()
    known = [one for one in beside if one["id"] == block["tool_use_id"]]
    if any(refused(one) for one in known):
        return Outcome(error="denied", message=result)
    if any("non_execution_kind" in one for one in known):
        return Outcome(error="cancelled")
    said = result if type(result) is str else ""
    word = next(word for beginning, word in _SAID if re.match(beginning, said))
    return Outcome(result, error=word, message=said or None)


def structured(own: Any) -> Any:
    """What the tool gave, of which the model gets a text; None where that text says as much.

    A shell's exit code is not in it; the command line itself reads it so: what it has a remark on
    is 1 (a `grep` that found nothing), all else that is no error 0.
    """
    if type(own) is not dict:
        return None
    served = own.get("structuredContent")
    if type(served) is dict:  # a server of MCP wraps what is no object
        return served["result"] if len(served) == 1 and "result" in served else served
    if own.get("interrupted") is False and "backgroundTaskId" not in own:
        return {"exit_code": int("returnCodeInterpretation" in own), **own}
    return None if "_meta" in own else own


def refused(beside: Any) -> bool:
    """Whether somebody, or a rule, said no; whoever interrupts a run says it to no call."""
    decided = beside.get("permission_decision") or {}
    by_rule = beside.get("non_execution_kind") == "permission-rule"
    return by_rule or decided.get("decision") == "reject"


def text(content: Any) -> Any:
    """The text of one block, or of each."""
    if type(content) is not list:
        return content
    texts = [block.get("text", f"<{block.get('type')}>") for block in content]
    return texts[0] if len(texts) == 1 else texts or None


def at(frame: Any) -> int:
    """When it wrote a message, in nanoseconds since 1970: the program may read it late."""
    with suppress(ValueError, TypeError, AttributeError):
        written = datetime.fromisoformat(frame.get("timestamp").replace("Z", "+00:00"))
        return int(written.timestamp() * 1_000) * 1_000_000
    return 0
