"""Each framework in each situation: the spans are what its tools wrote down, one by one."""

from __future__ import annotations

import contextlib
import importlib
from collections import Counter

import pytest

import ground_truth
import toolspan
from ground_truth import (
    PROGRAMS,
    README,
    SITUATIONS,
    act,
    calls_of,
    cannot,
    differences,
    readme_with,
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


def counted():
    """The outcomes of all calls, as the statistics have them; none is open."""
    rows = toolspan.stats().rows()
    assert [row.tool for row in rows if row.in_flight] == []
    return sum((Counter({w: n for w, n in row.outcomes.items() if n}) for row in rows), Counter())


def test_a_gap_has_the_name_of_a_situation():
    for name in ground_truth.FRAMEWORKS:
        assert ground_truth.gaps_of(name).keys() <= SITUATIONS.keys()


def test_the_readme_has_the_table_of_the_programs():
    """`python tests/ground_truth.py` writes it."""
    written = README.read_text(encoding="utf-8")
    assert readme_with(ground_truth.table()) == written
