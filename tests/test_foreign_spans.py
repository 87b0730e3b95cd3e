"""Tool spans that others made leave our pipeline with the standard's attributes beside their own.

Looked at in the bytes that a receiver got. Each vendor that is installed traces LangChain with our
adapter left out; the others' spans are made here as they were seen. This file is the test, and with
arguments the program that the children run.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from receiver import Receiver

TESTS = Path(__file__).parent
VENDORS = {
    "official": "opentelemetry.instrumentation.genai.langchain:LangChainInstrumentor",
    "OpenInference": "openinference.instrumentation.langchain:LangChainInstrumentor",
    "OpenLLMetry": "opentelemetry.instrumentation.langchain:LangchainInstrumentor",
}
INSTALLED = importlib.util.find_spec("openinference") is not None
SECRET = "hunter2"
ARGUMENTS, RESULT = "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"
TOOL = {
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "search",
    "gen_ai.tool.type": "function",
    "toolspan.outcome": "ok",
}
GIVEN, GOT = f'{{"q":"x","password":"{SECRET}"}}', '{"hits":2}'
SHOWN = {ARGUMENTS: '{"q":"x","password":"[redacted]"}', RESULT: GOT}
#: Who -> scope, name, kind, what it says; and the standard's attributes that are added to that.
SPANS = {
    "OpenInference": (
        "openinference.instrumentation.agno",
        "search",
        "INTERNAL",
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "search",
            "tool.description": "Searches.",
            "tool_call.id": "call-1",
            "input.value": GIVEN,
            "output.value": GOT,
        },
        TOOL | {"gen_ai.tool.description": "Searches.", "gen_ai.tool.call.id": "call-1"},
    ),
    "OpenLLMetry": (
        "opentelemetry.instrumentation.agno",
        "search.tool",
        "CLIENT",
        {
            "traceloop.span.kind": "tool",
            "traceloop.entity.name": "search",
            "traceloop.entity.input": GIVEN,
            "traceloop.entity.output": GOT,
            "traceloop.association.properties.lc_agent_name": "helper",
        },
        {key: said for key, said in TOOL.items() if key != "gen_ai.tool.type"}
        | {"gen_ai.agent.name": "helper"},
    ),
    "OpenLIT": (
        "openlit.instrumentation.crewai",
        "execute_tool search",
        "INTERNAL",
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"},
        {"gen_ai.tool.type": "function", "toolspan.outcome": "ok"},
    ),
    "Logfire": (
        "logfire.openai_agents",
        "Function: {name}",
        "INTERNAL",
        {"logfire.msg": "Function: search"},
        TOOL,
    ),
    "Pydantic AI": (
        "pydantic-ai",
        "running tool",
        "INTERNAL",
        {"gen_ai.tool.name": "search", "gen_ai.operation.name": "execute_tool"}
        | {"gen_ai.tool.call.id": "call-2", "tool_arguments": GIVEN, "tool_response": GOT},
        {"gen_ai.tool.type": "function", "toolspan.outcome": "ok"},
    ),
    "Google ADK": (
        "gcp.vertex.agent",
        "execute_tool search",
        "INTERNAL",
        {"gen_ai.tool.name": "search", "gen_ai.tool.type": "FunctionTool"}
        | {"gcp.vertex.agent.tool_call_args": GIVEN, "gcp.vertex.agent.tool_response": GOT},
        {"gen_ai.operation.name": "execute_tool", "toolspan.outcome": "ok"},
    ),
    "the MCP SDK": (
        "mcp-python-sdk",
        "MCP send tools/call search",
        "CLIENT",
        {"mcp.method.name": "tools/call"},
        {key: said for key, said in TOOL.items() if key != "gen_ai.tool.type"},
    ),
    "a tracer of one's own": (
        "my.agent",
        "tool",
        "INTERNAL",
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
        | {"gen_ai.tool.type": "extension", ARGUMENTS: GIVEN, RESULT: GOT},
        {"toolspan.outcome": "ok"},
    ),
}
#: What is no tool's, or ours already, leaves as it is.
OTHERS = {
    "a model": ("openinference.instrumentation.agno", "chat", {"openinference.span.kind": "LLM"}),
    "a request": ("requests", "GET", {"http.request.method": "GET"}),
    "ADK's summary": (
        "gcp.vertex.agent",
        "execute_tool (merged tools)",
        {"gen_ai.operation.name": "execute_tool"},
    ),
    "an adopted one": ("pydantic-ai", "running tool", TOOL | {"toolspan.outcome": "denied"}),
    "one of ours": ("toolspan", "execute_tool x", {"gen_ai.operation.name": "execute_tool"}),
}


def arrived(program, *arguments, **environ):
    """The spans that a child sent to a receiver, and what it printed."""
    with Receiver() as receiver:
        done = subprocess.run(
            [sys.executable, __file__, program, *arguments],
            env={
                **{name: said for name, said in os.environ.items() if "OTEL_" not in name},
                "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
                "OTEL_METRICS_EXPORTER": "none",
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "toolspan failed" not in done.stderr, done.stderr
        return receiver.spans(), json.loads(done.stdout.splitlines()[-1])


CONTENT_ON = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}


@pytest.fixture(scope="module", params=[{}, CONTENT_ON], ids=["content off", "content on"])
def literal(request):
    spans, counted = arrived("literal", **request.param)
    return bool(request.param), spans, counted


@pytest.mark.parametrize("who", SPANS)
def test_a_tool_span_of_others_says_the_standards_words_beside_its_own(who, literal):
    loud, spans, _ = literal
    scope, name, kind, said, added = SPANS[who]
    (span,) = [one for one in spans if one.resource and one.attributes.get("who") == who]
    content = SHOWN if loud and any(text == GIVEN for text in said.values()) else {}
    assert span.attributes == {"who": who} | added | content | said
    assert (span.scope, span.name, span.kind) == (scope, name, kind)
    assert (span.parent_id != "", span.status, len(span.links)) == (True, "UNSET", 1)
    assert [event.name for event in span.events] == ["something"]
    assert span.proto.dropped_attributes_count == 0


@pytest.mark.parametrize("what", OTHERS)
def test_any_other_span_leaves_as_it_is(what, literal):
    scope, name, said = OTHERS[what]
    (span,) = [one for one in literal[1] if one.attributes.get("who") == what]
    assert (span.scope, span.name, span.attributes) == (scope, name, {"who": what} | said)


def test_what_was_dropped_is_told_of_the_copy_too(literal):
    (span,) = [one for one in literal[1] if one.attributes.get("tool.name") == "crowded"]
    assert (span.attributes["toolspan.outcome"], span.proto.dropped_attributes_count) == ("ok", 12)


def test_how_it_ended_is_read_from_status_type_and_the_exception_it_holds(literal):
    ended = {
        span.attributes["tool.name"]: (
            span.attributes["toolspan.outcome"],
            span.attributes.get("error.type"),
        )
        for span in literal[1]
        if span.attributes.get("tool.name", "").startswith("ends ")
    }
    assert ended == {
        "ends well": ("ok", None),
        "ends without a type": ("error", "error"),
        "ends with a type": ("tool_error", "tool_error"),
        "ends with an event": ("error", "ZeroDivisionError"),
        "ends with a cancellation": ("cancelled", None),
    }


def test_every_span_is_there_once_and_every_tools_call_is_counted(literal):
    _, spans, counted = literal
    assert len(spans) == len({span.span_id for span in spans})
    assert counted["search"] == len(SPANS)


@pytest.mark.skipif(not INSTALLED, reason="run where the vendors are")
@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("loud", [False, True], ids=["content off", "content on"])
def test_a_vendors_spans_of_a_framework_without_an_adapter_say_what_ours_would(vendor, loud):
    spans, seen = arrived(
        "vendor", vendor, TOOLSPAN_DISABLED="langchain", **(CONTENT_ON if loud else {})
    )
    tools = [span for span in spans if "toolspan.outcome" in span.attributes]
    assert {span.scope for span in tools} == {VENDORS[vendor].partition(":")[0]}
    told = [
        (span.attributes["gen_ai.tool.name"], span.attributes["toolspan.outcome"]) for span in tools
    ]
    assert sorted(told) == sorted((name, word) for name, word in seen["ran"])
    assert seen["counted"] == len(tools)
    for span in tools:
        assert span.attributes["gen_ai.operation.name"] == "execute_tool"
        assert span.attributes["gen_ai.tool.type"] == "function"
        assert span.attributes["gen_ai.tool.description"]
        failed = span.attributes["toolspan.outcome"] == "error"
        assert span.attributes.get("error.type") == ("ValueError" if failed else None)
    own = {span["id"]: span for span in seen["own"]}
    for span in tools:  # beside what the vendor's own exporter would have sent
        mine = own[span.span_id]
        assert span.name == mine["name"]
        assert {key: span.attributes[key] for key in mine["said"]} == mine["said"]
        added = {ARGUMENTS, RESULT} & (span.attributes.keys() - mine["said"].keys())
        assert loud or not added
        assert not loud or failed_or_shown(span)


def failed_or_shown(span):
    return span.attributes["toolspan.outcome"] == "error" or "3" in span.attributes[RESULT]


# -- the programs of the children ----------------------------------------------------------------


def ours():
    """The quick start, and beside it what a vendor's own exporter sees."""
    from opentelemetry import trace

    import toolspan

    toolspan.configure(service_name="others")
    provider, exporter = trace.get_tracer_provider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return toolspan, provider, exporter


