"""`call` around a block, `record` of what is over, `untraced`, and a program without provider."""

from __future__ import annotations

import asyncio
import enum
import logging
import math
import subprocess
import sys
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

import toolspan
from toolspan.adapters import LIST
from toolspan.settings import Settings
from toolspan.toolcall import FAILURES, WORDS

START = 1_700_000_000
BEFORE_1970 = datetime(1950, 1, 1, tzinfo=timezone.utc)
STARTED = datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)


@pytest.fixture
def said(caplog):
    """What toolspan logged so far, one entry a line."""
    caplog.set_level(logging.WARNING, "toolspan")
    return lambda: [one.getMessage() for one in caplog.records if one.name == "toolspan"]


# -- call ------------------------------------------------------------------------------------


def test_a_block_is_one_span_with_everything_it_was_told(trace_with):
    traced = trace_with(settings=Settings(capture=True))
    with toolspan.call(
        "search",
        {"query": "emma"},
        description="Search the shelves.",
        id="call_1",
        agent="clerk",
        conversation="talk",
        wait=1.5,
    ) as call:
        call.result = ["Emma"]
        call.cached = True
        call.attempts = 3
    (span,) = traced.spans
    assert span.name == "execute_tool search"
    expected = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Search the shelves.",
        "gen_ai.tool.call.id": "call_1",
        "gen_ai.agent.name": "clerk",
        "gen_ai.conversation.id": "talk",
        "gen_ai.tool.call.arguments": '{"query":"emma"}',
        "gen_ai.tool.call.result": '["Emma"]',
        "toolspan.outcome": "ok",
        "toolspan.wait": 1.5,
        "toolspan.cached": True,
        "toolspan.attempts": 3,
        "toolspan.arguments.size": 4,
        "toolspan.result.size": 4,
    }
    assert expected.items() <= dict(span.attributes).items()
    assert span.status.status_code is trace.StatusCode.UNSET


def test_an_async_block_is_the_same(traced):
    async def main():
        async with toolspan.call("search") as call:
            call.result = "found"
            await asyncio.sleep(0)

    asyncio.run(main())
    (span,) = traced.spans
    assert span.attributes["toolspan.result.size"] == 5


def test_content_is_written_only_where_this_call_or_the_settings_say_so(trace_with):
    traced = trace_with()
    for capture in (None, False, True):
        with toolspan.call("search", {"secret_plan": "canary"}, capture=capture) as call:
            call.result = "canary"
    assert ["canary" in span.to_json() for span in traced.spans] == [False, False, True]
    assert "canary" not in traced.spans[2].attributes["gen_ai.tool.call.arguments"]
    shown = [span.attributes.get("gen_ai.tool.call.result") for span in traced.spans]
    assert shown == [None, None, "canary"]


def test_nothing_is_rendered_where_no_span_records(trace_with):
    seen = []
    settings = Settings(capture=True, redactor=lambda _path, value, _tool: seen.append(value))
    for sampler, looked_at in ((ALWAYS_OFF, False), (ALWAYS_ON, True)):
        trace_with(settings=settings, sampler=sampler)
        with toolspan.call("search", {"query": "emma"}) as search:
            search.result = ["Emma"]
        assert bool(seen) is looked_at


def test_what_the_block_raises_passes_and_is_an_error(traced):
    error = ValueError("secret")
    with pytest.raises(ValueError, match="secret") as raised, toolspan.call("search"):
        raise error
    assert raised.value is error
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == "error"
    assert span.attributes["error.type"] == "ValueError"
    assert span.status.status_code is trace.StatusCode.ERROR
    assert "secret" not in span.to_json()


@pytest.mark.parametrize("word", WORDS)
def test_a_block_may_say_how_it_ended(traced, word):
    with toolspan.call("search") as call:
        call.outcome = word
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == word
    assert (span.status.status_code is trace.StatusCode.ERROR) is (word in FAILURES)
    assert span.attributes.get("error.type") == (word if word in FAILURES else None)


def test_an_exception_counts_more_than_what_the_block_said(traced):
    with pytest.raises(KeyError), toolspan.call("search") as call:
        call.outcome = "ok"
        raise KeyError
    assert traced.outcomes == ["error"]


