"""One file per framework, and where that is too few, one more; this is the one list of them.

A file is loaded where its distribution is installed: a framework that is not there costs nothing.
"""

from __future__ import annotations

from typing import NamedTuple


class Listed(NamedTuple):
    """A file of this folder, and what must be known before it is loaded."""

    #: What `instrument()`, the extra and TOOLSPAN_DISABLED call the framework.
    name: str
    distribution: str
    file: str


#: Two files of one name serve different versions; the installed one decides.
LIST = (
    Listed("claude-agent-sdk", "claude-agent-sdk", "claude_agent_sdk"),
    Listed("crewai", "crewai", "crewai"),
    Listed("fastmcp", "fastmcp-slim", "fastmcp_3"),
    Listed("fastmcp", "fastmcp-slim", "fastmcp_4"),
    Listed("google-adk", "google-adk", "google_adk"),
    Listed("langchain", "langchain-core", "langchain"),
    Listed("llamaindex", "llama-index-core", "llamaindex"),
    Listed("mcp", "mcp", "mcp_1"),
    Listed("mcp", "mcp", "mcp_2"),
    Listed("openai-agents", "openai-agents", "openai_agents"),
    Listed("pydantic-ai", "pydantic-ai-slim", "pydantic_ai"),
    Listed("smolagents", "smolagents", "smolagents"),
)
