"""ToolStatistics against counters that the tests keep themselves."""

from __future__ import annotations

import gc
import json
import math
import os
import random
import signal
import sys
import threading
import time
import tracemalloc
import weakref
from contextlib import contextmanager
from html.parser import HTMLParser

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from toolspan import ToolStatistics, containment
from toolspan.foreign import attributes_of
from toolspan.statistics.sketch import Sketch
from toolspan.statistics.tally import TOGETHER
from toolspan.toolcall import Outcome, ToolCall

MILLISECOND = 10**6
SECOND = 10**9
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
may_fork = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def told(statistics, name="search", duration=MILLISECOND, error=None, **facts):
    """One whole call, as the core tells it."""
    size, type_ = facts.pop("size", None), facts.pop("type", None)
    call = ToolCall(name, **{"started": time.time_ns(), **facts})
    statistics.started(call)
    statistics.finished(call, Outcome(error=error, type=type_, size=size), duration)


def in_children(number, work):
    """What `work(n)` returns in each of `number` forked children, through JSON."""
    readers = []
    for n in range(number):
        reading, writing = os.pipe()
        if os.fork() == 0:
            status = 1
            try:
                signal.alarm(30)
                with os.fdopen(writing, "w") as file:
                    json.dump(work(n), file)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        readers.append(os.fdopen(reading))
    answers = []
    for reader in readers:
        with reader:
            answers.append(json.loads(reader.read() or "null"))
        os.wait()
    return answers


# -- counting ------------------------------------------------------------------------------------


def test_every_outcome_is_counted_and_a_refusal_is_not_measured():
    statistics = ToolStatistics()
    words = [None, "error", "tool_error", "timeout", "abandoned", "interrupted", "cancelled"]
    refusals = ["denied", "unknown_tool", "invalid_arguments"]
    for word in (*words, *refusals, None):
        told(statistics, error=word)
    row = statistics["search"]
    assert row.outcomes == dict.fromkeys([*words[1:], *refusals], 1) | {"ok": 2}
    assert row.calls == 11
    assert row.sketch.count == len(words) + 1
    assert row.failures == 6
    assert row.failure_rate == 6 / 8
    assert row.success_rate == 2 / 8


def test_rates_and_durations_of_nothing_are_nan():
    statistics = ToolStatistics()
    told(statistics, error="denied")
    row = statistics["search"]
    for number in (row.success_rate, row.failure_rate, row.latency(0.5), row.mean, row.min):
        assert math.isnan(number)


def test_first_attempts_and_retries_are_told_apart():
    statistics = ToolStatistics()
    for attempt in (1, 2, 3, 1):
        told(statistics, attempt=attempt)
    told(statistics, error="error", attempt=2)
    assert (statistics["search"].calls, statistics["search"].first_attempts) == (5, 2)


def test_durations_are_in_seconds():
    statistics = ToolStatistics()
    for milliseconds in (10, 20, 60):
        told(statistics, duration=milliseconds * MILLISECOND)
    row = statistics["search"]
    assert (row.min, row.mean, row.max) == (0.01, 0.03, 0.06)
    assert row.latency(0.5) == pytest.approx(0.02, rel=0.0055)


def test_a_clock_that_was_set_back_loses_no_call():
    statistics = ToolStatistics()
    for duration in (-5, 0, 2**70):
        told(statistics, duration=duration, size=3)
    row = statistics["search"]
    assert (row.calls, row.sketch.zeros, row.results_size) == (3, 2, 9)


def test_sizes_of_results_are_summed_for_good_and_failed_calls_alike():
    statistics = ToolStatistics()
    sizes = [5, None, 0, 700, None, 2**40]
    for number, size in enumerate(sizes):
        told(statistics, size=size, error="tool_error" if number == 3 else None)
    row = statistics["search"]
    assert (row.results, row.results_size, row.largest_result) == (4, 705 + 2**40, 2**40)


def test_the_last_error_is_its_type_or_else_its_word():
    statistics = ToolStatistics()
    told(statistics, error="error", type="builtins.ValueError")
    assert statistics["search"].last_error == "builtins.ValueError"
    told(statistics, error="timeout")
    told(statistics)
    told(statistics, error="cancelled", type="CancelledError")
    assert statistics["search"].last_error == "timeout"


