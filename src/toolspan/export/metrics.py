"""The lane of the metrics: the SDK's periodic reader, with an exit that keeps its deadline."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)

from toolspan.export import otlp
from toolspan.export.background import EXIT_SECONDS, Background
from toolspan.export.line import Line
from toolspan.export.target import number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.metrics.export import MetricsData

    from toolspan.export.target import Target

_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"


class MetricLane(PeriodicExportingMetricReader):
    """Reads all metrics once a minute; `around` may add to what is exported."""

    def __init__(
        self,
        target: Target,
        around: Callable[[MetricExporter], MetricExporter],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.line = Line(target, otlp.metric_exporter)
        self._ended = False
        interval = number(_INTERVAL, environ.get(_INTERVAL, ""), 60_000, float, "milliseconds")
        super().__init__(around(_Heard(self.line)), export_interval_millis=interval)
        self.flushing = Background(self.force_flush)
        self.ending = Background(self.shutdown)

    def shutdown(self, timeout_millis: float = 1000 * EXIT_SECONDS, **kwargs: object) -> None:
        """Export once more, for at most 2 seconds whatever `timeout_millis` is; twice is once."""
        if self._ended:
            return
        self._ended = True
        self.line.leave()
        super().shutdown(min(timeout_millis, 1000 * EXIT_SECONDS), **kwargs)

    def renew(self) -> None:
        """In a forked child: a connection of its own."""
        self.line.renew()


class _Heard(MetricExporter):
    def __init__(self, line: Line[MetricExporter]) -> None:
        exporter = line.exporter
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)  # noqa: SLF001  # the reader asks the exporter, as it asks the one within
        self._line = line

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object
    ) -> MetricExportResult:
        reason = self._line.send(lambda exporter: exporter.export(metrics_data, timeout_millis))
        return MetricExportResult.FAILURE if reason else MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002  # nothing waits
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:  # noqa: ARG002  # at once
        self._line.close()
