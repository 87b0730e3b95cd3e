"""Forked servers, workers that are recycled, frozen functions: each call arrives exactly once.

The programs are those of examples/, run by the real servers, and send to a real Collector. What
they did is counted by their own log: a line for each run of the tool's body.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from backends import MISSING, Collector, free_ports, get, until
from receiver import Receiver
from toolspan import tool

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
#: The servers are installed together or not at all.
__test__ = importlib.util.find_spec("celery") is not None

needs_collector = pytest.mark.skipif(
    "collector" in MISSING and not os.environ.get("CI"),
    reason="the Collector is not built; python tests/binaries/build.py collector",
)


class Output:
    """What the Collector hands on, and what it counts."""

    def __init__(self, collector, receiver):
        self.collector = collector
        self.receiver = receiver

    def accepted(self):
        return self.collector.total("otelcol_receiver_accepted_spans")

    def handed_on(self):
        return self.accepted() == self.collector.total("otelcol_exporter_sent_spans")

    def spans(self, service):
        """The spans of that service, once nothing is on its way any more."""
        assert until(self.handed_on, 15)
        return [span for span in self.receiver.spans() if span.resource["service.name"] == service]

    def counted(self, service):
        """The calls that the processes of that service counted themselves, added up."""
        page = get(f"http://{self.collector.scraped}/metrics").decode().splitlines()
        ours = (line for line in page if line.startswith("toolspan_calls_total{"))
        return sum(float(line.split()[-1]) for line in ours if f'job="{service}"' in line)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collector")
    with Receiver() as receiver:
        with Collector(folder, JAEGER_OTLP_GRPC=receiver.grpc_target) as collector:
            yield Output(collector, receiver)


class Instance:
    """One of the examples under its server, in a folder of its own."""

    def __init__(self, folder, output, *command, protocol="http/protobuf", **streams):
        address = output.collector.grpc if protocol == "grpc" else output.collector.http
        self.output = output
        self.log = folder / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={
                    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                    "PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path]),
                    "HOME": str(folder),
                    "TMPDIR": str(folder),
                    "TOOLSPAN_STATE_DIR": str(folder),
                    "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address.removeprefix('http://')}",
                    "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
                },
                stderr=log,
                start_new_session=True,
                **{"stdin": subprocess.DEVNULL, "stdout": log, **streams},
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):  # workers that a failed test left behind
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def written(self):
        return self.log.read_text()

    def ran(self):
        """Topic -> runs of the tool's body, as the program logged them."""
        return Counter(re.findall(r"look_up (\S+)", self.written()))

    def stop(self):
        """As an operator does: SIGTERM, and time to finish."""
        self.process.terminate()
        assert self.process.wait(20) == 0, self.written()


def every_run_is_one_span(instance, service, before):
    """Each body that ran is one span and one count; gives the processes that they came from."""
    spans = instance.output.spans(service)[before.spans :]
    topics = [json.loads(span.attributes["gen_ai.tool.call.arguments"])["topic"] for span in spans]
    assert Counter(topics) == instance.ran()
    assert len({span.span_id for span in spans}) == len(spans)
    assert {span.attributes["toolspan.outcome"] for span in spans} == {"ok"}
    assert instance.output.counted(service) - before.counted == len(spans)
    return Counter(span.resource["service.instance.id"] for span in spans)


class Before:
    """What was there of that service before a test."""

    def __init__(self, output, service):
        self.spans = len(output.spans(service))
        self.counted = output.counted(service)


# -- web servers -----------------------------------------------------------------------------


def asks(instance, port):
    """A function that makes one request; where it meets a worker that leaves, it asks again."""
    topics = (f"topic-{number}" for number in itertools.count())

    def answer(topic):
        assert instance.process.poll() is None, instance.written()
        with contextlib.suppress(OSError):
            return get(f"http://127.0.0.1:{port}/{topic}", timeout=10).decode()

    def ask():
        topic = next(topics)
        assert until(lambda: answer(topic), 20) == f"three pages about {topic}"
        return topic

    return ask


def serve_through_a_reload(instance, port, started):
    """Thirty requests, SIGHUP, requests until both workers are replaced, and thirty more."""
    ask = asks(instance, port)
    asked = {ask() for _ in range(30)}
    instance.process.send_signal(signal.SIGHUP)
    assert until(
        lambda: asked.add(ask()) or instance.written().count(started) >= 4, 20, pause=0.02
    ), instance.written()
    asked |= {ask() for _ in range(30)}
    instance.stop()
    assert instance.ran().keys() >= asked


