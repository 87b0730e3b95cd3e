"""OpenAI's agents where no function runs: guardrails, tools of this machine, a voice's session."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress

import pytest

program = pytest.importorskip("programs.openai_agents_program")

from agents import (  # noqa: E402  # only where they are installed
    Agent,
    ApplyPatchTool,
    AsyncComputer,
    ComputerTool,
    CustomTool,
    LocalShellTool,
    Runner,
    ShellTool,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrailTripwireTriggered,
)
from agents.items import ModelResponse  # noqa: E402
from agents.models.interface import Model  # noqa: E402
from agents.realtime import RealtimeAgent, RealtimeModel, RealtimeRunner  # noqa: E402
from agents.realtime.model_events import RealtimeModelToolCallEvent  # noqa: E402
from agents.tool import function_tool  # noqa: E402
from agents.tool_guardrails import tool_input_guardrail  # noqa: E402
from agents.usage import Usage  # noqa: E402
from openai.types.responses import (  # noqa: E402
    ResponseComputerToolCall,
    ResponseCustomToolCall,
    ResponseFunctionToolCall,
)
from openai.types.responses.response_computer_tool_call import ActionScreenshot  # noqa: E402
from openai.types.responses.response_output_item import (  # noqa: E402
    LocalShellCall,
    LocalShellCallAction,
)

from ground_truth import RAN, note  # noqa: E402

SECRET = "the combination of the safe"
pytestmark = pytest.mark.usefixtures("nothing_ran")


class Once(Model):
    """Asks for one call, and is done."""

    def __init__(self, call):
        self._turns = iter([[call]])

    async def get_response(self, *_args, **_options):
        done = program.Scripted([]).said(None)
        return ModelResponse(output=next(self._turns, done), usage=Usage(), response_id=None)

    async def stream_response(self, *_args, **_options):
        raise NotImplementedError


def agent(call, tool):
    return Agent(name="helper", model=Once(call), tools=[tool])


def run(call, tool):
    return asyncio.run(Runner.run(agent(call, tool), "hello"))


# -- guardrails ----------------------------------------------------------------------------------


def guarded(verdict):
    @function_tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        note("add")
        return a + b

    guard = tool_input_guardrail(lambda _data: verdict)
    add.tool_input_guardrails = [guard]
    return add


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (ToolGuardrailFunctionOutput.reject_content(SECRET), "denied"),
        (ToolGuardrailFunctionOutput.raise_exception(SECRET), "denied"),
        (ToolGuardrailFunctionOutput.allow(), "ok"),
    ],
    ids=["rejects", "raises", "allows"],
)
def test_a_call_that_a_guardrail_stops_is_one_denied_call(traced, verdict, outcome):
    call = ResponseFunctionToolCall(
        name="add", arguments='{"a": 1, "b": 2}', call_id="call-0", type="function_call"
    )
    with suppress(ToolInputGuardrailTripwireTriggered):
        run(call, guarded(verdict))
    assert traced.told("toolspan.outcome") == [("add", outcome)]
    assert len(RAN) == (outcome == "ok")
    (span,) = traced.tools
    assert span.attributes["gen_ai.tool.call.id"] == "call-0"
    assert span.attributes["gen_ai.agent.name"] == "helper"
    assert SECRET not in "".join(one.to_json() for one in traced.spans)


# -- tools of this machine -----------------------------------------------------------------------


async def custom(_context, text):
    note("grammar")
    return text


async def shell(_request):
    note("shell")
    return "out"


def local_shell(_request):
    note("local_shell")
    return "out"


class Editor:
    """Edits nothing."""

    def delete_file(self, _operation):
        note("apply_patch")

    create_file = update_file = delete_file


class Screen(AsyncComputer):
    """Shows nothing."""

    async def screenshot(self):
        note("computer_use_preview")
        return "cGljdHVyZQ=="

    async def nothing(self, *_args, **_options):
        """Do nothing."""

    click = double_click = scroll = type = wait = move = keypress = drag = nothing


def shell_call():
    action = {"commands": ["ls", SECRET]}
    facts = {"id": "1", "call_id": "call-0", "status": "completed"}
    return {"type": "shell_call", **facts, "action": action}


LOCAL = {
    "grammar": lambda: (
        ResponseCustomToolCall(
            call_id="call-0", input=SECRET, name="grammar", type="custom_tool_call"
        ),
        CustomTool(name="grammar", description="Read.", on_invoke_tool=custom),
    ),
    "shell": lambda: (shell_call(), ShellTool(executor=shell)),
    "local_shell": lambda: (
        LocalShellCall(
            id="1",
            call_id="call-0",
            status="completed",
            type="local_shell_call",
            action=LocalShellCallAction(command=["ls", SECRET], env={}, type="exec"),
        ),
        LocalShellTool(executor=local_shell),
    ),
    "apply_patch": lambda: (
        {
            "id": "1",
            "type": "apply_patch_call",
            "call_id": "call-0",
            "status": "completed",
            "operation": {"type": "delete_file", "path": SECRET},
        },
        ApplyPatchTool(editor=Editor()),
    ),
    "computer_use_preview": lambda: (
        ResponseComputerToolCall(
            id="1",
            call_id="call-0",
            action=ActionScreenshot(type="screenshot"),
            pending_safety_checks=[],
            status="completed",
            type="computer_call",
        ),
        ComputerTool(computer=Screen()),
    ),
}


@pytest.mark.parametrize("name", LOCAL)
def test_a_tool_of_this_machine_is_one_span_that_is_current_where_it_runs(traced, name):
    run(*LOCAL[name]())
    (span,) = traced.tools
    assert [(name, span.context.span_id)] == [(one.name, one.span_id) for one in RAN]
    assert span.attributes["gen_ai.tool.name"] == name
    assert span.attributes["gen_ai.tool.call.id"] == "call-0"
    assert span.attributes["gen_ai.agent.name"] == "helper"
    assert SECRET not in "".join(one.to_json() for one in traced.spans)


def test_what_its_executor_raises_is_the_error_of_the_call(traced):
    async def fails(_request):
        raise ConnectionError(SECRET)

    run(shell_call(), ShellTool(executor=fails))
    (span,) = traced.tools
    assert traced.told("toolspan.outcome") == [("shell", "error")]
    assert span.attributes["error.type"] == "ConnectionError"
    assert SECRET not in span.to_json()


@pytest.mark.parametrize(("says", "outcome"), [("reject", "denied"), ("approve", "ok")])
def test_a_shell_that_waits_for_a_person_is_interrupted_and_then_what_they_say(
    traced, says, outcome
):
    async def main():
        careful = agent(shell_call(), ShellTool(executor=shell, needs_approval=True))
        first = await Runner.run(careful, "hello")
        state = first.to_state()
        getattr(state, says)(first.interruptions[0])
        await Runner.run(careful, state)

    asyncio.run(main())
    assert traced.told("toolspan.outcome") == [("shell", "interrupted"), ("shell", outcome)]
    assert len(RAN) == (outcome == "ok")


def test_a_program_that_refuses_at_once_makes_one_denied_call_of_it(traced):
    async def refuses(_context, _item):
        return {"approve": False, "reason": SECRET}

    tool = ShellTool(executor=shell, needs_approval=True, on_approval=refuses)
    run(shell_call(), tool)
    assert (traced.told("toolspan.outcome"), RAN) == ([("shell", "denied")], [])


def test_an_agent_that_is_a_tool_and_waits_for_a_person_is_interrupted(traced):
    from ground_truth import ONE_AND_TWO, asked

    async def main():
        wish = [asked("add", ONE_AND_TWO, id="inner-1")]
        inner = program.agent(wish, [program.add_if_allowed], "researcher")
        tool = inner.as_tool("research", "Ask another agent.")
        outer = program.agent([asked("research", {"input": "sums"})], [tool])
        first = await Runner.run(outer, "hello")
        state = first.to_state()
        state.approve(first.interruptions[0])
        await Runner.run(outer, state)

    asyncio.run(main())
    said = [("add", "ok"), ("research", "interrupted"), ("research", "ok")]
    assert sorted(traced.told("toolspan.outcome")) == said


# -- a conversation by voice ---------------------------------------------------------------------


class Voice(RealtimeModel):
    """A connection on which the test speaks."""

    def __init__(self):
        self._listeners = []

    def add_listener(self, listener):
        self._listeners.append(listener)

    def remove_listener(self, listener):
        self._listeners.remove(listener)

    async def nothing(self, *_args):
        """Do nothing."""

    connect = send_event = close = nothing

    async def asks(self, name):
        arguments = json.dumps({"a": 1, "b": 2})
        event = RealtimeModelToolCallEvent(name=name, call_id=f"call-{name}", arguments=arguments)
        for listener in list(self._listeners):
            await listener.on_event(event)


def test_in_a_voices_session_each_call_runs_once_or_is_refused_once(traced):
    @function_tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        note("add")
        return a + b

    @function_tool(needs_approval=True)
    def careful(a: int, b: int) -> int:
        """Add two numbers, if a person allows it."""
        note("careful")
        return a + b

    stopped = guarded(ToolGuardrailFunctionOutput.reject_content("no"))
    stopped.name = "stopped"

    async def main():
        voice = Voice()
        helper = RealtimeAgent(name="helper", tools=[add, careful, stopped])
        async with await RealtimeRunner(helper, model=voice).run() as session:
            for name in ("add", "careful", "stopped", "unheard_of"):
                await voice.asks(name)
            await asyncio.sleep(0.05)
            await session.reject_tool_call("call-careful")
            await asyncio.sleep(0.05)

    asyncio.run(main())
    assert Counter(traced.told("toolspan.outcome")) == Counter(
        [
            ("add", "ok"),
            ("careful", "denied"),
            ("stopped", "denied"),
            ("unheard_of", "unknown_tool"),
        ]
    )
    assert [one.name for one in RAN] == ["add"]
