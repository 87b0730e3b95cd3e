"""Collector and Jaeger killed and away: what was acknowledged arrives, or its price is known."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends import Collector, Stack, needs_binaries, until
from sender import Sender, make_span, new_trace, request, tool_span

pytestmark = needs_binaries()

TRACES, SPANS = 500, 100
OUTAGE = 30  # seconds


class Load(threading.Thread):
    """500 traces of 100 spans each, every one repeated until it is acknowledged."""

    def __init__(self, collector):
        super().__init__()
        self.collector = collector
        self.acknowledged = {}  # trace id -> span ids
        self.repeated = 0

    def run(self):
        with Sender(self.collector) as sender:
            for number in range(TRACES):
                trace = new_trace()
                spans = [
                    tool_span(trace, f"tool-{n % 7}", attributes={"n": number * SPANS + n})
                    for n in range(SPANS)
                ]
                self.repeated += sender.deliver(request("load", spans)) - 1
                self.acknowledged[trace.hex()] = {span.span_id.hex() for span in spans}
                time.sleep(0.02)

    def reached(self, traces):
        return until(lambda: len(self.acknowledged) >= traces or not self.is_alive(), 60)


def missing(jaeger, acknowledged):
    """The acknowledged spans, by id, that Jaeger does not have, and how many it has twice."""
    found = {trace: [span["spanId"] for span in jaeger.spans(trace)] for trace in acknowledged}
    lost = {(t, span) for t, spans in acknowledged.items() for span in spans - set(found[t])}
    return lost, sum(len(spans) - len(set(spans)) for spans in found.values())


def outage(folder):
    """The load, with a killed Collector and Jaeger away meanwhile; what came of it."""
    with Stack(folder) as stack:
        load = Load(stack.collector)
        load.start()
        load.reached(100)
        stack.jaeger.kill()
        began = time.monotonic()
        load.reached(250)
        stack.collector.kill()
        back = stack.collector.start()
        load.join(120)
        waiting = stack.collector.total("otelcol_exporter_queue_size")
        time.sleep(max(0, OUTAGE - (time.monotonic() - began)))
        stack.jaeger.start()
        until(lambda: stack.collector.total("otelcol_exporter_queue_size") == 0, 90, 0.5)
        until(lambda: not missing(stack.jaeger, load.acknowledged)[0], 90, 1)
        return load, back, waiting, *missing(stack.jaeger, load.acknowledged)


@pytest.fixture(scope="module", autouse=True)
def _in_the_background(request):
    """The outage begins at once, where its test was chosen, while the others run."""
    if any("after_the_outage" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("after_the_outage")


@pytest.fixture(scope="module")
def after_the_outage(tmp_path_factory):
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(outage, tmp_path_factory.mktemp("outage"))


def test_fifty_thousand_acknowledged_spans_survive_a_killed_collector_and_an_outage(
    after_the_outage,
):
    load, back, waiting, lost, twice = after_the_outage.result(300)
    assert sum(map(len, load.acknowledged.values())) == TRACES * SPANS
    assert back < 3
    assert waiting > 0  # or the outage was none
    assert lost == set()
    assert twice <= load.repeated * SPANS  # only what was not acknowledged was sent again


def test_an_agent_that_is_killed_while_its_gateway_is_away_hands_everything_on(tmp_path, gateway):
    folder = tmp_path / "agent"
    folder.mkdir()
    absent = Collector(tmp_path, JAEGER_OTLP_GRPC=gateway.jaeger.otlp)
    there = {"OTELCOL_GATEWAY": absent.grpc, "OTELCOL_GATEWAY_INSECURE": "true"}
    agent = Collector(folder, "agent", **there)
    traces = [new_trace() for _ in range(100)]
    agent.start()
    with Sender(agent) as sender:
        for trace in traces:
            sender.deliver(request("beside", [tool_span(trace, "x", attributes={"password": "p"})]))
    agent.kill()
    with agent, absent:
        arrived = until(lambda: all(gateway.jaeger.spans(trace.hex()) for trace in traces), 30)
    assert arrived
    (span,) = gateway.jaeger.spans(traces[0].hex())
    assert span["attributes"]["password"] != "p"


#: Only what a policy names is kept: runs over 3 s, calls over 1 s, errors.
WAITS = {
    "OTELCOL_DECISION_WAIT": "4s",
    "OTELCOL_ROOT_WAIT": "1s",
    "OTELCOL_LONG_RUN_MS": "3000",
    "OTELCOL_SLOW_CALL": "1s",
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    with Stack(folder, "gateway", **WAITS, OTELCOL_SAMPLE_PERCENT="0") as stack:
        yield stack


class Run:
    """An agent's run as a program sends it: each call when it ends, the root last."""

    def __init__(self, stack, sender, service):
        self.sender = sender
        self.service = service
        self.trace = new_trace()
        self.jaeger = stack.jaeger
        self.root = make_span(self.trace, "invoke_agent a", ago=0, seconds=0)
        self.sent = 0

    def send(self, span):
        self.sender.deliver(request(self.service, [span]))
        self.sent += 1

    def call(self, tool, ago=0.05, **options):
        self.send(tool_span(self.trace, tool, parent=self.root.span_id, ago=ago, **options))

    def end(self, seconds=0.1):
        span = make_span(self.trace, "invoke_agent a", ago=seconds, seconds=seconds)
        span.span_id = self.root.span_id
        self.send(span)

    def kept(self):
        """How many of its spans Jaeger has, after the longest wait."""
        until(lambda: len(self.jaeger.spans(self.trace.hex())) == self.sent, 8)
        return len(self.jaeger.spans(self.trace.hex()))


