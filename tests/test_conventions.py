"""The semantic check itself: it passes what is right, finds what is wrong, and cannot rot."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from conventions import check, generate
from toolspan import semconv

TESTS = Path(__file__).parent

SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
INTERNAL, CLIENT, SERVER = SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.SERVER

TOOL = {
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "search",
    "gen_ai.tool.type": "function",
    "toolspan.outcome": "ok",
}
REQUEST = {
    "mcp.method.name": "tools/call",
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "add",
    "mcp.protocol.version": "2025-11-25",
    "jsonrpc.request.id": "7",
    "network.transport": "pipe",
    "toolspan.outcome": "ok",
}
RAISED = {"error.type": "ValueError", "toolspan.outcome": "error"}
REFUSED = {
    "error.type": "-32602",
    "rpc.response.status_code": "-32602",
    "toolspan.outcome": "invalid_arguments",
}
UNKNOWN = {
    "error.type": "-32601",
    "rpc.response.status_code": "-32601",
    "toolspan.outcome": "error",
}


def made(
    name,
    kind,
    attributes,
    *,
    failed=False,
    scope="toolspan",
    schema=SCHEMA,
    resource=(check.HANDMADE,),
):
    """A span as the SDK's own tracer ends it."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(
        resource=Resource(dict.fromkeys(resource, True)), shutdown_on_exit=False
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    span = provider.get_tracer(scope, schema_url=schema).start_span(
        name, kind=kind, attributes=attributes
    )
    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end()
    return exporter.get_finished_spans()[0]


def tool(changes=None, *, name="execute_tool search", kind=INTERNAL, without=(), **how):
    attributes = {key: value for key, value in TOOL.items() if key not in without}
    return made(name, kind, attributes | (changes or {}), **how)


def request(changes=None, *, name="tools/call add", kind=CLIENT, without=(), **how):
    attributes = {key: value for key, value in REQUEST.items() if key not in without}
    return made(name, kind, attributes | (changes or {}), **how)


def peer(name, kind, attributes, **how):
    return made(name, kind, attributes, scope="a.peer", schema=None, **how)


def operation(name, **attributes):
    return {"gen_ai.operation.name": name} | {
        f"gen_ai.{key.replace('_', '.')}": value for key, value in attributes.items()
    }


def detail(number):
    return {f"detail.{each}": each for each in range(number)}


def variables(number):
    return {f"gen_ai.prompt.variable.v{each}": "x" for each in range(number)}


OURS_RIGHT = {
    "a plain tool": tool(),
    "a tool with all it may say": tool(
        {
            "gen_ai.tool.description": "Searches",
            "gen_ai.tool.call.id": "call_1",
            "gen_ai.tool.call.arguments": '{"q": 1}',
            "gen_ai.tool.call.result": "[]",
            "gen_ai.agent.name": "planner",
            "toolspan.arguments.size": 8,
            "toolspan.arguments.fingerprint": "0f",
            "toolspan.wait": 0.5,
            "toolspan.stream.complete": False,
            "phase": "Build",
        }
    ),
    "a tool that raised": tool(RAISED, failed=True),
    "a denied tool": tool({"toolspan.outcome": "denied"}),
    "a tool that is an MCP call too": tool(REQUEST | TOOL),
    "a run of an agent": made(
        "invoke_agent planner",
        INTERNAL,
        operation("invoke_agent", agent_name="planner", conversation_id="c1"),
    ),
    "a run without an agent": made("invoke_agent", INTERNAL, operation("invoke_agent")),
    "a workflow": made(
        "invoke_workflow nightly",
        INTERNAL,
        operation("invoke_workflow", workflow_name="nightly", conversation_id="c1"),
    ),
    "an MCP request": request(),
    "an MCP request that says what tool it is": request({"gen_ai.tool.type": "function"}),
    "an MCP tool's own error": request(
        {"error.type": "tool_error", "toolspan.outcome": "tool_error"}, failed=True
    ),
    "an MCP request refused": request(REFUSED, failed=True),
    "an MCP request served": request(kind=SERVER),
    "as much of ours as may be": request(variables(22)),
    "as much as may be": tool(detail(56)),
}
PEERS_RIGHT = {
    "a remote agent": peer(
        "invoke_agent a",
        CLIENT,
        operation("invoke_agent", agent_name="a", provider_name="openai")
        | {"server.address": "h", "server.port": 443},
    ),
    "a chat in this process": peer(
        "chat gpt", INTERNAL, operation("chat", request_model="gpt", provider_name="acme")
    ),
    "embeddings": peer(
        "embeddings m", CLIENT, operation("embeddings", request_model="m", provider_name="openai")
    ),
    "a retrieval": peer(
        "retrieval d", CLIENT, {**operation("retrieval"), "gen_ai.data_source.id": "d"}
    ),
    "an agent made": peer(
        "create_agent a", CLIENT, operation("create_agent", agent_name="a", provider_name="openai")
    ),
    "a response fetched": peer(
        "fetch_response",
        CLIENT,
        operation("fetch_response", response_id="r", provider_name="openai"),
    ),
    "a memory": peer("search_memory", CLIENT, operation("search_memory")),
    "a plan": peer("plan", INTERNAL, operation("plan")),
    "a prompt asked for": peer(
        "prompts/get greet",
        CLIENT,
        {
            "mcp.method.name": "prompts/get",
            "gen_ai.prompt.name": "greet",
            "gen_ai.prompt.variable.user": "Alice",
        },
    ),
    "a refusal that is no error of the server": peer(
        "tools/call add",
        SERVER,
        {**REQUEST, "rpc.response.status_code": "-32602"},
    ),
}
RIGHT = OURS_RIGHT | PEERS_RIGHT


