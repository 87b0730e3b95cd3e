"""A call of which only the value is known goes a shorter way: nobody can tell by what is told."""

from __future__ import annotations

import contextvars
import inspect
import itertools
import logging
from unittest import mock

import pytest
from opentelemetry.metrics import MeterProvider, NoOpMeter
from opentelemetry.sdk.metrics import MeterProvider as Meters
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import toolspan
from toolspan import spans, tool
from toolspan.hooks import Hook
from toolspan.lifecycle import TRACING, begin_call, current_call
from toolspan.settings import Settings
from toolspan.testing import recorded_tools
from toolspan.toolcall import Outcome, ToolCall

VALUES = [
    *(None, True, 3, 2.5, "text", "é" * 70_000, b"bytes", bytearray(b"array")),
    *(
        [],
        [1, "two"],
        ("a", b"b"),
        {},
        {"stdout": "x", "stderr": "", "exit_code": 0},
        {"content": "words"},
    ),
    *([{"type": "text", "text": "block"}], object()),
]
ARGUMENTS = {"path": "notes.txt", "token": "s3cret"}
IDS = itertools.count()
PLAIN = Hook("", lambda _: None)
READ = Hook("", lambda _: None, outcome=lambda value: Outcome(value))


def told_of(trace_with, hook, value, content, **facts):
    """What span, statistics, metric and listeners say of a call of this hook that gave `value`."""
    facts = {"name": "lookup", "arguments": ARGUMENTS, "description": "Look up.", **facts}
    reader = InMemoryMetricReader()
    meters = Meters([reader], shutdown_on_exit=False)
    traced = trace_with(settings=Settings(capture=content), meter_provider=meters)
    heard = []
    listener = toolspan.on_call(
        lambda call: heard.append(call.name),
        lambda call, outcome, _: heard.append(outcome),
    )
    with listener, recorded_tools() as recorded:
        for _ in range(2 if "id" in facts else 1):  # a framework tries the same once more
            begin_call(ToolCall(**facts), hook).ended(value)
        assert listener.wait()
    (span, *_), row = traced.spans[::-1], toolspan.stats().rows()[0].to_dict()
    row["durations"] = sum(row["durations"]["counts"])
    (points,) = (
        [(point.count, dict(point.attributes)) for point in metric.data.data_points]
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "gen_ai.execute_tool.duration"
    )
    calls = [(one.name, one.arguments, one.result, one.outcome, one.error_type) for one in recorded]
    outcomes = [(o.word, o.result, o.size, o.type) for o in heard if type(o) is Outcome]
    return dict(span.attributes), span.status, len(span.links), row, points, calls, outcomes


def test_a_result_may_prove_the_family_of_a_tool_of_any_name(trace_with):
    answer = {"stdout": "one\ntwo\n", "stderr": "", "exit_code": 0}
    told = told_of(trace_with, PLAIN, answer, content=False, arguments={"command": "ls"})
    assert told[0]["toolspan.tool.family"] == "shell"


@pytest.mark.parametrize("name", ["lookup", "read_file"])
@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_is_told_of_a_value_is_the_same_whoever_read_it(trace_with, value, content, name):
    shorter = told_of(trace_with, PLAIN, value, content, name=name)
    assert shorter == told_of(trace_with, READ, value, content, name=name)
    assert ("gen_ai.tool.call.result" in shorter[0]) == (content and value is not None)


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("capture", [False, True])
def test_the_same_of_a_call_that_has_a_switch_of_its_own(trace_with, content, capture):
    told = told_of(trace_with, PLAIN, "text", content, capture=capture)
    assert told == told_of(trace_with, READ, "text", content, capture=capture)
    assert ("gen_ai.tool.call.result" in told[0]) == capture


def test_the_same_of_a_second_try(trace_with):
    plain, read = (
        told_of(trace_with, hook, "text", content=False, id=f"call_{next(IDS)}")
        for hook in (PLAIN, READ)
    )
    assert plain[1:] == read[1:]
    (said, _, links, row, *_) = plain
    assert (said["toolspan.attempt"], links) == (2, 1)
    assert (row["outcomes"], row["first_attempts"]) == ({"ok": 2}, 1)


