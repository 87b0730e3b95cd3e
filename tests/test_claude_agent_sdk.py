"""The command line's own tools, which run in its process: files say what they did, messages tell us."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

import toolspan
from toolspan.settings import Settings

claude = pytest.importorskip("programs.claude_agent_sdk_program")

from claude_agent_sdk import (  # noqa: E402  # only where it is
    AssistantMessage,
    ClaudeSDKClient,
    HookMatcher,
    ProcessError,
    UserMessage,
)

from ground_truth import asked, finished  # noqa: E402

ALLOWED = ["Bash", "Read", "Write", "Edit", *claude.ALLOWED]
with_any_content = pytest.mark.parametrize(
    "capture", [True, False], ids=["content on", "content off"]
)


@pytest.fixture
def traced(trace_with):
    return trace_with(settings=Settings(capture=True))


@pytest.fixture
def folder(tmp_path):
    """Where the command line works."""
    return tmp_path.resolve()


def run(calls, folder, **more):
    claude.run(calls, cwd=str(folder), **{"allowed_tools": ALLOWED, **more})


def told(traced):
    return [
        (span.attributes["gen_ai.tool.name"], span.attributes["toolspan.outcome"])
        for span in traced.tools
    ]


EDIT = {"old_string": "one", "new_string": "two", "replace_all": False}


def test_shell_and_file_tools_are_spans_of_what_they_did(traced, folder):
    note, plan = folder / "note.txt", folder / "plan.txt"
    note.write_text("one\n", encoding="utf-8")
    calls = [
        asked("Read", {"file_path": str(note)}, number=1),
        asked("Edit", {"file_path": str(note), **EDIT}, number=2, turn=1),
        asked("Write", {"file_path": str(plan), "content": "three\n"}, number=3, turn=2),
        asked("Bash", {"command": "cat note.txt plan.txt"}, number=4, turn=3),
        asked("Bash", {"command": "exit 3"}, number=5, turn=4),
        asked("Read", {"file_path": str(folder / "none")}, number=6, turn=5),
    ]
    run(calls, folder)
    assert (note.read_text(), plan.read_text()) == ("two\n", "three\n")
    assert told(traced) == [
        ("Read", "ok"),
        ("Edit", "ok"),
        ("Write", "ok"),
        ("Bash", "ok"),
        ("Bash", "tool_error"),
        ("Read", "tool_error"),
    ]
    spans = traced.tools
    for call, span in zip(calls, spans, strict=True):
        assert span.attributes["gen_ai.tool.call.id"] == call.id
        assert json.loads(span.attributes["gen_ai.tool.call.arguments"]) == call.arguments
    assert spans[3].attributes["gen_ai.tool.call.result"] == "two\nthree"
    (run_span,) = [span for span in traced.spans if span.name == "invoke_agent helper"]
    assert {span.parent.span_id for span in spans} == {run_span.context.span_id}


def test_a_shell_command_takes_as_long_as_it_took_however_late_its_messages_are_read(
    traced, folder
):
    """The command writes down its own times."""
    command = "date +%s%N > begun; sleep 0.5; date +%s%N > done"
    claude.SCRIPTS["slowly."] = [[asked("Bash", {"command": command})]]

    async def slowly():
        options = claude.options(cwd=str(folder), allowed_tools=ALLOWED)
        messages = claude.query(prompt=claude.asking("slowly."), options=options)
        async for message in messages:
            if isinstance(message, AssistantMessage):
                break
        await asyncio.sleep(4)
        asked_for.append(time.time_ns())
        async for _ in messages:
            pass

    asked_for = []
    finished(slowly())
    (span,) = traced.tools
    begun, done = (int((folder / name).read_text()) for name in ("begun", "done"))
    assert span.start_time <= begun < done <= span.end_time + 2_000_000  # it counts milliseconds
    assert span.end_time < asked_for[0]


async def refused(*_about):
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": "not on Sundays",
        }
    }


REFUSALS = {
    "a hook": {"hooks": {"PreToolUse": [HookMatcher(hooks=[refused])]}},
    "the program": {"allowed_tools": [], "can_use_tool": claude.refused},
    "nobody's permission": {"allowed_tools": []},
    "a mode": {"allowed_tools": [], "permission_mode": "dontAsk"},
}


@pytest.mark.parametrize("by", REFUSALS)
def test_a_tool_that_was_denied_did_nothing_and_says_so(traced, folder, by):
    calls = [
        asked("Bash", {"command": "touch done"}),
        asked("mcp__tools__add", {"a": 1, "b": 2}, number=2),
    ]
    claude.ground_truth.RAN.clear()
    run(calls, folder, **REFUSALS[by])
    assert claude.ground_truth.RAN == list(folder.glob("done")) == []
    assert told(traced) == [("Bash", "denied"), ("mcp__tools__add", "denied")]


def test_unknown_tools_wrong_arguments_and_a_time_limit_are_told_apart(traced, folder):
    calls = [
        asked("Bash", {"cmd": 3}, number=1),
        asked("Fly", {"to": "Rome"}, number=2),
        asked("Bash", {"command": "sleep 5", "timeout": 300}, number=3),
    ]
    run(calls, folder)
    assert sorted(told(traced)) == [
        ("Bash", "invalid_arguments"),
        ("Bash", "timeout"),
        ("Fly", "unknown_tool"),
    ]


def interrupted(client, _seen):
    return client.interrupt()


async def killed(client, _seen):
    os.kill(client._transport._process.pid, signal.SIGKILL)


async def left(_client, messages):
    await messages.aclose()


ENDS = {interrupted: "cancelled", killed: "abandoned", left: "cancelled"}


@pytest.mark.parametrize("end", ENDS)
def test_a_shell_command_that_never_answers_ends_with_its_run(traced, folder, end):
    calls = [
        asked("Bash", {"command": "touch begun; sleep 30"}),
        asked("mcp__tools__add", number=2),
    ]
    claude.SCRIPTS["forever."] = [calls]

    async def begun(client, messages):
        while not (folder / "begun").exists():
            await asyncio.sleep(0.01)
        await end(client, messages)

    async def scene():
        options = claude.options(cwd=str(folder), allowed_tools=ALLOWED)
        async with ClaudeSDKClient(options) as client:
            await client.query("forever.")
            messages = client.receive_response()
            async for message in messages:
                if isinstance(message, AssistantMessage):
                    break
            breaking = asyncio.ensure_future(begun(client, messages))
            if end is left:
                return await breaking
            async for _ in messages:
                pass
            return await breaking

    if end is killed:
        with pytest.raises(ProcessError):
            finished(scene())
    else:
        finished(scene())
    assert told(traced) == [("Bash", ENDS[end])]
    (row,) = [row for row in toolspan.stats().rows() if row.tool == "Bash"]
    assert row.in_flight == 0


def test_each_prompt_of_one_client_is_a_run_of_its_own_in_one_conversation(traced, folder):
    shells = [asked("Bash", {"command": f"echo {number}"}, number=number) for number in (1, 2)]
    claude.SCRIPTS["twice."] = [shells[:1], [], shells[1:]]

    async def talking():
        options = claude.options(cwd=str(folder), allowed_tools=ALLOWED)
        async with ClaudeSDKClient(options) as client:
            for prompt in ("twice.", "again."):
                await client.query(prompt)
                async for _ in client.receive_response():
                    pass

    finished(talking())
    assert [span.attributes["gen_ai.tool.call.result"] for span in traced.tools] == ["1", "2"]
    assert len({span.attributes["gen_ai.conversation.id"] for span in traced.tools}) == 1
    runs = [span.context for span in traced.spans if span.name == "invoke_agent helper"]
    assert [span.parent.span_id for span in traced.tools] == [run.span_id for run in runs]
    assert len({run.trace_id for run in runs}) == 2


ONE_CALL = """
import sys
import toolspan
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
if sys.argv[1] != "without us":
    toolspan.instrument(*sys.argv[1].split())
