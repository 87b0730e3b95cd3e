"""docs/variables.md, row by row: a child process with the variable set, and what arrives."""

from __future__ import annotations

import ast
import functools
import json
import re
import stat
from pathlib import Path

import pytest

import toolspan
from receiver import Receiver, run_program

SOURCE = Path(toolspan.__file__).parent
TABLE = Path(__file__).parent.parent / "docs" / "variables.md"
#: Read to leave the exporter its own session: passed on, not decided here.
PASSED_ON = re.compile(r"OTEL_PYTHON_EXPORTER_OTLP_HTTP_.*CREDENTIAL_PROVIDER|TOOLSPAN_DEMO_.*")
TRACE = "0af7651916cd43dd8448eb211c80319c"
CANARY = "blue-owl"

PROGRAM = """
import json, logging, os, sys, time
logging.basicConfig(format="%(message)s")
from opentelemetry import context, propagate, trace
import toolspan

toolspan.configure()

@toolspan.tool
def search(query):
    return "found " + query

@toolspan.tool
def read(pin):
    return {"pin": pin}

carrier = {"traceparent": "00-TRACE-00f067aa0ba902b7-01"}
context.attach(propagate.extract(carrier, context.get_current()))
""".replace("TRACE", TRACE)
CALLS = """
search("blue-owl" + 500 * "x")
read("red-owl")
"""
FLUSH = """
flushed = toolspan.flush(5)
print(json.dumps([flushed.sent, flushed.kept, flushed.dropped]))
"""
ONE = PROGRAM + CALLS + FLUSH
MANY = PROGRAM + "for _ in range(20): search('q')" + FLUSH
WAITING = PROGRAM + CALLS + "time.sleep(0.6); os._exit(0)"
BY_HAND = (
    PROGRAM
    + """
from opentelemetry.trace import Link
tracer = trace.get_tracer("by hand")
links = [Link(trace.get_current_span().get_span_context(), {"a": 1, "b": 2, "c": 3})] * 5
with tracer.start_as_current_span("by hand", links=links) as span:
    for number in range(9):
        span.set_attribute(f"key{number}", 40 * "x")
        span.add_event(f"event{number}", {"a": 40 * "y", "b": 2, "c": 3, "d": 4})
"""
    + CALLS
    + FLUSH
)


class Seen:
    """What one child process printed and sent."""

    def __init__(self, receiver, done):
        self.stdout, self.stderr = done.stdout, done.stderr
        self.spans, self.metrics = receiver.spans(), receiver.metrics()
        self.paths, self.headers, self.raw = receiver.paths, receiver.headers, receiver.raw
        self.connections = receiver.connections

    @property
    def search(self):
        (span,) = [span for span in self.spans if span.name == "execute_tool search"]
        return span

    @property
    def flushed(self):
        return json.loads(self.stdout.splitlines()[-1])

    def header(self, path, name):
        pairs = zip(self.paths, self.headers, strict=True)
        return {headers.get(name) for at, headers in pairs if at == path}


@functools.cache
def child(program=ONE, mode="ok", **environ):
    """Run a program against a receiver; HTTP and GRPC in a value stand for where it listens."""
    with Receiver(mode) as receiver:
        places = {"OTEL_EXPORTER_OTLP_ENDPOINT": "HTTP", **environ}
        if "GRPC" in places.values():
            places = {
                k: v.replace("GRPC", f"http://{receiver.grpc_target}") for k, v in places.items()
            }
        places = {k: v.replace("HTTP", receiver.url) for k, v in places.items()}
        done = run_program(program, **places)
        assert done.returncode == 0, done.stderr
        return Seen(receiver, done)


CASES = {}
PASSED = set()


def row(*names):
    """The case of these rows: one child may show several."""

    def add(case):
        CASES.update(dict.fromkeys(names, case))
        return case

    return add


