"""The pipeline against a real socket: what arrives, what is counted, and how long it takes."""

from __future__ import annotations

import io
import logging
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from receiver import Receiver, run_program
from toolspan import containment
from toolspan.export.pipeline import build
from toolspan.export.sampling import ToolSampler, read_sampler
from toolspan.export.target import Wishes, read_target


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch, caplog):
    for name in tuple(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    containment.forget_said()
    caplog.handler.setLevel(logging.NOTSET)


@pytest.fixture
def piped():
    """A provider whose spans go through a new pipeline: `provider, pipeline = piped(url)`."""
    pipelines = []

    def make(endpoint, protocol=None, *, metrics=False, sampler=None, **wishes):
        wanted = Wishes(endpoint, protocol, **wishes)
        pipeline = build(wanted, traces=True, metrics=metrics)
        pipelines.append(pipeline)
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(pipeline.processor)
        return provider, pipeline

    yield make
    for pipeline in pipelines:
        pipeline.shutdown(0.3)


def end_spans(provider, count, name="execute_tool search"):
    tracer = provider.get_tracer("by hand")
    for _ in range(count):
        tracer.start_span(name).end()


def timed(function, *args):
    began = time.monotonic()
    result = function(*args)
    return result, time.monotonic() - began


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "toolspan"]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_what_was_sent_is_what_arrived(piped, protocol):
    with Receiver() as receiver:
        where = receiver.url if protocol == "http/protobuf" else receiver.grpc_target
        provider, pipeline = piped(where, protocol, headers={"X-Key": "k"})
        end_spans(provider, 7)
        flushed = pipeline.flush(5)
        assert (flushed.sent, flushed.kept, flushed.dropped) == (7, 0, {})
        assert flushed.complete
        assert len(receiver.spans()) == 7
        assert receiver.headers[0]["x-key"] == "k"


def test_each_span_is_reported_by_one_flush():
    with Receiver() as receiver:
        pipeline = build(Wishes(receiver.url), traces=True, metrics=False)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(pipeline.processor)
        end_spans(provider, 3)
        assert pipeline.flush(5).sent == 3
        end_spans(provider, 2)
        assert pipeline.flush(5).sent == 2
        assert pipeline.counts().sent == len(receiver.spans()) == 5
        pipeline.shutdown()


@pytest.mark.parametrize(
    ("protocol", "mode"),
    [
        *(("http", mode) for mode in ("refuse", "silent", "drip", 503)),
        *(("grpc", mode) for mode in ("refuse", "silent", 503)),
    ],
)
def test_a_flush_keeps_its_deadline_and_tells_the_truth(piped, protocol, mode):
    with Receiver(mode) as receiver:
        where = receiver.url
        if protocol == "grpc" and mode != "refuse":
            where = receiver.grpc_target
        provider, pipeline = piped(where, protocol)
        end_spans(provider, 10)
        flushed, seconds = timed(pipeline.flush, 0.4)
        assert 0.3 < seconds < 1.2  # a loaded machine; the SDK takes 7
        assert (flushed.sent, flushed.kept, flushed.dropped) == (0, 10, {})
        assert not flushed.complete
        assert "10 spans wait" in flushed.note
        assert receiver.spans() == []


