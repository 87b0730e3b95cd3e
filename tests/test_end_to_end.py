"""Programs as users start them, through the real Collector: what ended in them is what Jaeger has.

A second witness in each process writes its ended spans down (`witness/`). Two stacks run side by
side: a calm one, and one whose Collector is killed and whose Jaeger is away for half a minute.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import toolspan
from backends import CONFIG, Collector, Stack, needs_binaries, plain, until

pytestmark = needs_binaries()

TESTS = Path(__file__).parent
HOME = Path(toolspan.__file__).parent.parent
AGENT = TESTS / "programs" / "steady_agent.py"
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
DEMO = (sys.executable, "-c", "import sys; from toolspan.cli import main; sys.exit(main())", "demo")
AGENT_SERVICE = "steady"
DEMO_SERVICES = {"toolspan-demo", "toolspan-demo-files"}
CALLS = 520  # of each tool
OUTAGE = 30  # seconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the demonstration looks at, and the witness as opentelemetry-instrument finds it."""
    place = tmp_path_factory.mktemp("files")
    for name, text in {"a.txt": "the cat", "b.md": "the dög", "c.py": "x = 1"}.items():
        (place / name).write_text(text)
    entry = tmp_path_factory.mktemp("entry")
    info = entry / "witness-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: witness\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[opentelemetry_pre_instrument]\nw = witness:watch\n")
    return place, entry