@row("OTEL_SDK_DISABLED")
def _disabled():
    seen = child(OTEL_SDK_DISABLED="TRUE")
    assert (seen.connections, seen.spans, seen.metrics) == (0, [], [])
    assert len(child().spans) == 2


@row("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES")
def _resource():
    seen = child(OTEL_SERVICE_NAME="agent-7", OTEL_RESOURCE_ATTRIBUTES="team=a,place=b%20c")
    for resource in (seen.search.resource, seen.metrics[0].resource):
        assert resource["service.name"] == "agent-7"
        assert (resource["team"], resource["place"]) == ("a", "b c")
    assert child().search.resource["service.name"].startswith("unknown_service")


@row("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER")
def _exporters():
    spans_only = child(OTEL_METRICS_EXPORTER="none", OTEL_TRACES_EXPORTER="otlp")
    assert set(spans_only.paths) == {"/v1/traces"}
    metrics_only = child(OTEL_TRACES_EXPORTER="console")
    assert set(metrics_only.paths) == {"/v1/metrics"}
    assert '"execute_tool search"' in metrics_only.stdout


@row("OTEL_EXPORTER_OTLP_ENDPOINT")
def _endpoint():
    assert set(child(OTEL_EXPORTER_OTLP_ENDPOINT="HTTP").paths) == {"/v1/traces", "/v1/metrics"}


