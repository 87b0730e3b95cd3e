"""Layers that share a place: who acts, and in which order, whoever came and went before."""

from __future__ import annotations

import functools
import gc
import importlib
import itertools
import random
import sys
import threading
import time
import weakref

import pytest
import wrapt

import toolspan
from toolspan import registry
from toolspan.hooks import PLACEMENTS, Adapter, Hook
from toolspan.toolcall import ToolCall

HOST = """
def run(tool): return tool

class Tool:
    def run(self, tool): return tool
    def wait(self, tool): return tool
    @classmethod
    def make(cls, tool): return tool
    @staticmethod
    def look(tool): return tool

class Child(Tool): pass

class Member(Tool):
    def work(self, tool): return tool

ORIGINALS = {
    "run": run,
    "Member.work": Member.work,
    **{f"Tool.{name}": function for name, function in vars(Tool).items()},
}
"""
#: Where words sit: a function bound twice, methods, one that is inherited, a class and all below.
PLACES = ("run", "Tool.run", "Tool.make", "Tool.look", "Child.wait")
FAMILY = "Member.work"
NUMBERS = itertools.count()


class World:
    """A framework, three adapters of it that share every place, and others who patch it."""

    def __init__(self, folder):
        self.name = f"desk{next(NUMBERS)}"
        self.log = []
        self.patches = {}
        (folder / f"{self.name}.py").write_text(HOST)
        (folder / f"{self.name}_twin.py").write_text(f"from {self.name} import run")
        (folder / f"{self.name}_late.py").write_text(HOST)
        self.host = importlib.import_module(self.name)
        importlib.import_module(f"{self.name}_twin")
        for letter in "abc":
            toolspan.register(self.adapter(letter))

    def adapter(self, letter):
        places = [f"{self.name}{late}:{place}" for late in ("", "_late") for place in PLACES]
        also = (f"{self.name}_twin",)
        words = [
            Hook(p, self.read(letter), also=also if p.endswith(":run") else ()) for p in places
        ]
        words += [
            Hook(f"{self.name}:{FAMILY}", self.read(letter), subclasses=True, inside=True),
            Hook(f"{self.name}:Tool.run", self.read(f"{letter} again", span=False)),
        ]
        return Adapter(f"{self.name}-{letter}", "packaging", ">=1", tuple(words))

    def read(self, label, *, span=True):
        def read(invocation):
            self.log.append(label)
            return ToolCall(invocation.get("tool")) if span and label == "b" else None

        return read

    def places(self):
        """Each place that is there, with who holds it."""
        late = f"{self.name}_late"
        for module in (self.name, f"{self.name}_twin", late):
            if module in sys.modules:
                host = sys.modules[module]
                wanted = ("run",) if module.endswith("_twin") else (*PLACES, FAMILY)
                for place in wanted:
                    *parents, name = place.split(".")
                    if not (place == FAMILY and module == late):
                        yield (module, place), functools.reduce(getattr, parents, host), name

    def names(self, letters):
        return [f"{self.name}-{letter}" for letter in letters]

    def close(self):
        for name in self.names("abc"):
            PLACEMENTS.pop(name, None)

    # -- what happens to it

    def patch(self, key, owner, name, kind):
        """Somebody else's patch, in one of the ways in which it is done."""
        label, log = f"{kind} {len(self.patches.get(key, ()))}", self.log
        saved = vars(owner).get(name, MISSING)
        if kind in {"wrapt", "neighbour"}:

            def wrapper(wrapped, _instance, args, kwargs):
                log.append(label)
                return wrapped(*args, **kwargs)

            if kind == "neighbour":
                wrapper.__module__ = "openinference.instrumentation.desk"
            wrapt.wrap_function_wrapper(owner, name, wrapper)
        else:
            setattr(owner, name, _by_hand(owner, name, saved, label, log, kind))
        self.patches.setdefault(key, []).append((label, vars(owner)[name], saved))

    def undo(self, key, owner, name):
        """Whoever patched last puts back what stood there."""
        *_, saved = self.patches[key].pop()
        if saved is MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, saved)

    def standing_without_us(self, key):
        """What stands at a place where only the others were."""
        if self.patches.get(key):
            return self.patches[key][-1][1]
        return sys.modules[key[0].removesuffix("_twin")].ORIGINALS.get(key[1], MISSING)

    # -- what is seen of it

    def acting(self, traced, key, owner, name):
        """Who acted in one call, ours apart from the others, and how many spans it gave."""
        before = len(traced.spans)
        self.log.clear()
        instance = owner() if isinstance(owner, type) else owner
        assert getattr(instance, name)("hammer") == "hammer"
        ours = [label for label in self.log if label[0] in "abc" and label[1:] in {"", " again"}]
        theirs = [label for label in self.log if label not in ours]
        expected = [label for label, *_ in reversed(self.patches.get(key, []))]
        assert theirs == expected, key
        return ours, len(traced.spans) - before


MISSING = object()


def _by_hand(owner, name, saved, label, log, kind):
    """A function around what stands there, of the same kind as that."""
    kept = functools.wraps if kind == "wraps" else lambda _: lambda function: function
    if isinstance(saved, classmethod):
        below = getattr(owner, name)

        @kept(below)
        def patched(_cls, *args):
            log.append(label)
            return below(*args)

        return classmethod(patched)
    below = getattr(owner, name)

    @kept(below)
    def patched(*args):
        log.append(label)
        return below(*args)

    return staticmethod(patched) if isinstance(saved, staticmethod) else patched


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_REGISTERED", [*registry._REGISTERED])
    made = []

    def new():
        made.append(World(tmp_path))
        return made[-1]

    yield new
    toolspan.uninstrument()
    for one in made:
        one.close()


