"""The maintained OTLP exporters, imported only when one is built.

The imports stand in functions: requests and grpc are not loaded by a program that only imports
toolspan, nor by one that brings a pipeline of its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from toolspan.export.target import HTTP

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

    from toolspan.export.target import Target

#: A forked child must not write on its parent's connection.
_OWN_CONNECTION: Final = (("grpc.use_local_subchannel_pool", 1),)
#: Variables by which the exporter itself brings a session that signs in.
_SIGNS_IN: Final = {
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_METRICS_CREDENTIAL_PROVIDER",
}


def span_exporter(target: Target) -> SpanExporter:
    """The exporter of spans for `target`; raises what a wrong certificate file raises."""
    if target.exporter == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415

        return ConsoleSpanExporter()
    if target.protocol == HTTP:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: PLC0415

        return trace_exporter.OTLPSpanExporter(**_http(target))
    from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as spans  # noqa: PLC0415

    return spans.OTLPSpanExporter(**_grpc(target))


def metric_exporter(target: Target) -> MetricExporter:
    """The exporter of metrics for `target`; raises what a wrong certificate file raises."""
    if target.exporter == "console":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter  # noqa: PLC0415

        return ConsoleMetricExporter()
    if target.protocol == HTTP:
        from opentelemetry.exporter.otlp.proto.http import metric_exporter  # noqa: PLC0415

        return metric_exporter.OTLPMetricExporter(**_http(target))
    from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as metrics  # noqa: PLC0415

    return metrics.OTLPMetricExporter(**_grpc(target))


def _http(target: Target) -> dict[str, Any]:
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415

    from toolspan.export.session import TellingSession  # noqa: PLC0415

    session = None if _SIGNS_IN & os.environ.keys() else TellingSession()
    return {
        **_common(target),
        "compression": Compression(target.compression),
        "session": session,
    }


def _grpc(target: Target) -> dict[str, Any]:
    from grpc import Compression  # type: ignore[import-untyped]  # noqa: PLC0415

    packed = Compression.Gzip if target.compression == "gzip" else Compression.NoCompression
    return {**_common(target), "compression": packed, "channel_options": _OWN_CONNECTION}


def _common(target: Target) -> dict[str, Any]:
    return {
        "endpoint": target.endpoint,
        "headers": dict(target.headers) or None,
        "timeout": target.timeout,
    }
