"""Beside whoever else traces the same calls: one tool span for each, whoever was enabled first.

Each pair runs in children of its own, since no neighbour can be taken out again in any order.
"""

from __future__ import annotations

import importlib.util
from functools import cache

import pytest

from neighbours import (
    ALWAYS,
    FRAMEWORKS,
    GAPS,
    MCP,
    NEIGHBOURS,
    ORDERS,
    PAGE,
    PAIRS,
    SITUATIONS,
    VENDORS,
    After,
    cells,
    child,
    is_here,
    page,
    versions_of,
    written,
)

told = cache(child)
#: They have environments of their own: elsewhere a framework's own telemetry would run once more.
BESIDE = any(map(importlib.util.find_spec, ("openinference", "openlit")))
HERE = [cell for cell in cells() if BESIDE and is_here(*cell)]
DOUBLED = [(f, pair) for f, pairs in PAIRS.items() for pair in pairs if is_here(f, pair)]


@pytest.fixture(params=HERE, ids="-".join)
def cell(request):
    return request.param


@pytest.fixture(params=ORDERS)
def order(request):
    return request.param


def test_without_us_the_neighbour_has_tool_spans_of_its_own_or_none_at_all(cell):
    seen = told(*cell, "before")["alone"]
    found = [span for one in seen.values() for span in one["tools"]]
    tools = [span for span in found if span["scope"] not in ALWAYS or cell[1] == "native"]
    assert bool(tools) is NEIGHBOURS[cell[0]][cell[1]].tools
    assert [key for span in tools for key in span["said"] if key.startswith("toolspan")] == []


def test_beside_a_neighbour_the_spans_are_what_the_tools_wrote_down(cell, order):
    seen = told(*cell, order)["with us"]
    wrong = {situation: one["wrong"] for situation, one in seen.items() if one["wrong"]}
    gaps = {
        name: why
        for name, why in GAPS.get(cell, {}).items()
        if order == "after" or not isinstance(why, After)
    }
    assert {name: found for name, found in wrong.items() if name not in gaps} == {}
    fixed = [name for name in gaps if name in seen and name not in wrong]
    assert fixed == [], "they come out right: take the gaps out of the table"


def test_beside_a_neighbour_each_call_is_counted_once_and_as_it_ended(cell, order):
    seen = told(*cell, order)["with us"]
    assert {name: one["counted"] for name, one in seen.items()} == {
        name: one["outcomes"] for name, one in seen.items()
    }
    assert {name: one["open"] for name, one in seen.items() if one["open"]} == {}


def test_beside_a_neighbour_nothing_of_ours_fails(cell, order):
    seen = told(*cell, order)["with us"]
    assert {name: one["contained"] for name, one in seen.items() if one["contained"]} == {}


def test_what_the_neighbour_says_alone_it_says_with_us_too(cell):
    seen = told(*cell, "before")
    for situation, alone in seen["alone"].items():
        ours = [set(span["said"]) for span in seen["with us"][situation]["tools"]]
        for theirs in alone["tools"]:
            assert any(set(theirs["said"]) <= said for said in ours), situation


@pytest.mark.parametrize("pair", DOUBLED, ids="-".join)
def test_two_neighbours_double_each_other_and_we_add_nothing_and_count_once(pair, order):
    seen = told(*pair, order)["with us"]
    for situation, one in seen.items():
        assert one["counted"] == one["outcomes"], situation
        assert one["contained"] == [], situation
    tools, doubled = seen["sync"]["tools"], seen["sync"]["doubled"]
    scopes = sorted(span["scope"] for span in tools)
    assert len({*scopes}) == len(scopes) == 2
    assert "toolspan" not in scopes
    assert {span["said"].get("toolspan.outcome") for span in tools} == {"ok"}
    assert scopes in doubled


def test_every_cell_is_filled_and_runs_in_an_environment():
    assert {*NEIGHBOURS} - {*MCP} <= {*FRAMEWORKS}
    assert {tuple(row) for row in NEIGHBOURS.values()} == {VENDORS}
    assert [cell for cell in cells() if versions_of(*cell) is None] == []


def test_a_gap_has_the_name_of_a_cell_and_of_a_situation():
    assert set(GAPS) <= set(cells())
    assert {name for gaps in GAPS.values() for name in gaps} <= set(SITUATIONS)


def test_a_framework_of_which_nobody_has_looked_has_a_row_that_says_so(monkeypatch):
    assert "nobody has looked" not in page()
    others = {name: row for name, row in NEIGHBOURS.items() if name != "smolagents"}
    monkeypatch.setattr("neighbours.NEIGHBOURS", others)
    row = "| smolagents |" + " nobody has looked |" * len(VENDORS)
    assert page().count(row) == 1


def test_the_page_has_the_table():
    """`python tests/neighbours.py` writes it."""
    assert PAGE.read_text(encoding="utf-8") == written()
