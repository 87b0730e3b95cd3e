"""FastMCP on the MCP SDK 1.x: its SERVER span, begun inside the request, is muted there."""

from __future__ import annotations

import sys

from toolspan.adapters.fastmcp_tool import words
from toolspan.adapters.mcp_1 import SERVER, outcome
from toolspan.hooks import Adapter


def in_request() -> bool:
    """Whether a client asks."""
    here = sys.modules["mcp.server.lowlevel.server"].request_ctx
    return here.get(None) is not None


ADAPTER = Adapter(
    name="fastmcp",
    title="FastMCP 3",
    traces="every `tools/call`, on both sides, as one trace, its own client span adopted, its "
    "server span muted; tools that the program lets its server run",
    distribution="fastmcp-slim",
    versions=">=3.3,<4",
    words=words(outcome, SERVER, in_request),
)
