"""What is published, read back from the SDK's own readers and from OTLP bytes."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import random
import subprocess
import sys
import time
from itertools import accumulate
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import toolspan
from toolspan import ToolStatistics, semconv
from toolspan.lifecycle import drain
from toolspan.statistics.exporter import SketchExporter
from toolspan.statistics.metrics import DurationHistogram, observe
from toolspan.toolcall import Outcome, ToolCall

DURATION = "gen_ai.execute_tool.duration"
SECOND = 10**9
DELTA = {Histogram: AggregationTemporality.DELTA}


def told(listener, name="search", duration=10**6, error=None, **facts):
    call = ToolCall(name, **{"started": time.time_ns(), **facts})
    outcome = Outcome(error=error, type="ValueError" if error == "error" else error)
    listener.started(call)
    listener.finished(call, outcome, duration)


@pytest.fixture
def provider():
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.reader = reader
    yield provider
    provider.shutdown()


def metrics_of(data):
    """(scope, metric) -> the metric."""
    return {
        (scope.scope.name, metric.name): metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def read(provider, name):
    metric = metrics_of(provider.reader.get_metrics_data()).get(("toolspan", name))
    return [] if metric is None else list(metric.data.data_points)


# -- counts, in flight, the oldest ---------------------------------------------------------------


def test_calls_are_a_counter_by_tool_agent_outcome_and_side(provider):
    statistics = ToolStatistics()
    observe(statistics, provider.get_meter("toolspan"))
    for error in (None, None, "error", "denied"):
        told(statistics, error=error, agent="planner")
    told(statistics, kind="server")
    metric = metrics_of(provider.reader.get_metrics_data())["toolspan", "toolspan.calls"]
    assert (metric.unit, metric.data.is_monotonic) == ("{call}", True)
    common = {"gen_ai.tool.name": "search"}
    mine = {**common, "gen_ai.agent.name": "planner"}
    points = [(dict(point.attributes), point.value) for point in metric.data.data_points]
    assert sorted(points, key=str) == sorted(
        [
            ({**mine, "toolspan.outcome": "ok"}, 2),
            ({**mine, "toolspan.outcome": "error"}, 1),
            ({**mine, "toolspan.outcome": "denied"}, 1),
            ({**common, "toolspan.side": "server", "toolspan.outcome": "ok"}, 1),
        ],
        key=str,
    )


def test_calls_in_flight_and_the_age_of_the_oldest_come_and_go(provider):
    statistics = ToolStatistics()
    observe(statistics, provider.get_meter("toolspan"))
    call = ToolCall("search", started=time.time_ns() - 7 * SECOND)
    statistics.started(call)
    (in_flight,) = read(provider, "toolspan.calls.in_flight")
    (oldest,) = read(provider, "toolspan.calls.oldest")
    assert in_flight.value == 1
    assert 7 <= oldest.value < 60
    statistics.finished(call, Outcome(), 7 * SECOND)
    (in_flight,) = read(provider, "toolspan.calls.in_flight")
    (oldest,) = read(provider, "toolspan.calls.oldest")
    assert (in_flight.value, oldest.value) == (0, 0)


def test_instruments_are_silent_when_disabled_and_found_again_not_doubled(provider, caplog):
    statistics = ToolStatistics()
    observe(statistics, provider.get_meter("toolspan"))
    told(statistics)
    assert [point.value for point in read(provider, "toolspan.calls")] == [1]
    statistics.enabled = False
    for name in ("toolspan.calls", "toolspan.calls.in_flight", "toolspan.calls.oldest"):
        assert read(provider, name) == []
    statistics.enabled = True
    with caplog.at_level(logging.WARNING):
        observe(statistics, provider.get_meter("toolspan"))
        told(statistics)
        assert [point.value for point in read(provider, "toolspan.calls")] == [2]
    assert caplog.records == []


def test_the_labels_of_the_counts_are_bounded(provider):
    statistics = ToolStatistics(limit=10)
    observe(statistics, provider.get_meter("toolspan"))
    for number in range(100):
        told(statistics, f"tool {number}")
    points = {
        point.attributes["gen_ai.tool.name"]: point.value
        for point in read(provider, "toolspan.calls")
    }
    assert len(points) == 11
    assert points["_other"] == 90


# -- the ordinary histogram ----------------------------------------------------------------------


def test_the_histogram_has_one_record_for_each_call_that_ran(provider):
    histogram = DurationHistogram(provider.get_meter("toolspan"))
    for duration in (2, 30, 400):
        told(histogram, duration=duration * 10**6)
    told(histogram, error="error", agent="planner")
    for refusal in ("denied", "unknown_tool", "invalid_arguments"):
        told(histogram, error=refusal)
    told(histogram, "read", error="cancelled", kind="server")
    metric = metrics_of(provider.reader.get_metrics_data())["toolspan", DURATION]
    assert metric.unit == "s"
    common = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    points = {str(dict(point.attributes)): point for point in metric.data.data_points}
    failed = {**common, "gen_ai.agent.name": "planner", "error.type": "ValueError"}
    served = {**common, "gen_ai.tool.name": "read", "toolspan.side": "server"}
    assert set(points) == {str(common), str(failed), str(served)}
    point = points[str(common)]
    assert (point.count, point.min, point.max) == (3, 0.002, 0.4)
    assert point.sum == pytest.approx(0.432)
    assert (point.explicit_bounds[0], point.explicit_bounds[-1]) == (0.001, 300)
    assert list(point.explicit_bounds) == sorted(point.explicit_bounds)


def test_an_exemplar_points_at_the_span_of_its_call(provider, trace_with):
    @toolspan.tool
    def search(query):
        return query

    def stream(query):
        yield query

    traced = trace_with(meter_provider=provider)
    theirs = traced.tracer("openinference.instrumentation.host")
    tool = {"openinference.span.kind": "TOOL", "tool.name": "adopted"}
    with traced.tracer().start_as_current_span("parent"):
        search("emma")
        left = toolspan.tool(stream)("emma")
        next(left)
        with theirs.start_as_current_span("adopted", attributes=tool):
            toolspan.tool(search.__wrapped__, name="adopted")("emma")
        with contextlib.suppress(ZeroDivisionError):
            toolspan.tool(lambda: 1 / 0, name="failed")()
        toolspan.record("recorded", started=time.time(), duration=0.5)
    with traced.tracer().start_as_current_span("another"):
        del left  # the garbage collector brings this end
        gc.collect()
        drain()
    points = read(provider, DURATION)
    seen = {
        point.attributes["gen_ai.tool.name"]: [one.span_id for one in point.exemplars]
        for point in points
    }
    names = ("search", "stream", "adopted", "failed", "recorded")
    ids = {span.attributes["gen_ai.tool.name"]: span.context.span_id for span in traced.tools}
    assert seen == {name: [ids[name]] for name in names}


def test_a_call_that_is_sampled_out_leaves_no_exemplar(provider, trace_with):
    trace_with(meter_provider=provider, sampler=ALWAYS_OFF)
    toolspan.tool(len, name="count")("emma")
    (point,) = read(provider, DURATION)
    assert (point.count, list(point.exemplars)) == (1, [])


@pytest.mark.parametrize(
    ("owner", "recorded"),
    [
        (None, 1),
        ("opentelemetry.instrumentation.genai.langchain", 0),
        ("opentelemetry.util.genai.handler", 0),
        ("openinference.instrumentation.langchain", 1),
        ("opentelemetry.instrumentation.langchain", 1),
    ],
)
def test_a_call_whose_owner_records_it_already_is_not_recorded_twice(provider, owner, recorded):
    histogram = DurationHistogram(provider.get_meter("toolspan"))
    told(histogram, owner=owner)
    assert sum(point.count for point in read(provider, DURATION)) == recorded


def test_the_labels_of_the_histogram_are_bounded_error_types_too(provider):
    histogram = DurationHistogram(provider.get_meter("toolspan"), limit=5)
    for number in range(50):
        told(histogram, f"tool {number}")
        call = ToolCall("tool 0", kind="client")
        histogram.finished(call, Outcome(error="error", type=f"Error{number}"), 1_000)
    points = read(provider, DURATION)
    assert sum(point.count for point in points) == 100
    assert len(points) <= 2 * (5 + 1)
    series = [dict(point.attributes) for point in points]
    assert any(attributes["gen_ai.tool.name"] == "_other" for attributes in series)
    assert any(attributes.get("error.type") == "_OTHER" for attributes in series)


# -- the sketches in the exported data -----------------------------------------------------------


class Collected(MetricExporter):
    """Keeps the OTLP bytes of every export."""

    def __init__(self, **options):
        super().__init__(**options)
        self.exports, self.flushed, self.stopped = [], 0, 0

    def export(self, metrics_data, timeout_millis=10_000, **_):
        self.exports.append(encode_metrics(metrics_data).SerializeToString())
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis=10_000):
        self.flushed += timeout_millis > 0
        return True

    def shutdown(self, timeout_millis=30_000, **_):
        self.stopped += timeout_millis > 0

    @property
    def metrics(self):
        """(scope, metric) -> the metric in the last export, decoded."""
        request = ExportMetricsServiceRequest.FromString(self.exports[-1])
        return {
            (scope.scope.name, metric.name): metric
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def durations(self):
        """Tool name -> its point."""
        metric = self.metrics["toolspan", DURATION]
        points = metric.exponential_histogram.data_points
        return {labels(point)["gen_ai.tool.name"]: point for point in points}


def labels(point):
    return {pair.key: pair.value.string_value for pair in point.attributes}


@pytest.fixture
def pipeline():
    """statistics, provider and exporter of a quick start; `pipeline(DELTA)` for another wish."""
    providers = []

    def start(temporality=None):
        statistics, collected = ToolStatistics(), Collected(preferred_temporality=temporality)
        exporter = SketchExporter(collected, statistics)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        observe(statistics, provider.get_meter("toolspan", "1.2.3", semconv.SCHEMA_URL))
        providers.append(provider)
        return statistics, provider, collected

    yield start
    for provider in providers:
        provider.shutdown()


def quantile(point, q):
    """A quantile of an exponential histogram as any backend would read it."""
    base = 2 ** (2**-point.scale)
    reached = accumulate(point.positive.bucket_counts, initial=point.zero_count)
    below = sum(count < q * point.count for count in reached)
    return base ** (point.positive.offset + below - 0.5)


def test_the_sketch_arrives_as_an_otlp_exponential_histogram_in_seconds(pipeline):
    statistics, provider, collected = pipeline()
    chance = random.Random(1)
    durations = sorted(int(chance.lognormvariate(17, 1)) for _ in range(4_000))
    for duration in durations:
        told(statistics, duration=duration, agent="planner")
    told(statistics, error="denied", agent="planner")
    told(statistics, "quick", duration=0)
    before = time.time_ns()
    provider.force_flush()
    metric = collected.metrics["toolspan", DURATION]
    assert metric.unit == "s"
    assert metric.exponential_histogram.aggregation_temporality == 2  # cumulative
    point = collected.durations["search"]
    assert labels(point) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.agent.name": "planner",
    }
    assert point.count == sum(point.positive.bucket_counts) == 4_000
    assert len(point.positive.bucket_counts) <= 160
    assert point.sum == pytest.approx(sum(durations) / SECOND, rel=1e-12)
    assert (point.min, point.max) == (durations[0] / SECOND, durations[-1] / SECOND)
    assert point.start_time_unix_nano == statistics.since
    assert point.time_unix_nano >= before
    for q in (0.5, 0.95, 0.99):
        true = durations[int(q * 4_000) - 1] / SECOND
        assert quantile(point, q) == pytest.approx(true, rel=2 ** (2**-point.scale) - 1)
    assert (collected.durations["quick"].count, collected.durations["quick"].zero_count) == (1, 1)


def test_the_sketch_goes_under_the_scope_that_is_there_and_all_else_passes_unchanged(pipeline):
    statistics, provider, collected = pipeline()
    told(statistics)
    provider.get_meter("application").create_counter("orders").add(3)
    provider.force_flush()
    request = ExportMetricsServiceRequest.FromString(collected.exports[-1])
    (resource,) = request.resource_metrics
    scopes = {scope.scope.name: scope for scope in resource.scope_metrics}
    assert set(scopes) == {"application", "toolspan"}
    assert scopes["toolspan"].scope.version == "1.2.3"
    assert scopes["toolspan"].schema_url == semconv.SCHEMA_URL
    assert {metric.name for metric in scopes["toolspan"].metrics} == {
        *("toolspan.calls", "toolspan.calls.in_flight", "toolspan.calls.oldest", DURATION)
    }
    (orders,) = scopes["application"].metrics
    assert orders.sum.data_points[0].as_int == 3


OTHERS = {
    "opentelemetry.instrumentation.genai.langchain": False,
    "opentelemetry.util.genai.handler": False,
    "toolspan": True,
    "openinference.instrumentation.langchain": True,
}


def test_official_durations_are_left_out_and_nothing_else_of_theirs(pipeline):
    statistics, provider, collected = pipeline()
    for scope in OTHERS:
        meter = provider.get_meter(scope)
        meter.create_histogram(DURATION, "s").record(1.0, {"gen_ai.tool.name": "theirs"})
        meter.create_histogram("gen_ai.client.operation.duration", "s").record(2.0)
    told(statistics)
    provider.force_flush()
    metrics = collected.metrics
    for scope, kept in OTHERS.items():
        assert ((scope, DURATION) in metrics) == kept
        assert (scope, "gen_ai.client.operation.duration") in metrics
    assert set(collected.durations) == {"search"}


def test_a_provider_that_collects_only_official_durations_does_not_fail(pipeline):
    statistics, provider, collected = pipeline()
    meter = provider.get_meter("opentelemetry.util.genai.handler")
    meter.create_histogram(DURATION, "s").record(1.0)
    provider.force_flush()
    assert ("opentelemetry.util.genai.handler", DURATION) not in collected.metrics
    statistics.enabled = False
    provider.force_flush()
    assert ("opentelemetry.util.genai.handler", DURATION) in collected.metrics


def test_an_exporter_that_prefers_deltas_gets_the_difference(pipeline):
    statistics, provider, collected = pipeline(DELTA)
    for durations in ([10**6] * 5, [10**9, 10**3], []):
        for duration in durations:
            told(statistics, duration=duration)
        told(statistics, "always")
        provider.force_flush()
        metric = collected.metrics["toolspan", DURATION]
        assert metric.exponential_histogram.aggregation_temporality == 1  # delta
        assert collected.durations["always"].count == 1
        if not durations:
            assert "search" not in collected.durations
            continue
        point = collected.durations["search"]
        assert point.count == len(durations)
        assert point.sum == pytest.approx(sum(durations) / SECOND)
        assert point.max == pytest.approx(max(durations) / SECOND, rel=0.011)
        assert point.min == pytest.approx(min(durations) / SECOND, rel=0.011)


def test_deltas_follow_each_other_in_time_and_start_anew_after_a_reset(pipeline):
    statistics, provider, collected = pipeline(DELTA)
    ends = [statistics.since]
    for _ in range(3):
        told(statistics)
        provider.force_flush()
        point = collected.durations["search"]
        assert point.start_time_unix_nano == ends[-1]
        ends.append(point.time_unix_nano)
    for _ in range(2):
        told(statistics)
    statistics.reset()
    told(statistics)
    provider.force_flush()
    point = collected.durations["search"]
    assert (point.count, point.start_time_unix_nano) == (1, statistics.since)


def test_a_cumulative_point_keeps_its_start_and_grows(pipeline):
    statistics, provider, collected = pipeline()
    for number in (1, 2, 3):
        told(statistics)
        provider.force_flush()
        point = collected.durations["search"]
        assert (point.count, point.start_time_unix_nano) == (number, statistics.since)


def test_sides_are_points_of_their_own(pipeline):
    statistics, provider, collected = pipeline()
    told(statistics)
    told(statistics, kind="server")
    provider.force_flush()
    metric = collected.metrics["toolspan", DURATION]
    points = metric.exponential_histogram.data_points
    sides = [labels(point).get("toolspan.side") for point in points]
    assert sorted(sides, key=str) == [None, "server"]


@pytest.mark.contains
def test_an_error_of_ours_never_keeps_the_applications_metrics_back(pipeline, monkeypatch):
    statistics, provider, collected = pipeline()
    told(statistics)
    monkeypatch.setattr(statistics, "since", None)
    monkeypatch.setattr(ToolStatistics, "_keyed", None)
    statistics._tallies["x"] = None
    provider.get_meter("application").create_counter("orders").add(3)
    provider.force_flush()
    assert ("application", "orders") in collected.metrics
    assert ("toolspan", DURATION) not in collected.metrics


def test_flush_and_shutdown_reach_the_wrapped_exporter(pipeline):
    _, provider, collected = pipeline()
    provider.force_flush()
    assert collected.flushed == 1
    provider.shutdown()
    assert collected.stopped == 1
    provider.shutdown = lambda: None


# -- scraped ---------------------------------------------------------------------------------


def test_the_example_of_a_direct_scrape_finds_calls_outcomes_and_what_is_in_flight(tmp_path):
    pytest.importorskip("opentelemetry.exporter.prometheus")
    example = Path(__file__).parent.parent / "examples" / "prometheus_metrics.py"
    done = subprocess.run(
        [sys.executable, str(example)],
        env={**os.environ, "TOOLSPAN_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    during, _, after = done.stdout.partition("when it has got it:")
    searched = 'gen_ai_tool_name="search",toolspan_outcome="ok"} 3.0'
    assert searched in during
    assert searched in after
    assert 'toolspan_calls_in_flight{gen_ai_tool_name="ask_a_human"} 1.0' in during
    assert 'toolspan_calls_in_flight{gen_ai_tool_name="ask_a_human"} 0.0' in after