@pytest.mark.parametrize("wrong", ["fine", "", 7, ["ok"], {"a": 1}])
def test_an_unknown_outcome_gets_one_line_and_is_an_error(traced, said, wrong):
    for _ in range(3):
        with toolspan.call("search") as call:
            call.outcome = wrong
    assert traced.outcomes == ["error"] * 3
    (line,) = said()
    assert all(word in line for word in WORDS)


@pytest.mark.parametrize("wrong", ["soon", None, object(), True, float("nan"), -1])
def test_a_wait_that_is_no_number_of_seconds_is_left_out(traced, said, wrong):
    with toolspan.call("search", wait=wrong):
        pass
    (span,) = traced.spans
    assert "toolspan.wait" not in span.attributes
    said = said()
    assert (wrong is None and not said) or (len(said) == 1 and "seconds" in said[0])


def test_the_span_is_current_in_the_block_and_gone_after_it(traced):
    with traced.tracer().start_as_current_span("around") as around:
        with toolspan.call("search"):
            with traced.tracer().start_as_current_span("inside"):
                pass
        assert trace.get_current_span() is around
    around, search, inside = traced.spans
    assert search.parent.span_id == around.context.span_id
    assert inside.parent.span_id == search.context.span_id


def test_a_block_inside_a_block_is_its_child_even_with_the_same_name(traced):
    with toolspan.call("search", {"a": 1}), toolspan.call("search", {"a": 1}):
        pass
    outer, inner = traced.spans
    assert inner.parent.span_id == outer.context.span_id


def test_a_block_may_be_entered_again(traced):
    block = toolspan.call("search", {"a": 1})
    for number in range(2):
        with block as call:
            call.result = number
    assert traced.outcomes == ["ok", "ok"]
    assert toolspan.stats()["search"].calls == 2
    first, second = traced.spans
    assert second.start_time > first.start_time


def test_a_block_without_instrumentation_does_nothing():
    with toolspan.call("search") as call:
        call.result = 1
    assert call.result == 1


def test_the_second_try_of_an_id_knows_the_first(traced):
    with traced.tracer().start_as_current_span("agent"):
        for _ in range(3):
            with toolspan.call("search", id="call_7"):
                pass
    spans = traced.tools
    assert [span.attributes.get("toolspan.attempt") for span in spans] == [None, 2, 3]
    assert [len(span.links) for span in spans] == [0, 1, 1]
    assert spans[2].links[0].context.span_id == spans[1].context.span_id
    assert toolspan.stats()["search"].first_attempts == 1


def test_an_id_that_is_no_text_gets_one_line_and_leaves_its_type(traced, said):
    for _ in range(2):
        with toolspan.call("search", id=uuid.UUID(int=7), conversation=7):
            pass
    span = traced.spans[0]
    assert span.attributes["gen_ai.tool.call.id"] == "uuid.UUID"
    assert span.attributes["gen_ai.conversation.id"] == "int"
    (line,) = said()
    assert "text" in line
    assert "uuid.UUID" in line


def test_text_of_a_kind_of_its_own_is_text(traced, said):
    class Agents(str, enum.Enum):
        CLERK = "clerk"

    with toolspan.call(Agents.CLERK, id=Agents.CLERK, agent=Agents.CLERK):
        pass
    (span,) = traced.spans
    assert span.name == "execute_tool clerk"
    assert span.attributes["gen_ai.tool.call.id"] == "clerk"
    assert span.attributes["gen_ai.agent.name"] == "clerk"
    assert said() == []


@pytest.mark.parametrize("name", [None, ""])
def test_a_call_without_a_name_is_called_unnamed(traced, name):
    with toolspan.call(name):
        pass
    toolspan.record(name, started=START, duration=1)
    assert {span.name for span in traced.spans} == {"execute_tool unnamed"}