import programs.claude_agent_sdk_program as program
assert program.call("hello") == "hello"
for span in exporter.get_finished_spans():
    if "gen_ai.tool.name" in span.attributes:
        print(span.instrumentation_scope.name, span.kind.name, span.name, sep=", ")
"""
THEIRS = "mcp-python-sdk, SERVER, tools/call one"
OURS = "toolspan, INTERNAL, execute_tool mcp__tools__one"


@pytest.mark.parametrize("names", ["without us", "claude-agent-sdk", "claude-agent-sdk mcp"])
def test_the_server_of_this_process_gives_no_second_span_of_the_call(names):
    """The MCP SDK traces it on its own, wherever there is a provider."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_CALL, names],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [THEIRS if names == "without us" else OURS]


@with_any_content
def test_commands_and_what_they_say_leave_only_where_content_may(trace_with, folder, capture):
    traced = trace_with(settings=Settings(capture=capture))
    secret = "canary-4f0e"
    calls = [
        asked("Bash", {"command": f"echo {secret}"}, number=1),
        asked("Bash", {"command": f"echo {secret}; exit 1"}, number=2, turn=1),
        asked("mcp__tools__boom", {"reason": secret}, number=3, turn=2),
    ]
    run(calls, folder)
    assert [word for _, word in told(traced)] == ["ok", "tool_error", "error"]
    exported = encode_spans(traced.spans).SerializeToString()
    assert (secret.encode() in exported) is capture


def test_the_program_gets_the_same_messages_with_us_and_without(trace_with, folder):
    def messages():
        claude.SCRIPTS["same."] = [[asked("Bash", {"command": "echo same"})]]

        async def reading():
            options = claude.options(cwd=str(folder), allowed_tools=ALLOWED)
            read = claude.query(prompt=claude.asking("same."), options=options)
            return [
                (type(message), message.content)
                async for message in read
                if isinstance(message, (AssistantMessage, UserMessage))
            ]

        return finished(reading())

    before = messages()
    trace_with()
    assert messages() == before
    assert len(before) == 3