def test_what_is_counted_together_is_never_behind_when_it_is_read():
    statistics = ToolStatistics()
    for number in range(1, 3 * TOGETHER):
        told(statistics, size=1)
        assert statistics["search"].calls == number
        assert statistics["search"].results == number


def test_calls_in_flight_are_counted_with_the_age_of_the_oldest():
    statistics = ToolStatistics()
    now = time.time_ns()
    old, young, other = (
        ToolCall("slow", started=now - 5 * SECOND),
        ToolCall("slow", started=now - SECOND),
        ToolCall("quick", started=now),
    )
    for call in (young, old, other):
        statistics.started(call)
    assert (statistics["slow"].in_flight, statistics["slow"].calls) == (2, 0)
    assert 5 <= statistics["slow"].oldest < 60
    statistics.finished(old, Outcome(), 5 * SECOND)
    assert statistics["slow"].in_flight == 1
    assert 1 <= statistics["slow"].oldest < 5
    statistics.finished(young, Outcome(error="cancelled"), SECOND)
    statistics.finished(other, Outcome(error="denied"), 0)
    assert [row.in_flight for row in statistics.rows()] == [0, 0]


def test_a_reset_counts_from_zero_and_keeps_what_is_in_flight():
    statistics = ToolStatistics()
    told(statistics)
    call = ToolCall("search", started=time.time_ns())
    statistics.started(call)
    since = statistics.since
    statistics.reset()
    assert (statistics["search"].calls, statistics["search"].in_flight) == (0, 1)
    assert statistics.since > since
    statistics.finished(call, Outcome(), 1_000)
    assert (statistics["search"].calls, statistics["search"].in_flight) == (1, 0)


def test_it_is_silent_while_it_is_not_enabled():
    statistics = ToolStatistics()
    told(statistics)
    running = ToolCall("search", started=time.time_ns())
    statistics.started(running)
    statistics.enabled = False
    told(statistics)
    with tracing(statistics) as tracer:
        tracer.start_span("x", attributes={"gen_ai.operation.name": "execute_tool"}).end()
    assert (statistics["search"].calls, statistics["search"].in_flight) == (1, 0)
    assert len(statistics) == 1
    statistics.enabled = True
    statistics.finished(running, Outcome(), 1_000)
    told(statistics)
    assert statistics["search"].calls == 3


def test_what_was_put_off_is_brought_in_before_every_reading(monkeypatch):
    statistics = ToolStatistics()
    monkeypatch.setattr(ToolStatistics, "before_reading", [lambda: told(statistics)])
    assert statistics["search"].calls == 1
    assert len(statistics) == 1
    str(statistics), statistics.to_dict(), iter(statistics), statistics._repr_html_()
    assert statistics["search"].calls == 7


@pytest.mark.contains
def test_a_preparation_that_fails_does_not_reach_the_reader(monkeypatch):
    statistics = ToolStatistics()
    told(statistics)
    monkeypatch.setattr(ToolStatistics, "before_reading", [lambda: 1 / 0])
    assert statistics["search"].calls == 1
    assert any("ZeroDivisionError" in kind for kind in containment.failures)


# -- threads and processes -----------------------------------------------------------------------