@pytest.fixture
def elsewhere(monkeypatch):
    """This process, in another time zone."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# -- record ----------------------------------------------------------------------------------

MOMENTS = [
    (STARTED, START * 10**9),
    (STARTED.astimezone(timezone(timedelta(hours=5, minutes=30))), START * 10**9),
    (STARTED + timedelta(microseconds=123_456), START * 10**9 + 123_456_000),
    (START, START * 10**9),
    (float(START), START * 10**9),
    (START + 0.25, START * 10**9 + 250_000_000),
]


@pytest.mark.parametrize(("moment", "nanoseconds"), MOMENTS)
@pytest.mark.parametrize("duration", [0, 2, 0.125, 3_600.0])
def test_a_recorded_call_has_the_times_it_was_given(traced, moment, nanoseconds, duration):
    toolspan.record("search", started=moment, duration=duration)
    (span,) = traced.spans
    assert abs(span.start_time - nanoseconds) <= 1_000
    assert span.end_time - span.start_time == round(duration * 10**9)


def test_a_moment_of_today_is_exact_to_the_microsecond(traced):
    moment = datetime(2026, 11, 21, 10, 30, 15, 654_321, tzinfo=timezone.utc)
    toolspan.record("search", started=moment, duration=0.001)
    expected = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)
    assert traced.spans[0].start_time == expected * 1_000


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone cannot be set here")
def test_a_naive_moment_counts_as_utc_and_gets_one_line(traced, said, elsewhere):
    for _ in range(2):
        toolspan.record("search", started=STARTED.replace(tzinfo=None), duration=1)
    assert [span.start_time for span in traced.spans] == [START * 10**9] * 2
    (line,) = said()
    assert "UTC" in line


@pytest.mark.parametrize(
    "wrong",
    ["now", None, math.nan, math.inf, -1, 10**30, object(), timedelta(1), True, BEFORE_1970],
)
def test_a_moment_that_is_none_gets_one_line_and_the_call_is_counted(traced, said, wrong):
    before = time.time_ns()
    toolspan.record("search", started=wrong, duration=1)
    toolspan.record("search", started=wrong, duration=1)
    after = time.time_ns()
    assert toolspan.stats()["search"].calls == 2
    assert [before <= span.start_time <= after for span in traced.spans] == [True, True]
    (line,) = said()
    assert "seconds" in line


@pytest.mark.parametrize("wrong", ["long", None, float("nan"), -1, -0.5, 10**30, object()])
def test_a_duration_that_is_none_counts_as_zero(traced, said, wrong):
    toolspan.record("search", started=START, duration=wrong)
    (span,) = traced.spans
    assert (span.start_time, span.end_time) == (START * 10**9, START * 10**9)
    (line,) = said()
    assert "seconds" in line


@pytest.mark.parametrize("word", WORDS)
def test_a_recorded_call_has_the_outcome_it_was_given(traced, word):
    toolspan.record("search", started=START, duration=1, outcome=word)
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == word
    assert (span.status.status_code is trace.StatusCode.ERROR) is (word in FAILURES)
    assert toolspan.stats()["search"].outcomes == {word: 1}


def test_an_unknown_outcome_of_a_recorded_call_gets_one_line(traced, said):
    toolspan.record("search", started=START, duration=1, outcome="great")
    toolspan.record("search", started=START, duration=1, outcome="great")
    assert traced.outcomes == ["error", "error"]
    (line,) = said()
    assert "great" in line
    assert all(word in line for word in WORDS)


def test_the_exception_of_a_recorded_call_names_its_error(traced):
    toolspan.record("search", started=START, duration=1, error=KeyError("secret"))
    toolspan.record("search", started=START, duration=1, outcome="timeout", error=OSError())
    assert traced.outcomes == ["error", "timeout"]
    assert [s.attributes["error.type"] for s in traced.spans] == ["KeyError", "OSError"]
    assert "secret" not in traced.spans[0].to_json()


def test_everything_else_of_a_recorded_call_is_on_its_span(trace_with):
    traced = trace_with(settings=Settings(capture=True))
    toolspan.record(
        "search",
        started=START,
        duration=1,
        arguments={"query": "emma"},
        result="Emma",
        description="Search.",
        id="call_9",
        agent="clerk",
        conversation="talk",
    )
    expected = {
        "gen_ai.tool.call.arguments": '{"query":"emma"}',
        "gen_ai.tool.call.result": "Emma",
        "gen_ai.tool.description": "Search.",
        "gen_ai.tool.call.id": "call_9",
        "gen_ai.agent.name": "clerk",
        "gen_ai.conversation.id": "talk",
    }
    assert expected.items() <= dict(traced.spans[0].attributes).items()


def test_a_recorded_call_is_measured_and_belongs_where_it_was_recorded(traced):
    with traced.tracer().start_as_current_span("around"):
        toolspan.record("search", started=START, duration=2)
        toolspan.record("search", started=START, duration=4)
    (around,) = [span for span in traced.spans if span.name == "around"]
    assert {span.parent.span_id for span in traced.tools} == {around.context.span_id}
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert toolspan.stats()["search"].mean == pytest.approx(3, rel=0.01)
    assert toolspan.stats()["search"].in_flight == 0


def test_recording_without_instrumentation_does_nothing():
    calls = toolspan.stats().rows()
    toolspan.record("nobody", started=START, duration=1)
    assert [row.tool for row in toolspan.stats().rows()] == [row.tool for row in calls]


# -- untraced --------------------------------------------------------------------------------


def test_untraced_calls_give_no_span_and_are_not_counted(traced):
    add = toolspan.tool(max)
    with toolspan.untraced():
        assert add(1, 2) == 2
        with toolspan.call("search") as call:
            call.result = 1
        toolspan.record("search", started=START, duration=1)
        assert toolspan.dispatch({}, {"name": "max", "arguments": {}}).outcome == "unknown_tool"
        assert toolspan.dispatch({"time": time.time}, {"name": "time"}) > START
        with toolspan.run("work"):
            assert add(1, 3) == 3
    assert toolspan.stats().rows() == []
    assert traced.tools == []
    assert add(1, 2) == 2
    assert len(traced.tools) == 1


def test_untraced_is_inherited_by_tasks_and_ends_with_its_block(traced):
    @toolspan.tool
    async def fetch():
        await asyncio.sleep(0)

    async def main():
        with toolspan.untraced():
            task = asyncio.ensure_future(fetch())
        await fetch()
        await task

    asyncio.run(main())
    assert len(traced.spans) == 1


def test_untraced_leaves_other_telemetry_alone(traced):
    with toolspan.untraced(), traced.tracer().start_as_current_span("http"):
        pass
    assert [span.name for span in traced.spans] == ["http"]


def test_untraced_inside_untraced_stays_untraced(traced):
    add = toolspan.tool(max)
    block = toolspan.untraced()
    with block:
        with block:
            add(1, 2)
        add(1, 2)
    add(1, 2)
    assert len(traced.spans) == 1


def test_the_apis_own_suppression_is_heeded(traced):
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    with suppress_instrumentation():
        toolspan.tool(max)(1, 2)
    assert traced.spans == []


# -- no provider -----------------------------------------------------------------------------

NO_PROVIDER = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(name)s|%(levelname)s|%(message)s")
import toolspan

@toolspan.tool
def add(a, b):
    return a + b

toolspan.instrument()
for number in range(5):
    add(number, 1)
with toolspan.call("search"):
    pass
print(toolspan.stats()["add"].calls, toolspan.stats()["search"].calls)

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
add(1, 2)
print([span.name for span in exporter.get_finished_spans()], toolspan.stats()["add"].calls)
"""


