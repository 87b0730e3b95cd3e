"""One file per framework; this is the one list of them."""

from toolspan.adapters.langchain import ADAPTER as LANGCHAIN
from toolspan.adapters.mcp import ADAPTER as MCP

ADAPTERS = (LANGCHAIN, MCP)