def test_the_sdk_itself_does_not_keep_it():
    """Why all this is here: when this fails, much of it can go."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    with Receiver("refuse") as receiver:
        provider = TracerProvider(shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{receiver.url}/v1/traces", timeout=1.5)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        end_spans(provider, 1)
        answer, seconds = timed(provider.force_flush, 200)
        provider.shutdown()
    logging.getLogger("opentelemetry.exporter").setLevel(logging.NOTSET)
    assert answer is True
    assert seconds > 0.5


def test_the_force_flush_of_the_provider_keeps_its_deadline_too(piped):
    with Receiver("refuse") as receiver:
        provider, _ = piped(receiver.url)
        end_spans(provider, 1)
        answer, seconds = timed(provider.force_flush, 300)
    assert answer is False
    assert seconds < 1.2


def test_spans_kept_by_one_flush_are_sent_by_a_later_one(piped):
    with Receiver("refuse") as receiver:
        provider, pipeline = piped(receiver.url)
        end_spans(provider, 4)
        assert pipeline.flush(0.1).kept == 4
        receiver.listen()
        flushed = pipeline.flush(5)
        assert (flushed.sent, flushed.kept, flushed.complete) == (4, 0, True)
        assert len(receiver.spans()) == 4


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_exit_with_nobody_listening_takes_no_time_and_one_line(piped, protocol, caplog):
    with Receiver("refuse") as receiver:
        provider, pipeline = piped(receiver.url, protocol, metrics=True)
        end_spans(provider, 10)
        _, seconds = timed(pipeline.shutdown)
    assert seconds < 0.5
    assert pipeline.counts().dropped == {"refused": 10}
    (line,) = lines(caplog)
    assert receiver.url in line
    assert "nobody listens there" in line


def test_an_exit_during_the_pause_before_the_next_try_does_not_wait_for_it(piped):
    with Receiver("refuse") as receiver:
        provider, pipeline = piped(receiver.url)
        end_spans(provider, 10)
        pipeline.flush(0.2)
        _, seconds = timed(pipeline.shutdown)
    assert seconds < 0.5
    assert pipeline.counts().dropped == {"refused": 10}


@pytest.mark.parametrize("mode", ["silent", "drip", 503])
def test_an_exit_keeps_its_deadline_and_counts_what_is_lost(piped, mode, caplog):
    with Receiver(mode) as receiver:
        provider, pipeline = piped(receiver.url, metrics=True)
        end_spans(provider, 10)
        _, seconds = timed(pipeline.shutdown, 0.6)
        counts = pipeline.counts()
    assert seconds < 1.4
    assert (counts.sent, counts.kept, sum(counts.dropped.values())) == (0, 0, 10)
    assert any("before the end: 10" in line or "503" in line for line in lines(caplog))


def test_what_waits_is_sent_before_the_exit(piped):
    with Receiver() as receiver:
        provider, pipeline = piped(receiver.url)
        end_spans(provider, 1200)
        pipeline.shutdown()
        assert len(receiver.spans()) == pipeline.counts().sent == 1200


def test_a_span_that_ends_after_the_shutdown_is_counted(piped):
    with Receiver() as receiver:
        provider, pipeline = piped(receiver.url)
        pipeline.shutdown()
        end_spans(provider, 2)
        assert pipeline.counts().dropped == {"shutdown": 2}
        assert not pipeline.flush(1).complete


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "headers="), (404, "OTEL_TRACES_EXPORTER=none")]
)
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_refusal_is_counted_by_its_status_and_said_once(piped, caplog, status, advice, protocol):
    with Receiver(status) as receiver:
        where = receiver.url if protocol == "http" else receiver.grpc_target
        provider, pipeline = piped(where, protocol, headers={"authorization": "blue-owl"})
        for _ in range(2):
            end_spans(provider, 3)
            assert pipeline.flush(5).dropped == {f"status {status}": 3}
    (line,) = lines(caplog)
    assert f"status {status}" in line
    assert advice in line
    assert "blue-owl" not in caplog.text


class Elsewhere(BaseHTTPRequestHandler):
    """A sign-in page in front of the receiver: it sends elsewhere, or answers with the page."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(self.server.status)

    def do_GET(self):
        self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        if status == 302:
            self.send_header("Location", "/sign-in")
        self.end_headers()

    def log_message(self, *_):
        """Nothing."""


@pytest.mark.parametrize(("status", "reason"), [(302, "status 302"), (200, "a web page answered")])
def test_a_page_that_is_no_receiver_is_no_success(piped, caplog, status, reason):
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        server.status = status
        threading.Thread(target=server.serve_forever, daemon=True).start()
        provider, pipeline = piped(f"http://127.0.0.1:{server.server_port}")
        end_spans(provider, 3)
        flushed = pipeline.flush(5)
        server.shutdown()
    assert (flushed.sent, flushed.dropped, flushed.complete) == (0, {reason: 3}, False)
    assert reason in lines(caplog)[0]