def fresh(world, trace_with, letters):
    """Who acts where all is new: at each place its words in order."""
    toolspan.uninstrument()
    other = world()
    importlib.import_module(f"{other.name}_late")
    traced = trace_with(*other.names(sorted(letters)))
    order = {
        (key[0].removeprefix(other.name), key[1]): other.acting(traced, key, *place)
        for key, *place in other.places()
    }
    toolspan.uninstrument()
    return order


@pytest.fixture
def orders(world, trace_with):
    return functools.cache(lambda letters: fresh(world, trace_with, letters))


@pytest.mark.parametrize("seed", range(30))
def test_whoever_came_and_went_each_call_passes_the_same_words_in_the_same_order(
    seed, world, trace_with, orders
):
    choose, one = random.Random(seed), world()
    expected = {letters: orders(letters) for letters in POSSIBLE}
    wanted, exposed = frozenset(), set()
    traced = trace_with(*one.names("a"))
    toolspan.uninstrument()
    for _ in range(30):
        act = choose.choice(["on", "on", "off", "patch", "patch", "undo", "late"])
        key, owner, name = choose.choice(list(one.places()))
        if act == "on":
            letters = choose.sample("abc", choose.randint(1, 3))
            wanted |= {*letters}
            exposed.clear()
            traced = trace_with(*one.names(letters))
            for at, *place in one.places():
                known = at[0].removeprefix(one.name), at[1]
                assert one.acting(traced, at, *place) == expected[wanted][known], at
        elif act == "off":
            toolspan.uninstrument()
            wanted = frozenset()
            for at, *place in one.places():
                assert one.acting(traced, at, *place) == ([], 0), at
                standing = vars(place[0]).get(place[1], MISSING)
                assert standing is one.standing_without_us(at) or at in exposed, at
        elif act == "patch":
            one.patch(key, owner, name, choose.choice(["plain", "wraps", "wrapt", "neighbour"]))
        elif act == "undo" and one.patches.get(key):
            one.undo(key, owner, name)
            exposed |= {key} if not wanted else set()
        elif act == "late":
            importlib.import_module(f"{one.name}_late")


POSSIBLE = [
    frozenset(letters) for size in (1, 2, 3) for letters in itertools.combinations("abc", size)
]


def test_a_neighbour_stays_outside_of_who_goes_below_it_and_inside_of_who_does_not(
    world, trace_with
):
    one = world()
    hook = Hook(f"{one.name}:Tool.run", one.read("b"))
    first = Hook(f"{one.name}:Tool.run", one.read("d"), decide=(f"{one.name}:run",))
    toolspan.register(Adapter(f"{one.name}-a", "packaging", ">=1", (first,)))
    toolspan.register(Adapter(f"{one.name}-b", "packaging", ">=1", (hook,)))
    one.patch((one.name, "Tool.run"), one.host.Tool, "run", "neighbour")
    theirs = vars(one.host.Tool)["run"]
    for names in (one.names("a"), one.names("b")):  # b comes later, and sits nearer
        trace_with(*names)
    one.host.Tool().run("hammer")
    assert one.log == ["d", "neighbour 0", "b"]
    toolspan.uninstrument()
    assert vars(one.host.Tool)["run"] is theirs


def test_a_class_that_nobody_needs_is_not_kept_by_its_layers(world, trace_with):
    one = world()
    trace_with(*one.names("abc"))
    later = type("Later", (one.host.Member,), {"work": lambda self, tool: tool})
    one.log.clear()
    later().work("hammer")
    assert one.log == ["c", "b", "a"]
    gone = weakref.ref(later)
    del later
    gc.collect()
    assert gone() is None


def test_who_tells_of_classes_to_come_goes_with_the_last_of_several_words(world, trace_with):
    one = world()
    for letters in ("b", "a", "c"):
        trace_with(*one.names(letters))
    assert "__init_subclass__" in vars(one.host.Member)
    toolspan.uninstrument()
    assert "__init_subclass__" not in vars(one.host.Member)


def held_up(frame, event, _what):
    """Let the other threads run between any two lines of who looks first and acts then."""
    if event == "line":
        time.sleep(0.0002)
    return held_up if frame.f_code.co_name in {"enlist", "_wanted", "want"} else None


def test_adapters_registered_in_many_threads_while_one_instruments_are_all_there(world, trace_with):
    one = world()
    names = [f"{one.name}_{number}" for number in range(16)]
    for name in names:
        setattr(one.host, name, lambda tool: tool)
    gate = threading.Barrier(5)

    def register(mine):
        gate.wait()
        for name in mine:
            hook = Hook(f"{one.name}:{name}", one.read(name))
            toolspan.register(Adapter(name, "packaging", ">=1", (hook,)))

    threads = [threading.Thread(target=register, args=(names[n::4],)) for n in range(4)]
    threading.settrace(held_up)
    for thread in threads:
        thread.start()
    gate.wait()
    trace_with()
    threading.settrace(None)
    for thread in threads:
        thread.join(20)
    for _ in ("placed by whoever registered it or instrumented", "known when all is placed anew"):
        one.log.clear()
        for name in names:
            getattr(one.host, name)("hammer")
        assert one.log == names
        toolspan.uninstrument()
        trace_with()
    for name in names:
        PLACEMENTS.pop(name, None)