def gunicorn(folder, output, *options, **more):
    """Two workers that serve through a reload; the number of spans of each process."""
    (port,) = free_ports(1)
    before = Before(output, "gunicorn-example")
    command = ["gunicorn", "--workers=2", f"--bind=127.0.0.1:{port}", *options, "gunicorn_app:app"]
    with Instance(folder, output, *command, **more) as instance:
        serve_through_a_reload(instance, port, "Booting worker with pid")
    return every_run_is_one_span(instance, "gunicorn-example", before)


#: The master calls a tool too: at each fork one span waits, and a connection is open.
BUSY_MASTER = """
def pre_fork(server, worker):
    import gunicorn_app
    gunicorn_app.toolspan.flush(2)
    gunicorn_app.look_up("of-the-master")
"""


@needs_collector
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_preloaded_and_recycled_gunicorn_workers_lose_and_double_no_call(
    everything, tmp_path, protocol
):
    (tmp_path / "gunicorn.conf.py").write_text(BUSY_MASTER)
    options = ["--preload", "--max-requests=10"]
    assert len(gunicorn(tmp_path, everything, *options, protocol=protocol)) >= 7


@needs_collector
def test_gunicorn_workers_that_load_for_themselves_lose_and_double_no_call(everything, tmp_path):
    assert len(gunicorn(tmp_path, everything)) >= 2


@needs_collector
def test_uvicorn_workers_lose_and_double_no_call(everything, tmp_path):
    (port,) = free_ports(1)
    before = Before(everything, "uvicorn-example")
    command = ["uvicorn", "--workers=2", f"--port={port}", "uvicorn_app:app"]
    with Instance(tmp_path, everything, *command) as instance:
        serve_through_a_reload(instance, port, "Started server process")
    assert len(every_run_is_one_span(instance, "uvicorn-example", before)) >= 2


# -- a worker --------------------------------------------------------------------------------


@needs_collector
def test_celery_processes_that_are_recycled_lose_and_double_no_call(everything, tmp_path):
    before = Before(everything, "celery-example")
    worker = [
        *("celery", "--app=celery_app", "worker", "--loglevel=INFO", "--concurrency=2"),
        *("--max-tasks-per-child=4", "--without-mingle", "--without-gossip"),
    ]
    topics = [f"topic-{number}" for number in range(14)]
    queue = [sys.executable, str(EXAMPLES / "celery_app.py"), *topics]
    with Instance(tmp_path, everything, *queue) as client:
        assert client.process.wait(20) == 0, client.written()
    with Instance(tmp_path, everything, *worker) as instance:
        assert until(lambda: instance.ran().total() >= len(topics), 20), instance.written()
        instance.stop()
    assert instance.ran() == Counter(topics)
    calls = every_run_is_one_span(instance, "celery-example", before)
    assert len(calls) >= 4
    assert max(calls.values()) <= 4


# -- a function ------------------------------------------------------------------------------


@needs_collector
def test_the_call_of_a_function_has_arrived_when_its_process_is_frozen(everything, tmp_path):
    before = Before(everything, "serverless-example")
    accepted = everything.accepted()
    command = [sys.executable, str(EXAMPLES / "serverless_handler.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with Instance(tmp_path, everything, *command, **pipes) as instance:
        process = instance.process
        for number in range(1, 6):
            process.stdin.write(json.dumps({"topic": f"topic-{number}"}).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            process.send_signal(signal.SIGSTOP)
            assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
            assert answer == {"statusCode": 200, "body": f"three pages about topic-{number}"}
            assert everything.accepted() - accepted == number
            process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGSTOP)
        process.kill()  # frozen, it is never thawed
        process.communicate()
    assert instance.ran().total() == 5
    assert len(every_run_is_one_span(instance, "serverless-example", before)) == 1


# -- logs ------------------------------------------------------------------------------------


@tool
def write(log):
    log.info("inside")


@tool
async def write_async(log):
    await asyncio.sleep(0)
    log.info("inside")


@tool
def write_streaming(log):
    log.info("inside")
    yield


@pytest.mark.parametrize(
    "call",
    [
        write,
        lambda log: asyncio.run(write_async(log)),
        lambda log: list(write_streaming(log)),
    ],
    ids=["sync", "async", "generator"],
)
def test_what_a_tool_logs_carries_the_ids_of_its_span(traced, call):
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import (
        InMemoryLogRecordExporter,
        SimpleLogRecordProcessor,
    )

    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    log = logging.Logger("agent", logging.INFO)  # noqa: LOG001  # gone after the test
    log.addHandler(LoggingHandler(logger_provider=provider))
    call(log)
    log.info("outside")
    provider.shutdown()
    records = [data.log_record for data in exporter.get_finished_logs()]
    (span,) = traced.tools
    assert [(record.body, record.trace_id, record.span_id) for record in records] == [
        ("inside", span.context.trace_id, span.context.span_id),
        ("outside", 0, 0),
    ]
