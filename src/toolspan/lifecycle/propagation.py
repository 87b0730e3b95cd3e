"""Trace context into and out of messages, by the propagators that the application chose."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from toolspan.containment import say_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

_UNKNOWN = (
    "OTEL_PROPAGATORS names a propagator that is not installed; allowed are those of the installed "
    "packages, tracecontext and baggage among them, which are used now"
)


def inject(carrier: dict[str, str], context: Context | None = None) -> None:
    """Write the trace context into `carrier`."""
    _propagator().inject(carrier, context=context)


def extract(carrier: Mapping[str, str], context: Context) -> Context:
    """`context` with the trace context that `carrier` brought."""
    found: Context = _propagator().extract(carrier, context)
    return found


def _propagator() -> Any:
    chosen = _api()
    return _standard() if chosen is None else chosen.get_global_textmap()


@lru_cache(maxsize=1)
def _api() -> Any:
    """The API's module: as it is imported it reads OTEL_PROPAGATORS, and raises at a wrong one."""
    try:
        from opentelemetry import propagate  # noqa: PLC0415
    except ValueError:
        say_once("propagators", _UNKNOWN)
        return None
    return propagate


@lru_cache(maxsize=1)
def _standard() -> Any:
    from opentelemetry.baggage.propagation import W3CBaggagePropagator  # noqa: PLC0415
    from opentelemetry.propagators.composite import CompositePropagator  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
        TraceContextTextMapPropagator,
    )

    return CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
