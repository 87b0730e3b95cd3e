"""What every adapter owes its host, the same tests for each: docs/architecture.md, the contract."""

from __future__ import annotations

import copy
import functools
import gc
import importlib
import inspect
import itertools
import json
import os
import pickle
import pkgutil
import subprocess
import sys
import threading
import time
import traceback
import types
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import pytest
import wrapt
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

import toolspan
from toolspan import containment
from toolspan.hooks import Adapter, Mute
from toolspan.lifecycle import drain
from toolspan.settings import Settings
from toolspan.testing.hostile import ERRORS, HOSTILE, LOOKS, NAMES, Box
from toolspan.testing.places import (
    holder_of,
    is_inherited,
    patch_with_setattr,
    patch_with_wrapt,
    paths_of,
    seats_of,
    stored,
)
from toolspan.toolcall import NAME_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from toolspan.testing.tracing import Traced, Tracings


class Program(Protocol):
    """A scripted program of the framework, usually a module: real package, no network."""

    __name__: str
    #: Ways for a value into a tool and back. `injected` and `async`, which there must be, hand the
    #: object itself through; the others may do with it what the framework does.
    DOORS: Mapping[str, Callable[[Any], Any]]
    #: What a host of this framework may copy and pickle.
    OBJECTS: Mapping[str, Any]
    # Where the adapter hooks every class below one, there is MEMBER too: one that `call` passes.

    def call(self, value: str) -> str:
        """Call a tool that gives back its argument."""

    def raising(self, error: BaseException) -> Any:
        """Call a tool that raises `error`, which comes out."""

    def named(self, name: str) -> str:
        """Call a tool of that name, which gives back `ok`."""

    def schemas(self) -> str:
        """What a model is told of a tool that is made just now, byte for byte."""


#: What there must be in every program.
PROGRAM: Final = ("DOORS", "OBJECTS", "call", "raising", "named", "schemas")


def whole(program: Program) -> Program:
    """Give it back, if nothing is missing in it.

    Raises:
        TypeError: something is.
    """
    missing = [name for name in PROGRAM if not hasattr(program, name)]
    if missing:
        raise TypeError(f"adapter_contract(): its program has no {', '.join(missing)}")
    return program


class Named:
    """A program that is imported when a test of its contract asks for it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, _test: object, _owner: type) -> Program:
        return whole(importlib.import_module(self.name))


#: Whose frames in a traceback are ours.
OURS: Final = (str(Path(toolspan.__file__).parent), str(Path(wrapt.__file__).parent))
CANARY: Final = "canary-5d1c"
SETTINGS: Final = {
    "content off": Settings(capture=False, fingerprint_key=b"k" * 32),
    "content on": Settings(capture=True, fingerprint_key=b"k" * 32),
}
COSTLY: Final = ("H6 text", "H6 bytes", "H6 list", "H6 dict", "H5 shared")
#: What a huge value may add to a call, in seconds of its thread.
ALLOWED: Final = 0.05
TRIES: Final = 5

with_any_settings: Final = pytest.mark.parametrize(
    "settings", SETTINGS.values(), ids=SETTINGS.keys()
)


# -- what a host can see -------------------------------------------------------------------------

ASKED: Final[tuple[Callable[[Any], object], ...]] = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
    inspect.isfunction,
    inspect.ismethod,
    inspect.isroutine,
    inspect.getdoc,
    inspect.getsourcefile,
    callable,
    lambda function: str(inspect.signature(function)),
    lambda function: isinstance(function, types.FunctionType),
    lambda function: function.__annotations__,
    lambda function: (function.__defaults__, function.__kwdefaults__, function.__code__),
    lambda function: (function.__module__, function.__name__, function.__qualname__),
)
COPIES: Final[dict[str, Callable[[Any], Any]]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),  # noqa: S301  # it was ours
}


def _looks(path: str) -> tuple[list[object], dict[str, object]]:
    """All that a host can learn of the function at a path."""
    function = pkgutil.resolve_name(path)
    asked = () if inspect.isclass(function) else ASKED  # which wrapt does not stand for in all
    return [ask(function) for ask in asked], _copied(function)


def _copied(thing: Any) -> dict[str, object]:
    """What each way to copy gives: the very thing, one equal to it, of its type, or an error."""
    return {name: _ending(way, thing) for name, way in COPIES.items()}


def _ending(way: Callable[[Any], Any], thing: Any) -> object:
    try:
        twin = way(thing)
    except Exception as error:  # noqa: BLE001  # it must be the same with us
        return type(error).__name__
    return twin == thing, twin.__class__.__name__


def _raised(program: Program, error: BaseException) -> tuple[object, ...]:
    """The frames of the host, and what hangs on the exception, after it went through a tool."""
    error.__traceback__ = None
    with pytest.raises(type(error)) as caught:
        program.raising(error)
    assert caught.value is error
    frames = [
        (frame.filename, frame.name)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(OURS)
    ]
    return frames, error.__cause__, error.__context__, error.__suppress_context__, vars(error)


def _went_out(program: Program, error: BaseException) -> tuple[bool, list[str]]:
    """Whether the very exception came out, and every look at it on the way."""
    LOOKS.clear()
    try:
        program.raising(error)
    except BaseException as caught:  # noqa: BLE001  # it may be any
        return caught is error, list(LOOKS)
    return False, list(LOOKS)


IN_A_CHILD: Final = """
import json, pkgutil, sys
import toolspan
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