def test_a_long_retry_after_is_counted_by_its_status(piped):
    with Receiver(429, retry_after=60) as receiver:
        provider, pipeline = piped(receiver.url)
        end_spans(provider, 3)
        dropped = pipeline.flush(0.5).dropped or pipeline.counts().kept
    assert dropped in ({"status 429": 3}, 3)  # older exporters try again all the same


def test_a_silent_receiver_is_counted_as_a_timeout(piped, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    with Receiver("silent") as receiver:
        provider, pipeline = piped(receiver.url)
        end_spans(provider, 3)
        assert pipeline.flush(3).dropped == {"timeout": 3}


def test_an_unknown_host_is_named_as_such(piped):
    provider, pipeline = piped("http://no-such-host.invalid:4318")
    end_spans(provider, 1)
    pipeline.shutdown()
    assert pipeline.counts().dropped == {"unknown host": 1}


def test_metrics_that_are_refused_leave_the_flush_of_spans_complete(piped, caplog):
    with Receiver(metrics=404) as receiver:
        provider, pipeline = piped(receiver.url, metrics=True)
        from opentelemetry.sdk.metrics import MeterProvider

        meters = MeterProvider([pipeline.reader], shutdown_on_exit=False)
        meters.get_meter("by hand").create_counter("c").add(1)
        end_spans(provider, 1)
        flushed = pipeline.flush(5)
        assert flushed.complete
        assert "metrics did not arrive (status 404)" in flushed.note
    assert len([line for line in lines(caplog) if "OTEL_METRICS_EXPORTER=none" in line]) == 1


def test_a_full_queue_drops_and_counts(piped, monkeypatch, caplog):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
    with Receiver("silent") as receiver:
        provider, pipeline = piped(receiver.url)
        end_spans(provider, 50)
        counts = pipeline.counts()
        assert 30 < counts.dropped["queue full"] <= 40
        assert counts.ended == 50 == counts.kept + counts.dropped["queue full"]
    assert len([line for line in lines(caplog) if "OTEL_BSP_MAX_QUEUE_SIZE" in line]) == 1


def test_the_books_add_up_under_a_burst_of_threads(piped, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "300")
    with Receiver() as receiver:
        provider, pipeline = piped(receiver.url)
        threads = [threading.Thread(target=end_spans, args=(provider, 250)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pipeline.flush(10)
        counts = pipeline.counts()
        assert counts.ended == 2000 == counts.sent + sum(counts.dropped.values())
        assert set(counts.dropped) <= {"queue full"}
        arrived = {span.span_id for span in receiver.spans()}
        assert len(arrived) == counts.sent > 0


def test_a_span_that_is_not_sampled_is_no_drop(piped):
    with Receiver() as receiver:
        provider, pipeline = piped(receiver.url, sampler=sampling.ALWAYS_OFF)
        end_spans(provider, 5)
        assert pipeline.flush(1).complete
        assert pipeline.counts().ended == 0


@pytest.mark.contains
def test_an_exporter_that_raises_is_contained_and_counted(piped, monkeypatch):
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(ConsoleSpanExporter.__init__, "__defaults__", (None, closed, str))
    provider, pipeline = piped(None)
    end_spans(provider, 2)
    assert pipeline.flush(1).dropped == {"failed": 2}


def test_the_log_of_an_exporter_that_is_not_ours_is_left_alone(piped, caplog):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    with Receiver(401) as receiver:
        piped(receiver.url)
        exporter = OTLPSpanExporter(f"{receiver.url}/v1/traces")
        exporter.export([])
        exporter.shutdown()
    assert "401" in caplog.text


FORKING = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads is the point
from opentelemetry.sdk.trace import TracerProvider
from toolspan.export.pipeline import build
from toolspan.export.target import Wishes

pipeline = build(Wishes(sys.argv[1], sys.argv[2]), traces=True, metrics=True)
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(pipeline.processor)
tracer = provider.get_tracer("by hand")
tracer.start_span("parent").end()
assert pipeline.flush(5).complete
tracer.start_span("parent, waiting").end()
children = []
for number in range(2):
    child = os.fork()
    if child == 0:
        assert pipeline.counts().ended == 0
        tracer.start_span(f"child {number}").end()
        flushed = pipeline.flush(5)
        os._exit(0 if (flushed.sent, flushed.complete) == (1, True) else 1)
    children.append(child)
codes = [os.waitpid(child, 0)[1] for child in children]
flushed = pipeline.flush(5)
pipeline.shutdown()
print(codes, flushed.sent, pipeline.counts().sent)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_forked_child_has_its_own_books_and_its_own_connection(protocol):
    with Receiver() as receiver:
        where = receiver.url if protocol == "http/protobuf" else receiver.grpc_target
        done = run_program(FORKING, where, protocol)
        assert done.stdout.split("]")[1].split() == ["1", "2"], done
        assert done.stdout.startswith("[0, 0]"), done
        names = sorted(span.name for span in receiver.spans())
        assert names == ["child 0", "child 1", "parent", "parent, waiting"]
        if protocol == "http/protobuf":  # parent (spans), and each child
            assert receiver.connections >= 3


IMPORTING = """
import sys
import toolspan
toolspan.instrument()
heavy = ("requests", "grpc", "opentelemetry.exporter", "opentelemetry.sdk.metrics.export")
print([name for name in sys.modules if name.startswith((*heavy, "toolspan.export"))])
"""


def test_the_import_loads_no_exporter():
    assert run_program(IMPORTING).stdout.strip() == "[]"


HTTP = "http/protobuf"


@pytest.mark.parametrize(
    ("wished", "environ", "endpoint"),
    [
        (None, {}, "http://localhost:4318/v1/traces"),
        ("http://a:1", {}, "http://a:1/v1/traces"),
        ("http://a:1/", {}, "http://a:1/v1/traces"),
        ("a:1", {}, "http://a:1/v1/traces"),
        ("https://a/otlp", {}, "https://a/otlp/v1/traces"),
        ("http://a:1/v1/traces", {}, "http://a:1/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:2"}, "http://b:2/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:3/x"}, "http://c:3/x"),
        ("http://a:1", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, "http://a:1/v1/traces"),
    ],
)
def test_where_spans_go(wished, environ, endpoint):
    assert read_target("traces", Wishes(wished), environ).endpoint == endpoint


@pytest.mark.parametrize(
    ("wished", "environ", "endpoint"),
    [
        (None, {}, "http://localhost:4317"),
        ("a:1", {}, "http://a:1"),
        (None, {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://c"}, "https://c"),
    ],
)
def test_where_grpc_goes(wished, environ, endpoint):
    assert read_target("metrics", Wishes(wished, "grpc"), environ).endpoint == endpoint


@pytest.mark.parametrize("endpoint", ["", "ftp://a", "http://", "http://a:port", "http://[::1", 7])
def test_a_wrong_endpoint_gets_one_line_and_the_default(endpoint, caplog):
    target = read_target("traces", Wishes(endpoint), {})
    assert target.endpoint == "http://localhost:4318/v1/traces"
    assert len(lines(caplog)) == (endpoint != "")
    assert endpoint == "" or "allowed: http://host:port" in lines(caplog)[0]


@pytest.mark.parametrize(
    ("name", "value", "field", "default"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "protocol", HTTP),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "GRPC!", "protocol", HTTP),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "timeout", 10),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1", "timeout", 10),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "compression", "none"),
        ("OTEL_TRACES_EXPORTER", "jaeger", "exporter", "otlp"),
    ],
)
def test_a_wrong_variable_gets_one_line_and_the_default(name, value, field, default, caplog):
    target = read_target("traces", Wishes(), {name: value})
    assert getattr(target, field) == default
    (line,) = lines(caplog)
    assert name in line
    assert "allowed" in line