def test_nothing_is_lost_or_counted_twice_in_sixteen_threads():
    statistics, rounds, threads = ToolStatistics(), 1_500, 16
    sums = [0] * threads

    def work(number):
        chance = random.Random(number)
        for turn in range(rounds):
            duration = chance.randrange(1_000, 10**8)
            sums[number] += duration
            error = "error" if turn % 10 == 0 else None
            agent = "planner" if turn % 2 else None
            told(statistics, "search", duration, error, size=1, agent=agent)

    def read(done):
        while not done.is_set():
            statistics.rows()

    interval, done = sys.getswitchinterval(), threading.Event()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
        reader = threading.Thread(target=read, args=(done,))
        for thread in (*workers, reader):
            thread.start()
        for thread in workers:
            thread.join()
        done.set()
        reader.join()
    finally:
        sys.setswitchinterval(interval)
    row = statistics["search"]
    assert row.outcomes == {"ok": rounds * threads * 9 // 10, "error": rounds * threads // 10}
    assert row.sketch.total == sum(sums)
    assert row.sketch.count == row.first_attempts == row.results == row.results_size == 24_000
    assert row.in_flight == 0
    assert statistics["search", "planner"].calls == 12_000


def test_a_call_that_ends_at_any_moment_of_the_counting_is_counted_once():
    statistics, ended = ToolStatistics(), []

    def between_lines(_frame, event, _arg):
        if event == "line":  # here another thread may run
            ended.append(told(statistics, size=1))
        return between_lines

    def trace(frame, _event, _arg):
        return between_lines if frame.f_code.co_name == "settle" else None

    told(statistics, size=1)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for _ in range(5):
            statistics.rows()
    finally:
        sys.settrace(before)
    assert len(ended) > 5 * 5
    row = statistics["search"]
    assert row.calls == row.sketch.count == row.results == len(ended) + 1


def fill(statistics, seed):
    chance = random.Random(seed)
    for _ in range(1_000):
        error = chance.choice([None, None, "error", "denied"])
        duration = int(chance.lognormvariate(15, 2))
        told(statistics, chance.choice("ab"), duration, error, size=chance.randrange(100))


def comparable(statistics):
    """Everything that does not depend on the time of day."""
    rows = sorted(statistics.to_dict()["tools"], key=lambda row: row["tool"])
    return [{key: row[key] for key in row if key != "last_error"} for row in rows]


@forks
@may_fork
def test_eight_processes_merged_equal_one():
    def work(seed):
        statistics = ToolStatistics()
        fill(statistics, seed)
        return statistics.to_dict()

    merged = ToolStatistics()
    for part in in_children(8, work):
        merged = merged + ToolStatistics.from_dict(part)
    one = ToolStatistics()
    for seed in range(8):
        fill(one, seed)
    assert comparable(merged) == comparable(one)
    assert merged["a"].calls + merged["b"].calls == 8_000
    assert merged["a"].latency(0.95) == one["a"].latency(0.95)


@forks
@may_fork
def test_a_child_starts_at_zero_and_parent_and_children_sum_to_the_tools_own_counters():
    statistics = ToolStatistics()
    counters = {"search": 0, "read": 0}

    def run(name, times):
        for _ in range(times):
            counters[name] += 1
            told(statistics, name)

    run("search", 100)
    running = ToolCall("read", started=time.time_ns())
    statistics.started(running)
    since = statistics.since

    def work(n):
        counters.update(search=0, read=0)
        at_first = len(statistics)
        run("search", 10 + n)
        run("read", 5)
        return at_first, statistics.since > since, counters, statistics.to_dict()

    answers = in_children(4, work)
    statistics.finished(running, Outcome(), SECOND)
    counters["read"] += 1
    total = statistics
    for at_first, later, child_counters, part in answers:
        assert (at_first, later) == (0, True)
        for name, number in child_counters.items():
            counters[name] += number
        total = total + ToolStatistics.from_dict(part)
    assert {name: total[name].calls for name in total} == counters
    assert total["read"].in_flight == 0


@forks
@may_fork
def test_a_child_is_not_held_up_by_a_lock_of_the_parents_other_threads():
    statistics = ToolStatistics()
    told(statistics)
    locked, leave = threading.Event(), threading.Event()

    def hold():
        (tally,) = statistics._tallies.values()
        with tally._lock, statistics._labels._lock:
            locked.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait(30)

    def work(_):
        for _ in range(2 * TOGETHER):
            told(statistics, error="error")
        return statistics["search"].calls

    try:
        assert in_children(1, work) == [2 * TOGETHER]
    finally:
        leave.set()
        thread.join()


@forks
def test_a_signal_handler_that_calls_the_same_tool_does_not_hang():
    statistics = ToolStatistics()
    told(statistics)
    (tally,) = statistics._tallies.values()
    before = signal.signal(signal.SIGUSR1, lambda *_: told(statistics, error="error"))
    try:
        with tally._lock:
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert statistics["search"].calls == 2


def test_one_that_nobody_keeps_is_not_kept_alive_for_a_fork():
    statistics = ToolStatistics()
    told(statistics)
    seen = weakref.ref(statistics)
    del statistics
    gc.collect()
    assert seen() is None


# -- names ---------------------------------------------------------------------------------------


def test_a_million_names_are_bounded_in_number_and_memory():
    statistics = ToolStatistics()
    for number in range(1_000):
        told(statistics, f"tool {number}")
    call, outcome = ToolCall("", started=1), Outcome()

    def feed(start, stop):
        for number in range(start, stop):
            call.name = f"odd {number}"
            statistics.finished(call, outcome, 1_000)

    feed(0, 1_000)
    gc.collect()
    tracemalloc.start()
    feed(1_000, 20_000)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    feed(20_000, 1_000_000)
    assert grown < 20_000
    assert len(statistics.rows()) == 1_001
    assert statistics["_other"].calls == 1_000_000
    assert statistics["tool 7"].calls == 1


def test_a_tool_with_a_full_window_takes_at_most_ten_kilobytes():
    statistics, tools = ToolStatistics(), 20

    def feed(name):
        told(statistics, name, error="error", type="ValueError", agent="planner")
        for number in range(400):
            told(statistics, name, 1_000 + number, agent="planner", size=10**6 + number)
        for exponent in range(32):
            told(statistics, name, 1_000 << exponent, agent="planner", size=10**6)
        for number in range(TOGETHER - 1):
            told(statistics, name, 10**7 + number, agent="planner", size=10**6 + number)

    feed("first")
    names = [f"tool {number}" for number in range(tools)]
    gc.collect()
    tracemalloc.start()
    for name in names:
        feed(name)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert statistics[names[0]].sketch.nbytes == 8_192
    assert grown / tools <= 10_000


def test_agents_without_end_leave_the_tool_its_own_row():
    statistics = ToolStatistics(limit=5)
    for number in range(50):
        told(statistics, "search", agent=f"run-{number}")
    told(statistics, "read")
    assert {row.key for row in statistics.rows()} == {
        *(("search", f"run-{number}", "client") for number in range(5)),
        ("search", "_other", "client"),
        ("_other", None, "client"),
    }
    assert statistics["search"].calls == 50
    assert statistics["search", "_other"].calls == 45


class Hostile:
    def _fail(self, *_):
        raise SystemExit("host code was called")

    __hash__ = __eq__ = __str__ = __repr__ = __len__ = __iter__ = __bool__ = _fail
    __class__ = property(_fail)


class Name(str):
    __slots__ = ()
    __hash__ = __eq__ = __str__ = __repr__ = Hostile._fail


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (None, "NoneType"),
        (17, "int"),
        (Hostile(), f"{__name__}.Hostile"),
        (Name("x"), f"{__name__}.Name"),
        ("", ""),
        ("a" * 1_000_000, "a" * 128),
        ("two\nlines\t\0", "two lines  "),
        ("\x1b[31mred\x9b0m", " [31mred 0m"),
        ("right\u202eleft\u2028", "right left "),
        ("half \ud83d", "half ?"),
        ("<b>'\"&", "<b>'\"&"),
        ("sеarch", "sеarch"),  # noqa: RUF001  # a Cyrillic e: another tool than `search`
    ],
    ids=range(12),
)
def test_a_hostile_name_is_cleaned_and_never_asked(name, key):
    statistics = ToolStatistics()
    for error in (None, "error", None):
        told(statistics, name, error=error)
    told(statistics, "search", agent=name)
    assert {row.tool for row in statistics.rows()} == {key, "search"}
    assert statistics[key].calls == 3
    assert statistics["search", None if name is None else key].calls == 1
    json.dumps(statistics.to_dict()).encode()


