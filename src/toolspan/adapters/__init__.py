"""One file per framework; this is the one list of them."""

from toolspan.adapters.langchain import ADAPTER as LANGCHAIN
from toolspan.adapters.mcp_1 import ADAPTER as MCP_1
from toolspan.adapters.mcp_2 import ADAPTER as MCP_2
from toolspan.adapters.openai_agents import ADAPTER as OPENAI_AGENTS
from toolspan.adapters.pydantic_ai import ADAPTER as PYDANTIC_AI
from toolspan.adapters.smolagents import ADAPTER as SMOLAGENTS

#: Two adapters of one name serve different versions; the installed one decides.
ADAPTERS = (LANGCHAIN, MCP_1, MCP_2, OPENAI_AGENTS, PYDANTIC_AI, SMOLAGENTS)
