"""The receiver of the other tests, against clients that are not ours."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from receiver import Receiver


def request():
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    group.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="s")))
    scope = group.scope_spans.add(schema_url="https://example.com/1")
    scope.scope.name, scope.scope.version = "hand", "7"
    span = scope.spans.add(
        name="execute_tool search",
        kind=Span.SPAN_KIND_CLIENT,
        trace_id=bytes(range(16)),
        span_id=b"\1" * 8,
        parent_span_id=b"\2" * 8,
        start_time_unix_nano=5,
        end_time_unix_nano=9,
        status=Status(code=Status.STATUS_CODE_ERROR, message="no"),
    )
    numbers = ArrayValue(values=[AnyValue(int_value=1), AnyValue(int_value=2)])
    span.attributes.append(KeyValue(key="list", value=AnyValue(array_value=numbers)))
    span.attributes.append(KeyValue(key="canary", value=AnyValue(string_value="blue-owl")))
    span.events.add(name="halfway", time_unix_nano=7)
    span.links.add(trace_id=b"\3" * 16, span_id=b"\4" * 8)
    return message.SerializeToString()


def post(url, body, timeout=5, **headers):
    call = urllib.request.Request(url, body, headers, method="POST")
    with urllib.request.urlopen(call, timeout=timeout) as answer:
        return answer.status


def test_every_field_of_a_span_is_decoded():
    with Receiver() as receiver:
        assert post(f"{receiver.url}/v1/traces", request(), Authorization="Basic eDp5") == 200
        (span,) = receiver.wait(1)
    assert (span.name, span.kind, span.status) == ("execute_tool search", "CLIENT", "ERROR")
    assert (span.status_message, span.start, span.end) == ("no", 5, 9)
    assert span.attributes == {"list": [1, 2], "canary": "blue-owl"}
    assert span.trace_id == "000102030405060708090a0b0c0d0e0f"
    assert (span.span_id, span.parent_id) == ("01" * 8, "02" * 8)
    assert (span.resource, span.scope, span.scope_version) == ({"service.name": "s"}, "hand", "7")
    assert span.schema_url == "https://example.com/1"
    assert [(event.name, event.time) for event in span.events] == [("halfway", 7)]
    assert [(link.trace_id, link.span_id) for link in span.links] == [("03" * 16, "04" * 8)]
    assert receiver.headers[0]["authorization"] == "Basic eDp5"


def test_packed_bytes_are_kept_unpacked_for_the_search_of_a_canary():
    with Receiver() as receiver:
        packed = gzip.compress(request())
        assert b"blue-owl" not in packed
        post(f"{receiver.url}/v1/traces", packed, **{"Content-Encoding": "gzip"})
        assert len(receiver.wait(1)) == 1
    assert b"blue-owl" in receiver.raw


def test_grpc_arrives_at_the_second_port():
    import grpc

    with Receiver() as receiver, grpc.insecure_channel(receiver.grpc_target) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        export(request(), metadata=[("x-key", "k")], timeout=5)
        (span,) = receiver.spans()
    assert span.name == "execute_tool search"
    assert receiver.headers[0]["x-key"] == "k"
    assert b"blue-owl" in receiver.raw


def test_a_port_that_refuses_can_begin_to_listen():
    with Receiver("refuse") as receiver:
        with pytest.raises(urllib.error.URLError, match="refused"):
            post(f"{receiver.url}/v1/traces", request())
        receiver.listen()
        assert post(f"{receiver.url}/v1/traces", request()) == 200


def test_a_silent_receiver_accepts_and_never_answers():
    with Receiver("silent") as receiver:
        with pytest.raises(TimeoutError):
            post(f"{receiver.url}/v1/traces", request(), timeout=0.2)
        assert (receiver.connections, receiver.spans()) == (1, [])


def test_a_dripping_receiver_feeds_every_socket_timeout_and_never_ends():
    with Receiver("drip") as receiver:
        port = int(receiver.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            client.sendall(b"POST /v1/traces HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            assert [client.recv(10) for _ in range(2)] == [b"H", b"T"]


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_a_status_is_answered_and_nothing_is_kept(status):
    with Receiver(status, retry_after=60) as receiver:
        with pytest.raises(urllib.error.HTTPError) as refusal:
            post(f"{receiver.url}/v1/traces", request())
        with refusal.value as answer:
            assert (answer.code, answer.headers["Retry-After"]) == (status, "60")
        receiver.mode = "ok"
        assert receiver.spans() == []
        assert post(f"{receiver.url}/v1/traces", request()) == 200


def test_metrics_may_be_answered_otherwise_than_traces():
    with Receiver(metrics=404) as receiver:
        assert post(f"{receiver.url}/v1/traces", request()) == 200
        with pytest.raises(urllib.error.HTTPError, match="404") as refusal:
            post(f"{receiver.url}/v1/metrics", b"")
        refusal.value.close()


def test_waiting_ends_at_its_deadline_and_says_what_came():
    with Receiver() as receiver:
        began = time.monotonic()
        with pytest.raises(AssertionError, match="0 of 1 arrived"):
            receiver.wait(1, timeout=0.1)
        assert time.monotonic() - began < 2


def test_nothing_is_left_running_when_the_block_ends():
    before = threading.active_count()
    with Receiver() as receiver:
        port = int(receiver.url.rpartition(":")[2])
        client = socket.create_connection(("127.0.0.1", port), timeout=2)
        client.sendall(b"POST /v1/traces HTTP/1.1\r\n")  # a request that never becomes whole
        while not receiver.connections:
            time.sleep(0.01)
    with client:
        assert client.recv(10) == b""
    assert threading.active_count() <= before  # what another test left may have ended
