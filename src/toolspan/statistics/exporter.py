"""The sketches in the exported metrics, where the reader is ours.

Source: OpenTelemetry metrics data model, ExponentialHistogram; GenAI conventions, metric
`gen_ai.execute_tool.duration`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import Histogram
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from toolspan import semconv
from toolspan.containment import contained
from toolspan.statistics.labels import duration_attributes
from toolspan.statistics.metrics import DURATION_DESCRIPTION, OFFICIAL_SCOPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolspan.statistics.labels import Key
    from toolspan.statistics.sketch import Sketch
    from toolspan.statistics.tally import Tally
    from toolspan.statistics.tool_statistics import ToolStatistics


class SketchExporter(MetricExporter):
    """Passes metrics on to `exporter`, with `gen_ai.execute_tool.duration` from the sketches.

    Points of that name from the official instrumentations are left out: the sketches hold their
    calls. The temporality is the one that `exporter` prefers for histograms. A sketch does not
    tell failures apart, so its points have no `error.type`: `toolspan.calls` has the outcomes.
    """

    def __init__(self, exporter: MetricExporter, statistics: ToolStatistics) -> None:
        temporality = exporter._preferred_temporality  # noqa: SLF001  # a reader asks there too
        super().__init__(temporality, exporter._preferred_aggregation)  # noqa: SLF001  # the same
        self._exporter = exporter
        self._statistics = statistics
        self._temporality = (temporality or {}).get(Histogram, AggregationTemporality.CUMULATIVE)
        self._start = 0
        self._since = 0
        self._sent: dict[Key, Sketch] = {}

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Export `metrics_data` and the sketches; what the wrapped exporter says is returned."""
        whole = self._with_sketches(metrics_data) or metrics_data
        return self._exporter.export(whole, timeout_millis=timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush the wrapped exporter."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Shut the wrapped exporter down."""
        self._exporter.shutdown(timeout_millis, **kwargs)

    @contained
    def _with_sketches(self, data: MetricsData) -> MetricsData:
        if not self._statistics.enabled or not data.resource_metrics:
            return data
        resources = [
            replace(resource, scope_metrics=_without_durations(resource.scope_metrics))
            for resource in data.resource_metrics
        ]
        if points := self._points():
            resources[0] = replace(
                resources[0], scope_metrics=self._joined(resources[0].scope_metrics, points)
            )
        return MetricsData(resources)

    def _joined(
        self, scopes: Sequence[ScopeMetrics], points: Sequence[ExponentialHistogramDataPoint]
    ) -> list[ScopeMetrics]:
        """The scopes, ours with the durations last."""
        metric = Metric(
            semconv.DURATION_METRIC,
            DURATION_DESCRIPTION,
            "s",
            ExponentialHistogram(points, self._temporality),
        )
        ours = next(
            (scope for scope in scopes if scope.scope.name == semconv.SCOPE),
            ScopeMetrics(
                InstrumentationScope(semconv.SCOPE, schema_url=semconv.SCHEMA_URL),
                [],
                semconv.SCHEMA_URL,
            ),
        )
        others = [scope for scope in scopes if scope is not ours]
        return [*others, replace(ours, metrics=[*ours.metrics, metric])]

    def _points(self) -> list[ExponentialHistogramDataPoint]:
        if self._since != self._statistics.since:  # new, reset or forked: nothing was sent of it
            self._since = self._start = self._statistics.since
            self._sent.clear()
        start, now = self._start, time.time_ns()
        if self._temporality is AggregationTemporality.DELTA:
            self._start = now
        sketches = [(row, self._unsent(row)) for row in self._statistics.rows()]
        return [_point(row, sketch, start, now) for row, sketch in sketches if sketch.count]

    def _unsent(self, row: Tally) -> Sketch:
        if self._temporality is AggregationTemporality.CUMULATIVE:
            return row.sketch
        earlier = self._sent.get(row.key)
        self._sent[row.key] = row.sketch
        return row.sketch if earlier is None else row.sketch.since(earlier)


def _without_durations(scopes: Sequence[ScopeMetrics]) -> list[ScopeMetrics]:
    """The scopes without the durations of calls that the sketches hold."""
    kept = []
    for scope in scopes:
        metrics, name = scope.metrics, scope.scope.name
        if name == semconv.SCOPE or name.startswith(OFFICIAL_SCOPES):
            metrics = [metric for metric in metrics if metric.name != semconv.DURATION_METRIC]
        if metrics:
            kept.append(replace(scope, metrics=metrics))
    return kept


def _point(row: Tally, sketch: Sketch, start: int, now: int) -> ExponentialHistogramDataPoint:
    scale, offset, counts = sketch.buckets()
    return ExponentialHistogramDataPoint(
        attributes=duration_attributes(row.key),
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=sketch.count,
        sum=sketch.total / 1e9,
        scale=scale,
        zero_count=sketch.zeros,
        positive=Buckets(offset, counts),
        negative=Buckets(0, []),
        flags=0,
        min=sketch.min / 1e9,
        max=sketch.max / 1e9,
    )
