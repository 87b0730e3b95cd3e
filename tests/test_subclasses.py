"""A hook in a class and in every class below it, present and later: one call is one span."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import sys
import types
import weakref
from abc import ABC, abstractmethod

import pytest

from toolspan.hooks import Adapter, Hook, Placement, Witness
from toolspan.lifecycle import wrapper_for
from toolspan.toolcall import Outcome, ToolCall


class Tool(ABC):
    """What users make their tools of."""

    name = "tool"

    @abstractmethod
    def call(self, value): ...

    @abstractmethod
    async def acall(self, value): ...


class Plain(Tool):
    name = "plain"

    def call(self, value):
        return value

    async def acall(self, value):
        return self.call(value)


class Inheriting(Plain):
    name = "inheriting"


class Loud(Plain):
    name = "loud"

    def call(self, value):
        return super().call(value) * 2

    async def acall(self, value):
        return await super().acall(value)


class Left(Plain):
    def call(self, value):
        return super().call(value)


class Right(Plain):
    def call(self, value):
        return super().call(value)


class Both(Left, Right):
    name = "both"

    def call(self, value):
        return super().call(value)


def seen(_value):
    """What a tool's body may call."""


def read(given):
    return ToolCall(given.instance.name, {"value": given.get("value")})


HOOKS = [Hook(f"host:Tool.{way}", read, inside=True, subclasses=True) for way in ("call", "acall")]
TOLD = Witness("host:seen", lambda given, _: Outcome(given.get("_value"), error="tool_error"))
ADAPTER = Adapter(name="host", distribution="host", versions=">=1", words=(*HOOKS, TOLD))
CLASSES = (Tool, Plain, Inheriting, Loud, Left, Right, Both)


def hooked(module, adapter=ADAPTER):
    module.placement = Placement(adapter, wrapper_for)
    module.placement.place()


@pytest.fixture
def module(monkeypatch):
    """A framework with classes of tools."""
    made = types.ModuleType("host")
    made.Tool, made.seen = Tool, seen
    monkeypatch.setitem(sys.modules, "host", made)
    yield made
    made.placement.remove()


@pytest.fixture
def host(traced, module):
    hooked(module)
    module.traced = traced
    return module


def names(host):
    """The tools of the spans, and whose child each is."""
    by_id = {span.context.span_id: span for span in host.traced.tools}
    return [
        (s.attributes["gen_ai.tool.name"], s.parent and by_id[s.parent.span_id].name)
        for s in host.traced.tools
    ]


def every(tool):
    """A call in both ways."""
    return tool.call("a"), asyncio.run(tool.acall("a"))


# -- present and later classes -------------------------------------------------------------------


def test_every_class_below_has_its_own_layer_or_an_inherited_one(host):
    assert every(Plain()) == every(Inheriting()) == ("a", "a")
    assert names(host) == [("plain", None)] * 2 + [("inheriting", None)] * 2
    assert "call" not in vars(Inheriting)


def test_a_class_made_later_is_hooked_as_it_is_made(host):
    class Later(host.Tool):
        name = "later"

        def call(self, value):
            return value

        async def acall(self, value):
            return value

    class Latest(Later):
        name = "latest"

        def call(self, value):
            return super().call(value)

    assert every(Later()) == every(Latest()) == ("a", "a")
    assert names(host) == [("later", None)] * 2 + [("latest", None)] * 2


@pytest.mark.parametrize("kind", [Loud, Both])
def test_what_a_class_calls_of_the_classes_above_is_the_same_call(host, kind):
    every(kind())
    assert names(host) == [(kind.name, None)] * 2


def test_a_body_that_runs_twice_is_two_spans(host):
    class Stubborn(Plain):
        name = "stubborn"

        def call(self, value):
            super().call(value)
            return super().call(value)

    assert Stubborn().call("a") == "a"
    assert names(host) == [("stubborn", None), ("stubborn", "execute_tool stubborn")]


def test_a_tool_that_calls_itself_is_a_span_for_each_time(host):
    class Recursive(Plain):
        name = "recursive"
        again = True

        def call(self, value):
            again, self.again = self.again, False
            return self.call(value) if again else super().call(value)

    assert Recursive().call("a") == "a"
    assert names(host) == [("recursive", None), ("recursive", "execute_tool recursive")]


def test_other_arguments_are_another_call(host):
    class Changing(Plain):
        name = "changing"

        def call(self, value):
            return super().call(value + "b")

    assert Changing().call("a") == "ab"
    assert names(host) == [("changing", None), ("changing", "execute_tool changing")]


def test_a_class_that_makes_up_for_what_the_one_above_raises_has_not_failed(host):
    class Failing(Plain):
        name = "forgiving"

        def call(self, value):
            host.seen(value)
            raise ValueError(value)

    class Forgiving(Failing):
        def call(self, value):
            try:
                return super().call(value)
            except ValueError:
                return "else"

    assert Forgiving().call("a") == "else"
    with pytest.raises(ValueError, match="a"):
        Failing().call("a")
    assert host.traced.outcomes == ["ok", "error"]