# -- reading -------------------------------------------------------------------------------------


def test_agents_and_sides_are_apart_and_a_tool_is_merged_over_its_agents():
    statistics = ToolStatistics()
    told(statistics, "search", agent="planner")
    told(statistics, "search", agent="writer", kind="client", error="error")
    told(statistics, "search", kind="internal")
    for _ in range(5):
        told(statistics, "search", kind="server")
    told(statistics, "served", kind="server")
    assert statistics["search"].calls == 3
    assert statistics["search"].agent is None
    assert statistics["search", "planner"].outcomes == {"ok": 1}
    assert statistics["search", None].calls == 1
    assert statistics["search", None, "server"].calls == 5
    assert statistics["served"].side == "server"
    assert list(statistics) == ["search", "served"]
    assert len(statistics) == 2
    assert "search" in statistics
    assert "other" not in statistics


def test_an_unknown_tool_is_a_key_error_that_names_at_most_ten_known_ones():
    statistics = ToolStatistics()
    for number in range(14):
        told(statistics, f"tool {number:02}")
    with pytest.raises(KeyError, match=r"'nothing'.*'tool 00'.*'tool 09' and 4 more"):
        statistics["nothing"]
    with pytest.raises(KeyError, match="nobody"):
        statistics["tool 00", "nobody"]


