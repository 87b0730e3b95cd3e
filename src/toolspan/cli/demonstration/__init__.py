"""An ordinary agent and an ordinary MCP server, which know nothing of tracing."""
