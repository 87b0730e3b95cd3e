"""The counts of real calls, under any sampler and on an application's own meter provider."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import toolspan


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