def test_what_was_read_no_longer_changes():
    statistics = ToolStatistics()
    told(statistics)
    row = statistics["search"]
    told(statistics, error="error")
    assert (row.calls, row.failures) == (1, 0)


def test_a_sum_is_a_new_object_with_everything_of_both():
    first, second = ToolStatistics(slow=0.25), ToolStatistics()
    told(first, "search", 10 * MILLISECOND, size=5)
    told(second, "search", 30 * MILLISECOND, error="timeout", size=7)
    told(second, "read")
    both = first + second
    told(first), told(second)
    row = both["search"]
    assert row.outcomes == {"ok": 1, "timeout": 1}
    assert (row.mean, row.results_size, row.largest_result) == (0.02, 12, 7)
    assert (row.last_error, row.first_attempts) == ("timeout", 2)
    assert set(both) == {"search", "read"}
    assert (both.slow, both.since) == (0.25, min(first.since, second.since))
    with pytest.raises(TypeError):
        first + 1


def test_a_sum_is_bounded_too():
    first, second = ToolStatistics(limit=10), ToolStatistics(limit=10)
    for number in range(10):
        told(first, f"a {number}")
        told(second, f"b {number}")
    both = first + second
    assert len(both.rows()) == 11
    assert both["_other"].calls == 10


def test_a_dict_survives_json_with_everything_in_it():
    statistics = ToolStatistics()
    fill(statistics, 1)
    told(statistics, "served", agent="planner", kind="server", attempt=2)
    again = ToolStatistics.from_dict(json.loads(json.dumps(statistics.to_dict())), slow=0.5)
    assert again.to_dict() == statistics.to_dict()
    assert again.slow == 0.5
    told(again, "a")
    assert again["a"].calls == statistics["a"].calls + 1


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"version": 2, "since": 0, "tools": []},
        {"version": 1, "since": 0, "tools": [{"tool": "x"}]},
        {"version": 1, "since": 0, "tools": 5},
        {"version": 1, "since": "x", "tools": []},
    ],
)
def test_another_dict_is_refused_with_a_value_error(data):
    with pytest.raises(ValueError, match=r"allowed: 1|to_dict|invalid literal"):
        ToolStatistics.from_dict(data)


# -- the table -----------------------------------------------------------------------------------


def lines_of(statistics):
    return {line.split()[0]: line for line in str(statistics).splitlines()}


def test_the_table_flags_slow_and_failing_tools_and_says_why(capsys):
    statistics = ToolStatistics()
    told(statistics, "slow", 2 * SECOND)
    for error in ("error", None):
        told(statistics, "failing", error=error, type="ValueError")
    told(statistics, "refused", error="denied")
    told(statistics, "left", error="cancelled")
    told(statistics, "fine", SECOND)
    print(statistics)
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["slow"].split()[-1] == "SLOW"
    assert lines["failing"].endswith("ValueError  FAILING")
    assert "50 %" in lines["failing"]
    for name in ("refused", "left", "fine"):
        assert "SLOW" not in lines[name]
        assert "FAILING" not in lines[name]
    assert "over 1 s" in lines["SLOW:"]
    assert "under 90 %" in lines["FAILING:"]


