"""Where a layer is placed: of a word's alternatives the first that exists, however modules come."""

from __future__ import annotations

import sys
import types

import pytest

import toolspan
from toolspan import registry
from toolspan.hooks import PLACEMENTS, Adapter, Hook
from toolspan.toolcall import ToolCall


@pytest.fixture
def modules(monkeypatch):
    """Two modules that have the function, and one that has it not."""
    made = {name: types.ModuleType(f"shelf_{name}") for name in ("first", "second", "empty")}
    for name, module in made.items():
        if name != "empty":
            module.run = lambda tool: tool
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "_REGISTERED", [*registry._REGISTERED])
    yield made
    toolspan.uninstrument()
    PLACEMENTS.pop("shelf", None)


def register(*paths):
    def read(call):
        return ToolCall(name=call.get("tool"))

    # The other word makes its module the one that is looked at first.
    words = Hook("shelf_second:other", read), Hook(paths, read)
    toolspan.register(Adapter("shelf", "packaging", ">=1", words))


@pytest.mark.parametrize(
    ("paths", "taken"),
    [
        (("shelf_first:run", "shelf_second:run"), "first"),
        (("shelf_empty:run", "shelf_second:run"), "second"),
        (("shelf_absent:run", "shelf_second:run"), "second"),
        (("shelf_second:run", "shelf_first:run"), "second"),
    ],
    ids=["both are there", "one has it not", "one is not there", "the other way round"],
)
def test_of_alternatives_the_first_that_exists_is_taken(traced, modules, paths, taken):
    register(*paths)
    for name in ("first", "second"):
        before = len(traced.tools)
        assert modules[name].run("hammer") == "hammer"
        assert (name == taken) is (len(traced.tools) > before)
