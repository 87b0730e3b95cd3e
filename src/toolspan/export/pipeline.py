"""From an ended span to an endpoint, with deadlines that hold and books that add up.

`build` is the one function that a later, durable pipeline replaces. At present the SDK's batch
processor queues and the maintained OTLP exporters send: a process that is killed loses what waits.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toolspan.containment import contained, say_once
from toolspan.export.background import EXIT_SECONDS
from toolspan.export.ledger import Counts
from toolspan.export.reasons import SHUTDOWN
from toolspan.export.spans import SpanLane
from toolspan.export.target import Target, Wishes, read_target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.metrics.export import MetricExporter

    from toolspan.export.metrics import MetricLane
    from toolspan.export.spans import Words


@dataclass(frozen=True, slots=True)
class Flushed:
    """What became of the spans that ended since the `flush` before: each is reported once.

    `kept` spans are still on their way and come up again at the next flush. `complete`: spans are
    exported, nothing is kept, nothing was dropped. `note` says in words what the numbers cannot.
    """

    sent: int = 0
    kept: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    complete: bool = False
    note: str = ""


class Pipeline:
    """The way out of this process for spans (`processor`) and metrics (`reader`)."""

    def __init__(self, processor: SpanLane | None, reader: MetricLane | None) -> None:
        self.processor, self.reader = processor, reader
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def counts(self) -> Counts:
        """The books of the spans since the pipeline began in this process."""
        return self.processor.ledger.counts() if self.processor else Counts()

    def flush(self, timeout: float) -> Flushed:
        """Send what waits, for at most `timeout` seconds, and tell what became of it.

        Source: the SDK's force_flush(2000 ms) returned True after 7.7 s with nobody listening.
        """
        deadline = time.monotonic() + timeout
        if self.reader:
            self.reader.flushing.start()
        settled = self.processor.push(deadline) if self.processor else True
        measured = self.reader.flushing.wait(deadline) if self.reader else True
        return self._report(settled=settled, measured=measured)

    def shutdown(self, timeout: float = EXIT_SECONDS) -> None:
        """Send what waits, for at most `timeout` seconds; what is left then is lost, and counted.

        Source: the SDK's two shutdowns took 12.7 s together with nobody listening.
        """
        deadline = time.monotonic() + timeout
        if self.reader:
            self.reader.ending.start()
        if self.processor:
            self.processor.shutdown(timeout)
        if self.reader:
            self.reader.ending.wait(deadline)
        self._say_lost()

    def _report(self, *, settled: bool, measured: bool) -> Flushed:
        news = self.processor.ledger.news() if self.processor else Counts()
        kept = 0 if settled else news.kept
        return Flushed(
            sent=news.sent,
            kept=kept,
            dropped=news.dropped,
            complete=bool(self.processor) and not kept and not news.dropped,
            note=self._note(kept, measured=measured),
        )

    def _note(self, kept: int, *, measured: bool) -> str:
        notes = []
        if not self.processor:
            notes.append("no spans are exported")
        elif kept:
            notes.append(f"{kept} spans wait ({self.processor.line.trouble or 'no answer yet'})")
        if self.reader and (trouble := self.reader.line.trouble):
            notes.append(f"the metrics did not arrive ({trouble})")
        elif not measured:
            notes.append("the metrics are still on their way")
        return "; ".join(notes)

    def _say_lost(self) -> None:
        if (lost := self.counts().dropped.get(SHUTDOWN)) and self.processor:
            line = self.processor.line
            say_once(
                "lost at exit",
                "toolspan: spans that did not reach %s before the end: %d (%s)",
                line.target.place,
                lost,
                line.trouble or "no time left",
            )

    @contained
    def _renew(self) -> None:
        if self.processor:
            self.processor.renew()
        if self.reader:
            self.reader.renew()


def build(
    wishes: Wishes,
    *,
    traces: bool,
    metrics: bool,
    around: Callable[[MetricExporter], MetricExporter] = lambda exporter: exporter,
    words: Words = lambda span: span,
) -> Pipeline:
    """The pipeline that arguments and `OTEL_*` variables ask for.

    A lane that is not asked for (`traces`, `metrics`), switched off by a variable, or cannot be
    built is missing, the last with one line. `around` wraps the exporter of the metrics, `words`
    gives each span as it is sent.
    """
    spans = read_target("traces", wishes) if traces else None
    points = read_target("metrics", wishes) if metrics else None
    return Pipeline(
        _span_lane(spans, words) if spans and spans.exporter != "none" else None,
        _metric_lane(points, around) if points and points.exporter != "none" else None,
    )


@contained
def _span_lane(target: Target, words: Words) -> SpanLane:
    return SpanLane(target, words)


@contained
def _metric_lane(target: Target, around: Callable[[MetricExporter], MetricExporter]) -> MetricLane:
    # The metrics half of the SDK is loaded by those who export metrics only.
    from toolspan.export.metrics import MetricLane  # noqa: PLC0415

    return MetricLane(target, around)
