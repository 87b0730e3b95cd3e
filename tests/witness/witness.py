"""A second witness in a traced process: every span that ended, written down as it ended.

`WITNESS` names a folder. Each process leaves there its spans, one JSON object a line, and at its
end the statistics that toolspan kept. Python imports `sitecustomize.py` beside this file where
nobody else's comes first; `opentelemetry-instrument` calls `watch` by its entry point.
"""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider


class Witness(SpanProcessor):
    def on_end(self, span):
        with place("spans").open("a") as file:
            file.write(json.dumps(written(span)) + "\n")


def place(kind):
    return Path(os.environ["WITNESS"], f"{os.getpid()}.{kind}")


def written(span):
    """A span as Jaeger's OTLP answer has it."""
    status = {"message": span.status.description, "code": span.status.status_code.value}
    return {
        "traceId": trace.format_trace_id(span.context.trace_id),
        "spanId": trace.format_span_id(span.context.span_id),
        "parentSpanId": span.parent and trace.format_span_id(span.parent.span_id),
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": dict(span.attributes),
        "events": [[event.name, dict(event.attributes)] for event in span.events],
        "links": [trace.format_span_id(link.context.span_id) for link in span.links],
        "status": {key: value for key, value in status.items() if value},
        "resource": dict(span.resource.attributes),
        "scope": [span.instrumentation_scope.name, span.instrumentation_scope.version or None],
    }


def watch():
    """Watch the provider that is there."""
    trace.get_tracer_provider().add_span_processor(Witness())
    atexit.register(keep_statistics)


def watch_every_provider():
    """Watch each provider that this process makes."""
    begin = TracerProvider.__init__

    def begin_watched(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        self.add_span_processor(Witness())

    TracerProvider.__init__ = begin_watched
    atexit.register(keep_statistics)


def keep_statistics():
    import toolspan

    rows = [
        {
            "tool": row.tool,
            "side": row.side,
            "outcomes": dict(row.outcomes),
            "p95": row.latency(0.95) if row.outcomes.get("ok") else None,
        }
        for row in toolspan.stats().rows()
    ]
    place("statistics").write_text(json.dumps(rows))
