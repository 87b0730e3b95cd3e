"""The quick start, in child processes: a global provider can be set once only."""

from __future__ import annotations

import json
import os
import time

import pytest

import toolspan
from receiver import Receiver, run_program

START = """
import json, logging, os, sys, time
logging.basicConfig(format="%(message)s")
from opentelemetry import metrics, trace
import toolspan

@toolspan.tool
def search(query):
    return "found"

@toolspan.tool
def read(path):
    return "text"

url = sys.argv[1]

def tell(**facts):
    print(json.dumps(facts), flush=True)
"""


def run(program, *arguments, **environ):
    done = run_program(START + program, *arguments, **environ)
    assert done.returncode == 0, done.stderr
    done.facts = json.loads(done.stdout) if done.stdout else None
    return done


def test_a_program_with_nothing_gets_everything_and_twice_is_once():
    program = """
before = trace.get_tracer_provider(), metrics.get_meter_provider()
start = toolspan.configure("agent-7", endpoint=url, headers={"X-Key": "k"})
between = trace.get_tracer_provider(), metrics.get_meter_provider()
search("q")
again = toolspan.configure("agent-7", endpoint=url, headers={"X-Key": "k"})
after = trace.get_tracer_provider(), metrics.get_meter_provider()
search("q")
flushed = toolspan.flush(5)
tell(built=[a is not b for a, b in zip(before, between)],
     kept=[a is b for a, b in zip(between, after)],
     start=[start.traces, start.metrics, start.ignored], same=start == again,
     recorded_twice=toolspan.lifecycle.TRACING.settings.duration_metric,
     flushed=[flushed.sent, flushed.kept, flushed.dropped, flushed.complete, flushed.note])
"""
    with Receiver() as receiver:
        done = run(program, receiver.url)
        assert done.facts["built"] == done.facts["kept"] == [True, True]
        assert done.facts["start"] == [True, True, []]
        assert done.facts["same"]
        assert not done.facts["recorded_twice"]  # each duration is in the sketch already
        assert done.facts["flushed"] == [2, 0, {}, True, ""]
        assert done.stderr == ""
        spans = receiver.spans()
        assert [span.name for span in spans] == ["execute_tool search"] * 2
        assert {span.resource["service.name"] for span in spans} == {"agent-7"}
        assert {headers["x-key"] for headers in receiver.headers} == {"k"}
        last = {metric.name: metric for metric in receiver.metrics()}
    (durations,) = last["gen_ai.execute_tool.duration"].points
    assert last["gen_ai.execute_tool.duration"].type == "exponential_histogram"
    assert durations.count == 2
    assert last["toolspan.calls"].points[0].value == 2


def test_grpc_is_an_argument_away():
    program = """
toolspan.configure(endpoint=url, protocol="grpc")
search("q")
"""
    with Receiver() as receiver:
        run(program, receiver.grpc_target)
        assert len(receiver.spans()) == 1
        assert "gen_ai.execute_tool.duration" in {metric.name for metric in receiver.metrics()}
        assert set(receiver.paths) == {"/v1/traces", "/v1/metrics"}
        assert receiver.headers[0]["user-agent"].startswith("OTel-OTLP-Exporter-Python")


def test_a_tracer_provider_that_is_there_stays_and_one_line_names_what_had_no_effect():
    program = """
from opentelemetry.sdk.trace import TracerProvider
mine = TracerProvider()
trace.set_tracer_provider(mine)
start = toolspan.configure("agent-7", endpoint=url, sample=0.0, capture_content=False)
search("q")
flushed = toolspan.flush(5)
tell(same=trace.get_tracer_provider() is mine, start=[start.traces, start.metrics, start.ignored],
     calls=toolspan.stats()["search"].calls, note=flushed.note, complete=flushed.complete)
"""
    with Receiver() as receiver:
        done = run(program, receiver.url)
        assert done.facts["same"]
        assert done.facts["calls"] == 1
        assert done.facts["start"] == [False, True, ["service_name", "endpoint", "sample"]]
        (line,) = done.stderr.splitlines()
        assert "has its own tracer provider" in line
        assert "service_name, endpoint, sample" in line
        assert "capture_content" not in line
        assert not done.facts["complete"]
        assert "opentelemetry.sdk.trace.TracerProvider is not toolspan's" in done.facts["note"]
        assert receiver.spans() == []
        assert {metric.resource["service.name"] for metric in receiver.metrics()} == {"agent-7"}