def test_a_variable_of_one_signal_wins_over_the_general_one():
    environ = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "b=2",
    }
    traces = read_target("traces", Wishes(), environ)
    metrics = read_target("metrics", Wishes(headers={"C": "3"}), environ)
    assert (traces.protocol, traces.headers) == ("grpc", {"a": "1"})
    assert (metrics.protocol, metrics.headers) == (HTTP, {"b": "2", "c": "3"})


def test_the_other_protocols_port_is_pointed_out(piped, caplog):
    with Receiver(404) as receiver:
        provider, pipeline = piped(receiver.url)
        end_spans(provider, 1)
        pipeline.flush(5)
    assert "protocol=" not in caplog.text
    assert read_target("traces", Wishes("http://a:4317"), {}).other_port
    assert not read_target("traces", Wishes("http://a:4317", "grpc"), {}).other_port


def test_credentials_in_an_endpoint_are_not_said():
    assert read_target("traces", Wishes("http://user:blue-owl@a:1"), {}).place == "http://a:1"


def decide(sampler, trace_id, tool=None, parent=None):
    attributes = {"gen_ai.tool.name": tool} if tool else {}
    context = set_span_in_context(NonRecordingSpan(parent)) if parent else None
    return sampler.should_sample(context, trace_id, "x", attributes=attributes).decision