where, program = sys.argv[1:]
adapter = pkgutil.resolve_name(where)
toolspan.register(adapter)
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
toolspan.instrument(tracer_provider=provider)
loaded = {name.partition(".")[0] for name in sys.modules}
assert pkgutil.resolve_name(program).call("hello") == "hello"
print(json.dumps([sorted(loaded), [span.name for span in exporter.get_finished_spans()]]))
"""


class AdapterContract:
    """The tests; `adapter_contract()` makes a class of them for one adapter."""

    #: `package.module:NAME` of the adapter.
    where: ClassVar[str]
    adapter: ClassVar[Adapter]
    program: ClassVar[Program]

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Run what is about a place for every place of the adapter."""
        if "path" in metafunc.fixturenames:
            metafunc.parametrize("path", seats_of(cls.adapter, cls.program))

    @pytest.fixture(autouse=True)
    def _loud_containment(self) -> Iterator[None]:
        """Whatever toolspan contained during a test fails it."""
        seen: list[tuple[str, Exception]] = []

        def witness(place: str, error: Exception) -> None:
            seen.append((place, error))

        containment.witnesses.append(witness)
        yield
        drain()
        containment.witnesses.remove(witness)
        if seen:
            raise AssertionError(f"contained in {seen[0][0]}") from seen[0][1]

    @pytest.fixture(autouse=True)
    def _quiet_context(self, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
        """No test leaves a context that could not be detached."""
        caplog.set_level("ERROR", logger="opentelemetry.context")
        yield
        gc.collect()
        records = caplog.get_records("call")
        assert not [one for one in records if one.name == "opentelemetry.context"]

    @pytest.fixture
    def trace_with(self, toolspan_tracings: Tracings[Traced]) -> Tracings[Traced]:
        """Instrument once and again, into a memory of its own each time."""
        return toolspan_tracings

    @pytest.fixture
    def traced(self, trace_with: Tracings[Traced]) -> Traced:
        """Instrumentation with nothing set."""
        return trace_with()

    @pytest.fixture(params=[patch_with_wrapt, patch_with_setattr])
    def patch(
        self, request: pytest.FixtureRequest
    ) -> Iterator[Callable[[Counter[str]], Callable[[], None]]]:
        """Somebody's patch of every hooked function; what stood there before is put back."""
        before = {path: stored(path) for path in seats_of(self.adapter, self.program)}
        inherited = set(filter(is_inherited, before))

        def patched(seen: Counter[str]) -> Callable[[], None]:
            undo = [request.param(path, seen) for path in before]
            return lambda: [one() for one in undo].clear()

        yield patched
        toolspan.uninstrument()
        for path, stood in before.items():
            owner, name = holder_of(path)
            delattr(owner, name) if path in inherited else setattr(owner, name, stood)

    # -- on, off, and on again

    def test_every_hook_is_placed(self, traced: Traced) -> None:
        name = self.adapter.name
        (framework,) = [one for one in toolspan.status().frameworks if one.name == name]
        assert framework.tested
        assert set(framework.placed) == set(paths_of(self.adapter.words))
        assert framework.placed
        assert framework.missing == ()
        self.program.call("hello")
        assert len(traced.tools) == 1

    def test_instrumenting_loads_no_framework_and_works_before_its_import(self) -> None:
        """The other order is what all tests here have."""
        done = subprocess.run(  # noqa: S603  # this very Python
            [sys.executable, "-c", IN_A_CHILD, self.where, self.program.__name__],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        loaded, names = json.loads(done.stdout)
        frameworks = {
            path.partition(":")[0].partition(".")[0] for path in paths_of(self.adapter.words)
        }
        assert frameworks
        assert frameworks.isdisjoint(loaded)
        assert len(names) == 1

    def test_instrumenting_twice_is_once_and_one_uninstrument_ends_it(
        self, trace_with: Tracings[Traced]
    ) -> None:
        before = {path: stored(path) for path in seats_of(self.adapter, self.program)}
        first, second = trace_with(), trace_with()
        self.program.call("hello")
        assert (len(first.tools), len(second.tools)) == (0, 1)
        toolspan.uninstrument()
        self.program.call("hello")
        assert len(second.tools) == 1
        assert [path for path, function in before.items() if stored(path) is not function] == []

    def test_every_layer_goes_without_a_trace(
        self, trace_with: Tracings[Traced], path: str
    ) -> None:
        before, inherited = stored(path), is_inherited(path)
        trace_with()
        assert stored(path) is not before
        toolspan.uninstrument()
        assert stored(path) is before
        assert is_inherited(path) is inherited

    # -- beside somebody else's patch

    def _call_gives(self, traced: Traced, seen: Counter[str], spans: int, passed: Any) -> None:
        """One call gives so many spans, and somebody sees it pass where it does without us."""
        mutes = [word for word in self.adapter.words if type(word) is Mute]
        unseen = paths_of(mutes) if spans else []  # whose span ours stands for
        seen.clear()
        before = len(traced.tools)
        assert self.program.call("hello") == "hello"
        assert len(traced.tools) - before == spans
        assert [path for path in passed | seen if passed[path] != seen[path]] in ([], unseen)

    def _changed(self, before: Mapping[str, Any]) -> list[str]:
        return [path for path, stood in before.items() if stored(path) is not stood]

    @pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "theirs first"])
    def test_uninstrumenting_removes_our_layers_and_nobody_elses(
        self,
        trace_with: Tracings[Traced],
        patch: Callable[[Counter[str]], Callable[[], None]],
        ours_first: bool,  # noqa: FBT001  # a case
    ) -> None:
        seen: Counter[str] = Counter()
        places = seats_of(self.adapter, self.program)
        before = {path: stored(path) for path in places if not is_inherited(path)}
        undo = patch(seen)
        assert self.program.call("hello") == "hello"
        passed = Counter(seen)
        assert passed
        if ours_first:
            undo()
        traced = trace_with()
        if ours_first:
            undo = patch(seen)
        self._call_gives(traced, seen, 1, passed)
        theirs = {path: stored(path) for path in before} if ours_first else {}
        toolspan.uninstrument()
        assert self._changed(theirs) == []
        self._call_gives(traced, seen, 0, passed)
        toolspan.instrument(tracer_provider=traced.provider)
        self._call_gives(traced, seen, 1, passed)
        toolspan.uninstrument()
        undo()
        self._call_gives(traced, seen, 0, Counter())
        toolspan.instrument(tracer_provider=traced.provider)
        self._call_gives(traced, seen, 1, Counter())
        toolspan.uninstrument()
        assert self._changed(before) == []

    # -- the host sees no difference

    def test_a_hooked_function_looks_and_copies_as_before(
        self, trace_with: Tracings[Traced], path: str
    ) -> None:
        before = _looks(path)
        trace_with()
        assert _looks(path) == before

    def test_what_a_host_copies_and_pickles_is_as_before(
        self, trace_with: Tracings[Traced]
    ) -> None:
        before = {name: _copied(thing) for name, thing in self.program.OBJECTS.items()}
        assert before
        trace_with()
        assert {name: _copied(thing) for name, thing in self.program.OBJECTS.items()} == before

    def test_what_was_copied_while_hooked_works_after_the_hooks_are_gone(
        self, trace_with: Tracings[Traced]
    ) -> None:
        trace_with()
        twins = copy.deepcopy(self.program.OBJECTS)
        assert twins
        toolspan.uninstrument()
        assert {name: _copied(thing) for name, thing in twins.items()} == {
            name: _copied(thing) for name, thing in self.program.OBJECTS.items()
        }

    def test_the_schemas_that_a_model_is_told_are_the_same_bytes(
        self, trace_with: Tracings[Traced]
    ) -> None:
        before = self.program.schemas()
        assert before.strip("{}[] \n")
        trace_with()
        assert self.program.schemas() == before

    def test_an_exception_is_the_same_object_with_the_same_frames_of_the_host(
        self, trace_with: Tracings[Traced]
    ) -> None:
        error = ValueError("broken")
        before = _raised(self.program, error)
        traced = trace_with()
        assert _raised(self.program, error) == before
        assert traced.outcomes == ["error"]

    # -- hostile values

    @with_any_settings
    @pytest.mark.parametrize("kind", HOSTILE)
    def test_a_hostile_value_goes_through_as_without_us(
        self, trace_with: Tracings[Traced], kind: str, settings: Settings
    ) -> None:
        box, doors = Box(HOSTILE[kind]()), self.program.DOORS
        before = {name: box.through(door) for name, door in doors.items()}
        traced = trace_with(settings=settings)
        after = {name: box.through(door) for name, door in doors.items()}
        assert [name for name in before if before[name] != after[name]] == []
        assert self.program.call("a neighbour") == "a neighbour"
        calls = [span for span in traced.tools if span.name != "execute_tool look"]
        assert len(calls) == len(doors) + 1
        encoded = encode_spans(traced.spans)
        assert len(encoded.resource_spans[0].scope_spans[0].spans) == len(traced.spans)
        if kind == "H4 file":  # what a framework keeps for a while would warn in another test
            box.value.close()

    def test_what_can_be_read_once_is_not_read(self, traced: Traced) -> None:
        numbers, letters = itertools.count(), (letter for letter in "ab")
        for door in ("injected", "async"):
            self.program.DOORS[door](numbers)
            self.program.DOORS[door](letters)
        assert (next(numbers), next(letters)) == (0, "a")
        assert len(traced.tools) == 4  # noqa: PLR2004  # two values, two doors

    def test_a_value_that_another_thread_changes_goes_through(
        self, trace_with: Tracings[Traced]
    ) -> None:
        traced = trace_with(settings=SETTINGS["content on"])
        value, over = {str(number): number for number in range(1_000)}, threading.Event()
        changing = threading.Thread(target=_change, args=(value, over))
        changing.start()
        try:
            for _ in range(20):
                assert self.program.DOORS["injected"](value) is value
        finally:
            over.set()
            changing.join()
        assert traced.outcomes == ["ok"] * 20

    @with_any_settings
    @pytest.mark.parametrize("kind", COSTLY)
    def test_a_huge_value_costs_a_call_less_than_fifty_milliseconds(
        self, trace_with: Tracings[Traced], kind: str, settings: Settings
    ) -> None:
        passing = functools.partial(self.program.DOORS["injected"], HOSTILE[kind]())
        before = _best(passing)
        traced = trace_with(settings=settings)
        assert _best(passing) - before < ALLOWED
        assert len(traced.tools) == TRIES

    @pytest.mark.parametrize("kind", NAMES)
    def test_a_hostile_name_gives_a_span_with_a_safe_one(self, traced: Traced, kind: str) -> None:
        assert self.program.named(NAMES[kind]) == "ok"
        (span,) = traced.tools or traced.spans
        shown = span.name.removeprefix("execute_tool ").removeprefix("tools/call ")
        assert len(shown) <= NAME_LIMIT
        assert shown.isprintable()
        assert encode_spans(traced.spans).SerializeToString()

    @with_any_settings
    @pytest.mark.parametrize("kind", ERRORS)
    def test_a_hostile_exception_leaves_as_it_came(
        self, trace_with: Tracings[Traced], kind: str, settings: Settings
    ) -> None:
        error = ERRORS[kind]()
        before = _went_out(self.program, error)
        looked = before[1]  # the framework itself did, and something else came out
        assert (
            before[0] or looked or type(error) is StopIteration
        )  # a coroutine makes another of it
        traced = trace_with(settings=settings)
        assert _went_out(self.program, error) == before
        assert len(traced.tools) == 1
        assert encode_spans(traced.spans).SerializeToString()

    # -- content off

    @with_any_settings
    def test_a_secret_is_in_the_exported_bytes_only_where_content_may_leave(
        self, trace_with: Tracings[Traced], settings: Settings
    ) -> None:
        traced = trace_with(settings=settings, sampler=ALWAYS_ON)
        for door in self.program.DOORS.values():
            door(f"value {CANARY}")
            door({"nested": [{"key": CANARY}]})
        for error in (ValueError(CANARY), RuntimeError("outer")):
            error.__cause__ = KeyError(CANARY)
            vars(error)["__notes__"] = [CANARY]
            with pytest.raises(type(error)):
                self.program.raising(error)
        gc.collect()
        exported = encode_spans(traced.spans).SerializeToString()
        assert len(traced.tools) == 2 * len(self.program.DOORS) + 2
        assert (CANARY.encode() in exported) is settings.capture


def _change(value: dict[str, int], over: threading.Event) -> None:
    for number in itertools.count():
        value[str(number % 2_000)] = number
        value.pop(str(number * 7 % 2_000), None)
        if over.wait(0):
            return


def _best(passing: Callable[[], object]) -> float:
    """The least that it costs, in seconds of this thread: what others do does not count."""
    costs = []
    for _ in range(TRIES):
        begin = time.thread_time()
        passing()
        costs.append(time.thread_time() - begin)
    return min(costs)