@row("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
def _endpoints():
    seen = child(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="HTTP/v1/traces",
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="HTTP/as/it/is",
    )
    assert set(seen.paths) == {"/v1/traces", "/as/it/is"}
    assert len(seen.spans) == 2


@row("OTEL_EXPORTER_OTLP_PROTOCOL")
def _protocol():
    seen = child(OTEL_EXPORTER_OTLP_ENDPOINT="GRPC", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert len(seen.spans) == 2
    assert seen.connections == 0  # at the port for http/protobuf


@row("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL")
def _protocols():
    seen = child(
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="GRPC",
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_METRICS_PROTOCOL="http/protobuf",
    )
    assert len(seen.spans) == 2
    assert "grpc" in str(seen.header("/v1/traces", "user-agent"))
    assert "grpc" not in str(seen.header("/v1/metrics", "user-agent"))
    assert seen.metrics


@row(
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
)
def _headers():
    seen = child(
        OTEL_EXPORTER_OTLP_HEADERS="Api-Key=a%20b", OTEL_EXPORTER_OTLP_METRICS_HEADERS="api-key=m"
    )
    assert seen.header("/v1/traces", "api-key") == {"a b"}
    assert seen.header("/v1/metrics", "api-key") == {"m"}
    seen = child(
        OTEL_EXPORTER_OTLP_HEADERS="api-key=a", OTEL_EXPORTER_OTLP_TRACES_HEADERS="api-key=t"
    )
    assert seen.header("/v1/traces", "api-key") == {"t"}
    assert seen.header("/v1/metrics", "api-key") == {"a"}


@row("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
def _timeouts():
    for variable in ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"):
        others = {"OTEL_METRICS_EXPORTER": "none", variable: "0.2"}
        seen = child(mode="silent", **others)
        assert seen.connections >= 1
        assert seen.flushed == [0, 0, {"timeout": 2}]


@row("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT")
def _timeout_of_metrics():
    program = PROGRAM + CALLS + "print(toolspan.flush(5).note)"
    seen = child(
        program, "silent", OTEL_TRACES_EXPORTER="none", OTEL_EXPORTER_OTLP_METRICS_TIMEOUT="0.2"
    )
    assert "metrics did not arrive (timeout)" in seen.stdout


@row(
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
)
def _compression():
    seen = child(
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip", OTEL_EXPORTER_OTLP_METRICS_COMPRESSION="none"
    )
    assert seen.header("/v1/traces", "content-encoding") == {"gzip"}
    assert seen.header("/v1/metrics", "content-encoding") == {None}
    seen = child(OTEL_EXPORTER_OTLP_TRACES_COMPRESSION="deflate")
    assert seen.header("/v1/traces", "content-encoding") == {"deflate"}
    assert seen.header("/v1/metrics", "content-encoding") == {None}
    assert len(seen.spans) == 2


@row("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")
def _sampler():
    ratio = {"OTEL_TRACES_SAMPLER": "traceidratio"}
    assert len(child(MANY, **ratio, OTEL_TRACES_SAMPLER_ARG="1").spans) == 20
    none = child(MANY, **ratio, OTEL_TRACES_SAMPLER_ARG="0")
    assert none.spans == []
    assert {m.name: m for m in none.metrics}["toolspan.calls"].points[0].value == 20


#: OpenTelemetry's own module does not survive a wrong name: what reads messages is asked itself.
JOINED = """
import logging, sys
logging.basicConfig(format="%(message)s")
from opentelemetry import trace
from opentelemetry.context import Context
import toolspan
from toolspan.lifecycle import propagation

toolspan.instrument()
carrier = {"traceparent": f"00-{sys.argv[1]}-00f067aa0ba902b7-01"}
context = propagation.extract(carrier, Context())
copy = {}
propagation.inject(copy, context)
print(copy["traceparent"].split("-")[1], copy.get("baggage", "none"))
"""


@row("OTEL_PROPAGATORS")
def _propagators():
    assert child().search.trace_id == TRACE
    assert child(OTEL_PROPAGATORS="none").search.trace_id != TRACE
    wrong = run_program(JOINED, TRACE, OTEL_PROPAGATORS="none_such")
    assert wrong.stdout.split() == [TRACE, "none"]
    assert wrong.stderr.count("OTEL_PROPAGATORS names a propagator that is not installed") == 1


@row("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")
def _lengths():
    seen = child(
        BY_HAND, OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT="9", OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT="13"
    )
    (span,) = [span for span in seen.spans if span.name == "by hand"]
    assert span.attributes["key8"] == 13 * "x"
    assert span.events[-1].attributes["a"] == 9 * "y"


@row(
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
)
def _counts():
    seen = child(
        BY_HAND,
        OTEL_ATTRIBUTE_COUNT_LIMIT="6",
        OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT="3",
        OTEL_LINK_ATTRIBUTE_COUNT_LIMIT="2",
        OTEL_SPAN_EVENT_COUNT_LIMIT="4",
        OTEL_SPAN_LINK_COUNT_LIMIT="1",
    )
    (span,) = [span for span in seen.spans if span.name == "by hand"]
    assert len(span.attributes) == 6
    assert [len(event.attributes) for event in span.events] == [3] * 4
    assert [len(link.attributes) for link in span.links] == [2]
    seen = child(BY_HAND, OTEL_ATTRIBUTE_COUNT_LIMIT="2", OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="7")
    (span,) = [span for span in seen.spans if span.name == "by hand"]
    assert (len(span.attributes), len(span.events[0].attributes)) == (7, 2)


@row("OTEL_BSP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL")
def _intervals():
    seen = child(WAITING, OTEL_BSP_SCHEDULE_DELAY="50", OTEL_METRIC_EXPORT_INTERVAL="50")
    assert len(seen.spans) == 2
    assert seen.metrics
    assert child(WAITING).paths == []


@row("OTEL_BSP_MAX_QUEUE_SIZE")
def _queue():
    seen = child(MANY, OTEL_BSP_MAX_QUEUE_SIZE="4", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4")
    sent, kept, dropped = seen.flushed
    assert len(seen.spans) == sent < 20
    assert (kept, dropped) == (0, {"queue full": 20 - sent})


@row("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")
def _batch():
    seen = child(MANY, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="5")
    assert len(seen.spans) == 20
    assert seen.paths.count("/v1/traces") >= 4


CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
WRITTEN = ("true", "SPAN_ONLY", "span_and_event")
NOT_WRITTEN = ("EVENT_ONLY", "no_content", "False", "")


@row(CAPTURE)
def _capture():
    for value in WRITTEN:
        attributes = child(**{CAPTURE: value}).search.attributes
        assert CANARY in attributes["gen_ai.tool.call.arguments"], value
        assert CANARY in attributes["gen_ai.tool.call.result"], value
    for value in NOT_WRITTEN:
        seen = child(**{CAPTURE: value})
        assert len(seen.spans) == 2
        assert CANARY.encode() not in seen.raw, value
        assert seen.stderr == ""
    seen = child(**{CAPTURE: "yes"})
    assert CANARY.encode() not in seen.raw
    assert [line.startswith(f"{CAPTURE}='yes'") for line in seen.stderr.splitlines()] == [True]


@row("TOOLSPAN_REDACT")
def _redact():
    on = {CAPTURE: "SPAN_ONLY"}
    assert b"found" in child(**on).raw
    seen = child(**on, TOOLSPAN_REDACT="other,QUERY")
    (arguments,) = [seen.search.attributes["gen_ai.tool.call.arguments"]]
    assert CANARY not in arguments
    assert CANARY in seen.search.attributes["gen_ai.tool.call.result"]  # a text has no keys


@row("TOOLSPAN_VALUE_LIMIT", "TOOLSPAN_SPAN_LIMIT")
def _limits():
    on = {CAPTURE: "SPAN_ONLY"}
    keys = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
    whole = [len(child(**on).search.attributes[key]) for key in keys]
    assert min(whole) > 500
    seen = child(**on, TOOLSPAN_VALUE_LIMIT="200").search
    assert [len(seen.attributes[key]) <= 200 for key in keys] == [True, True]
    assert seen.attributes["toolspan.result.truncated"]
    seen = child(**on, TOOLSPAN_SPAN_LIMIT="700").search
    assert sum(len(seen.attributes[key]) for key in keys) <= 700
    assert len(seen.attributes[keys[0]]) == whole[0]


@row("TOOLSPAN_SAMPLE")
def _sample():
    seen = child(TOOLSPAN_SAMPLE="search=0,*=1")
    assert [span.name for span in seen.spans] == ["execute_tool read"]


@row("TOOLSPAN_FINGERPRINT_KEY")
def _key():
    prints = [child(TOOLSPAN_FINGERPRINT_KEY=key) for key in ("a", "b")]
    again = child(TOOLSPAN_FINGERPRINT_KEY="a", OTEL_SERVICE_NAME="another process")
    first, second, third = [
        seen.search.attributes["toolspan.arguments.fingerprint"] for seen in (*prints, again)
    ]
    assert first == third != second


@row("TOOLSPAN_STATE_DIR", "XDG_STATE_HOME")
def _state(folder):
    here = {"TOOLSPAN_STATE_DIR": str(folder / "state")}
    by_user = {"TOOLSPAN_STATE_DIR": "", "XDG_STATE_HOME": str(folder)}
    prints = [
        child(**place, OTEL_SERVICE_NAME=name).search.attributes["toolspan.arguments.fingerprint"]
        for name in ("first", "second")
        for place in (here, by_user)
    ]
    assert prints[0] == prints[2] != prints[1] == prints[3]
    for place in (folder / "state", folder / "toolspan"):
        key = place / "fingerprint.key"
        assert [stat.S_IMODE(path.stat().st_mode) for path in (place, key)] == [0o700, 0o600]


def test_the_key_is_made_when_instrumentation_starts_not_with_the_first_call(tmp_path):
    state = tmp_path / "state"
    done = run_program("import toolspan; toolspan.instrument()", TOOLSPAN_STATE_DIR=str(state))
    assert done.returncode == 0, done.stderr
    assert len((state / "fingerprint.key").read_bytes()) == 32


def test_a_state_directory_that_cannot_be_made_leaves_a_key_for_the_process_alone(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    place = {"TOOLSPAN_STATE_DIR": str(tmp_path / "file" / "state")}
    first, second = (
        child(**place, OTEL_SERVICE_NAME=name).search.attributes["toolspan.arguments.fingerprint"]
        for name in ("first", "second")
    )
    assert len(first) == len(second) == 16
    assert first != second


FRAMEWORK = (
    PROGRAM
    + """
from dataclasses import replace
from langchain_core.tools import tool
from toolspan.settings import read_settings

@tool
def add(a: int) -> int:
    "Add."
    return a + 1

add.invoke({"a": 1})
search("between")
toolspan.instrument(settings=replace(read_settings(), disabled=frozenset()))
add.invoke({"a": 1})
"""
    + FLUSH
)


@row("TOOLSPAN_DISABLED")
def _frameworks():
    pytest.importorskip("langchain_core")
    seen = child(FRAMEWORK, TOOLSPAN_DISABLED="mcp,LangChain")
    assert [span.name for span in seen.spans] == ["execute_tool search", "execute_tool add"]


OWN_METERS = (
    """
import sys
from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
"""
    + ONE
)


@row("TOOLSPAN_DURATION_METRIC")
def _duration():
    for value, recorded in (("on", True), ("off", False)):
        seen = child(OWN_METERS, TOOLSPAN_DURATION_METRIC=value)
        names = {metric.name for metric in seen.metrics}
        assert "toolspan.calls" in names
        assert ("gen_ai.execute_tool.duration" in names) is recorded


AUTOMATIC = """
import os, toolspan
from opentelemetry.instrumentation.auto_instrumentation._load import _load_instrumentors
from opentelemetry.instrumentation.distro import DefaultDistro

toolspan.configure(instrument=False)

@toolspan.tool
def search(query):
    return query

_load_instrumentors(DefaultDistro())
search("off")
del os.environ["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"]
_load_instrumentors(DefaultDistro())
with toolspan.run("on"):
    search("on")
"""


@row("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")
def _automatic(folder):
    info = folder / "toolspan-0.1.0.dist-info"  # what an installation leaves
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toolspan\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(
        "[opentelemetry_instrumentor]\ntoolspan = toolspan.entry_point:ToolspanInstrumentor\n"
    )
    program = f"import sys; sys.path.insert(0, {str(folder)!r})\n{AUTOMATIC}"
    seen = child(program, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="other,toolspan")
    assert [span.name for span in seen.spans] == ["execute_tool search", "invoke_agent on"]


@row("TOOLSPAN_DOCTOR")
def each_process_leaves_its_facts(folder):
    child(ONE, TOOLSPAN_DOCTOR=str(folder))
    (file,) = folder.glob("*.json")
    export = json.loads(file.read_text())["export"]
    assert (export["ended"], export["sent"], export["dropped"]) == (2, 2, {})


@pytest.mark.parametrize("name", CASES)
def test_a_row_says_what_the_variable_does(name, tmp_path):
    case = CASES[name]
    if case not in PASSED:  # one case may show several rows
        case(tmp_path) if case.__code__.co_argcount else case()
        PASSED.add(case)


def rows():
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    return [line.split("|")[1].strip().strip("`") for line in lines[2:]]


def test_every_row_has_a_case_and_every_case_a_row():
    assert sorted(rows()) == sorted(CASES)


def test_every_variable_that_the_source_reads_has_a_row():
    read = {
        node.value
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(r"(OTEL|TOOLSPAN|XDG)_[A-Z_]+[A-Z]", node.value)
    }
    assert len(read) > 15
    assert {name for name in read if not PASSED_ON.fullmatch(name)} - set(rows()) == set()


def test_the_row_of_content_names_every_value_and_what_the_official_package_refuses():
    (line,) = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if CAPTURE in line]
    words = set(re.findall(r"`([A-Z_a-z]+)`", line))
    assert {"SPAN_ONLY", "SPAN_AND_EVENT", "EVENT_ONLY", "NO_CONTENT", "true", "false"} <= words
    assert "1.3b0 refuses `true`" in line
