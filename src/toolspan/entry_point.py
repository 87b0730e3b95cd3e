"""What `opentelemetry-instrument` loads.

A module of its own: OpenTelemetry's base class reads OTEL_PROPAGATORS as it is imported, and raises
at a wrong one; a program that imports toolspan itself shall run all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]  # it is public
    BaseInstrumentor,
)

from toolspan.instrumentor import start_contained, uninstrument

if TYPE_CHECKING:
    from collections.abc import Collection


class ToolspanInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # it has no types
    """The entry point of `opentelemetry-instrument`: loading and running it never raises."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: each framework is looked for by itself, and silence is the answer to absence."""
        return ()

    def _instrument(self, **options: Any) -> None:
        start_contained((), options.get("tracer_provider"), options.get("meter_provider"), None)

    def _uninstrument(self, **_options: Any) -> None:
        uninstrument()
