"""MCP clients and servers as unmodified programs in processes of their own, over real transports.

Both are started by `toolspan run`; what they sent is read off the socket of an OTLP receiver and
compared with what the server's tools wrote down themselves.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import Counter

import pytest

from programs.mcp_client import VERSION
from programs.mcp_conversation import CLIENT, SERVER, converse, environment_of, traced
from receiver import Receiver

CANARY = "canary-7f3a"
ADD = {"tool": "add", "arguments": {"a": 1, "b": 2}}
STEPS = [
    ADD,
    {"tool": "boom", "arguments": {"secret": CANARY}},
    {"tool": "refuse", "arguments": {"reason": CANARY}},
    {"tool": "nobody"},
    {"tool": "slow", "arguments": {"seconds": 0.8}, "timeout": 0.2},
    {"tool": "slow", "arguments": {"seconds": 0.8}, "cancel": 0.2},
    {**ADD, "times": 10},
    {"browse": True},
    {"tool": "slow", "arguments": {"seconds": 0.8}},
]
RELAY = {"tool": "relay", "arguments": {"url": "$URL", "a": 2, "b": 3}}
LOW = [
    {"tool": "echo", "arguments": {"text": CANARY}},
    {"tool": "coded", "arguments": {"secret": CANARY}},
    {"tool": "broken", "arguments": {"secret": CANARY}},
    {"tool": "unknown"},
]

two = pytest.mark.skipif(VERSION != 2, reason="only MCP 2.x has telemetry of its own")


@pytest.fixture(scope="module")
def stdio(tmp_path_factory):
    """One conversation about everything."""
    return converse(STEPS, "stdio", tmp_path_factory.mktemp("stdio"))


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    """The same by streamable HTTP, where the server can also ask itself."""
    return converse([*STEPS, RELAY], "http", tmp_path_factory.mktemp("http"))


@pytest.fixture(params=["stdio", "http"])
def seen(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def low(tmp_path_factory):
    """A conversation with the low-level server, whose errors are the protocol's."""
    return converse(LOW, "lowlevel", tmp_path_factory.mktemp("low"))


def test_the_programs_do_not_know_of_us():
    assert "toolspan" not in CLIENT.read_text() + SERVER.read_text()


def test_each_call_is_one_client_and_one_server_span_in_one_trace(seen):
    calls = len(seen.tools("CLIENT"))
    assert calls == len(seen.tools("SERVER")) >= 17
    for client, server in seen.pairs():
        assert client.name == server.name
        assert client.trace_id == server.trace_id
        assert client.start <= server.start
    assert not [span for span in seen.spans if span.name.startswith("MCP send tools/call")]
    served = Counter(span.attributes["gen_ai.tool.name"] for span in seen.tools("SERVER"))
    assert served - Counter(["nobody"]) == Counter(seen.ran)


def test_client_and_server_are_two_services(seen):
    inner = [span for span in seen.tools("CLIENT") if span.parent_id]
    outer = [span for span in seen.tools("CLIENT") if not span.parent_id]
    assert {span.resource["service.name"] for span in outer} == {"asker"}
    assert {span.resource["service.name"] for span in (*inner, *seen.tools("SERVER"))} == {"server"}


def test_nothing_but_tool_calls_is_traced_by_us(seen):
    ours = [span for span in seen.spans if span.scope == "toolspan"]
    assert {span.attributes["mcp.method.name"] for span in ours} == {"tools/call"}
    kinds = {span.kind for span in ours}
    assert kinds == ({"CLIENT", "SERVER"} if VERSION == 1 else {"CLIENT"})


def test_an_error_result_is_an_error_on_both_sides(seen):
    for name in ("boom", "refuse", "nobody"):
        for span in seen.pairs(name)[0]:
            assert (span.status, span.attributes["error.type"]) == ("ERROR", "tool_error")
            assert span.attributes["toolspan.outcome"] == "tool_error"


