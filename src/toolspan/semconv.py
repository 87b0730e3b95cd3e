"""Every attribute, span and metric name that toolspan writes, with its source.

`gen_ai.*`: OpenTelemetry GenAI conventions, execute_tool and invoke_agent spans.
`mcp.*`, `jsonrpc.*`, `rpc.*`, `network.*`: OpenTelemetry MCP conventions.
`process.*`, `file.*`, `url.*`, `http.*`: OpenTelemetry's registry of attributes.
`toolspan.*`: what the conventions do not have yet (docs/attributes.md).
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "toolspan"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

# GenAI conventions
OPERATION: Final = "gen_ai.operation.name"
EXECUTE_TOOL: Final = "execute_tool"
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_DESCRIPTION: Final = "gen_ai.tool.description"
CALL_ID: Final = "gen_ai.tool.call.id"
CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
CALL_RESULT: Final = "gen_ai.tool.call.result"
AGENT_NAME: Final = "gen_ai.agent.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
ERROR_TYPE: Final = "error.type"
DURATION_METRIC: Final = "gen_ai.execute_tool.duration"

# MCP conventions
MCP_METHOD: Final = "mcp.method.name"
MCP_PROTOCOL: Final = "mcp.protocol.version"
MCP_SESSION: Final = "mcp.session.id"
JSONRPC_ID: Final = "jsonrpc.request.id"
RPC_STATUS: Final = "rpc.response.status_code"
NETWORK_TRANSPORT: Final = "network.transport"
TOOLS_CALL: Final = "tools/call"

# The registry: what a tool of a well-known family did
EXIT_CODE: Final = "process.exit.code"
COMMAND_LINE: Final = "process.command_line"
FILE_PATH: Final = "file.path"
URL: Final = "url.full"
HTTP_STATUS: Final = "http.response.status_code"

# Our own
OUTCOME: Final = "toolspan.outcome"
ARGUMENTS_SIZE: Final = "toolspan.arguments.size"
ARGUMENTS_TRUNCATED: Final = "toolspan.arguments.truncated"
ARGUMENTS_FINGERPRINT: Final = "toolspan.arguments.fingerprint"
RESULT_SIZE: Final = "toolspan.result.size"
RESULT_TRUNCATED: Final = "toolspan.result.truncated"
TOOL_FINGERPRINT: Final = "toolspan.tool.fingerprint"
TOOL_FAMILY: Final = "toolspan.tool.family"
LINES: Final = "toolspan.detail.lines"
BYTES: Final = "toolspan.detail.bytes"
MATCHES: Final = "toolspan.detail.matches"
ATTEMPT: Final = "toolspan.attempt"
ATTEMPTS: Final = "toolspan.attempts"
CACHED: Final = "toolspan.cached"
WAIT: Final = "toolspan.wait"
STREAM_COMPLETE: Final = "toolspan.stream.complete"
SIDE: Final = "toolspan.side"
TEST: Final = "toolspan.test"

# Our own metrics
CALLS_METRIC: Final = "toolspan.calls"
IN_FLIGHT_METRIC: Final = "toolspan.calls.in_flight"
OLDEST_METRIC: Final = "toolspan.calls.oldest"