@pytest.mark.parametrize("which", RIGHT)
def test_a_right_span_passes(which):
    assert check.violations(RIGHT[which]) == []


def test_every_type_of_the_table_has_a_right_span_here():
    assert {check.span_type(span) for span in RIGHT.values()} == set(check.SPANS)


WRONG = {
    "a required name": (
        tool(without=["gen_ai.tool.name"], name="execute_tool"),
        "gen_ai.tool.name is required and missing",
    ),
    "the tool of an MCP call": (
        request(without=["gen_ai.tool.name"], name="tools/call"),
        "gen_ai.tool.name is required and missing",
    ),
    "the id of a request over a wire": (
        request(without=["jsonrpc.request.id"]),
        "jsonrpc.request.id is required and missing",
    ),
    "the code that is the error": (
        request({"error.type": "-32602", "toolspan.outcome": "error"}, failed=True),
        "rpc.response.status_code is required and missing",
    ),
    "a port without which an address is half": (
        peer(
            "chat m",
            CLIENT,
            operation("chat", request_model="m", provider_name="openai") | {"server.address": "h"},
        ),
        "server.port is required and missing",
    ),
    "a remote agent's provider": (
        peer("invoke_agent", CLIENT, operation("invoke_agent")),
        "gen_ai.provider.name is required and missing",
    ),
    "a number that is a text": (
        request({"server.address": "h", "server.port": "443"}),
        "server.port is '443', not int",
    ),
    "a truth that is a number": (
        tool({"toolspan.arguments.truncated": 1}),
        "toolspan.arguments.truncated is 1, not boolean",
    ),
    "a text that is a number": (
        tool({"gen_ai.tool.call.id": 7}),
        "gen_ai.tool.call.id is 7, not string",
    ),
    "texts that are one text": (
        made(
            "invoke_agent",
            INTERNAL,
            operation("invoke_agent") | {"gen_ai.response.finish_reasons": "stop"},
        ),
        "gen_ai.response.finish_reasons is 'stop', not string[]",
    ),
    "the kind": (tool(kind=CLIENT), "its kind is client, not internal"),
    "the kind of a request": (
        request(kind=INTERNAL, without=["gen_ai.operation.name"]),
        "its kind is internal, not client",
    ),
    "the name": (tool(name="search"), "its name is not 'execute_tool search'"),
    "the name of a request": (request(name="MCP add"), "its name is not 'tools/call add'"),
    "the name of a run": (
        made("invoke_agent x", INTERNAL, operation("invoke_agent")),
        "its name is not 'invoke_agent'",
    ),
    "a misspelt name": (
        tool({"gen_ai.tool.call_id": "1"}),
        "gen_ai.tool.call_id is defined nowhere, meant is gen_ai.tool.call.id",
    ),
    "a misspelt MCP name": (
        request({"mcp.protocol.versoin": "1"}),
        "mcp.protocol.versoin is defined nowhere, meant is mcp.protocol.version",
    ),
    "a misspelt name of ours": (
        tool({"toolspan.result.sise": 1}),
        "toolspan.result.sise is defined nowhere, meant is toolspan.result.size",
    ),
    "a name of another span": (
        tool({"gen_ai.usage.input_tokens": 3}),
        "gen_ai.usage.input_tokens does not belong on gen_ai.execute_tool.internal",
    ),
    "an MCP name where no request is": (
        tool({"mcp.session.id": "s"}),
        "mcp.session.id does not belong on gen_ai.execute_tool.internal",
    ),
    "a member that there is not": (
        request({"network.transport": "stdio"}),
        "network.transport is 'stdio', none of tcp, udp, pipe, unix, quic",
    ),
    "a member in other letters": (
        peer("Tools-List", CLIENT, {"mcp.method.name": "Tools-List"}),
        "mcp.method.name is 'Tools-List', to be written 'tools/list'",
    ),
    "an outcome that is no word": (
        tool({"toolspan.outcome": "fine"}),
        "toolspan.outcome is 'fine', none of its words",
    ),
    "a tool without an outcome": (
        tool(without=["toolspan.outcome"]),
        "toolspan.outcome is None, none of its words",
    ),
    "a failure that is not ERROR": (
        tool({"toolspan.outcome": "timeout"}),
        "toolspan.outcome is timeout and its status is not ERROR",
    ),
    "ERROR that is no failure": (
        tool({"toolspan.outcome": "cancelled", "error.type": "cancelled"}, failed=True),
        "toolspan.outcome is cancelled and its status is ERROR",
    ),
    "ERROR without a type": (
        tool({"toolspan.outcome": "error"}, failed=True),
        "its status is ERROR and error.type is missing",
    ),
    "a type without ERROR": (
        tool({"error.type": "ValueError"}),
        "error.type is set and its status is not ERROR",
    ),
    "a message for a type": (
        tool(RAISED | {"error.type": "no such city"}, failed=True),
        "error.type is a sentence",
    ),
    "a type that is not the code": (
        request(REFUSED | {"error.type": "MCPError"}, failed=True),
        "error.type is not rpc.response.status_code -32602",
    ),
    "a refused request that is not ERROR": (
        peer("tools/call add", CLIENT, {**REQUEST, "rpc.response.status_code": "-32602"}),
        "rpc.response.status_code -32602 is an error on this side and its status is not ERROR",
    ),
    "a caller's mistake that is the server's ERROR": (
        request(REFUSED, kind=SERVER, failed=True),
        "rpc.response.status_code -32602 is no error on this side and its status is ERROR",
    ),
    "too much of ours": (
        request(variables(23)),
        "26 attributes of gen_ai, error and toolspan, at most 25",
    ),
    "too much at all": (tool(detail(57)), "61 attributes, at most 60"),
    "no schema URL": (tool(schema=None), "its scope has no schema URL"),
}


