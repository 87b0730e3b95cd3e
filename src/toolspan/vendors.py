"""How everybody else marks the spans of tools and runs: their scopes, attributes and names.

Source: the vendors' own spans, measured (docs/neighbours.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanKind

from toolspan import semconv
from toolspan.toolcall import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolspan.toolcall import Kind

OPENINFERENCE: Final = "openinference.span.kind"
TRACELOOP: Final = "traceloop.span.kind"
LOGFIRE: Final = "logfire.msg"
LOGFIRE_AGENTS: Final = "logfire.openai_agents"
_LOGFIRE_CALL: Final = "Function: "
#: Scope names (beginnings) of those who name their span before they say of what it is.
_NAMED: Final = (
    "gcp.vertex.agent",
    "openinference.instrumentation.google_adk",
    "openlit.instrumentation.",
)
#: OpenLLMetry's scopes begin as those of everybody's HTTP and database instrumentation do.
_OPENLLMETRY: Final = ("langchain", "openai_agents", "mcp", "crewai", "llamaindex")
#: Scope names (beginnings) of whoever traces agents and their tools.
SCOPES: Final = (
    "opentelemetry.instrumentation.genai.",
    "opentelemetry.util.genai.",
    "openinference.instrumentation.",
    "openlit.instrumentation.",
    *(f"opentelemetry.instrumentation.{one}" for one in _OPENLLMETRY),
    "logfire.",
    "llamaindex.opentelemetry.tracer",
    "mcp-python-sdk",
    "pydantic-ai",
    "gcp.vertex.agent",
    "fastmcp",
)
#: Those who make their span current themselves, be it after our layers.
CURRENT: Final = (
    "opentelemetry.instrumentation.genai.",
    "opentelemetry.util.genai.",
    "pydantic-ai",
)
#: Those who may hear of no end: of a cancellation in LangChain, of a failure in LlamaIndex.
TOLD: Final = (
    "openinference.instrumentation.langchain",
    "openlit.instrumentation.langchain",
    "opentelemetry.instrumentation.langchain",
    "opentelemetry.instrumentation.llamaindex",
)
#: Those who name the span of LlamaIndex's runs after a class, and say nowhere which agent it is.
NAMELESS: Final = (
    "llamaindex.opentelemetry.tracer",
    "openinference.instrumentation.llama_index",
    "opentelemetry.instrumentation.llamaindex",
)
#: Those who open spans in hooks that a framework calls beside its tools, or afterwards in a thread
#: of their own, never current: no call can adopt one. Where that framework's adapter is in place,
#: it has counted the call itself.
APART: Final = {
    "langsmith": "langchain",
    "openinference.instrumentation.claude_agent_sdk": "claude-agent-sdk",
    "openlit.instrumentation.claude_agent_sdk": "claude-agent-sdk",
    "logfire.claude_agent_sdk": "claude-agent-sdk",
}
_NAMES: Final = (semconv.TOOL_NAME, "tool.name", "traceloop.entity.name")
_PREFIXES: Final = (
    f"{semconv.EXECUTE_TOOL} ",
    f"{semconv.TOOLS_CALL} ",
    f"MCP send {semconv.TOOLS_CALL} ",
    _LOGFIRE_CALL,
)
#: No tool ran: ADK's summary of parallel calls; OpenLIT's spans named after the model, and of the
#: listing of an MCP server's tools.
_PSEUDO_NAME: Final = f"{semconv.EXECUTE_TOOL} (merged tools)"
_PSEUDO_TOOL: Final = "mcp_list_tools"
_PSEUDO_SCOPE: Final = "openlit.instrumentation.pydantic_ai"
_RUNS: Final = (semconv.INVOKE_AGENT, semconv.INVOKE_WORKFLOW)
KINDS: Final[dict[SpanKind, Kind]] = {SpanKind.CLIENT: "client", SpanKind.SERVER: "server"}


def is_tool(span: Any, scope: str, known: Mapping[str, Any]) -> bool:
    """Whether a span stands for a call of a tool, by anybody's mark."""
    pseudo = span.name == _PSEUDO_NAME or known.get(semconv.TOOL_NAME) == _PSEUDO_TOOL
    if pseudo or scope.startswith(_PSEUDO_SCOPE):
        return False
    return (
        known.get(semconv.OPERATION) == semconv.EXECUTE_TOOL
        or known.get(OPENINFERENCE) == "TOOL"
        or known.get(TRACELOOP) == "tool"
        or (known.get(semconv.MCP_METHOD) == semconv.TOOLS_CALL and span.kind in KINDS)
        or (scope.startswith(_NAMED) and span.name.startswith(_PREFIXES))
        or (scope == LOGFIRE_AGENTS and clean(known.get(LOGFIRE)).startswith(_LOGFIRE_CALL))
    )


def tool_of(span: Any, scope: str, known: Mapping[str, Any]) -> str:
    """Which tool."""
    for key in _NAMES:
        if type(name := known.get(key)) is str:
            return name
    name = clean(known.get(LOGFIRE)) if scope == LOGFIRE_AGENTS else span.name
    return next((name[len(prefix) :] for prefix in _PREFIXES if name.startswith(prefix)), name)


def is_run(span: Any, scope: str, known: Mapping[str, Any]) -> bool:
    """Whether a span is an agent's or a workflow's; OpenLIT says so in its name before it does."""
    return (
        known.get(semconv.OPERATION) in _RUNS
        or known.get(OPENINFERENCE) in {"AGENT", "CHAIN"}
        or known.get(TRACELOOP) in {"agent", "workflow"}
        or (scope.startswith(SCOPES) and span.name.partition(" ")[0] in _RUNS)
        or (scope.startswith(NAMELESS) and span.name.endswith(".run"))
    )