def test_late_and_cancelled_calls_are_told_from_each_other(seen):
    late, cancelled, good = seen.pairs("slow")
    assert [seen.answers[i] for i in (5, 8)] == ["cancelled", {"failed": False, "text": "at last"}]
    code = str(seen.answers[4]["code"])
    assert (late[0].attributes["toolspan.outcome"], late[0].attributes["error.type"]) == (
        "timeout",
        code,
    )
    assert (cancelled[0].attributes["toolspan.outcome"], cancelled[0].status) == (
        "cancelled",
        "UNSET",
    )
    assert [span.attributes["toolspan.outcome"] for span in good] == ["ok", "ok"]
    # A client of MCP 1.x goes away without a word, and its server works to the end.
    word = "ok" if VERSION == 1 else "cancelled"
    assert [pair[1].attributes["toolspan.outcome"] for pair in (late, cancelled)] == [word, word]


def test_calls_at_once_keep_to_their_own_traces(seen):
    pairs = [pair for pair in seen.pairs("add") if not pair[0].parent_id]
    assert len(pairs) == 11
    assert len({client.trace_id for client, _ in pairs}) == 11
    for client, server in pairs:
        assert client.attributes["jsonrpc.request.id"] == server.attributes["jsonrpc.request.id"]


def test_behind_http_the_server_tells_of_its_transport_and_of_its_clients_session(http):
    sessions = {}
    for _, server in http.pairs():
        assert server.attributes["network.transport"] == "tcp"
        sessions.setdefault(server.attributes.get("mcp.session.id"), []).append(server)
    if VERSION == 2:  # its newest protocol has no sessions
        assert set(sessions) == {None}
    else:
        last = len(http.pairs()) - 1
        assert sorted(map(len, sessions.values())) == [1, last]  # the relay's, and the client's
        assert all(re.fullmatch("[0-9a-f]{32}", session) for session in sessions)


def test_by_stdio_nobody_names_a_session(stdio):
    for span in (*stdio.tools("CLIENT"), *stdio.tools("SERVER")):
        assert not {"network.transport", "mcp.session.id"} & span.attributes.keys()


def test_a_tool_that_asks_a_server_has_that_call_below_it(http):
    ((_, relay),) = http.pairs("relay")
    (inner,) = [pair for pair in http.pairs("add") if pair[0].parent_id]
    assert inner[0].parent_id == relay.span_id
    assert inner[1].trace_id == relay.trace_id


def test_no_text_of_arguments_results_or_errors_leaves_a_process(seen, low):
    assert CANARY in json.dumps(seen.answers)
    assert CANARY in json.dumps(low.answers)
    assert low.ran == ["echo", "coded", "broken"]
    assert len(low.pairs()) == 4
    assert CANARY.encode() not in seen.raw + low.raw


def test_errors_of_the_protocol_have_their_code_on_both_sides(low):
    for name, answer in zip(("coded", "unknown"), (low.answers[1], low.answers[3]), strict=True):
        for span in low.pairs(name)[0]:
            assert span.attributes["error.type"] == str(answer["code"])
            assert span.attributes["rpc.response.status_code"] == str(answer["code"])


@two
def test_left_alone_the_servers_own_span_gives_the_secret_away(tmp_path):
    told = converse(LOW, "lowlevel", tmp_path, TOOLSPAN_DISABLED="mcp")
    assert told.raw.count(CANARY.encode()) >= 2
    assert {span.scope for span in told.spans} == {"mcp-python-sdk"}
    assert Counter(span.name for span in told.spans)["MCP send tools/call coded"] == 1


@two
def test_a_server_without_telemetry_of_its_own_goes_on_with_the_callers_trace(tmp_path):
    told = converse(LOW, "silent", tmp_path)
    assert len(told.pairs()) == 4
    for client, server in told.pairs():
        assert (client.trace_id, client.name) == (server.trace_id, server.name)
        assert server.scope == "toolspan"


def test_with_content_arguments_and_results_arrive_of_both_sides(tmp_path):
    switch = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    told = converse(LOW, "lowlevel", tmp_path, **{switch: "SPAN_ONLY"})
    for span in told.pairs("echo")[0]:
        assert json.loads(span.attributes["gen_ai.tool.call.arguments"]) == {"text": CANARY}
        assert CANARY in span.attributes["gen_ai.tool.call.result"]
    for span in told.pairs("coded")[0]:
        assert span.status_message == f"the secret is {CANARY}"