def test_the_thresholds_can_be_set():
    statistics = ToolStatistics(slow=0.001, failing=0.4)
    told(statistics, "slow", 2 * MILLISECOND)
    for error in ("error", None):
        told(statistics, "failing", 1_000, error)
    assert "SLOW" in lines_of(statistics)["slow"]
    assert "FAILING" not in str(statistics)
    statistics.failing = 0.6
    assert "FAILING" in lines_of(statistics)["failing"]


def test_the_table_speaks_in_units_that_people_read():
    statistics = ToolStatistics()
    durations = {"µ": 42_000, "m": 3_140_000, "s": 2_710_000_000, "ten": 999_700_000_000}
    for name, duration in durations.items():
        told(statistics, name, duration)
    told(statistics, "h", 7_200 * SECOND)
    lines = lines_of(statistics)
    assert "42 µs" in lines["µ"]
    assert "3.14 ms" in lines["m"]
    assert "2.71 s" in lines["s"]
    assert "1000 s" in lines["ten"]
    assert "2.0 h" in lines["h"]


def test_one_failure_in_many_is_not_rounded_to_a_hundred_percent():
    statistics = ToolStatistics()
    for _ in range(9_999):
        told(statistics)
    told(statistics, error="error")
    assert "99.9 %" in lines_of(statistics)["search"]


def test_the_table_shows_what_is_in_flight_and_who_served():
    statistics = ToolStatistics()
    statistics.started(ToolCall("search", started=time.time_ns() - 90 * SECOND))
    told(statistics, "read", kind="server", agent="planner")
    lines = lines_of(statistics)
    assert "1 (90" in lines["search"]
    assert "planner  server" in lines["read"]


def test_the_table_says_when_the_resolution_was_halved():
    statistics = ToolStatistics()
    for duration in (10, 10**6, 10**13):
        told(statistics, duration=duration)
    assert "~1.01 ms" in lines_of(statistics)["search"]
    assert "1.1 %" in lines_of(statistics)["~"]


def test_an_empty_table_says_so():
    assert str(ToolStatistics()) == "no tool calls yet"
    assert "no tool calls yet" in ToolStatistics()._repr_html_()
    assert repr(ToolStatistics()) == "<ToolStatistics: 0 tools>"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not attrs

    def handle_data(self, data):
        self.text.append(data)


HOSTILE = "<script>alert('1')</script>&amp;\"\x1b]0;title\x07"


def test_hostile_text_is_only_text_in_a_notebook_and_harmless_in_a_terminal():
    statistics = ToolStatistics()
    told(statistics, HOSTILE, error="error", type=HOSTILE, agent=HOSTILE)
    tampered = statistics.to_dict()
    tampered["tools"][0]["last_error"] = [HOSTILE, 1]
    for shown in (statistics, ToolStatistics.from_dict(tampered)):
        page = Tags()
        page.feed(shown._repr_html_())
        page.close()
        assert page.tags <= {"table", "thead", "tbody", "tr", "th", "td", "p"}
        assert page.text.count("<script>alert('1')</script>&amp;\" ]0;title ") == 3
        assert all(letter.isprintable() or letter == "\n" for letter in str(shown))


# -- spans of others -----------------------------------------------------------------------------


@contextmanager
def tracing(statistics, scope="somebody", **options):
    provider = TracerProvider(shutdown_on_exit=False, **options)
    provider.add_span_processor(statistics)
    yield provider.get_tracer(scope)
    provider.shutdown()


