"""Pydantic AI: a call is validated, maybe refused, and executed; its own span, if on, is adopted.

That span begins inside `execute_tool_call` and around `_raw_execute`, where it is decided whose it
is; a failed validation has one before. What makes both can be reached from 2.68 on: before, they
keep texts, a cancellation's ERROR, and the one of a failed validation stands beside ours. What is
not seen: `call_tool` of a toolset that a program calls itself, and external tools.
"""

from __future__ import annotations

from typing import Any

from toolspan.adapters.pydantic_ai_output import MANAGER, WORDS, call_of, outcome, raised
from toolspan.hooks import Adapter, Enrich, Hook, Invocation, Mute, Refusal, Run, RunFacts
from toolspan.hooks.readers import parsed, says
from toolspan.toolcall import Outcome, ToolCall, is_a


def read(invocation: Invocation) -> ToolCall | None:
    """Read the call with its validated arguments; one that was refused has its span already."""
    call = read_body(invocation)
    call.functions = (invocation.instance._raw_execute,)  # noqa: SLF001  # whatever its arguments are
    return call if invocation.get("validated").args_valid else None


def read_body(invocation: Invocation) -> ToolCall:
    """Read its execution, which what the program has around it may repeat."""
    known = invocation.get("validated")
    return call_of(known.call, known.tool, known.ctx, known.validated_args)


def read_invalid(invocation: Invocation) -> ToolCall:
    """Read the call whose failed validation the framework traces itself."""
    call, tool = invocation.get("call"), invocation.get("tool_def")
    return call_of(call, tool, invocation.get("ctx"), parsed(call.args))


def invalid(error: BaseException) -> Outcome:
    """That ends with the error which it is about."""
    return Outcome(error="invalid_arguments", exception=error)


def refused(invocation: Invocation, _none: Any) -> tuple[ToolCall, Outcome] | None:
    """No such tool, none for now, or arguments that do not fit, where nobody traced that."""
    call, tool, context = (invocation.get(name) for name in ("call", "tool", "ctx"))
    error, asked = invocation.get("error"), call_of(call, tool, context, parsed(call.args))
    if tool is None:
        return asked, Outcome(error="unknown_tool")
    if is_a(error, "_ToolUnavailable"):
        return asked, Outcome(error="denied")
    return (asked, invalid(error)) if is_a(context.tracer, "NoOpTracer") else None


def read_run(invocation: Invocation) -> RunFacts:
    """A run of an agent; its conversation, if the program named it."""
    agent, conversation = invocation.instance, invocation.get("conversation_id")
    return RunFacts(
        name=agent.name or "agent",
        agent=agent.name,
        conversation=None if conversation == "new" else conversation,
        resumes=invocation.get("deferred_tool_results") is not None,
    )


BODY = f"{MANAGER}._raw_execute"
NATIVE = "pydantic_ai.capabilities.instrumentation"
#: Bound by the first, made in the second.
SPANS = tuple(f"{one}:start_as_current_span" for one in (NATIVE, "pydantic_ai._durable_replay"))
#: What its span says of arguments and results, in its versions 1 to 5.
TEXTS = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "tool_arguments", "tool_response")

ADAPTER = Adapter(
    name="pydantic-ai",
    title="Pydantic AI",
    traces="every function and MCP tool, functions that make the output, its own span adopted "
    "where it is on (whole from 2.68); refused calls; the run",
    distribution="pydantic-ai-slim",
    versions=">=2.30,<3",
    words=(
        Hook(BODY, read_body, outcome, raised, inside=True),
        Hook(f"{MANAGER}.execute_tool_call", read, outcome, raised, (BODY,), "before"),
        Enrich(SPANS, says("gen_ai.operation.name", "execute_tool"), texts=TEXTS),
        Hook(f"{NATIVE}:Instrumentation.on_tool_validate_error", read_invalid, raised=invalid),
        Mute(SPANS, says("pydantic_ai.tool.failure_stage", "validation"), texts=TEXTS),
        Refusal(f"{MANAGER}._make_validation_failure", refused, "before"),
        *WORDS,
        Run("pydantic_ai.agent:Agent.iter", read_run, manager=True),
    ),
)