def literal_program():
    from opentelemetry.trace import Link, SpanKind, StatusCode

    toolspan, provider, _ = ours()
    root = provider.get_tracer("root").start_span("root")
    link = [Link(root.get_span_context())]

    def made(scope, name, kind, who, said):
        tracer = provider.get_tracer(scope)
        span = tracer.start_span(name, kind=SpanKind[kind], links=link)
        span.set_attributes({"who": who, **said})
        span.add_event("something")
        return span

    from opentelemetry.trace import use_span

    with use_span(root):
        for who, (scope, name, kind, said, _) in SPANS.items():
            made(scope, name, kind, who, said).end()
        for what, (scope, name, said) in OTHERS.items():
            made(scope, name, "INTERNAL", what, said).end()
    ends(provider, StatusCode.ERROR)
    root.end()
    counted = {name: toolspan.stats()[name].foreign for name in toolspan.stats()}
    assert toolspan.flush(10).complete
    print(json.dumps(counted))


def ends(provider, failed):
    """Each way in which a span of others tells of its end, and one with too many attributes."""
    tracer = provider.get_tracer("openinference.instrumentation.x")

    def start(name):
        return tracer.start_span(
            name, attributes={"tool.name": name, "openinference.span.kind": "TOOL"}
        )

    start("ends well").end()
    for name, type_ in {
        "ends without a type": None,
        "ends with a type": "tool_error",
        "ends with an event": None,
        "ends with a cancellation": None,
    }.items():
        span = start(name)
        if type_:
            span.set_attribute("error.type", type_)
        if name.endswith("event"):
            span.record_exception(ZeroDivisionError("x"))
        if name.endswith("cancellation"):
            span.record_exception(__import__("asyncio").CancelledError())
        span.set_status(failed)
        span.end()
    span = start("crowded")
    for number in range(128 + 12 - 2):
        span.set_attribute(f"a{number}", number)
        span.set_attribute("tool.name", "crowded")
        span.set_attribute("openinference.span.kind", "TOOL")
    span.end()


def vendor_program(vendor):
    toolspan, provider, exporter = ours()
    module, _, name = VENDORS[vendor].partition(":")
    getattr(importlib.import_module(module), name)().instrument(tracer_provider=provider)
    from programs import langchain_program as program

    ran = []
    for tool, arguments, word in (("add", {"a": 1, "b": 2}, "ok"), ("boom", {}, "error")):
        try:
            getattr(program, tool).invoke(arguments)
        except ValueError:
            assert word == "error"
        ran.append((tool, word))
    counted = sum(row.foreign for row in toolspan.stats().rows())
    assert toolspan.flush(10).complete
    own = [
        {"id": f"{span.context.span_id:016x}", "name": span.name, "said": dict(span.attributes)}
        for span in exporter.get_finished_spans()
    ]
    print(json.dumps({"ran": ran, "counted": counted, "own": own}))


if __name__ == "__main__":
    {"literal": literal_program, "vendor": vendor_program}[sys.argv[1]](*sys.argv[2:])