def test_beside_two_providers_nothing_is_built():
    program = """
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
mine = TracerProvider(), MeterProvider()
trace.set_tracer_provider(mine[0])
metrics.set_meter_provider(mine[1])
start = toolspan.configure()
search("q")
tell(same=(trace.get_tracer_provider(), metrics.get_meter_provider()) == mine,
     start=[start.traces, start.metrics, start.ignored], calls=toolspan.stats()["search"].calls,
     loaded=[name for name in sys.modules if name.startswith(("requests", "grpc"))],
     note=toolspan.flush().note)
"""
    with Receiver() as receiver:
        done = run(program, receiver.url, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
        assert receiver.connections == 0
    assert done.facts["same"]
    assert done.facts["start"] == [False, False, []]
    assert done.facts["calls"] == 1
    assert done.facts["loaded"] == []
    assert "not toolspan's" in done.facts["note"]
    assert done.stderr == ""


def test_a_second_call_changes_the_content_and_says_what_it_cannot_change():
    program = """
toolspan.configure(endpoint=url)
search("blue-owl")
toolspan.flush(5)
start = toolspan.configure(endpoint="http://127.0.0.1:9", sample=0.5, capture_content=True)
search("red-owl")
toolspan.configure()
search("gray-owl")
tell(ignored=start.ignored)
"""
    with Receiver() as receiver:
        done = run(program, receiver.url)
        found = [word for word in (b"blue-owl", b"red-owl", b"gray-owl") if word in receiver.raw]
        assert len(receiver.spans()) == 3
    assert found == [b"red-owl", b"gray-owl"]
    assert done.facts["ignored"] == ["endpoint", "sample"]
    (line,) = done.stderr.splitlines()
    assert "called before" in line
    assert "endpoint, sample" in line


def test_keys_are_redacted_and_values_are_cut():
    program = """
toolspan.configure(endpoint=url, capture_content=True, redact=["PIN"], value_limit=100)
search({"pin": "blue-owl", "city": "Graz"})
read("x" * 5000)
toolspan.configure(redact=lambda path, value, tool: "gone" if value == "red-owl" else value)
search({"city": "red-owl", "pin": "blue-owl"})
"""
    with Receiver() as receiver:
        run(program, receiver.url)
        first, second, third = receiver.spans()
        assert b"owl" not in receiver.raw
    assert "Graz" in first.attributes["gen_ai.tool.call.arguments"]
    assert len(second.attributes["gen_ai.tool.call.arguments"].encode()) <= 100
    assert "gone" in third.attributes["gen_ai.tool.call.arguments"]


def test_without_a_cap_for_values_that_of_the_span_still_holds():
    program = """
toolspan.configure(endpoint=url, capture_content=True, value_limit=None)
read("x" * 100_000)
read("x" * 300_000)
"""
    with Receiver() as receiver:
        run(program, receiver.url)
        whole, cut = (span.attributes for span in receiver.spans())
    assert json.loads(whole["gen_ai.tool.call.arguments"]) == {"path": "x" * 100_000}
    sizes = [len(cut[f"gen_ai.tool.call.{part}"]) for part in ("arguments", "result")]
    assert sizes[0] == 256 * 1024
    assert sizes[1] <= 64  # enough to say that it was cut


def test_a_tool_that_is_sampled_out_is_counted_all_the_same():
    program = """
toolspan.configure(endpoint=url, sample={"search": 0.0, "*": 1.0})
for _ in range(20):
    search("q")
read("p")
tell(calls=toolspan.stats()["search"].calls)
"""
    with Receiver() as receiver:
        done = run(program, receiver.url)
        assert [span.name for span in receiver.spans()] == ["execute_tool read"]
    assert done.facts["calls"] == 20


def test_a_share_of_all_traces_is_the_sdks_own():
    program = """
toolspan.configure(endpoint=url, sample=0.25)
for _ in range(200):
    search("q")
"""
    with Receiver() as receiver:
        run(program, receiver.url)
        spans = receiver.spans()
    assert 20 < len(spans) < 90
    assert all(int(span.trace_id[16:], 16) < 2**64 // 4 for span in spans)


def test_wrong_arguments_get_one_line_each_and_stop_nothing():
    program = """
class Rude:
    def __repr__(self):
        raise SystemExit("said aloud")
    __str__ = __bool__ = __eq__ = __len__ = __iter__ = __repr__
    __hash__ = None

wrong = Rude()
toolspan.configure(wrong, endpoint=url, protocol="carrier pigeon", headers={"a": wrong},
    capture_content=wrong, redact=7, sample={"search": 2}, value_limit=-1)
search("q")
tell(sent=toolspan.flush(5).sent)
"""
    with Receiver() as receiver:
        done = run(program, receiver.url)
        assert len(receiver.spans()) == done.facts["sent"] == 1
    said = done.stderr.splitlines()
    names = ("service_name", "headers", "sample", "capture_content", "redact", "value_limit")
    for name in names:
        assert sum(f"configure: {name} " in line for line in said) == 1, name
    assert sum("protocol='carrier pigeon'" in line for line in said) == 1
    assert all("allowed: " in line for line in said)


def test_a_forked_worker_that_configures_again_has_one_pipeline():
    program = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
toolspan.configure(endpoint=url)
search("parent")
workers = []
for _ in range(2):
    worker = os.fork()
    if not worker:
        toolspan.configure(endpoint=url)
        search("child")
        flushed = toolspan.flush(5)
        os._exit(0 if (flushed.sent, flushed.complete) == (1, True) else 1)
    workers.append(worker)
tell(codes=[os.waitpid(worker, 0)[1] for worker in workers], sent=toolspan.flush(5).sent)
"""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    with Receiver() as receiver:
        done = run(program, receiver.url)
        assert len({span.span_id for span in receiver.spans()}) == len(receiver.spans()) == 3
    assert done.facts == {"codes": [0, 0], "sent": 1}
    assert done.stderr == ""


EXIT = """
toolspan.configure(endpoint=url)
search("q")
tell(end=time.time())
"""


def test_providers_that_the_program_shuts_down_itself_end_once():
    program = """
toolspan.configure(endpoint=url)
search("q")
trace.get_tracer_provider().shutdown()
metrics.get_meter_provider().shutdown()
search("too late")
tell(dropped=toolspan.flush(1).dropped)
"""
    with Receiver() as receiver:
        done = run(program, receiver.url)
        assert len(receiver.spans()) == 1
        assert receiver.metrics()
    assert done.facts == {"dropped": {"shutdown": 1}}
    (line,) = done.stderr.splitlines()
    assert "before the end: 1 " in line


@pytest.mark.parametrize(("mode", "seconds"), [("refuse", 1.0), ("silent", 3.0)])
def test_an_exit_is_not_held_up(mode, seconds):
    with Receiver(mode) as receiver:
        done = run(EXIT, receiver.url)
        took = time.time() - done.facts["end"]
    assert took < seconds  # the interpreter's own end is part of it
    assert len(done.stderr.splitlines()) == 1
    assert receiver.url in done.stderr


def test_a_flush_before_configure_says_so():
    flushed = toolspan.flush(0.1)
    assert not flushed.complete
    assert "configure()" in flushed.note


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon", None])
def test_a_wrong_timeout_gets_a_line_and_two_seconds(timeout, caplog):
    from toolspan.quickstart import _seconds

    caplog.handler.setLevel(0)
    assert _seconds(timeout) == 2
    assert "allowed: 0 and more" in caplog.text
