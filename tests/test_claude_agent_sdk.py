"""The command line's own tools, which run in its process: files say what they did, messages tell us."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
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
x509 = pytest.importorskip("cryptography.x509")

from claude_agent_sdk import (  # noqa: E402  # only where it is
    AssistantMessage,
    ClaudeSDKClient,
    HookMatcher,
    ProcessError,
    UserMessage,
)

from ground_truth import asked, finished  # noqa: E402
from programs import claude_agent_sdk_server as server  # noqa: E402
from test_detail import (  # noqa: E402
    BYTES,
    COMMAND,
    EXIT,
    FAMILY,
    LINES,
    MATCHES,
    PATH,
    STATUS,
    URL,
    detail_of_span,
)
from test_doctor import Answering, Web, self_signed  # noqa: E402

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


# -- what they say more of -----------------------------------------------------------------------

SECRET = "canary-77ab"
TEXT = f"one\ntwö {SECRET}\nthree\n"


def counted(text):
    return {LINES: len(text.splitlines()), BYTES: len(text.encode())}


def in_turn(*calls):
    """One call in each turn."""
    return [asked(*call, number=turn, turn=turn) for turn, call in enumerate(calls)]


def details(traced):
    return [detail_of_span(span) for span in traced.tools]


@with_any_content
def test_files_are_counted_as_they_are(trace_with, folder, capture):
    """The model is told of them otherwise: with a number before each line."""
    traced = trace_with(settings=Settings(capture=capture))
    note, plan = (str(folder / f"{SECRET}-{name}.txt") for name in ("note", "plan"))
    folder.joinpath(note).write_text(TEXT, encoding="utf-8")
    calls = in_turn(
        ("Read", {"file_path": note}),
        ("Read", {"file_path": note, "offset": 2, "limit": 1}),
        ("Edit", {"file_path": note, **EDIT}),
        ("Write", {"file_path": plan, "content": TEXT}),
        ("Read", {"file_path": f"{note}.none"}),
    )
    run(calls, folder)
    assert folder.joinpath(plan).read_text(encoding="utf-8") == TEXT
    assert folder.joinpath(note).read_text(encoding="utf-8") == TEXT.replace("one", "two")
    numbers = [
        counted(TEXT) | {FAMILY: "file_read"},
        counted(TEXT.splitlines()[1]) | {FAMILY: "file_read"},
        counted("two") | {FAMILY: "file_edit"},
        counted(TEXT) | {FAMILY: "file_write"},
        {FAMILY: "file_read"},
    ]
    paths = [{PATH: call.arguments["file_path"]} if capture else {} for call in calls]
    assert details(traced) == [{**one, **path} for one, path in zip(numbers, paths, strict=True)]
    exported = encode_spans(traced.spans).SerializeToString()
    assert (SECRET.encode() in exported) is capture
    told = {span.attributes.get("gen_ai.tool.call.result") for span in traced.tools}
    numbered = "".join(f"{n}\t{line}\n" for n, line in enumerate(TEXT.splitlines(), 1)) + "4\t"
    assert (numbered in told) is capture
    assert traced.tools[0].attributes["toolspan.result.size"] == len(numbered)


def test_what_is_found_is_counted_as_the_folder_has_it(traced, folder):
    for name, text in {"a.txt": TEXT, "b.txt": "one\none\n", "c.md": "one\n"}.items():
        (folder / name).write_text(text, encoding="utf-8")
    one = {"pattern": "one"}
    run(
        in_turn(
            ("Glob", {"pattern": "*.txt"}),
            ("Grep", one),
            ("Grep", {**one, "output_mode": "content"}),
            ("Grep", {**one, "output_mode": "count"}),
            ("Grep", {"pattern": "missing"}),
        ),
        folder,
        allowed_tools=["Glob", "Grep"],
    )
    files = [file.read_text(encoding="utf-8") for file in folder.iterdir()]
    lines = sum("one" in line for text in files for line in text.splitlines())
    expected = [len([*folder.glob("*.txt")]), len(files), lines, lines, 0]
    assert details(traced) == [{FAMILY: "search", MATCHES: number} for number in expected]


COMMANDS = {
    "printf 'one\\ntwo'": True,
    "true": True,
    "grep missing note.txt": True,  # a 1 that is no error
    "diff note.txt plan.txt > out": True,
    "exit 3": False,
    "sleep 2 & exit 0": True,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_shell_says_how_its_process_ended(traced, folder, command):
    for name in ("note.txt", "plan.txt"):
        (folder / name).write_text(f"{name}\n", encoding="utf-8")
    done = subprocess.run(
        command, shell=True, cwd=folder, stdout=subprocess.PIPE, text=True, check=False
    )
    run(in_turn(("Bash", {"command": command})), folder)
    printed = counted(done.stdout) if COMMANDS[command] else {}
    shell = {FAMILY: "shell", COMMAND: command, EXIT: done.returncode}
    assert details(traced) == [shell | printed]


def test_a_shell_in_the_background_has_no_exit_code_yet(traced, folder):
    run(in_turn(("Bash", {"command": "sleep 1; exit 3", "run_in_background": True})), folder)
    assert EXIT not in traced.tools[0].attributes


SAME = {
    "a file": ("Read", "read_file", server.read_file, {"file_path": "note.txt"}),
    "a command": ("Bash", "bash", server.bash, {"command": "printf 'one\\ntwö'; grep x note.txt"}),
    "one that failed": ("Bash", "bash", server.bash, {"command": "exit 3"}),
}


@pytest.mark.parametrize("which", SAME)
def test_claudes_tool_one_of_mcp_and_one_of_ours_say_the_same(traced, folder, which, monkeypatch):
    """The command line's own, one of a server that it runs, and the same function decorated."""
    own, name, function, given = SAME[which]
    monkeypatch.chdir(folder)
    (folder / "note.txt").write_text(TEXT, encoding="utf-8")
    arguments = {
        key: str(folder / text) if key == "file_path" else text for key, text in given.items()
    }
    theirs = {key.removeprefix("file_"): text for key, text in arguments.items()}
    run(
        in_turn((own, arguments), (f"mcp__tools__{name}", theirs)),
        folder,
        mcp_servers={"tools": claude.external(folder / "ran")},
        allowed_tools=[own, f"mcp__tools__{name}"],
    )
    toolspan.tool(function)(**theirs)
    by_claude, by_mcp, by_us = details(traced)
    assert by_mcp == by_us
    if traced.tools[0].attributes["toolspan.outcome"] == "ok":
        assert by_claude == by_us
    else:  # of what failed, what it printed is not told apart from the rest
        assert by_claude == {key: by_us[key] for key in (FAMILY, COMMAND, EXIT)}


