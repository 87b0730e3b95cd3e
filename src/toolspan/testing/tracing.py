"""Instrumentation for one test, into memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from toolspan import semconv
from toolspan.instrumentor import instrument, stats, uninstrument
from toolspan.lifecycle import drain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace import ReadableSpan

    from toolspan.settings import Settings


class Traced:
    """What was traced since `instrument()`; `options` are those of the tracer provider."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(**options)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def spans(self) -> list[ReadableSpan]:
        """Every ended span, in the order of their starts."""
        drain()
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    @property
    def tools(self) -> list[ReadableSpan]:
        """The ended spans of tool calls."""
        return [span for span in self.spans if (span.attributes or {}).get(semconv.TOOL_NAME)]

    @property
    def outcomes(self) -> list[Any]:
        """How they ended, in our words."""
        return [(span.attributes or {}).get(semconv.OUTCOME) for span in self.tools]


T = TypeVar("T", bound=Traced)


class Tracings(Generic[T]):
    """Instrument once and again: `traced = trace_with(settings=..., sampler=...)`."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self.started: list[T] = []

    def __call__(
        self,
        *names: str,
        settings: Settings | None = None,
        meter_provider: MeterProvider | None = None,
        **options: Any,
    ) -> T:
        """Instrument the named frameworks, or all, into a new memory."""
        traced = self.kind(**options)
        stats().reset()
        instrument(
            *names,
            tracer_provider=traced.provider,
            meter_provider=meter_provider,
            settings=settings,
        )
        self.started.append(traced)
        return traced


@contextmanager
def tracings(kind: type[T]) -> Iterator[Tracings[T]]:
    """Let a test instrument as often as it likes; nothing of it stays."""
    made = Tracings(kind)
    yield made
    drain()
    uninstrument()
    for traced in made.started:
        traced.provider.shutdown()