def test_without_a_provider_one_line_names_configure_and_calls_are_counted():
    done = subprocess.run(
        [sys.executable, "-c", NO_PROVIDER], capture_output=True, text=True, check=True
    )
    said, counted, later = done.stdout.splitlines()
    assert said.startswith("toolspan|WARNING|")
    assert "toolspan.configure()" in said
    assert counted == "5 1"
    assert later == "['execute_tool add'] 6"
    assert done.stderr == ""


def test_a_wrong_framework_name_gets_one_line_with_what_is_allowed(trace_with, said):
    traced = trace_with("langchian")
    (line,) = said()
    assert "langchian" in line
    assert "langchain" in line
    assert "mcp" in line
    with toolspan.call("search"):
        pass
    assert len(traced.spans) == 1


ALLOWED = ", ".join(map(repr, dict.fromkeys(one.name for one in LIST)))


@pytest.mark.parametrize(
    ("names", "options", "line"),
    [
        ((["langchain"],), {}, f"takes names of frameworks; allowed: {ALLOWED}"),
        ((5,), {}, f"takes names of frameworks; allowed: {ALLOWED}"),
        ((), {"tracer_provider": 5}, "instrument(tracer_provider=...) takes a provider, not int"),
        ((), {"meter_provider": "x"}, "instrument(meter_provider=...) takes a provider, not str"),
    ],
)
def test_a_wrong_argument_of_instrument_is_one_line_and_counts_as_unset(
    names, options, line, caplog
):
    caplog.set_level("WARNING", logger="toolspan")
    toolspan.instrument(*names, **options)
    try:
        (said,) = [record.getMessage() for record in caplog.records if record.name == "toolspan"]
        assert line in said
        assert toolspan.status().active
    finally:
        toolspan.uninstrument()