@pytest.fixture
def begin(gateway):
    """`begin(service)`: a run of that service."""
    with Sender(gateway.collector) as sender:
        yield lambda service: Run(gateway, sender, service)


def test_a_gateway_keeps_a_run_with_an_error_that_comes_late(begin):
    run = begin("late-error")
    run.call("first")
    time.sleep(2)  # longer than the wait after a root, shorter than the other
    run.call("second", error="no")
    run.end()
    assert run.kept() == 3


def test_a_gateway_keeps_a_run_with_a_slow_call(begin):
    run = begin("slow-call")
    run.call("quick")
    run.call("slow", ago=2, seconds=1.5)
    run.end()
    assert run.kept() == 3


def test_a_gateway_keeps_the_end_of_a_run_that_is_longer_than_its_wait(begin):
    run = begin("long-run")
    run.call("early")
    time.sleep(3.3)
    run.call("later")
    time.sleep(3)  # judged meanwhile
    run.call("at the end", error="no")
    run.end()
    assert run.kept() == 4


def test_a_gateway_counts_what_it_drops_and_drops_the_rest(begin, gateway):
    run = begin("fast-and-fine")
    for _ in range(3):
        run.call("x")
    run.end()
    name = 'toolspan_spans_calls_total{service_name="fast-and-fine"}'
    assert until(lambda: [value for _, value in gateway.prometheus.ask(name)] == [3], 10)
    time.sleep(4)
    assert gateway.jaeger.spans(run.trace.hex()) == []


def test_an_error_that_ends_after_its_run_was_dropped_is_dropped_too(begin, gateway):
    run = begin("too-late")
    run.call("x")
    run.end()
    time.sleep(3)
    run.call("too late", error="no")
    time.sleep(6)
    assert gateway.jaeger.spans(run.trace.hex()) == []


@pytest.mark.parametrize(("ending", "share"), [("kill", 0), ("stop", 1)])
def test_what_waits_to_be_judged_is_lost_by_a_crash_and_kept_by_a_shutdown(
    ending, share, tmp_path, gateway
):
    waits = {**WAITS, "OTELCOL_DECISION_WAIT": "600s", "OTELCOL_SAMPLE_PERCENT": "100"}
    collector = Collector(tmp_path, "gateway", JAEGER_OTLP_GRPC=gateway.jaeger.otlp, **waits)
    traces = [new_trace() for _ in range(200)]
    parent = b"elsewher"
    with collector, Sender(collector) as sender:
        for trace in traces:
            sender.deliver(request(f"waiting-{ending}", [tool_span(trace, "x", parent=parent)]))
        getattr(collector, ending)()
        collector.start()
        time.sleep(3)
    assert sum(bool(gateway.jaeger.spans(trace.hex())) for trace in traces) == share * len(traces)