TRACES = [trace * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128 for trace in range(1, 2001)]
KEEP, DROP = sampling.Decision.RECORD_AND_SAMPLE, sampling.Decision.DROP


def test_each_tool_keeps_its_share_and_every_service_the_same():
    mine = ToolSampler({"search": 0.1, "*": 0.5}, sampling.DEFAULT_ON)
    theirs = {"search": sampling.TraceIdRatioBased(0.1), "read": sampling.TraceIdRatioBased(0.5)}
    for tool, other in theirs.items():
        kept = [trace for trace in TRACES if decide(mine, trace, tool) is KEEP]
        assert kept == [trace for trace in TRACES if decide(other, trace) is KEEP]
        assert 0 < len(kept) < len(TRACES)
    assert {decide(mine, trace) for trace in TRACES} == {KEEP}


def test_a_tool_without_a_share_is_the_delegates():
    mine = ToolSampler({"search": 0.0}, sampling.ALWAYS_ON)
    assert decide(mine, 1, "search") is DROP
    assert decide(mine, 1, "read") is KEEP
    assert decide(ToolSampler({"search": 1.0}, sampling.ALWAYS_OFF), 1, "search") is DROP


def test_nothing_below_a_dropped_span_is_kept():
    here = SpanContext(7, 8, is_remote=False, trace_flags=TraceFlags(0))
    far = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(0))
    mine = ToolSampler({"search": 0.5}, sampling.ALWAYS_ON)
    assert decide(mine, 7, parent=here) is DROP
    assert decide(mine, 7, parent=far) is KEEP  # what another process dropped is its own affair
    provider = TracerProvider(ToolSampler({"search": 0.0}, sampling.ALWAYS_ON))
    tracer = provider.get_tracer("by hand")
    with tracer.start_as_current_span("t", attributes={"gen_ai.tool.name": "search"}) as above:
        assert not above.is_recording()
        assert not tracer.start_span("GET").is_recording()


@pytest.mark.parametrize(
    ("name", "argument", "description"),
    [
        ("", "", "ParentBased{root:AlwaysOnSampler"),
        ("always_off", "", "AlwaysOffSampler"),
        ("traceidratio", "0.25", "TraceIdRatioBased{0.25}"),
        ("parentbased_traceidratio", "", "ParentBased{root:TraceIdRatioBased{1.0}"),
    ],
)
def test_the_sampler_that_the_variables_name(name, argument, description):
    environ = {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert read_sampler(environ).get_description().startswith(description)


@pytest.mark.parametrize("wrong", [{"": "jaeger_remote"}, {"": "traceidratio", "_ARG": "7"}])
def test_a_wrong_sampler_gets_one_line_and_everything_is_kept(wrong, caplog):
    environ = {f"OTEL_TRACES_SAMPLER{end}": value for end, value in wrong.items()}
    assert decide(read_sampler(environ), 2**64 - 1) is KEEP
    assert len(lines(caplog)) == 1
    assert "allowed" in lines(caplog)[0]