# -- a client that nobody would write -----------------------------------------------------------

TRACE, CALLER = "a" * 32, "b" * 16
METAS = [
    {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": ",,;;="},
    {"traceparent": "00-zz-yy-01"},
    {"traceparent": 5, "tracestate": [], "baggage": {}},
    {"traceparent": "0" * 100_000, "baggage": "x=" + "y" * 100_000},
    {"huge": "z" * 1_000_000},
    {},
]
PARAMS = [
    *({"name": "add", "arguments": {"a": 1, "b": 2}, "_meta": meta} for meta in METAS),
    {"name": "add", "arguments": "text"},
    {"name": "add", "arguments": {"a": 10**400, "b": {}}},
    {"name": "add", "_meta": "text"},
    {"name": "n\x1b\n\u202e" * 50_000},
    {"name": 5},
    {"name": ["add"], "arguments": []},
    {},
    None,
]


def handshake(version):
    """How a session begins whose client asks for a version of the protocol."""
    asked = {
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "0"},
    }
    yield {"id": 1, "method": "initialize", "params": asked}
    yield {"method": "notifications/initialized"}


def hostile_lines():
    """A handshake, then calls that no SDK would send."""
    yield from handshake("2025-06-18")
    for number, params in enumerate(PARAMS, 2):
        yield {
            "id": number,
            "method": "tools/call",
            **({"params": params} if params is not None else {}),
        }
    yield {"id": 99, "method": "tools/explode", "params": {"name": "add"}}


def told_by(command, environment, errors, messages=()):
    """The answers of a server to all of it, in the order of their ids."""
    messages = messages or hostile_lines()
    lines = [json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages]
    with (
        errors.open("w") as log,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        late = threading.Timer(30, process.kill)
        late.start()
        process.stdin.writelines(lines)
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for line in lines if '"id"' in line]
        process.communicate()
        late.cancel()
    return sorted(answers, key=lambda answer: answer["id"])


def test_a_hostile_client_gets_what_it_gets_without_us_and_its_calls_are_traced(tmp_path):
    log = tmp_path / "calls"
    log.touch()
    with Receiver() as receiver:
        environment = environment_of(receiver, log)
        errors = tmp_path / "errors"
        plain = told_by([sys.executable, str(SERVER), "stdio"], environment, errors)
        assert receiver.requests == []
        log.write_text("")
        answers = told_by(traced("server", sys.executable, SERVER, "stdio"), environment, errors)
        spans = receiver.spans()
    assert answers == plain
    assert "toolspan" not in errors.read_text()
    added = [span for span in spans if span.attributes.get("gen_ai.tool.name") == "add"]
    good = [span for span in added if span.status == "UNSET"]
    assert log.read_text().split() == ["add"] * len(METAS)
    assert len(good) == len(METAS)
    joined = [span for span in good if span.trace_id == TRACE]
    assert [span.parent_id for span in joined] == [CALLER]
    assert {span.parent_id for span in good if span not in joined} == {""}
    assert not [letter for letter in (b"0", b"y", b"z") if letter * 100 in receiver.raw]


@pytest.mark.parametrize("version", ["2025-03-26", "2999-12-31"])
def test_the_server_tells_of_the_protocol_that_it_agreed_to(tmp_path, version):
    (tmp_path / "calls").touch()
    messages = [*handshake(version), {"id": 2, "method": "tools/call", "params": PARAMS[0]}]
    with Receiver() as receiver:
        environment = environment_of(receiver, tmp_path / "calls")
        command = traced("server", sys.executable, SERVER, "stdio")
        agreed, called = told_by(command, environment, tmp_path / "errors", messages)
        (span,) = [s for s in receiver.spans() if s.name == "tools/call add"]
    assert called["result"]["content"][0]["text"] == "3"
    assert span.attributes["mcp.protocol.version"] == agreed["result"]["protocolVersion"]
    assert (agreed["result"]["protocolVersion"] == version) is (version < "2999")