def test_an_inner_function_tells_the_call_of_any_class(host):
    class Telling(Plain):
        def call(self, value):
            host.seen(value)
            return value

    Telling().call("a")
    assert host.traced.outcomes == ["tool_error"]


# -- the host sees no difference -----------------------------------------------------------------


def all_of(kind):
    return dict(vars(kind))


def test_every_layer_goes_without_a_trace(traced, module):
    class Own(Tool):
        def __init_subclass__(cls, **_options):
            cls.marked = True

    before = {kind: all_of(kind) for kind in (*CLASSES, Own)}
    hooked(module)
    assert vars(Plain)["call"] is not before[Plain]["call"]
    module.placement.remove()
    assert {kind: all_of(kind) for kind in before} == before

    class Late(Plain):
        def call(self, value):
            return value

    assert type(vars(Late)["call"]) is types.FunctionType
    assert Late().call("a") == "a"
    assert traced.tools == []


def test_what_is_abstract_stays_abstract(host):
    class Half(host.Tool):
        def call(self, value):
            return value

        @abstractmethod
        async def acall(self, value): ...

    assert Half.__abstractmethods__ == {"acall"}
    assert type(vars(Half)["acall"]) is type(vars(Tool)["call"]) is types.FunctionType
    with pytest.raises(TypeError, match="abstract"):
        Half()


def test_what_is_no_function_is_left_alone(host):
    class Odd(host.Tool):
        call = None
        acall = property(lambda _self: 1)

    assert vars(Odd)["call"] is None
    assert Odd().acall == 1


class Registry:
    """A class beside the tools', that wants to know of those below it too."""

    known = ()

    def __init_subclass__(cls, /, label=None, **options):
        super().__init_subclass__(**options)
        Registry.known += ((cls.__name__, label),)


@pytest.mark.parametrize("bases", [(Plain, Registry), (Registry, Plain)], ids=["after", "before"])
def test_another_class_that_is_told_of_its_subclasses_is_still_told(host, bases):
    made = types.new_class("Registered", bases, {"label": "mine"})
    assert Registry.known[-1] == ("Registered", "mine")
    assert made().call("a") == "a"
    assert len(host.traced.tools) == 1


def test_a_class_that_refuses_what_it_is_told_refuses_it_as_before(host):
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        types.new_class("Wrong", (Plain,), {"label": "mine"})
    assert host.traced.tools == []


class Marking:
    """A root with an `__init_subclass__` of its own."""

    def __init_subclass__(cls, mark=None, **options):
        super().__init_subclass__(**options)
        cls.mark = mark

    name = "marking"


def test_the_roots_own_way_to_be_told_is_kept(traced, module):
    module.Tool = Marking
    own = vars(Marking)["__init_subclass__"]
    Marking.call = Marking.acall = Plain.call
    hooked(module)

    class Marked(Marking, mark="mine"):
        def call(self, value):
            return value

    assert (Marked.mark, Marked().call("a"), len(traced.tools)) == ("mine", "a", 1)
    module.placement.remove()
    assert vars(Marking)["__init_subclass__"] is own
    assert vars(Marking)["call"] is Plain.call


def test_a_class_is_not_kept_alive(host):
    class Short(Plain):
        def call(self, value):
            return super().call(value)

    Short().call("a")
    gone = weakref.ref(Short)
    del Short
    gc.collect()
    assert gone() is None
    assert len(host.traced.tools) == 1


def test_what_was_copied_while_hooked_works_after_the_hooks_are_gone(host):
    tool = Loud()
    kept = [copy.copy(tool), copy.deepcopy(tool), pickle.loads(pickle.dumps(tool)), tool]
    functions = [copy.copy(Loud.call), copy.deepcopy(Loud.call), pickle.loads(pickle.dumps(Loud))]
    assert functions == [Loud.call, Loud.call, Loud]
    host.placement.remove()
    assert [one.call("a") for one in kept] == ["aa"] * 4
    assert host.traced.tools == []


def test_below_somebody_elses_patch_the_layer_stays_and_gets_no_second(host):
    class Patched(Plain):
        name = "patched"

        def call(self, value):
            return value

    below, patched = Patched.call, []

    def theirs(self, value):
        patched.append(value)
        return below(self, value)

    Patched.call = theirs
    Patched().call("a")
    host.placement.remove()
    assert vars(Patched)["call"] is theirs
    hooked(host)
    Patched().call("a")
    assert (len(patched), names(host)) == (2, [("patched", None)] * 2)


def test_below_somebody_elses_way_to_be_told_ours_is_silent_when_the_hooks_are_gone(host):
    ours = Tool.__init_subclass__

    def theirs(cls, **options):
        ours.__func__(cls, **options)
        cls.told = True

    Tool.__init_subclass__ = classmethod(theirs)
    try:
        host.placement.remove()

        class Late(Plain):
            def call(self, value):
                return value

        assert Late.told
        assert type(vars(Late)["call"]) is types.FunctionType
    finally:
        del Tool.__init_subclass__
