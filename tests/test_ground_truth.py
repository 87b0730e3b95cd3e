"""Each framework in each situation: the spans are what its tools wrote down, one by one."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

import ground_truth
import toolspan
from ground_truth import (
    PROGRAMS,
    RAN,
    SITUATIONS,
    TESTS,
    act,
    calls_of,
    cannot,
    differences,
    tool_spans,
)
from toolspan.settings import Settings


def modes(name):
    """The ways in which a framework runs: as it is, and with its own telemetry."""
    return ["plain", *getattr(importlib.import_module(PROGRAMS[name]), "MODES", ())]


@pytest.fixture(params=[(name, mode) for name in PROGRAMS for mode in modes(name)], ids=" ".join)
def way(request):
    """A program, and the mode in which it runs."""
    name, mode = request.param
    found = importlib.import_module(PROGRAMS[name])
    return found, getattr(found, "MODES", {}).get(mode, contextlib.nullcontext)


@pytest.fixture
def program(way):
    return way[0]


@pytest.fixture(params=SITUATIONS)
def situation(request, program):
    """A situation that the framework has and this environment can bring about."""
    missing = cannot(program, request.param)
    if missing:
        pytest.skip(missing)
    return request.param


def test_the_spans_are_what_the_tools_wrote_down(trace_with, way, program, situation):
    traced = trace_with(settings=Settings(capture=True))
    with way[1](traced.provider):
        act(program, situation)
    wrong = differences(calls_of(program, situation), traced.spans)
    if situation in program.GAPS:
        assert wrong, "it comes out right: take the gap out of the program"
    else:
        assert wrong == []
        assert counted() == Counter(traced.outcomes)
        assert [span.name for span in traced.tools if is_ours(span) and is_ok(span)] == []


def is_ours(span):
    return span.instrumentation_scope.name == "toolspan"


def is_ok(span):
    return span.status.status_code.name == "OK"


CONTENT = (b"no such city", b"broken", b"sums", b'one"')


@pytest.mark.parametrize("told", ["raising", "soft error", "invalid arguments", "agent as a tool"])
def test_without_content_a_tools_span_says_how_it_ended_and_none_of_its_texts(
    trace_with, way, program, told
):
    if missing := cannot(program, told) or program.GAPS.get(told):
        pytest.skip(missing)
    traced = trace_with()
    with way[1](traced.provider):
        act(program, told)
    wanted = Counter(call.outcome for call in calls_of(program, told))
    tools = tool_spans(traced.spans)
    assert Counter(span.attributes["toolspan.outcome"] for span in tools) == wanted
    exported = encode_spans(traced.tools).SerializeToString()
    assert [text for text in CONTENT if text in exported] == []


def test_a_frameworks_own_span_is_there_without_us_and_is_the_one_with_us(trace_with, way, program):
    alone = trace_with()
    toolspan.uninstrument()
    with way[1](alone.provider):
        act(program, "sync")
    theirs = {span.instrumentation_scope.name for span in tool_spans(alone.spans)}
    assert bool(theirs) is (way[1] is not contextlib.nullcontext)
    traced = trace_with()
    with way[1](traced.provider):
        act(program, "sync")
    (span,) = tool_spans(traced.spans)
    assert span.instrumentation_scope.name in (theirs or {"toolspan"})
    assert span.attributes["toolspan.outcome"] == "ok"


IN_A_CHILD = """
import ground_truth
exporter = ground_truth.instrumented()
import PROGRAM as program
ground_truth.show(program, exporter)
"""


@pytest.mark.parametrize("name", PROGRAMS)
def test_whoever_instruments_before_the_import_sees_the_same(name):
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD.replace("PROGRAM", PROGRAMS[name])],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, *lines = done.stdout.splitlines()
    assert [line[:24].strip() for line in lines] == list(SITUATIONS)
    gaps = ground_truth.gaps_of(name) | ground_truth.gaps_of_older(name)
    wrong = [line for line in lines if line[53:].strip() and line[:24].strip() not in gaps]
    assert [line for line in wrong if not line.endswith("is in another environment")] == []
    figures = {line[:24].strip(): [*map(int, line[24:53].split())] for line in lines}
    ran = {name: told for name, told in figures.items() if told and name not in gaps}
    assert len(ran) >= len(SITUATIONS) - len(gaps) - 1  # MCP's tools may be in another environment
    assert [name for name, (done, refused, spans) in ran.items() if done + refused != spans] == []


def counted():
    """The outcomes of all calls, as the statistics have them; none is open."""
    rows = toolspan.stats().rows()
    assert [row.tool for row in rows if row.in_flight] == []
    return sum((Counter({w: n for w, n in row.outcomes.items() if n}) for row in rows), Counter())


# -- the comparison itself -----------------------------------------------------------------------

(RIGHT,) = SITUATIONS["sync"]
WRONG = {
    "a span too many": [],
    "a span too few": [RIGHT, RIGHT],
    "name": [replace(RIGHT, name="sub")],
    "arguments": [replace(RIGHT, arguments={"a": 1, "b": 3})],
    "outcome": [replace(RIGHT, outcome="tool_error")],
    "refused": [replace(RIGHT, outcome="denied")],
    "call id": [replace(RIGHT, id="call-2")],
    "agent": [replace(RIGHT, agent="boss")],
    "parent": [replace(RIGHT, path=())],
}
LIES = {
    "an execution too few": RAN.clear,
    "an execution too many": lambda: RAN.append(RAN[0]),
    "another span in the body": lambda: RAN.append(replace(RAN.pop(), span_id=1)),
}


@pytest.fixture
def right(trace_with):
    """What a situation comes to when all is right."""
    traced = trace_with(settings=Settings(capture=True))
    RAN.clear()
    with toolspan.run("run", agent="helper"), toolspan.call("add", RIGHT.arguments, id=RIGHT.id):
        ground_truth.add(**RIGHT.arguments)
    assert differences([RIGHT], traced.spans) == []
    return traced


@pytest.mark.parametrize("wrong", WRONG)
def test_a_span_that_says_otherwise_is_seen(right, wrong):
    assert differences(WRONG[wrong], right.spans)


@pytest.mark.parametrize("lie", LIES)
def test_a_tool_that_saw_otherwise_is_believed(right, lie):
    LIES[lie]()
    assert differences([RIGHT], right.spans)


def test_a_run_in_two_traces_and_a_trace_of_two_runs_are_seen(trace_with):
    traced = trace_with(settings=Settings(capture=True))
    RAN.clear()
    for _ in range(2):
        with (
            toolspan.run("run", agent="helper"),
            toolspan.call("add", RIGHT.arguments, id="call-1"),
        ):
            ground_truth.add(**RIGHT.arguments)
    assert differences([RIGHT, replace(RIGHT, run=1)], traced.spans) == []
    assert differences([RIGHT, RIGHT], traced.spans)
    traced.exporter.clear()
    RAN.clear()
    with toolspan.run("run", agent="helper"):
        for _ in range(2):
            with toolspan.call("add", RIGHT.arguments, id="call-1"):
                ground_truth.add(**RIGHT.arguments)
    assert differences([RIGHT, RIGHT], traced.spans) == []
    assert differences([RIGHT, replace(RIGHT, run=1)], traced.spans)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_gap_is_acted_or_its_frameworks_names_are_watched(name):
    program = importlib.import_module(PROGRAMS[name])
    watched = getattr(program, "WATCHED", {})
    assert watched.keys() <= program.GAPS.keys() <= watched.keys() | program.SITUATIONS.keys()
    for pattern, *places in watched.values():
        names = {f"{place} {one}" for place in places for one in ground_truth.names_of(place)}
        filled = [one for one in names if re.search(pattern, one.split()[1], re.IGNORECASE)]
        assert filled == [], "look whether that fills the gap"


def test_the_names_of_a_place_are_its_attributes_fields_and_parameters():
    assert {"parent", "is_dir"} <= ground_truth.names_of("pathlib:Path")
    assert {"timeout", "capture_output"} <= ground_truth.names_of("subprocess:run")
    assert "gaps_of" in ground_truth.names_of("ground_truth")
    assert {"outcome", "turn"} <= ground_truth.names_of("ground_truth:Call")
    with pytest.raises(AttributeError):
        ground_truth.names_of("ground_truth:nowhere")


def test_a_gap_has_the_name_of_a_situation():
    for name in ground_truth.FRAMEWORKS:
        gaps = ground_truth.gaps_of(name), ground_truth.gaps_of(name, "YOUNGER")
        assert set().union(*gaps) <= SITUATIONS.keys()
