"""Claude Agent SDK: tools run in its command line, in its MCP servers, or in this process.

The command line tells of every call in its stream: what the model asks for, and the answer. A
server of this process is asked by a control message, that names the call; there its handler runs
in a task of the server's, which swallows what it raises. When the stream is read late, a tool of a
sub-agent may run here before it is known whose it is. What is not seen: tools that the model's
provider runs, a handler that a program calls itself, and a denial that ends the run too
(`PermissionResultDeny(interrupt=True)`): the stream tells of it as of an interruption, by which no
tool of this process was called, and any other is cancelled.
"""

from __future__ import annotations

import sys
from typing import Any

from toolspan.adapters.claude_messages import named, text, told
from toolspan.hooks import Adapter, Body, Events, Hook, Invocation, Mute, Run, RunFacts, Witness
from toolspan.hooks.readers import says
from toolspan.toolcall import Outcome, ToolCall, is_a

CALL, CANCELLED = "tools/call", -32800


def read(invocation: Invocation) -> ToolCall | None:
    """Read a call of a tool of this process."""
    message = invocation.get("message")
    if message.get("method") != CALL:
        return None
    given = message["params"]
    name, id_ = named(invocation.get("server_name"), given["name"]), _id(given.get("_meta"))
    return ToolCall(name, given.get("arguments") or {}, id=id_)


def answered(response: Any) -> Outcome:
    """What the server answered."""
    error = response.get("error")
    if error is not None:
        cancelled = error["code"] == CANCELLED
        return Outcome(error="cancelled" if cancelled else "error", message=error["message"])
    result = response["result"]
    failed = result.get("isError") is True
    return Outcome(text(result.get("content")), error="tool_error" if failed else None)


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
    asked = invocation.get("req") or getattr(invocation.get("message"), "request", None)
    request: Any = getattr(asked, "root", asked)
    if getattr(request, "method", None) != CALL:
        return None
    given: Any = request.params
    if type(given) is dict:
        return _id(given.get("_meta"))
    return _id(getattr(given.meta, "__pydantic_extra__", None))


def _id(meta: Any) -> str | None:
    return (meta or {}).get("claudecode/toolUseId")


def read_run(invocation: Invocation) -> RunFacts:
    """A prompt and all that comes of it; a client's options say the same as a query's."""
    options = invocation.get("options") or invocation.instance.options
    agent = (options.extra_args or {}).get("agent")
    resumed = options.resume
    return RunFacts(name="claude", agent=agent, conversation=resumed, resumes=resumed is not None)


SDK = "claude_agent_sdk"
#: Of MCP 2, and of MCP 1.
SERVERS = (
    "mcp.shared.jsonrpc_dispatcher:JSONRPCDispatcher._handle_request",
    "mcp.server.lowlevel.server:Server._handle_message",
)
QUERY, CLIENT = f"{SDK}._internal.query:Query", f"{SDK}.client:ClaudeSDKClient"

ADAPTER = Adapter(
    name="claude-agent-sdk",
    title="Claude Agent SDK",
    traces="every tool of this process, of the command line and of MCP servers that it runs; "
    "refused calls; the run",
    distribution="claude-agent-sdk",
    versions=">=0.2.187,<0.3",
    words=(
        Hook(f"{QUERY}._handle_sdk_mcp_request", read, answered, keyed=True),
        Body(SERVERS, key),
        Mute("mcp.server._otel:otel_span", says("mcp.method.name", CALL)),
        Witness(f"{SDK}:_tool_error_result", swallowed, "before"),
        Events(f"{QUERY}.receive_messages", told),
        Run(f"{SDK}._internal.client:InternalClient.process_query", read_run),
        Run(f"{CLIENT}.receive_response", read_run),
        Run(f"{CLIENT}.receive_messages", read_run),
    ),
)
