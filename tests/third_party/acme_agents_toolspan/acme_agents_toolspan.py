"""Acme Agents: a tool runs itself, and says in its answer that it failed."""

from toolspan.hooks import Adapter, Hook
from toolspan.toolcall import Outcome, ToolCall


def read(invocation):
    tool = invocation.instance
    return ToolCall(
        name=tool.name, arguments=invocation.get("arguments"), id=invocation.get("call_id")
    )


def outcome(answer):
    if answer.error is not None:
        return Outcome(error="error", exception=answer.error)
    return Outcome(answer.value)


ADAPTER = Adapter(
    name="acme-agents",
    title="Acme Agents",
    distribution="acme-agents",
    versions=">=1,<2",
    words=(
        Hook("acme_agents:Tool.run", read, outcome),
        Hook("acme_agents:Tool.run_async", read, outcome),
    ),
)