class Page(Answering):
    """Of the folder `/none` there is none."""

    def do_GET(self):  # noqa: N802  # as the standard library calls it
        self.server.status = 404 if self.path == "/none" else 200
        self.do_CONNECT()


def test_a_page_tells_its_status_and_its_bytes(traced, folder):
    """On this machine the command line wants a certificate, and not to ask whether it may."""
    host, trusted = x509.IPAddress(ipaddress.ip_address("127.0.0.1")), folder / "trusted.pem"
    trusted.write_bytes(self_signed(host, dt.timedelta(1)))
    with Web(certificate=trusted, page=TEXT) as web:
        web.RequestHandlerClass = Page
        urls = [f"https://{web.address}/{name}" for name in ("some", "none")]
        run(
            in_turn(*(("WebFetch", {"url": url, "prompt": "Sum up."}) for url in urls)),
            folder,
            allowed_tools=["WebFetch"],
            settings=json.dumps({"skipWebFetchPreflight": True}),
            environment={"NODE_EXTRA_CA_CERTS": str(trusted)},
        )
    page, none = ({FAMILY: "web_fetch", URL: url} for url in urls)
    assert details(traced) == [
        page | {STATUS: 200, BYTES: len(TEXT.encode())},
        none | {STATUS: 404, BYTES: 0},
    ]


def test_of_a_sub_agents_tools_only_the_models_text_is_told(traced, folder):
    """So the bytes of its `Read` are those of numbered lines: a gap."""
    (folder / "note.txt").write_text("one\ntwo", encoding="utf-8")
    claude.SCRIPTS["sums"] = [in_turn(("Read", {"file_path": str(folder / "note.txt")}))]
    run([asked("Task", {**claude.DELEGATED, "subagent_type": "helper"}, number=9)], folder)
    by_name = {span.attributes["gen_ai.tool.name"]: detail_of_span(span) for span in traced.tools}
    assert by_name["Task"] == {FAMILY: "sub_agent"}
    read = by_name["Read"]
    assert read[LINES] == 2
    assert read[BYTES] == len("1\tone\n2\ttwo")