FORMS = {
    "official": ("x", "execute_tool search", {"gen_ai.operation.name": "execute_tool"}),
    "openinference": ("x", "search", {"openinference.span.kind": "TOOL"}),
    "openinference, named": (
        "x",
        "FunctionTool.acall",
        {"openinference.span.kind": "TOOL", "tool.name": "search"},
    ),
    "openllmetry": (
        "x",
        "search.tool",
        {"traceloop.span.kind": "tool", "traceloop.entity.name": "search"},
    ),
    "logfire": ("logfire.openai_agents", "Function: {name}", {"logfire.msg": "Function: search"}),
    "adk": ("gcp.vertex.agent", "execute_tool search", {"gen_ai.tool.name": "search"}),
    "none beside": (
        "x",
        "call",
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search", "a": None},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_tool_span_of_others_is_counted_and_marked(form):
    scope, name, attributes = FORMS[form]
    statistics = ToolStatistics()
    with tracing(statistics, scope) as tracer:
        span = tracer.start_span(name, start_time=10**9)
        span.set_attributes(attributes)
        span.end(end_time=10**9 + 25 * MILLISECOND)
    row = statistics["search"]
    assert (row.calls, row.foreign, row.outcomes) == (1, 1, {"ok": 1})
    assert row.max == 0.025
    told(statistics)
    assert statistics["search"].foreign == 1
    assert "2*" in lines_of(statistics)["search"]
    assert "sampler" in lines_of(statistics)["*"]


NO_TOOLS = {
    "a request": ("GET /", {"http.request.method": "GET"}),
    "a model": ("chat m", {"gen_ai.operation.name": "chat"}),
    "an agent": ("invoke_agent a", {"gen_ai.operation.name": "invoke_agent"}),
    "a chain": ("chain", {"openinference.span.kind": "CHAIN"}),
    "a task": ("t.task", {"traceloop.span.kind": "task"}),
    "a name alone": ("execute_tool search", {}),
    "a None": ("x", {"gen_ai.operation.name": None, "openinference.span.kind": None}),
    "another method": ("tools/list", {"mcp.method.name": "tools/list"}),
    "an inner step": ("tools/call x", {"mcp.method.name": "tools/call"}),
    "a message": ("x", {"logfire.msg": "Function: search"}),
    "a summary": ("execute_tool (merged tools)", {"gen_ai.operation.name": "execute_tool"}),
    "already told": ("x", {"gen_ai.operation.name": "execute_tool", "toolspan.outcome": "ok"}),
}


@pytest.mark.parametrize("case", NO_TOOLS)
def test_another_span_is_not_counted(case):
    name, attributes = NO_TOOLS[case]
    statistics = ToolStatistics()
    with tracing(statistics) as tracer:
        tracer.start_span(name, attributes=attributes).end()
    assert len(statistics) == 0


@pytest.mark.parametrize("scope", ["toolspan", "openlit.instrumentation.pydantic_ai"])
def test_spans_of_ours_and_those_named_after_models_are_not_counted(scope):
    statistics = ToolStatistics()
    with tracing(statistics, scope) as tracer:
        attributes = {"gen_ai.operation.name": "execute_tool"}
        tracer.start_span("execute_tool x", attributes=attributes).end()
    assert len(statistics) == 0


@pytest.mark.parametrize(
    ("type_", "word"),
    [
        (None, "error"),
        ("ValueError", "error"),
        ("asyncio.exceptions.CancelledError", "cancelled"),
        ("GraphInterrupt", "interrupted"),
        ("tool_error", "tool_error"),
    ],
)
def test_how_a_call_of_others_ended_is_read_from_status_and_type(type_, word):
    statistics = ToolStatistics()
    with tracing(statistics) as tracer:
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.agent.name": "planner"}
        span = tracer.start_span("execute_tool search", attributes=attributes)
        if type_ is not None:
            span.set_attribute("error.type", type_)
        span.set_status(StatusCode.ERROR)
        span.end()
    assert statistics["search", "planner"].outcomes == {word: 1}


MCP = {"mcp.method.name": "tools/call", "gen_ai.tool.name": "search"}


def test_mcp_spans_count_on_their_side():
    statistics = ToolStatistics()
    with tracing(statistics) as tracer:
        for kind in (SpanKind.CLIENT, SpanKind.SERVER):
            tracer.start_span("tools/call search", kind=kind, attributes=MCP).end()
    assert statistics["search", None, "client"].calls == 1
    assert statistics["search", None, "server"].calls == 1


def test_a_client_span_inside_the_tool_span_of_the_same_call_is_the_same_call():
    statistics = ToolStatistics()
    with tracing(statistics) as tracer:
        outer = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "web__search"}
        with tracer.start_as_current_span("execute_tool web__search", attributes=outer):
            for name, mcp in (
                ("tools/call search", MCP),
                ("mcp tools/call", {"mcp.method.name": "tools/call"}),
                ("tools/call other", {**MCP, "gen_ai.tool.name": "other"}),
            ):
                tracer.start_span(name, kind=SpanKind.CLIENT, attributes=mcp).end()
    assert {name: statistics[name].calls for name in statistics} == {"web__search": 1, "other": 1}
    assert statistics._inner == set()


def test_the_mcp_sdks_own_client_span_counts_once_and_under_its_tools_name():
    sdk = {"kind": SpanKind.CLIENT, "attributes": {"mcp.method.name": "tools/call"}}
    statistics = ToolStatistics()
    with tracing(statistics) as tracer:
        tracer.start_span("MCP send tools/call alone", **sdk).end()
        for around in ("search", "web_search", "research"):
            with tracer.start_as_current_span(
                "its tool", attributes={**MCP, "gen_ai.tool.name": around}, kind=SpanKind.CLIENT
            ):
                tracer.start_span("MCP send tools/call search", **sdk).end()
    counted = {name: statistics[name].calls for name in statistics}
    assert counted == {"alone": 1, "search": 2, "web_search": 1, "research": 1}


def test_a_client_span_under_a_request_is_a_call():
    statistics = ToolStatistics()
    with tracing(statistics) as tracer, tracer.start_as_current_span("POST /"):
        tracer.start_span("tools/call search", kind=SpanKind.CLIENT, attributes=MCP).end()
    assert statistics["search"].calls == 1


def test_others_that_were_sampled_out_are_not_there():
    statistics = ToolStatistics()
    with tracing(statistics, sampler=ALWAYS_OFF) as tracer:
        tracer.start_span("execute_tool x", attributes=FORMS["official"][2]).end()
    assert len(statistics) == 0


def test_tools_known_only_from_others_are_counted_together_as_well():
    statistics = ToolStatistics()
    with tracing(statistics) as tracer:
        for _ in range(3 * TOGETHER):
            tracer.start_span("execute_tool search", attributes=FORMS["official"][2]).end()
    (tally,) = statistics._tallies.values()
    assert len(tally.durations) < TOGETHER
    assert statistics["search"].calls == 3 * TOGETHER


class Broken:
    def __bool__(self):
        raise ValueError


@pytest.mark.contains
def test_a_span_whose_attributes_cannot_be_read_ends_all_the_same():
    statistics = ToolStatistics()
    statistics.on_end(ReadableSpan("x", attributes=Broken()))
    assert len(statistics) == 0
    assert any("ValueError" in kind for kind in containment.failures)


@pytest.mark.parametrize("attributes", [None, {}, {"a": 1, "b": None}])
def test_the_quick_way_to_attributes_gives_what_the_public_one_gives(attributes):
    spans = []

    class Keep(ToolStatistics):
        def on_end(self, span):
            spans.append(span)

    with tracing(Keep()) as tracer:
        tracer.start_span("x", attributes=attributes).end()
    spans.append(ReadableSpan("x", attributes=attributes))
    for span in spans:
        assert attributes_of(span) == dict(span.attributes)


@pytest.mark.parametrize(
    ("option", "given", "used"),
    [("slow", "x", 1.0), ("slow", -1, 1.0), ("failing", 99, 0.9), ("failing", None, 0.9)],
)
def test_a_wrong_threshold_is_one_line_and_the_default(option, given, used, caplog):
    caplog.set_level("WARNING", logger="toolspan")
    containment.forget_said()
    statistics = ToolStatistics(**{option: given})
    assert getattr(statistics, option) == used
    (said,) = [record.getMessage() for record in caplog.records if record.name == "toolspan"]
    assert said.startswith(f"ToolStatistics({option}=...) takes a ")
    assert str(statistics)


def test_a_quantile_that_is_no_number_is_refused_clearly():
    with pytest.raises(ValueError, match="between 0 and 1, not at 'p95'"):
        Sketch().quantile("p95")
