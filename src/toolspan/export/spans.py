"""The lane of the spans: the SDK's batch processor between our count of what went in and out."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from toolspan.containment import say_once
from toolspan.export import otlp
from toolspan.export.background import EXIT_SECONDS, NOTICE_SECONDS, Background
from toolspan.export.ledger import QUEUE_FULL, Ledger
from toolspan.export.line import Line
from toolspan.export.target import number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from toolspan.export.target import Target

    #: Gives an ended span as it is to be sent: itself, or a copy.
    Words = Callable[[ReadableSpan], ReadableSpan]

_DEFAULTS: Final = {"MAX_QUEUE_SIZE": 2048, "MAX_EXPORT_BATCH_SIZE": 512, "SCHEDULE_DELAY": 5000}


class SpanLane(SpanProcessor):
    """Counts every sampled span that ends, and hands it on for as long as there is room.

    The SDK's own queue drops its oldest spans in silence when it is full. Ours is as long and
    stands before it, so the SDK's never overflows and each drop (of the newest) is counted.
    """

    def __init__(
        self, target: Target, words: Words, environ: Mapping[str, str] = os.environ
    ) -> None:
        room, batch, delay = (_setting(environ, name) for name in _DEFAULTS)
        self.ledger = Ledger(room)
        self.line = Line(target, otlp.span_exporter)
        self._batch = BatchSpanProcessor(
            _Counted(self.line, self.ledger, words),
            max_queue_size=room,
            schedule_delay_millis=delay,
            max_export_batch_size=min(batch, room),
            export_timeout_millis=30_000,  # the SDK does not use it
        )
        self._flushing = Background(self._batch.force_flush)
        self._ending = Background(self._batch.shutdown)

    def on_end(self, span: ReadableSpan) -> None:
        """Count the span and queue it."""
        if not (span.context and span.context.trace_flags.sampled):
            return
        reason = self.ledger.admit()
        if reason is None:
            self._batch.on_end(span)
        elif reason == QUEUE_FULL:
            say_once(
                reason,
                "toolspan: %d spans wait already, the newest are dropped; raise "
                "OTEL_BSP_MAX_QUEUE_SIZE, or see why they leave so slowly",
                self.ledger.room,
            )

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits; whether all of it was settled after `timeout_millis`, a promise."""
        return self.push(time.monotonic() + timeout_millis / 1000)

    def push(self, deadline: float) -> bool:
        """Send what waits until `deadline` (monotonic seconds); whether all of it was settled."""
        mark = self.ledger.mark()
        for _ in range(2):  # a flush that was running already may have been past its last look
            self._flushing.run(deadline)
            if self.ledger.passed(mark):
                return True
        return False

    def shutdown(self, timeout: float = EXIT_SECONDS) -> None:
        """Send what waits, for at most `timeout` seconds; what is left is counted as lost."""
        deadline = time.monotonic() + timeout
        self.line.leave()
        if not self._ending.run(deadline - NOTICE_SECONDS):
            self.line.close()
            self._ending.wait(deadline)
        self.ledger.close()

    def renew(self) -> None:
        """In a forked child: books at zero, a connection of its own."""
        self.ledger.renew()
        self.line.renew()


class _Counted(SpanExporter):
    def __init__(self, line: Line[SpanExporter], ledger: Ledger, words: Words) -> None:
        self._line, self._ledger, self._words = line, ledger, words

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._ledger.take(len(spans))
        spans = [self._words(span) for span in spans]
        reason = self._line.send(lambda exporter: exporter.export(spans))
        self._ledger.settle(len(spans), reason)
        return SpanExportResult.FAILURE if reason else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._line.close()


def _setting(environ: Mapping[str, str], name: str) -> int:
    name, default = f"OTEL_BSP_{name}", _DEFAULTS[name]
    return int(number(name, environ.get(name, ""), default, int, "a whole number above 0"))
