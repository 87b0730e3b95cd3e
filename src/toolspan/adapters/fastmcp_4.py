"""FastMCP on the MCP SDK 2.x: the SERVER span of a request is its own, and is adopted."""

from __future__ import annotations

import sys

from toolspan.adapters.fastmcp_tool import is_call, words
from toolspan.adapters.mcp_2 import SERVER, outcome
from toolspan.hooks import Adapter, Enrich, Mute


def in_request() -> bool:
    """Whether a client asks."""
    here = sys.modules["fastmcp.server.dependencies"].fastmcp_request_ctx
    return here.get() is not None


ADAPTER = Adapter(
    name="fastmcp",
    title="FastMCP 4",
    traces="the same; both of its own spans adopted",
    distribution="fastmcp-slim",
    versions=">=4,<5",
    words=(
        *words(outcome, SERVER, in_request),
        Enrich("fastmcp.server.low_level:seam_span", is_call),
        # Of an exception we say the type ourselves, and nobody its texts:
        Mute("fastmcp.server.telemetry:record_span_exception"),
    ),
)
