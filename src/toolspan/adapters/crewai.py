"""CrewAI: native calls of its agents, which are calls also where no tool runs, and its runs.

Such a call lasts from the program's hooks and the cache to the answer; the tool below it is the
same call. A crew or a flow is a workflow. Its own telemetry has a provider of its own. From 1.7 to
1.15.20 it pins an OpenTelemetry older than ours. Not seen: ids and refusals of native calls where
an agent asks for the CrewAgentExecutor that went with 1.15.29.
"""

from __future__ import annotations

import sys
from typing import Any

from toolspan.adapters.crewai_tool import ENTERED, WORDS, call_of, outcome_of
from toolspan.hooks import Adapter, Hook, Invocation, Run, RunFacts, Witness
from toolspan.hooks.readers import parsed
from toolspan.toolcall import Outcome, ToolCall, is_a


def read(invocation: Invocation) -> ToolCall | None:
    """Read what a model asked for, as the framework itself reads it."""
    wish, agent_utils = invocation.get("tool_call"), sys.modules["crewai.utilities.agent_utils"]
    known = agent_utils.extract_tool_call_info(wish)
    if known is None:
        return None
    id_, name, asked = known
    given, executor = parsed(asked), invocation.instance
    id_ = None if id_ == f"call_{id(wish)}" else id_  # nobody gave one
    there = invocation.get("available_functions")
    if executor is not None:
        there = executor._available_functions  # noqa: SLF001  # nowhere else
    run = there.get(name)
    tool = getattr(run, "__self__", None)
    if tool is None:
        return ToolCall(name=name, arguments=given, id=id_)
    return call_of(tool, given, run, id_=id_)


def answered(answer: Any) -> Outcome:
    """What the model gets; the tool's own value or error is known from below."""
    facts = answer if type(answer) is dict else vars(answer)
    if facts["from_cache"]:
        return Outcome(facts["result"], cached=True)
    blocked = facts["result"] == f"Tool execution blocked by hook. Tool: {facts['func_name']}"
    return Outcome(error="denied" if blocked else None)


def stopped(error: BaseException) -> Outcome | None:
    """The policy that ends the run over a failed tool."""
    record: Any = (
        getattr(error, "record", None) if is_a(error, "ToolExecutionFailedError") else None
    )
    return None if record is None else outcome_of(record.failure)


def failed(invocation: Invocation, _none: Any) -> Outcome:
    """Why the call failed, of which its tool may not know."""
    return outcome_of(invocation.get("failure"))


def denied(_invocation: Invocation, blocked: Any) -> Outcome | None:
    """A hook of the program said no, whatever another one makes of the answer."""
    return Outcome(error="denied") if blocked is True else None


def read_agent(invocation: Invocation) -> RunFacts:
    """A run of an agent, by itself or for a task."""
    role = invocation.instance.role.strip()
    return RunFacts(name=role, agent=role)


def read_whole(invocation: Invocation) -> RunFacts | None:
    """A run of a crew or a flow; a streamed one comes by again when it runs."""
    whole = invocation.instance
    if whole.stream or is_a(whole, "AgentExecutor"):
        return None
    name = whole.name or type(whole).__name__
    return RunFacts(name=name, workflow=name)


#: Where the executor of agents is, from 1.15.29 on and before.
EXECUTORS = ("crewai.agents.agent_executor", "crewai.experimental.agent_executor")
EXECUTE = tuple(f"{one}:AgentExecutor._execute_single_native_tool_call" for one in EXECUTORS)
UTILITIES, STEPS = "crewai.utilities.agent_utils", ("crewai.agents.step_executor",)
STEP = f"{UTILITIES}:execute_single_native_tool_call"
AGENT = "crewai.agent.core:Agent"
#: What an agent does first: by then whoever traces it has begun.
AGENT_BEGINS = (
    (("kickoff", "kickoff_async"), "crewai.agent.core:apply_checkpoint"),
    (("execute_task", "aexecute_task"), f"{AGENT}._prepare_task_execution"),
)
WHOLES = (
    ("crewai.crew", "Crew.kickoff"),
    ("crewai.crew", "Crew.akickoff"),
    ("crewai.flow.runtime", "Flow.kickoff_async"),
)

ADAPTER = Adapter(
    name="crewai",
    title="CrewAI",
    traces="every tool, called natively, in a text or by a program, coworkers and MCP's too; "
    "cached answers, refused calls; the run of an agent, a crew or a flow",
    distribution="crewai",
    versions=">=1.15.21,<2",
    words=(
        *WORDS,
        Hook(EXECUTE, read, answered, stopped, ENTERED, "beside"),
        Hook(STEP, read, answered, stopped, ENTERED, "beside", also=STEPS),
        Witness(tuple(f"{one}:run_before_tool_call_hooks" for one in EXECUTORS), denied),
        Witness(tuple(f"{one}:handle_tool_failure" for one in EXECUTORS), failed, "before"),
        Witness(f"{UTILITIES}:handle_tool_failure", failed, "before"),
        *(
            Run(f"{AGENT}.{way}", read_agent, decide=(begun,))
            for ways, begun in AGENT_BEGINS
            for way in ways
        ),
        Run("crewai.lite_agent:LiteAgent.kickoff", read_agent),
        *(
            Run(f"{module}:{way}", read_whole, decide=(f"{module}:apply_checkpoint",))
            for module, way in WHOLES
        ),
    ),
)
