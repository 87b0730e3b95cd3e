"""Spans made by hand and sent by the test itself, which knows what was acknowledged.

trace = new_trace()
spans = [tool_span(trace, "search", attributes={"toolspan.outcome": "ok"})]
with Sender(stack.collector) as sender:
    sender.deliver(request("my-agent", spans))      # repeats until it is acknowledged
"""

from __future__ import annotations

import http.client
import os
import time
from urllib.parse import urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SECOND = 1_000_000_000
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def new_trace():
    return os.urandom(16)


def value(content):
    """A Python value as OTLP has it."""
    if isinstance(content, bool):
        return AnyValue(bool_value=content)
    if isinstance(content, int):
        return AnyValue(int_value=content)
    if isinstance(content, float):
        return AnyValue(double_value=content)
    if isinstance(content, dict):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(content)))
    if isinstance(content, (list, tuple)):
        return AnyValue(array_value=ArrayValue(values=map(value, content)))
    return AnyValue(string_value=content)


def pairs(attributes):
    return [KeyValue(key=key, value=value(content)) for key, content in attributes.items()]


def make_span(
    trace, name, *, parent=b"", kind="INTERNAL", ago=1.0, seconds=0.01, attributes=None,
    error=None, events=(), links=(),
):  # fmt: skip
    """A span that began `ago` seconds before now; `error`: its status is ERROR with that message."""
    start = time.time_ns() - int(ago * SECOND)
    status = Status() if error is None else Status(code=Status.STATUS_CODE_ERROR, message=error)
    return Span(
        trace_id=trace,
        span_id=os.urandom(8),
        parent_span_id=parent,
        name=name,
        kind=getattr(Span, f"SPAN_KIND_{kind}"),
        start_time_unix_nano=start,
        end_time_unix_nano=start + int(seconds * SECOND),
        attributes=pairs(attributes or {}),
        status=status,
        events=[
            Span.Event(name=event, time_unix_nano=start, attributes=pairs(more))
            for event, more in events
        ],
        links=[Span.Link(trace_id=other, span_id=span) for other, span in links],
    )


def tool_span(trace, tool, *, attributes=None, **options):
    """An `execute_tool` span with the attributes that toolspan gives every call."""
    outcome = "ok" if options.get("error") is None else "error"
    given = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "toolspan.outcome": outcome,
        **({} if outcome == "ok" else {"error.type": "ValueError"}),
        **(attributes or {}),
    }
    return make_span(trace, f"execute_tool {tool}", attributes=given, **options)


def request(service, spans, scope="toolspan", **resource):
    """One export of one service."""
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    group.resource.attributes.extend(pairs({"service.name": service, **resource}))
    within = group.scope_spans.add()
    within.scope.name = scope
    within.spans.extend(spans)
    return message


class Sender:
    """One connection to a Collector over OTLP/HTTP, opened again when it breaks."""

    def __init__(self, collector):
        self.address = urlsplit(collector.http).netloc
        self.connection = http.client.HTTPConnection(self.address, timeout=10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def status(self, message):
        """Send once: the HTTP status, or None where the connection broke before an answer."""
        headers = {"Content-Type": "application/x-protobuf"}
        try:
            self.connection.request("POST", "/v1/traces", message.SerializeToString(), headers)
            answer = self.connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return None
        return answer.status

    def deliver(self, message, seconds=60):
        """Send until it is acknowledged; how many tries that took."""
        deadline = time.monotonic() + seconds
        tries = 1
        while self.status(message) != http.HTTPStatus.OK:
            assert time.monotonic() < deadline, f"not acknowledged in {seconds} s"
            time.sleep(0.1)
            tries += 1
        return tries


def send_grpc(collector, message):
    """Send once over gRPC.

    Raises:
        grpc.RpcError: it was refused.
    """
    import grpc

    with grpc.insecure_channel(collector.grpc) as channel:
        export = channel.unary_unary(
            EXPORT,
            request_serializer=ExportTraceServiceRequest.SerializeToString,
            response_deserializer=ExportTraceServiceResponse.FromString,
        )
        return export(message, timeout=20)