def test_which_way_a_call_goes_is_known_by_its_hook():
    assert (PLAIN.plain, READ.plain) == (True, False)


def test_what_an_inner_function_told_of_the_end_goes_before_the_value(traced):
    @tool
    def seek(query):
        current_call().tell(Outcome(error="tool_error", message="nothing found"))
        return f"no {query}"

    assert seek("emma") == "no emma"
    assert traced.outcomes == ["tool_error"]
    assert toolspan.stats()["seek"].outcomes == {"tool_error": 1}


TOOL = {"openinference.span.kind": "TOOL", "tool.name": "search"}


@tool
def search(query):
    """Search."""
    return query


def test_a_neighbours_span_is_left_for_its_owner_to_end(traced):
    theirs = traced.tracer("openinference.instrumentation.host")
    with theirs.start_as_current_span("search", attributes=TOOL) as span:
        search("emma")
        assert span.is_recording()
        span.set_attribute("late", value=True)
    (span,) = traced.tools
    assert span.attributes["late"]
    assert (span.attributes["toolspan.outcome"], span.attributes["toolspan.result.size"]) == (
        "ok",
        4,
    )
    assert toolspan.stats()["search"].outcomes == {"ok": 1}


def test_a_second_neighbour_is_told_how_the_call_ended_too(traced):
    theirs = traced.tracer("openinference.instrumentation.host")
    others = traced.tracer("opentelemetry.instrumentation.langchain")
    with (
        theirs.start_as_current_span("search", attributes=TOOL),
        others.start_as_current_span("search", attributes={"traceloop.span.kind": "tool"}) as span,
    ):
        span.set_attribute("traceloop.entity.name", "search")
        search("emma")
    assert traced.outcomes == ["ok"]
    assert [span.attributes["toolspan.outcome"] for span in traced.spans] == ["ok", "ok"]
    assert toolspan.stats()["search"].outcomes == {"ok": 1}


def test_a_neighbours_span_between_the_layers_of_a_call_is_told_too(traced):
    theirs = traced.tracer("openinference.instrumentation.host")
    inner = Hook("", lambda _: None, inside=True, subclasses=True)  # it says nothing of the end

    def layers():
        live = begin_call(ToolCall("search", {"query": "emma"}), PLAIN)
        with theirs.start_as_current_span("search", attributes=TOOL):
            begin_call(ToolCall("search", {"query": "emma"}), inner).ended("found")
            live.ended("found")

    contextvars.copy_context().run(layers)  # what is left in another order than it was entered
    ours, foreign = traced.spans
    assert ours.attributes["toolspan.outcome"] == foreign.attributes["toolspan.outcome"] == "ok"
    assert toolspan.stats()["search"].calls == 1


@pytest.mark.parametrize("deciding", ["after", "before"])
def test_a_call_that_was_never_decided_has_its_span(traced, deciding):
    hook = Hook("", lambda _: None, decide=("host:function",), deciding=deciding)
    begin_call(ToolCall("search"), hook).ended("found")
    assert traced.outcomes == ["ok"]


class Failing(MeterProvider):
    """An application's own meter, which fails."""

    def get_meter(self, *_, **__):
        class Meter(NoOpMeter):
            def create_histogram(self, *_, **__):
                return self

            def record(self, *_, **__):
                raise OSError("full")

        return Meter("failing")


@pytest.mark.contains
@pytest.mark.parametrize("value", ["found", {"exit_code": 0, "stdout": ""}])
def test_a_span_is_ended_also_where_a_meter_fails(trace_with, value):
    traced = trace_with(meter_provider=Failing())
    tool(lambda: value, name="search")()
    assert traced.outcomes == ["ok"]


@pytest.mark.contains
def test_every_neighbour_is_told_the_end_where_the_value_cannot_be_rendered(
    trace_with, monkeypatch
):
    traced = trace_with(settings=Settings(capture=True))

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(spans, "render", fails)
    theirs = traced.tracer("openinference.instrumentation.host")
    others = traced.tracer("opentelemetry.instrumentation.langchain")
    entity = {"traceloop.span.kind": "tool", "traceloop.entity.name": "search"}
    with (
        theirs.start_as_current_span("search", attributes=TOOL),
        others.start_as_current_span("search", attributes=entity),
    ):
        search("emma")
    assert [span.attributes["toolspan.outcome"] for span in traced.spans] == ["ok", "ok"]


