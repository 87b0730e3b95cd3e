"""ToolStatistics against numbers that it did not make: stored values and the tools' own counters."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import threading
import tracemalloc

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import toolspan
from toolspan import ToolStatistics
from toolspan.toolcall import Outcome, ToolCall


def told(statistics, name="search", duration=1_000_000, error=None, agent=None):
    call = ToolCall(name, agent=agent)
    statistics.started(call)
    statistics.finished(call, Outcome(error=error), duration)


@pytest.mark.parametrize("shape", ["lognormal", "uniform in the exponent", "two humps"])
def test_quantiles_of_a_million_values_in_three_shapes_are_within_one_percent_from_10_us_to_100_s(
    shape,
):
    chance = random.Random(shape)
    draw = {
        "lognormal": lambda: chance.lognormvariate(17, 2),
        "uniform in the exponent": lambda: 10 ** chance.uniform(4, 11),
        "two humps": lambda: chance.choice((2e5, 3e9)) * chance.uniform(0.9, 1.1),
    }[shape]
    values = sorted(int(min(max(draw(), 10_000), 10**11)) for _ in range(330_000))
    statistics = ToolStatistics()
    for value in values:
        told(statistics, duration=value)
    row = statistics["search"]
    assert row.calls == len(values)
    for q in (0.5, 0.95, 0.99):
        true = values[min(int(q * len(values)), len(values) - 1)] / 1e9
        assert abs(row.latency(q) - true) / true < 0.01


def _fill(seed):
    statistics, chance = ToolStatistics(), random.Random(seed)
    for _ in range(2_000):
        told(statistics, chance.choice("ab"), int(chance.lognormvariate(15, 1)))
    return statistics.to_dict()


def test_eight_processes_merged_equal_one():
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        parts = pool.map(_fill, range(8))
    merged = ToolStatistics.from_dict(json.loads(json.dumps(parts[0])))
    for part in parts[1:]:
        merged = merged + ToolStatistics.from_dict(part)
    one = ToolStatistics()
    for seed in range(8):
        chance = random.Random(seed)
        for _ in range(2_000):
            told(one, chance.choice("ab"), int(chance.lognormvariate(15, 1)))
    for tool in "ab":
        assert merged[tool].calls == one[tool].calls
        for q in (0.5, 0.95, 0.99):
            assert merged[tool].latency(q) == one[tool].latency(q)


def test_no_call_is_lost_in_sixteen_threads():
    statistics = ToolStatistics()

    def work():
        for _ in range(2_000):
            told(statistics)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statistics["search"].calls == 32_000
    assert statistics["search"].in_flight == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_at_zero_and_the_sum_is_the_tools_own_count():
    statistics = ToolStatistics()
    for _ in range(10):
        told(statistics)
    counted, pipes = 10, []
    for number in range(4):
        reading, writing = os.pipe()
        if os.fork() == 0:
            for _ in range(number + 1):
                told(statistics)
            os.write(writing, json.dumps(statistics.to_dict()).encode())
            os._exit(0)
        os.close(writing)
        counted += number + 1
        with os.fdopen(reading) as file:
            pipes.append(ToolStatistics.from_dict(json.load(file)))
        os.wait()
    total = statistics
    for number, child in enumerate(pipes):
        assert child["search"].calls == number + 1
        total = total + child
    assert total["search"].calls == counted


def test_a_hundred_thousand_names_are_bounded():
    statistics = ToolStatistics(limit=100)
    for number in range(200):
        told(statistics, f"tool {number}")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(100_000):
        told(statistics, f"odd {number}")
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000
    assert statistics["_other"].calls >= 100_000
    assert sum(row.calls for row in statistics.rows()) == 100_200


def test_the_table_flags_slow_and_failing_tools_by_the_thresholds_given():
    statistics = ToolStatistics(slow=1.0, failing=0.9)
    told(statistics, "slow", 2_000_000_000)
    told(statistics, "failing", error="error")
    told(statistics, "fine")
    lines = {line.split()[0]: line for line in str(statistics).splitlines()}
    assert "SLOW" in lines["slow"]
    assert "FAILING" in lines["failing"]
    assert "SLOW" not in lines["fine"]
    assert "FAILING" not in lines["fine"]
    html = statistics._repr_html_()
    assert "<table" in html


def test_a_hostile_name_is_escaped_in_the_table():
    statistics = ToolStatistics()
    told(statistics, "<script>alert(1)</script>\x1b[31m")
    assert "<script>" not in statistics._repr_html_()
    assert "\x1b" not in str(statistics)


def test_counts_are_exact_under_a_sampler_that_records_nothing(trace_with):
    traced = trace_with(sampler=ALWAYS_OFF)
    ran = []
    tool = toolspan.tool(ran.append, name="note")
    for number in range(50):
        tool(number)
    assert traced.spans == []
    assert toolspan.stats()["note"].calls == len(ran) == 50


def test_an_applications_meter_provider_counts_each_call_once(trace_with):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    trace_with(meter_provider=provider)
    ran = []
    tool = toolspan.tool(ran.append, name="note")
    for number in range(7):
        tool(number)
    points = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points[metric.name] = list(metric.data.data_points)
    (duration,) = points["gen_ai.execute_tool.duration"]
    assert duration.count == len(ran) == 7
    calls = [
        p.value for p in points["toolspan.calls"] if p.attributes["gen_ai.tool.name"] == "note"
    ]
    assert calls == [7]
    provider.shutdown()