@dataclass
class Programs:
    """The demonstration and an unmodified agent, sending to one Collector, each with its witness."""

    stack: Stack
    folder: tuple[Path, Path]  # what is looked at, and the witness' entry point
    notes: Path
    slower: str = "1"
    collector: Collector | None = None  # another than the stack's
    running: dict = field(default_factory=dict)
    ended: dict = field(default_factory=dict)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.running.values():
            program.kill()
            program.communicate()

    def start_demo(self):
        self.start("demo", *DEMO, str(self.folder[0]))

    def start_agent(self):
        agent = (sys.executable, str(AGENT), str(CALLS), self.slower)
        self.start("agent", INSTRUMENT, *agent, OTEL_SERVICE_NAME=AGENT_SERVICE)

    def start(self, name, *command, **variables):
        notes = self.notes / name
        notes.mkdir(parents=True)
        foreign = ("OTEL_", "TOOLSPAN_", "PYTHON", "CI")
        kept = {key: text for key, text in os.environ.items() if not key.startswith(foreign)}
        paths = [HOME, TESTS / "witness", self.folder[1]]
        self.running[name] = subprocess.Popen(
            command,
            env=kept
            | {
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
                "PYTHONIOENCODING": "utf-8",
                "WITNESS": str(notes),
                "TOOLSPAN_STATE_DIR": str(self.notes),
                "OTEL_RESOURCE_ATTRIBUTES": f"notes={self.notes.name}",
                "OTEL_EXPORTER_OTLP_ENDPOINT": (self.collector or self.stack.collector).http,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_BSP_SCHEDULE_DELAY": "500",
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
                "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait(self, name):
        """Its exit code must be 0; when it ended."""
        words, _ = self.running[name].communicate(timeout=120)
        assert self.running[name].returncode == 0, words[-4000:]
        self.ended.setdefault(name, time.monotonic())

    def spans(self, name):
        """Every span that the witness saw end, by id."""
        notes = sorted((self.notes / name).glob("*.spans"))
        lines = [line for file in notes for line in file.read_text().splitlines()]
        return {span["spanId"]: span for span in map(json.loads, lines)}

    def statistics(self, name):
        """(tool, side) -> what the statistics of its processes say."""
        rows = [
            row
            for file in (self.notes / name).glob("*.statistics")
            for row in json.loads(file.read_text())
        ]
        return {(row["tool"], row["side"]): row for row in rows}

    def answered(self, *services):
        """Every span that Jaeger has of these programs in these services, by id."""
        found = (self.stack.jaeger.everything(service) for service in services)
        return {
            span["spanId"]: as_written(span)
            for spans in found
            for span in spans
            if span["resource"].get("notes") == self.notes.name
        }

    def arrived(self, name, *services, seconds):
        """Wait until Jaeger has as many spans as ended; the seconds since the program's end."""
        number = len(self.spans(name))
        until(lambda: len(self.answered(*services)) >= number, seconds, 0.2)
        return time.monotonic() - self.ended[name]


def as_written(span):
    """A span of Jaeger's answer in the form of the witness."""
    scope = span["scope"]
    return {
        **{key: span[key] for key in ("traceId", "spanId", "name", "kind", "attributes")},
        **{key: span[key] for key in ("startTimeUnixNano", "endTimeUnixNano", "resource")},
        "parentSpanId": span.get("parentSpanId"),
        "status": span["status"],
        "events": [
            [one["name"], plain(one.get("attributes", ()))] for one in span.get("events", ())
        ],
        "links": [link["spanId"] for link in span.get("links", ())],
        "scope": [scope.get("name"), scope.get("version")],
    }


def differences(ended, answered):
    """One line for each thing in which Jaeger's answer is not what ended."""
    lines = [f"{ended[one]['name']} is missing" for one in sorted(ended.keys() - answered.keys())]
    lines += [f"{answered[one]['name']} never ended" for one in answered.keys() - ended.keys()]
    for one in sorted(ended.keys() & answered.keys()):
        for key, wanted in ended[one].items():
            if answered[one][key] != wanted:
                lines.append(f"{ended[one]['name']}: {key} is {answered[one][key]}, was {wanted}")
    return lines


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("calm"), tmp_path_factory.mktemp("stormy")


def storm(place, folder):
    """Both programs, the Collector killed while both run, and Jaeger away for half a minute."""
    with Stack(place) as stack, Programs(stack, folder, place / "stormy", "2") as programs:
        programs.start_demo()
        programs.start_agent()
        until(lambda: all(programs.spans(name) for name in ("demo", "agent")), 30)
        stack.jaeger.kill()
        began = time.monotonic()
        stack.collector.kill()
        assert all(one.poll() is None for one in programs.running.values()), "ended before the kill"
        back = stack.collector.start()
        programs.wait("demo")
        programs.wait("agent")
        time.sleep(max(0, OUTAGE - (time.monotonic() - began)))
        stack.jaeger.start()
        programs.arrived("agent", AGENT_SERVICE, seconds=30)
        programs.arrived("demo", *DEMO_SERVICES, seconds=30)
        yield programs, back


@pytest.fixture(scope="module", autouse=True)
def _in_the_background(request):
    """The storm begins at once, where a test of it was chosen, while the calm one is looked at."""
    if any("stormy" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("begun")


@pytest.fixture(scope="module")
def begun(folders, folder):
    """Its servers stay until the end."""
    going = storm(folders[1], folder)
    with ThreadPoolExecutor(1) as threads:
        started = threads.submit(next, going)
        yield started
        started.exception()
    going.close()


@pytest.fixture(scope="module")
def stormy(begun):
    return begun.result(180)


@pytest.fixture(scope="module")
def calm_demo(folders, folder):
    """The calm demonstration in Jaeger, and the seconds that took."""
    place, _ = folders
    with Stack(place) as stack, Programs(stack, folder, place / "calm") as programs:
        programs.start_demo()
        programs.start_agent()
        programs.wait("demo")
        yield programs, programs.arrived("demo", *DEMO_SERVICES, seconds=10)


@pytest.fixture(scope="module")
def calm(calm_demo):
    return calm_demo[0]


@pytest.fixture(scope="module")
def calm_agent(calm):
    calm.wait("agent")
    calm.arrived("agent", AGENT_SERVICE, seconds=10)
    return calm


def test_the_demonstrations_calls_are_in_jaeger_within_five_seconds_of_its_end(calm_demo):
    programs, seconds = calm_demo
    assert len(programs.spans("demo")) > 10
    assert seconds <= 5


def test_jaeger_answers_with_the_demonstrations_spans_attribute_by_attribute(calm_demo):
    programs, _ = calm_demo
    assert differences(programs.spans("demo"), programs.answered(*DEMO_SERVICES)) == []


def test_client_and_server_of_mcp_are_two_services_in_one_trace(calm_demo):
    programs, _ = calm_demo
    spans = programs.answered("toolspan-demo")
    (trace,) = {span["traceId"] for span in spans.values() if span["attributes"].get("error.type")}
    whole = [span for span in spans.values() if span["traceId"] == trace]
    assert {span["resource"]["service.name"] for span in whole} == DEMO_SERVICES
    served = [span for span in whole if span["kind"] == 2]
    assert Counter(span["attributes"]["gen_ai.tool.name"] for span in served) == {
        "search": 1, "read": 3, "checksum": 1,
    }  # fmt: skip
    for span in served:
        parent = spans[span["parentSpanId"]]
        assert parent["resource"]["service.name"] == "toolspan-demo"
        assert parent["attributes"]["gen_ai.tool.name"] == span["attributes"]["gen_ai.tool.name"]


def test_the_unmodified_agents_spans_are_in_jaeger_attribute_by_attribute(calm_agent):
    ended = calm_agent.spans("agent")
    assert len(ended) == 2 * CALLS
    assert differences(ended, calm_agent.answered(AGENT_SERVICE)) == []


def test_the_monitor_tab_has_the_demonstrations_tools(calm_demo):
    programs, _ = calm_demo

    def operations():
        answer = programs.stack.jaeger.monitor("calls", "toolspan-demo", spanKind="internal")
        return {labels["operation"] for labels, value in answer if value > 0}

    wanted = {f"execute_tool {tool}" for tool in ("count", "search", "read", "checksum")}
    assert until(lambda: wanted <= operations(), 15)


def expressions():
    """Every expression of the board with its variables filled in, under its panel's title."""
    board = json.loads((CONFIG / "grafana" / "dashboards" / "tool-calls.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            asked = target["expr"].replace("$__rate_interval", "2m").replace("$__range", "5m")
            yield panel["title"], asked.replace("$service", ".*")


@pytest.mark.parametrize(("title", "expression"), list(expressions()))
def test_every_expression_of_the_board_answers_with_data(title, expression, calm_demo):
    programs, _ = calm_demo

    by_tool = "by (gen_ai_tool_name)" in expression
    wanted = {"search", "read", "checksum"} if by_tool else set()

    def answered():
        answer = programs.stack.prometheus.ask(expression)
        tools = {labels.get("gen_ai_tool_name") for labels, value in answer if value >= 0}
        return tools and wanted <= tools

    assert until(answered, 15), programs.stack.prometheus.ask(expression)


def counted(programs, service, metric, *labels):
    """The counter itself, by labels, of one service."""
    by = ", ".join(labels)
    answer = programs.stack.prometheus.ask(f'sum by ({by}) ({metric}{{job="{service}"}})')
    return {tuple(one.get(label) for label in labels): value for one, value in answer}


def outcomes(programs, name):
    return {
        (tool, outcome): number
        for (tool, side), row in programs.statistics(name).items()
        for outcome, number in row["outcomes"].items()
        if side == "client"
    }


def agrees(programs, name, service, metric):
    """Counts by tool and outcome in Prometheus are those of ToolStatistics."""
    truth = outcomes(programs, name)
    labels = ("gen_ai_tool_name", "toolspan_outcome")
    until(lambda: counted(programs, service, metric, *labels) == truth, 15, 0.5)
    assert counted(programs, service, metric, *labels) == truth


def p95(programs, service, metric):
    answer = programs.stack.prometheus.by(
        "gen_ai_tool_name",
        f'histogram_quantile(0.95, sum by (gen_ai_tool_name) ({metric}{{job="{service}"}}))',
    )
    truth = programs.statistics("agent")
    return answer, {tool: truth[tool, "client"]["p95"] for tool in ("look", "change")}


def test_the_collectors_span_metrics_are_the_statistics_of_the_process(calm_agent, calm_demo):
    agrees(calm_agent, "agent", AGENT_SERVICE, "toolspan_spans_calls_total")
    agrees(calm_agent, "demo", "toolspan-demo", "toolspan_spans_calls_total")
    assert outcomes(calm_agent, "agent")["change", "error"] == CALLS / 20
    answer, truth = p95(calm_agent, AGENT_SERVICE, "toolspan_spans_duration_seconds")
    assert answer == pytest.approx(truth, rel=0.02)


def test_after_a_killed_collector_toolspans_own_metrics_are_the_statistics(stormy):
    programs, _ = stormy
    agrees(programs, "agent", AGENT_SERVICE, "toolspan_calls_total")
    agrees(programs, "demo", "toolspan-demo", "toolspan_calls_total")
    answer, truth = p95(programs, AGENT_SERVICE, "gen_ai_execute_tool_duration_seconds")
    assert answer == pytest.approx(truth, rel=0.02)


def test_no_span_is_lost_or_changed_by_a_killed_collector_and_an_outage_of_jaeger(stormy):
    programs, back = stormy
    assert back <= 3
    assert len(programs.spans("agent")) == 2 * CALLS
    for name, services in {"agent": [AGENT_SERVICE], "demo": DEMO_SERVICES}.items():
        assert differences(programs.spans(name), programs.answered(*services)) == []


def beside(calm, folder, tmp_path, *collector, **environ):
    """The demonstration through another Collector before the same Jaeger; the seconds that took."""
    collector = Collector(tmp_path, *collector, JAEGER_OTLP_GRPC=calm.stack.jaeger.otlp, **environ)
    programs = Programs(calm.stack, folder, tmp_path / tmp_path.name, collector=collector)
    with collector, programs:
        programs.start_demo()
        programs.wait("demo")
        return programs, programs.arrived("demo", *DEMO_SERVICES, seconds=5)


def test_a_span_taken_out_of_the_export_is_noticed(calm, folder, tmp_path):
    """By a Collector that drops one, between the program and Jaeger."""
    (tmp_path / "drop.yaml").write_text("""
processors: {filter/one: {traces: {span: ['span.name == "tools/call checksum"']}}}
service: {pipelines: {traces/kept: {processors: [filter/one]}}}
""")
    programs, _ = beside(calm, folder, tmp_path, "default", tmp_path / "drop.yaml")
    found = differences(programs.spans("demo"), programs.answered(*DEMO_SERVICES))
    assert found == ["tools/call checksum is missing"]


def test_through_a_gateway_the_calls_are_in_jaeger_within_five_seconds_too(calm, folder, tmp_path):
    waits = {"OTELCOL_DECISION_WAIT": "2s", "OTELCOL_SAMPLE_PERCENT": "100"}
    programs, seconds = beside(calm, folder, tmp_path, "gateway", **waits)
    assert differences(programs.spans("demo"), programs.answered(*DEMO_SERVICES)) == []
    assert seconds <= 5
