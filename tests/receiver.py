"""A plain OTLP receiver on real sockets: what really left the process, decoded.

    with Receiver() as receiver:
        ...  # a program that exports to receiver.url (http/protobuf) or receiver.grpc_target
        receiver.wait(3)
        assert [span.name for span in receiver.spans()] == ["a", "b", "c"]

`Receiver("refuse")`: a port where nobody listens; "silent": accepts and never answers; "drip": one
byte of the answer every half second; a number: that status for each request. `mode` may be changed
at any time, `metrics=` answers /v1/metrics with a status of its own, `retry_after=` adds the header.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

REQUESTS = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}
ANSWERS = {"/v1/traces": ExportTraceServiceResponse, "/v1/metrics": ExportMetricsServiceResponse}
GRPC = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "/v1/traces",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "/v1/metrics",
}
GRPC_STATUS = {401: "UNAUTHENTICATED", 404: "UNIMPLEMENTED", 429: "RESOURCE_EXHAUSTED"}
UNPACK = {"gzip": gzip.decompress, "deflate": zlib.decompress}
KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUSES = ("UNSET", "OK", "ERROR")


@dataclass
class Event:
    name: str
    attributes: dict
    time: int


@dataclass
class Link:
    trace_id: str
    span_id: str
    attributes: dict


@dataclass
class Span:
    """One decoded span: ids in hex ("" = no parent), times in nanoseconds since 1970."""

    name: str
    kind: str
    status: str
    status_message: str
    attributes: dict
    events: list[Event]
    links: list[Link]
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    resource: dict
    scope: str
    scope_version: str
    schema_url: str
    proto: object = field(repr=False)


@dataclass
class Point:
    """One point; `value` of a number, `proto` for everything that a histogram has besides."""

    attributes: dict
    value: int | float | None
    count: int | None
    sum: float | None
    proto: object = field(repr=False)


@dataclass
class Metric:
    name: str
    unit: str
    description: str
    type: str
    points: list[Point]
    resource: dict
    scope: str


class Receiver:
    """An OTLP endpoint for tests: keeps every request that arrives, in order."""

    def __init__(self, mode="ok", *, metrics=None, retry_after=None):
        self.mode = mode
        self.metrics_status = metrics
        self.retry_after = retry_after
        self.requests = []  # (path, message) of each accepted request
        self.headers = []  # of each request, lower-case keys
        self.paths = []
        self.raw = b""  # the body of each request, unpacked
        self.connections = 0
        self._arrived = threading.Condition()
        self._leaving = threading.Event()
        self._server = _Server(self)
        self._serving = None
        self._grpc = None
        self._grpc_port = None

    def __enter__(self):
        if self.mode != "refuse":
            self.listen()
        return self

    def __exit__(self, *_):
        self._leaving.set()
        if self._serving:
            self._server.shutdown()
            self._serving.join()
        self._server.hang_up()
        self._server.server_close()
        if self._grpc:
            self._grpc.stop(grace=None).wait()

    def listen(self):
        """Begin to listen at the port that refused until now."""
        self._server.server_activate()
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._serving.start()
        self.mode = "ok" if self.mode == "refuse" else self.mode

    @property
    def url(self):
        """Where http/protobuf arrives: the base, without /v1/traces."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def grpc_target(self):
        """Where gRPC arrives: host:port; the server begins with the first question for it."""
        if self._grpc is None:
            self._grpc, self._grpc_port = _grpc_server(self)
        return f"127.0.0.1:{self._grpc_port}"

    def spans(self):
        """Every span that arrived, in order of arrival."""
        with self._arrived:
            found = [message for path, message in self.requests if path == "/v1/traces"]
        return [span for message in found for span in _spans(message)]

    def metrics(self):
        """Every metric that arrived, in order of arrival: one for each export."""
        with self._arrived:
            found = [message for path, message in self.requests if path == "/v1/metrics"]
        return [metric for message in found for metric in _metrics(message)]

    def wait(self, count=1, timeout=5.0):
        """The spans, as soon as there are `count`; fails after `timeout` seconds."""
        return self._wait(self.spans, count, timeout)

    def wait_metrics(self, count=1, timeout=5.0):
        """The metrics, as soon as there are `count`; fails after `timeout` seconds."""
        return self._wait(self.metrics, count, timeout)

    def _wait(self, read, count, timeout):
        deadline = time.monotonic() + timeout
        with self._arrived:
            while len(found := read()) < count:
                if not self._arrived.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{len(found)} of {count} arrived in {timeout} s: {found}")
        return found

    def take(self, path, headers, body):
        """Keep one request; the status that answers it."""
        status = self.mode if isinstance(self.mode, int) else HTTPStatus.OK
        if path == "/v1/metrics" and self.metrics_status:
            status = self.metrics_status
        if path not in REQUESTS:
            status = HTTPStatus.NOT_FOUND
        with self._arrived:
            self.paths.append(path)
            self.headers.append(headers)
            self.raw += body
            if status == HTTPStatus.OK:
                self.requests.append((path, REQUESTS[path].FromString(body)))
            self._arrived.notify_all()
        return status

    def stall(self):
        """Whether this answer never comes ("silent"): blocks until the test is over."""
        return self.mode == "silent" and self._leaving.wait()

    def drip(self, write, answer):
        """Write `answer` one byte every half second, until the test is over."""
        for byte in answer:
            write(bytes([byte]))
            if self._leaving.wait(0.5):
                return


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, receiver):
        self.receiver = receiver
        self.open = set()
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.server_bind()  # a port that is bound and not listened at refuses, and stays ours

    def process_request(self, request, client_address):
        self.receiver.connections += 1
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self):
        for request in tuple(self.open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        """A client that hangs up in the middle is what half of the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if receiver.stall():
            return
        body = UNPACK.get(self.headers.get("Content-Encoding"), bytes)(body)
        headers = {key.lower(): value for key, value in self.headers.items()}
        if receiver.mode == "drip":
            receiver.drip(self.wfile.write, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        self._answer(receiver.take(self.path, headers, body), receiver.retry_after)

    def _answer(self, status, retry_after):
        accepted = status == HTTPStatus.OK
        answer = ANSWERS[self.path]().SerializeToString() if accepted else b"no"
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Quiet."""


def _grpc_server(receiver):
    import grpc

    class Service(grpc.GenericRpcHandler):
        def service(self, details):
            path = GRPC.get(details.method)
            headers = {key: value for key, value in details.invocation_metadata if key}

            def export(body, context):
                if receiver.stall():
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the test is over")
                status = receiver.take(path, headers, body)
                if status != HTTPStatus.OK:
                    word = GRPC_STATUS.get(status, "UNAVAILABLE")
                    context.abort(getattr(grpc.StatusCode, word), "no")
                return ANSWERS[path]().SerializeToString()

            return path and grpc.unary_unary_rpc_method_handler(export)

    server = grpc.server(ThreadPoolExecutor(4), handlers=(Service(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def _spans(message):
    for group in message.resource_spans:
        resource = _plain(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _span(span, resource, scope)


def _span(span, resource, scope):
    return Span(
        name=span.name,
        kind=KINDS[span.kind],
        status=STATUSES[span.status.code],
        status_message=span.status.message,
        attributes=_plain(span.attributes),
        events=[Event(e.name, _plain(e.attributes), e.time_unix_nano) for e in span.events],
        links=[Link(x.trace_id.hex(), x.span_id.hex(), _plain(x.attributes)) for x in span.links],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        resource=resource,
        scope=scope.scope.name,
        scope_version=scope.scope.version,
        schema_url=scope.schema_url,
        proto=span,
    )


def _metrics(message):
    for group in message.resource_metrics:
        resource = _plain(group.resource.attributes)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                yield Metric(
                    name=metric.name,
                    unit=metric.unit,
                    description=metric.description,
                    type=kind,
                    points=[_point(point) for point in getattr(metric, kind).data_points],
                    resource=resource,
                    scope=scope.scope.name,
                )


def _point(point):
    fields = {descriptor.name for descriptor in point.DESCRIPTOR.fields}
    number = "as_int" in fields and point.WhichOneof("value")
    return Point(
        attributes=_plain(point.attributes),
        value=getattr(point, number) if number else None,
        count=point.count if "count" in fields else None,
        sum=point.sum if "sum" in fields else None,
        proto=point,
    )


def _plain(attributes):
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _plain(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def run_program(program, *arguments, timeout=30, **environ):
    """Run Python source in a child process whose only OTEL_* variables are those in `environ`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**kept, "PYTHONPATH": os.pathsep.join(sys.path), **environ},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