@pytest.mark.parametrize("which", WRONG)
def test_a_span_with_one_fault_has_that_one_violation(which):
    span, sentence = WRONG[which]
    assert check.violations(span) == [f"{span.name}: {sentence}"]


#: What other tracers were seen to write for a tool call.
PEERS = {
    "OpenLLMetry on Agno": peer(
        "search.tool",
        CLIENT,
        {"traceloop.span.kind": "tool", "traceloop.entity.name": "search"},
    ),
    "OpenInference on LangChain, raising": peer(
        "search",
        INTERNAL,
        {"openinference.span.kind": "TOOL", "tool.name": "search"},
        failed=True,
    ),
    "OpenLIT on Pydantic AI": peer(
        "execute_tool gpt", CLIENT, operation("execute_tool", tool_name="search")
    ),
    "OpenLIT on Agno, raising": peer(
        "execute_tool search",
        INTERNAL,
        operation("execute_tool", tool_name="search") | {"error.type": "no such city"},
        failed=True,
    ),
    "Logfire on MCP": peer(
        "MCP request: tools/call search",
        INTERNAL,
        {"rpc.system": "jsonrpc", "rpc.method": "tools/call"},
    ),
}


@pytest.mark.parametrize("which", PEERS)
def test_a_peer_with_known_faults_fails(which):
    assert check.violations(PEERS[which]) != []


def mcp_version():
    try:
        return version("mcp")
    except PackageNotFoundError:
        return "absent"


NATIVE = """
import json, sys
import anyio
from mcp.client.client import Client
from mcp.server.mcpserver import MCPServer
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

sys.path.insert(0, sys.argv[1])
from conventions import check

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
server = MCPServer("sums")


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


async def main():
    async with Client(server, mode="legacy") as client:
        await client.call_tool("add", {"a": 1, "b": 2})


anyio.run(main)
assert "toolspan" not in sys.modules
print(json.dumps({
    span.kind.name: check.violations(span)
    for span in exporter.get_finished_spans()
    if span.attributes.get("mcp.method.name") == "tools/call"
}))
"""


