"""The providers of a program that has none: resource, limits, sampler, and the pipeline."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from toolspan.containment import LOGGER
from toolspan.export.sampling import ToolSampler, read_sampler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.sampling import Sampler

_COUNT: Final = 128
_LIMITS: Final = {
    "OTEL_ATTRIBUTE_COUNT_LIMIT": ("max_attributes", _COUNT),
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": ("max_span_attributes", _COUNT),
    "OTEL_SPAN_EVENT_COUNT_LIMIT": ("max_events", _COUNT),
    "OTEL_SPAN_LINK_COUNT_LIMIT": ("max_links", _COUNT),
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": ("max_event_attributes", _COUNT),
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": ("max_link_attributes", _COUNT),
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": ("max_attribute_length", SpanLimits.UNSET),
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": ("max_span_attribute_length", SpanLimits.UNSET),
}


def resource(service_name: str | None) -> Resource:
    """Who sends: the name given here, else `OTEL_SERVICE_NAME`, with `OTEL_RESOURCE_ATTRIBUTES`."""
    return Resource.create({SERVICE_NAME: service_name} if service_name else None)


def sampler(ratio: float | None, shares: Mapping[str, float]) -> Sampler:
    """`ratio` of all traces, else what `OTEL_TRACES_SAMPLER` says; of each tool its share."""
    traces = read_sampler() if ratio is None else ParentBasedTraceIdRatio(ratio)
    return ToolSampler(shares, traces) if shares else traces


def tracer_provider(
    resource: Resource, sampler: Sampler, processor: SpanProcessor | None
) -> TracerProvider:
    """A provider whose exit is left to the pipeline."""
    provider = TracerProvider(
        sampler, resource, shutdown_on_exit=False, span_limits=_limits(os.environ)
    )
    if processor:
        provider.add_span_processor(processor)
    return provider


def meter_provider(resource: Resource, reader: MetricReader | None) -> MeterProvider:
    """A provider whose exit is left to the pipeline."""
    # The metrics half of the SDK is loaded by those who export metrics only.
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415

    return MeterProvider([reader] if reader else [], resource, shutdown_on_exit=False)


def _limits(environ: Mapping[str, str]) -> SpanLimits:
    """What the variables say; the SDK would raise on a wrong or an empty one."""
    instead = {}
    for name, (parameter, default) in _LIMITS.items():
        text = environ.get(name, "unset").strip().lower()
        if text == "unset" or (text.isascii() and text.isdigit()):
            continue
        instead[parameter] = default
        if text:
            LOGGER.warning("%s=%r is no limit; allowed: a whole number, or unset", name, text)
    return SpanLimits(**instead)
