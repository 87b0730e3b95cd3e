"""What is measured: each case gives a function that makes one call."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import cycle

from opentelemetry import context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

import toolspan
from toolspan.settings import read_settings
from toolspan.toolcall import ToolCall

KB_100 = "x" * 100_000


class Nowhere(SpanExporter):
    """Takes every batch and does nothing."""

    def export(self, spans):
        return SpanExportResult.SUCCESS


def provider(**options):
    made = TracerProvider(**options)
    made.add_span_processor(BatchSpanProcessor(Nowhere(), schedule_delay_millis=3_600_000))
    return made


@contextmanager
def floor():
    tracer = provider().get_tracer("floor")
    attributes = {"a": "execute_tool", "b": "search", "c": "function", "d": "call_1", "e": 12}

    def once():
        with tracer.start_as_current_span("execute_tool search", attributes=attributes):
            pass

    with tracer.start_as_current_span("parent"):
        yield once


FIRST = {
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "add",
    "gen_ai.tool.type": "function",
    "gen_ai.tool.description": "Add two numbers.",
    "toolspan.tool.fingerprint": "d64c65005688868d",
    "toolspan.arguments.fingerprint": "55cc9f83e8705d9e",
}
IN_A_RUN = {
    "gen_ai.agent.name": "librarian",
    "gen_ai.conversation.id": "c1",
    "toolspan.arguments.size": 15,
}


@contextmanager
def bare(first=FIRST, size=None):
    """The same attributes as a traced call, by hand: what the SDK alone takes for them."""
    tracer = provider().get_tracer("floor")

    def once():
        span = tracer.start_span("execute_tool add", attributes=first)
        token = context.attach(trace.set_span_in_context(span))
        try:
            pass
        finally:
            if size is not None:
                span.set_attribute("toolspan.result.size", size)
            span.set_attribute("toolspan.outcome", "ok")
            span.end()
            context.detach(token)

    with tracer.start_as_current_span("parent"):
        yield once


@contextmanager
def instrumented(tracer_provider=None, meter_provider=None, run=False, **settings):
    tracer_provider = tracer_provider or provider()
    toolspan.instrument(
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
        settings=replace(read_settings(), **settings),
    )
    around = tracer_provider.get_tracer("around").start_as_current_span("parent")
    try:
        if run:
            with toolspan.run("nightly", agent="librarian", conversation="c1"):
                yield
        else:
            with around:
                yield
    finally:
        toolspan.uninstrument()


@toolspan.tool
def add(a, b):
    """Add two numbers."""
    return a + b


@toolspan.tool
def shout(text, mode):
    """Shout a text."""
    return text


@toolspan.tool
def other(command):
    """Answer as a shell does, without its name and without an exit code."""
    return {"stdout": "one\ntwo\n", "stderr": "", "code": 0}


@toolspan.tool
def bash(command):
    """Answer as a shell does."""
    return {"stdout": "one\ntwo\n", "stderr": "", "exit_code": 0}


@toolspan.tool
def deep(level):
    """Raise from the depth of ten frames."""
    if level == 0:
        raise ValueError("deep")
    descend(level - 1)


def descend(level):
    if level == 0:
        raise ValueError("deep")
    descend(level - 1)


def case(once, **options):
    @contextmanager
    def prepare():
        built = {key: make() if callable(make) else make for key, make in options.items()}
        with instrumented(**built):
            yield once

    return prepare


def raising():
    try:
        deep(10)
    except ValueError:
        pass


def raising_bare():
    try:
        descend(10)
    except ValueError:
        pass


@contextmanager
def plain_raise():
    yield raising_bare


def suppressed():
    with toolspan.untraced():
        add(1, 2)


@contextmanager
def suppressed_calls():
    with instrumented(), toolspan.untraced():
        yield lambda: add(1, 2)


@contextmanager
def statistics_alone():
    """What the core tells ToolStatistics of one call."""
    statistics = toolspan.ToolStatistics()
    call = ToolCall("shout", agent="librarian")
    call.started = time.time_ns()
    durations = cycle(range(20_000, 30_000, 137))

    def once():
        statistics.started(call)
        statistics.returned(call, "hello world", 11, next(durations))

    yield once


@contextmanager
def nothing_told():
    """The same function without them."""
    durations = cycle(range(20_000, 30_000, 137))

    def once():
        next(durations)

    yield once


CASES = {
    "F": floor,
    "bare OpenTelemetry, as two ints": bare,
    "bare OpenTelemetry, as texts in a run": partial(bare, {**FIRST, **IN_A_RUN}, 11),
    "two ints": case(lambda: add(1, 2)),
    "texts in and out, in a run": case(lambda: shout("hello world", "fast"), run=True),
    "texts in and out": case(lambda: shout("hello world", "fast")),
    "100 kB argument": case(lambda: shout(KB_100, "fast")),
    "a dict out, of no family": case(lambda: other("ls")),
    "a shell's dict out": case(lambda: bash("ls")),
    "recording histogram": case(
        lambda: add(1, 2), meter_provider=lambda: MeterProvider([InMemoryMetricReader()])
    ),
    "content on, small": case(lambda: shout("hello world", "fast"), capture=True),
    "content on, 100 kB in and out": case(lambda: shout(KB_100, "fast"), capture=True),
    "sampled out": case(
        lambda: add(1, 2), tracer_provider=lambda: provider(sampler=ParentBased(ALWAYS_OFF))
    ),
    "suppressed": suppressed_calls,
    "an exception, 10 frames": case(raising),
    "the same exception, untraced": plain_raise,
    "statistics alone": statistics_alone,
    "the same, telling nothing": nothing_told,
}