@pytest.mark.skipif(
    not mcp_version().startswith("2."),
    reason=f"mcp 2.x has spans of its own; here: {mcp_version()}",
)
def test_the_mcp_sdk_s_own_client_span_fails_and_its_server_span_passes():
    done = subprocess.run(
        [sys.executable, "-c", NATIVE, str(TESTS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    native = json.loads(done.stdout.splitlines()[-1])
    assert native == {
        "SERVER": [],
        "CLIENT": [
            "MCP send tools/call add: gen_ai.tool.name is required and missing",
            "MCP send tools/call add: its name is not 'tools/call'",
        ],
    }


INHERITED = {"gen_ai.conversation.id": "c1", "gen_ai.workflow.name": "nightly"}
GAPPED = [
    tool(INHERITED),
    request(INHERITED),
    request(INHERITED, kind=SERVER),
    request(REFUSED, kind=SERVER, failed=True),
    request(UNKNOWN, kind=SERVER, failed=True),
    made("invoke_agent report", INTERNAL, operation("invoke_agent", workflow_name="nightly")),
]


def test_a_declared_gap_is_no_finding_and_stays_declared():
    checker = check.Checker()
    assert [checker.check(span) for span in GAPPED] == [[]] * len(GAPPED)
    assert not checker.found
    assert checker.close() == []


@pytest.mark.parametrize("gap", check.GAPS, ids=lambda gap: f"{gap.span}: {gap.says}")
def test_every_declared_gap_is_a_violation(gap):
    here = [span for span in GAPPED if check.span_type(span) == gap.span]
    assert any(gap.says in sentence for span in here for sentence in check.violations(span))


def test_a_gap_excuses_only_what_it_declares():
    checker = check.Checker()
    wrong = request({**REFUSED, "gen_ai.tool.nam": "x"}, kind=SERVER, failed=True)
    assert checker.check(wrong) == [
        "tools/call add: gen_ai.tool.nam is defined nowhere, meant is gen_ai.tool.name"
    ]
    assert list(checker.found) == checker.check(wrong)


def test_a_gap_that_is_fixed_fails():
    checker = check.Checker()
    served = {**REQUEST, "rpc.response.status_code": "-32602", "toolspan.outcome": "denied"}
    checker.check(made("tools/call add", SERVER, served))
    (said,) = checker.close()
    assert said.startswith("mcp.server: declared gap is fixed, remove it")


def test_a_gap_that_the_conventions_closed_fails():
    older = check.Gap(
        "gen_ai.invoke_agent.internal",
        "gen_ai.provider.name is required",
        bool,
        "required until June 2026",
    )
    checker = check.Checker((older,))
    checker.check(OURS_RIGHT["a run of an agent"])
    assert len(checker.close()) == 1


def test_a_gap_whose_case_did_not_come_up_is_not_called_fixed():
    checker = check.Checker()
    checker.check(tool())
    checker.check(request(kind=SERVER))
    assert checker.spans.total() == 2
    assert checker.close() == []


def test_watch_takes_the_spans_that_toolspan_opened():
    spans = [
        tool(resource=()),
        tool({"toolspan.outcome": "made wrong on purpose"}),
        peer("search", INTERNAL, {}),
    ]
    before = check.WATCHED.spans.copy()
    for span in spans:
        check.watch(span)
    assert check.WATCHED.spans - before == {"gen_ai.execute_tool.internal": 1}
    assert not any("on purpose" in sentence for sentence in check.WATCHED.found)


def test_the_table_was_not_edited_by_hand():
    assert check.TABLE["digest"] == generate.digest(check.TABLE)
    raised = json.loads(json.dumps(check.TABLE))
    raised["spans"]["mcp.client"]["attributes"]["gen_ai.tool.name"] = "recommended"
    assert generate.digest(raised) != check.TABLE["digest"]


def test_the_table_names_one_commit_and_a_checksum_for_each_file():
    for part in (check.TABLE, check.TABLE["core"]):
        assert re.fullmatch(r"[0-9a-f]{40}", part["commit"])
        assert all(re.fullmatch(r"[0-9a-f]{64}", checksum) for checksum in part["files"].values())
    assert {name.rpartition("/")[0] for name in check.TABLE["files"]} == {
        "model",
        "model/gen-ai",
        "model/mcp",
    }


def texts(value):
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in (key, *texts(each))]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


def test_the_table_has_names_and_no_sentence():
    long = [text for text in texts(check.TABLE) if text.count(" ") > 1]
    assert long == []


def test_every_name_of_the_conventions_that_toolspan_writes_is_in_the_table():
    names = {
        value
        for value in vars(semconv).values()
        if isinstance(value, str)
        and value.startswith(("gen_ai.", "mcp.", "jsonrpc.", "rpc.", "network."))
    }
    assert len(names) > 10
    assert names - check.TABLE["attributes"].keys() - check.TABLE["metrics"].keys() == set()


MODEL = {
    "model/manifest.yaml": """
dependencies:
  - registry_path: https://example.com/semantic-conventions.git@v9[model]
""",
    "model/gen-ai/registry.yaml": """
attributes:
  - {key: gen_ai.city, type: string, brief: A city., note: Long talk of cities.}
  - key: gen_ai.operation.name
    type: {members: [{id: w, value: walk, brief: By foot.}, {id: r, value: ride}]}
""",
    "model/gen-ai/spans.yaml": """
attribute_groups:
  - id: places
    attributes:
      - {ref: gen_ai.city, requirement_level: {recommended: If known.}}
      - {ref: server.port, requirement_level: {conditionally_required: When `gen_ai.city` is set.}}
spans:
  - type: gen_ai.walk
    kind: client
    name:
      note: |
        **Span name** SHOULD be
        `walk {gen_ai.city}`, else it SHOULD be `walk`.
    note: |
      The `gen_ai.operation.name` SHOULD be `walk`. It MAY be
      set to `INTERNAL` at home.
    attributes:
      - {ref: gen_ai.city, sampling_relevant: true}
      - {ref: gen_ai.operation.name, requirement_level: required}
      - ref_group: places
  - type: gen_ai.other
    kind: server
    name: {note: "It SHOULD be `{gen_ai.operation.name}`."}
    attributes:
      - {ref: gen_ai.operation.name, requirement_level: required}
      - {ref: gen_ai.city, requirement_level: opt_in}
      - ref: rpc.response.status_code
        note: |
          They SHOULD NOT be
          considered errors: `-32700` (`Parse error`), `-1`.
""",
}
CORE = {
    "model/server/registry.yaml": """
groups:
  - attributes: [{id: server.port, type: int}]
""",
    "model/rpc/registry.yaml": """
attributes: [{key: rpc.response.status_code, type: string}]
""",
}


def checkout(folder, files, tag):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "x"), ("tag", tag)):
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    return generate.Checkout(folder)