@pytest.mark.contains
def test_a_call_is_told_also_where_its_context_cannot_be_left(traced):
    class Handler(logging.Handler):
        def emit(self, record):
            raise RuntimeError

    handler, logger = Handler(), logging.getLogger("opentelemetry.context")
    logger.addHandler(handler)
    try:
        contextvars.copy_context().run(begin_call, ToolCall("search")).ended("found")
    finally:
        logger.removeHandler(handler)
    assert toolspan.stats()["search"].calls == 1
    assert traced.outcomes == ["ok"]


def test_an_end_that_is_told_twice_is_told_once(traced):
    live = begin_call(ToolCall("search"), PLAIN)
    live.ended("first")
    live.ended("second")
    live.raised(ValueError())
    assert traced.outcomes == ["ok"]
    assert toolspan.stats()["search"].outcomes == {"ok": 1}


@pytest.mark.parametrize("hook", [PLAIN, READ], ids=["plain", "read"])
@pytest.mark.contains
def test_a_call_is_counted_also_where_its_span_cannot_be_ended(traced, monkeypatch, hook):
    live = begin_call(ToolCall("search"), hook)

    def end(_time):
        raise OSError("full")

    monkeypatch.setattr(live.span, "end", end)
    live.ended("value")
    assert toolspan.stats()["search"].calls == 1


# -- a plain function is called without a search for the object that it is bound to


class Broken(Exception):
    """What a tool raises."""


@tool
def failing(number):
    """Fail."""
    raise Broken(number)


class Shelf:
    """The same function in a class."""

    failing = failing
    alone = staticmethod(failing)
    bare = property(failing)

    @tool
    def titled(self):
        """Fail."""
        raise Broken(self)


CALLS = {
    "function": lambda: failing(1),
    "by name": lambda: failing(number=1),
    "raw, out of the class": lambda: vars(Shelf)["failing"](1),
    "method": lambda: Shelf().failing(),
    "static method": lambda: Shelf.alone(1),
    "property": lambda: Shelf().bare,
    "method of its own": lambda: Shelf().titled(),
    "that one, raw": lambda: vars(Shelf)["titled"](Shelf()),
}


@pytest.mark.parametrize("way", CALLS)
def test_a_traceback_has_one_frame_of_ours_however_the_function_is_called(traced, way):
    with pytest.raises(Broken) as raised:
        CALLS[way]()
    files = [str(entry.path) for entry in raised.traceback]
    assert sum("/toolspan/" in file.replace("\\", "/") for file in files) == 1
    (span,) = traced.spans
    assert span.attributes["error.type"].endswith(".Broken")


def test_a_function_that_is_called_directly_looks_as_one_that_is_not():
    def original(number: int = 1) -> int:
        """Give it back."""
        return number

    ours = tool(original)
    assert ours.__call__ is not None
    assert callable(ours)
    assert inspect.signature(ours) == inspect.signature(original)
    assert inspect.isfunction(ours)
    assert not inspect.iscoroutinefunction(ours)
    assert (ours.__wrapped__, ours.__name__, ours.__doc__) == (
        original,
        "original",
        "Give it back.",
    )
    assert not TRACING.active
    assert ours(5) == 5


def test_a_mock_of_a_tools_call_is_of_no_effect_as_without_us():
    ours = tool(lambda: "found", name="search")
    with mock.patch.object(ours, "__call__", return_value="mocked"):
        assert ours() == "found"
    assert ours() == "found"


def test_what_is_put_below_a_layer_is_called():
    ours = tool(lambda: "found", name="search")
    ours.__wrapped__ = lambda: "another"
    assert ours() == "another"


def test_a_tool_can_be_called_by_way_of_its_type(traced):
    ours = tool(lambda text: text, name="search")
    assert type(ours).__call__(ours, "found") == "found"
    assert traced.outcomes == ["ok"]