@pytest.fixture
def model(tmp_path):
    pytest.importorskip("yaml", reason="the generator needs PyYAML")
    core = checkout(tmp_path / "semantic-conventions", CORE, "v9")
    return checkout(tmp_path / "genai", MODEL, "v1"), core


def test_the_generator_reads_groups_levels_names_and_kinds(model):
    table = generate.build(*model)
    assert table["spans"]["gen_ai.walk"] == {
        "kinds": ["client", "internal"],
        "names": ["walk {gen_ai.city}", "walk"],
        "operations": ["walk"],
        "harmless_codes": [],
        "attributes": {
            "gen_ai.city": "recommended",
            "server.port": "conditionally_required",
            "gen_ai.operation.name": "required",
        },
        "due_with": {"server.port": "gen_ai.city"},
    }
    assert table["spans"]["gen_ai.other"]["operations"] == ["ride"]
    assert table["spans"]["gen_ai.other"]["attributes"]["gen_ai.city"] == "opt_in"
    assert table["spans"]["gen_ai.other"]["harmless_codes"] == ["-32700", "-1"]
    assert table["attributes"] == {
        "gen_ai.city": {"type": "string"},
        "gen_ai.operation.name": {"type": "string", "members": ["walk", "ride"], "open": True},
        "server.port": {"type": "int"},
        "rpc.response.status_code": {"type": "string"},
    }
    assert "cities" not in json.dumps(table)


def test_the_generator_writes_what_it_read_from_two_checkouts_side_by_side(
    model, tmp_path, monkeypatch
):
    monkeypatch.setattr(generate, "TABLE", tmp_path / "table.json")
    genai, core = model
    expected = generate.build(genai, core)
    generate.main([str(genai.folder)])
    assert json.loads(generate.TABLE.read_text()) == expected
    generate.TABLE.unlink()
    elsewhere = core.folder.rename(tmp_path / "elsewhere")
    generate.main([str(genai.folder), str(elsewhere)])
    assert json.loads(generate.TABLE.read_text()) == expected
    assert expected["commit"] == genai.git("rev-parse", "v1")
    with pytest.raises(SystemExit, match="Usage"):
        generate.main([])


def test_the_generator_refuses_a_checkout_that_is_not_its_commit(model):
    genai, core = model
    (genai.folder / "model/gen-ai/spans.yaml").write_text("spans: []")
    with pytest.raises(SystemExit, match="not as its commit has it"):
        generate.Checkout(genai.folder)
    subprocess.run(
        ["git", "-C", str(core.folder), "tag", "-d", "v9"], check=True, capture_output=True
    )
    with pytest.raises(SystemExit, match="v9"):
        generate.build(genai, core)
