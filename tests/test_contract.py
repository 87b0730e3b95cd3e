"""What every adapter owes its host, the same tests for each: docs/architecture.md, the contract.

A framework joins with its program of tests/ground_truth.py, that also has `call`, `raising`, `named`,
DOORS, OBJECTS and `schemas`: see programs/langchain_program.py.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import importlib
import inspect
import itertools
import json
import math
import os
import pickle
import pkgutil
import subprocess
import sys
import threading
import time
import traceback
import types
from decimal import Decimal
from pathlib import Path

import pytest
import wrapt
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

import toolspan
from ground_truth import ADAPTERS, PROGRAMS
from toolspan.hooks import Hook
from toolspan.settings import Settings

TESTS = Path(__file__).parent
#: Whose frames in a traceback are ours.
OURS = (str(Path(toolspan.__file__).parent), str(Path(wrapt.__file__).parent))
CANARY = "canary-5d1c"


def adapters_of(framework):
    return [adapter for adapter in ADAPTERS if adapter.name == framework]


def paths_of(framework):
    """Every place where an adapter wants a layer here: of alternatives, the first that exists."""
    wanted = [
        path
        for adapter in adapters_of(framework)
        for word in adapter.words
        for path in (word.path, *also(word), *getattr(word, "decide", ()))
    ]
    found = [filter(exists, [path] if isinstance(path, str) else path) for path in wanted]
    return sorted({path for paths in found for path in itertools.islice(paths, 1)})


def also(word):
    """Other modules that hold the very function."""
    first = word.path if isinstance(word.path, str) else word.path[0]
    return [f"{module}:{first.partition(':')[2]}" for module in getattr(word, "also", ())]


def exists(path):
    try:
        pkgutil.resolve_name(path)
    except (ImportError, AttributeError):
        return False
    return True


def place(path):
    """The object that holds the last name of a path, and that name."""
    module, _, qualname = path.partition(":")
    owner, _, name = qualname.rpartition(".")
    holder = importlib.import_module(module)
    return (pkgutil.resolve_name(f"{module}:{owner}") if owner else holder), name


def stored(path):
    """What stands at a path itself, before any binding."""
    return inspect.getattr_static(*place(path))


@pytest.fixture(params=PROGRAMS)
def program(request):
    return importlib.import_module(PROGRAMS[request.param])


@pytest.fixture
def first_hook(program):
    """Where the first hook of this framework sits."""
    return next(
        path
        for adapter in adapters_of(program.FRAMEWORK)
        for word in adapter.words
        if type(word) is Hook
        for path in ([word.path] if isinstance(word.path, str) else word.path)
        if exists(path)
    )


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        metafunc.parametrize("path", [path for name in PROGRAMS for path in paths_of(name)])


# -- on, off, and on again -----------------------------------------------------------------------


def test_every_hook_is_placed(traced, program):
    (framework,) = [one for one in toolspan.status().frameworks if one.name == program.FRAMEWORK]
    assert framework.tested
    assert set(framework.placed) == set(paths_of(program.FRAMEWORK))
    assert framework.placed
    assert framework.missing == ()
    program.call("hello")
    assert len(traced.tools) == 1


IN_A_CHILD = """
import json, sys
import toolspan
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
toolspan.instrument(tracer_provider=provider)
loaded = {name.partition(".")[0] for name in sys.modules}
import PROGRAM as program
assert program.call("hello") == "hello"
print(json.dumps([sorted(loaded), [span.name for span in exporter.get_finished_spans()]]))
"""


def test_instrumenting_loads_no_framework_and_works_before_its_import(program):
    """The other order is what all tests here have."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD.replace("PROGRAM", program.__name__)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded, names = json.loads(done.stdout)
    frameworks = {path.partition(".")[0] for path in paths_of(program.FRAMEWORK)}
    assert frameworks
    assert frameworks.isdisjoint(loaded)
    assert len(names) == 1


def test_instrumenting_twice_is_once_and_one_uninstrument_ends_it(trace_with, program):
    before = {path: stored(path) for path in paths_of(program.FRAMEWORK)}
    first, second = trace_with(), trace_with()
    program.call("hello")
    assert (len(first.tools), len(second.tools)) == (0, 1)
    toolspan.uninstrument()
    program.call("hello")
    assert len(second.tools) == 1
    assert [path for path, function in before.items() if stored(path) is not function] == []


def test_every_layer_goes_without_a_trace(trace_with, path):
    before, inherited = stored(path), place(path)[1] not in vars(place(path)[0])
    trace_with()
    assert stored(path) is not before
    toolspan.uninstrument()
    assert stored(path) is before
    assert (place(path)[1] not in vars(place(path)[0])) is inherited


# -- beside somebody else's patch ----------------------------------------------------------------


def patch_with_wrapt(path, seen):
    """Patch as OpenTelemetry's instrumentors do; undo as they do."""
    owner, name = place(path)

    def theirs(wrapped, _instance, args, kwargs):
        seen.append(name)
        return wrapped(*args, **kwargs)

    wrapt.wrap_function_wrapper(owner, name, theirs)
    return lambda: setattr(owner, name, stored(path).__wrapped__)


def patch_with_setattr(path, seen):
    """Patch as anybody does by hand, and put back what was found."""
    owner, name = place(path)
    found = getattr(owner, name)

    @functools.wraps(found)
    def theirs(*args, **kwargs):
        seen.append(name)
        return found(*args, **kwargs)

    setattr(owner, name, theirs)
    return lambda: setattr(owner, name, found)


@pytest.fixture(params=[patch_with_wrapt, patch_with_setattr])
def patch(request, first_hook):
    """Somebody's patch of the first hooked function, and what stood there before."""
    before = stored(first_hook)
    yield functools.partial(request.param, first_hook)
    toolspan.uninstrument()
    setattr(*place(first_hook), before)


def calls_give(program, traced, seen, *, spans, times):
    """One call gives so many spans, and is seen so many times by somebody."""
    before, seen_before = len(traced.tools), len(seen)
    assert program.call("hello") == "hello"
    assert (len(traced.tools) - before, len(seen) - seen_before) == (spans, times)


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "theirs first"])
def test_uninstrumenting_removes_our_layer_and_nobody_elses(trace_with, program, patch, ours_first):
    seen = []
    if not ours_first:
        undo = patch(seen)
    traced = trace_with()
    if ours_first:
        undo = patch(seen)
    check = functools.partial(calls_give, program, traced, seen)
    check(spans=1, times=1)
    toolspan.uninstrument()
    check(spans=0, times=1)
    toolspan.instrument(tracer_provider=traced.provider)
    check(spans=1, times=1)
    toolspan.uninstrument()
    undo()
    check(spans=0, times=0)
    toolspan.instrument(tracer_provider=traced.provider)
    check(spans=1, times=0)


# -- the host sees no difference -----------------------------------------------------------------

ASKED = (
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
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
}


def copied(thing):
    """What each way to copy gives: the very thing, one equal to it, one of its type, or an error."""
    return {name: ending(way, thing) for name, way in COPIES.items()}


def ending(way, thing):
    try:
        twin = way(thing)
    except Exception as error:  # noqa: BLE001  # it must be the same with us
        return type(error).__name__
    return twin == thing, twin.__class__.__name__


def looks(path):
    """All that a host can learn of the function at a path."""
    function = pkgutil.resolve_name(path)
    asked = () if inspect.isclass(function) else ASKED  # which wrapt does not stand for in all
    return [ask(function) for ask in asked], copied(function)


def test_a_hooked_function_looks_and_copies_as_before(trace_with, path):
    before = looks(path)
    trace_with()
    assert looks(path) == before


def test_what_a_host_copies_and_pickles_is_as_before(trace_with, program):
    before = {name: copied(thing) for name, thing in program.OBJECTS.items()}
    trace_with()
    assert {name: copied(thing) for name, thing in program.OBJECTS.items()} == before


def test_what_was_copied_while_hooked_works_after_the_hooks_are_gone(trace_with, program):
    trace_with()
    twins = copy.deepcopy(program.OBJECTS)
    toolspan.uninstrument()
    assert {name: copied(thing) for name, thing in twins.items()} == {
        name: copied(thing) for name, thing in program.OBJECTS.items()
    }


def test_the_schemas_that_a_model_is_told_are_the_same_bytes(trace_with, program):
    before = program.schemas()
    assert len(before) > 100
    trace_with()
    assert program.schemas() == before


def raised(program, error):
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


def test_an_exception_is_the_same_object_with_the_same_frames_of_the_host(trace_with, program):
    error = ValueError("broken")
    before = raised(program, error)
    traced = trace_with()
    assert raised(program, error) == before
    assert traced.outcomes == ["error"]


# -- hostile values ------------------------------------------------------------------------------

#: Every look at a hostile value, as it happens.
LOOKS = []
SPECIAL = [
    "str",
    "repr",
    "format",
    "bytes",
    "len",
    "length_hint",
    "iter",
    "next",
    "aiter",
    "anext",
    "await",
    "eq",
    "ne",
    "lt",
    "gt",
    "le",
    "ge",
    "hash",
    "bool",
    "contains",
    "getitem",
    "reversed",
    "int",
    "float",
    "index",
    "complex",
    "call",
    "enter",
    "exit",
    "aenter",
    "aexit",
    "fspath",
    "dir",
    "sizeof",
    "copy",
    "deepcopy",
    "reduce",
    "reduce_ex",
    "getstate",
    "json",
    "html",
    "array",
    "instancecheck",
]
PLAIN = ("model_dump", "dict", "json", "keys", "items", "values", "read", "to_dict", "tolist")


def spy(answer, *bases, everything=False):
    """A class that notes each look at its instances and then does `answer`."""

    def noted(name):
        def look(*_args, **_kwargs):
            LOOKS.append(name)
            return answer()

        return look

    names = [*(f"__{name}__" for name in SPECIAL), *PLAIN, "__getattr__"]
    if everything:
        names.append("__getattribute__")
    return type("Spy", bases, {name: noted(name) for name in names})


def throw(error):
    raise error


def call_a_tool():
    with toolspan.call("look"):
        return "looked"


def thrower(error):
    return functools.partial(throw, error)


class Fatal(BaseException):  # it is one like SystemExit
    """What no `except Exception` stops; pytest, shown a SystemExit, would stop itself."""


class Meta(type):
    """A class of classes that answers nothing either."""

    def __getattribute__(cls, name):
        LOOKS.append(name)
        raise Fatal


def cycle():
    ring = {"list": []}
    ring["list"].append(ring)
    return ring


def shared():
    value = ["leaf"]
    for _ in range(5):  # with 10 levels, the framework itself renders 10 GB of text
        value = [value] * 10
    return value


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


async def unfinished():
    yield 1


def endless():
    return itertools.count()


HOSTILE = {
    "H1 raising": lambda: spy(thrower(ValueError("look")))(),
    "H1 raising on all": lambda: spy(thrower(RuntimeError("look")), everything=True)(),
    "H1 class of a class": lambda: Meta("Odd", (), {})(),
    "H2 fatal": lambda: spy(thrower(Fatal()))(),
    "H2 CancelledError": lambda: spy(thrower(asyncio.CancelledError()))(),
    "H2 GeneratorExit": lambda: spy(thrower(GeneratorExit()))(),
    "H3 slow": lambda: spy(lambda: time.sleep(0.01))(),
    "H4 endless": endless,
    "H4 generator": lambda: (number for number in range(3)),
    "H4 async generator": unfinished,
    "H4 file": lambda: Path(__file__).open(),  # noqa: SIM115  # it is a value here
    "H5 cycle": cycle,
    "H5 shared": shared,
    "H5 deep": deep,
    "H6 text": lambda: "x" * 20_000_000,
    "H6 bytes": lambda: b"x" * 20_000_000,
    "H6 list": lambda: list(range(1_000_000)),
    "H6 dict": lambda: {str(number): number for number in range(100_000)},
    "H8 re-entrant": lambda: spy(call_a_tool)(),
    "H9 surrogate": lambda: "a\ud83d",
    "H9 controls": lambda: "\0\x1b[31m\u2028\u202e",
    "H9 not UTF-8": lambda: b"\xff\xfe",
    "H10 large": lambda: 2**100,
    "H10 not a number": lambda: [math.nan, math.inf, -math.inf],
    "H10 decimal": lambda: Decimal("NaN"),
    "H11 str": lambda: spy(thrower(ValueError("look")), str)("text"),
    "H11 dict": lambda: spy(thrower(ValueError("look")), dict)(a=1),
    "H11 list": lambda: spy(thrower(ValueError("look")), list)([1]),
    "H12 keys": lambda: {1: 1, "": 2, "k" * 10_000: 3, "gen_ai.tool.name": 4, (1, 2): 5},
    "H12 hostile key": lambda: {spy_key(): 1},
    "H12 reserved": lambda: {"__proto__": 1, "a.b": {"c": 2}, "self": 3, "*": 4},
}


def spy_key():
    kind = spy(thrower(ValueError("look")))
    kind.__hash__ = object.__hash__
    kind.__eq__ = object.__eq__
    return kind()


class Box:
    """Keeps a hostile value where no report of a failed test looks at it."""

    def __init__(self, value):
        self.value = value

    def through(self, door):
        """How the value went through a door: what came back, and every look at it on the way."""
        LOOKS.clear()
        try:
            given = door(self.value)
        except BaseException as error:  # noqa: BLE001  # some are meant to raise anything
            end = "raised", type(error).__name__
        else:
            end = "gave", given is self.value, given if type(given) is str else None
        return end, list(LOOKS)


@pytest.mark.parametrize("capture", [False, True], ids=["content off", "content on"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_value_goes_through_as_without_us(trace_with, program, kind, capture):
    box = Box(HOSTILE[kind]())
    before = {name: box.through(door) for name, door in program.DOORS.items()}
    traced = trace_with(settings=Settings(capture=capture, fingerprint_key=b"k" * 32))
    after = {name: box.through(door) for name, door in program.DOORS.items()}
    assert [name for name in before if before[name] != after[name]] == []
    assert program.call("a neighbour") == "a neighbour"
    calls = [span for span in traced.tools if span.name != "execute_tool look"]
    assert len(calls) == len(program.DOORS) + 1
    encoded = encode_spans(traced.spans)
    assert len(encoded.resource_spans[0].scope_spans[0].spans) == len(traced.spans)
    if kind == "H4 file":  # what a framework keeps for a while would warn in another test
        box.value.close()


def test_what_can_be_read_once_is_not_read(traced, program):
    numbers, letters = endless(), (letter for letter in "ab")
    for door in ("injected", "async"):
        program.DOORS[door](numbers)
        program.DOORS[door](letters)
    assert (next(numbers), next(letters)) == (0, "a")
    assert len(traced.tools) == 4


def test_a_value_that_another_thread_changes_goes_through(trace_with, program):
    traced = trace_with(settings=Settings(capture=True, fingerprint_key=b"k" * 32))
    value, over = {str(number): number for number in range(1_000)}, threading.Event()

    def change():
        for number in itertools.count():
            value[str(number % 2_000)] = number
            value.pop(str(number * 7 % 2_000), None)
            if over.wait(0):
                return

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(20):
            assert program.DOORS["injected"](value) is value
    finally:
        over.set()
        changing.join()
    assert traced.outcomes == ["ok"] * 20


@pytest.mark.parametrize("capture", [False, True], ids=["content off", "content on"])
@pytest.mark.parametrize("kind", ["H6 text", "H6 bytes", "H6 list", "H6 dict", "H5 shared"])
def test_a_huge_value_costs_a_call_less_than_fifty_milliseconds(trace_with, program, kind, capture):
    value = HOSTILE[kind]()

    def best():
        clock = time.thread_time  # what others do on this machine does not count
        return min(-clock() + [program.DOORS["injected"](value), clock()][1] for _ in range(5))

    before = best()
    trace_with(settings=Settings(capture=capture, fingerprint_key=b"k" * 32))
    assert best() - before < 0.05


NAMES = ["a\nb", "a\0b", "x" * 1_000_000, "\ud83d", "🧨", "<b>", "'; --", "../..", "{a}"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_hostile_name_gives_a_span_with_a_safe_one(traced, program, name):
    assert program.named(name) == "ok"
    (span,) = traced.tools or traced.spans
    shown = span.name.removeprefix("execute_tool ")
    assert len(shown) <= 128
    assert shown.isprintable()
    assert encode_spans(traced.spans).SerializeToString()


class MuteError(Exception):
    """An exception that cannot be shown."""

    def __str__(self):
        LOOKS.append("__str__")
        raise Fatal

    __repr__ = __format__ = __reduce__ = __eq__ = __hash__ = __str__


def caused_by_itself():
    error = ValueError("ring")
    other = ValueError("other")
    error.__cause__, other.__cause__ = other, error
    return error


def grouped():
    group = getattr(__builtins__, "ExceptionGroup", None) or ValueError
    return group("many", [ValueError("one")])


def noted():
    error = ValueError("noted")
    error.__notes__ = "not even a list"
    return error


ERRORS = {
    "mute": MuteError,
    "huge": lambda: ValueError("x" * 10_000_000),
    "cause in a ring": caused_by_itself,
    "group": grouped,
    "odd notes": noted,
    "hostile argument": lambda: ValueError(HOSTILE["H2 fatal"]()),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration(1),
    "MemoryError": MemoryError,
}


@pytest.mark.parametrize("capture", [False, True], ids=["content off", "content on"])
@pytest.mark.parametrize("kind", ERRORS)
def test_a_hostile_exception_leaves_as_it_came(trace_with, program, kind, capture):
    error = ERRORS[kind]()
    before = went_out(program, error)
    assert before[0] or type(error) is StopIteration  # which a coroutine turns into another
    traced = trace_with(settings=Settings(capture=capture))
    assert went_out(program, error) == before
    assert len(traced.tools) == 1
    assert encode_spans(traced.spans).SerializeToString()


def went_out(program, error):
    """Whether the very exception came out, and every look at it on the way."""
    LOOKS.clear()
    try:
        program.raising(error)
    except BaseException as caught:  # noqa: BLE001  # it may be any
        return caught is error, list(LOOKS)
    return False, list(LOOKS)


# -- content off ---------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", [False, True], ids=["content off", "content on"])
def test_a_secret_is_in_the_exported_bytes_only_where_content_may_leave(
    trace_with, program, capture
):
    traced = trace_with(settings=Settings(capture=capture), sampler=ALWAYS_ON)
    for door in program.DOORS.values():
        door(f"value {CANARY}")
        door({"nested": [{"key": CANARY}]})
    for error in (ValueError(CANARY), RuntimeError("outer")):
        error.__cause__ = KeyError(CANARY)
        error.__notes__ = [CANARY]
        with pytest.raises(type(error)):
            program.raising(error)
    gc.collect()
    exported = encode_spans(traced.spans).SerializeToString()
    assert len(traced.tools) == 2 * len(program.DOORS) + 2
    assert (CANARY.encode() in exported) is capture
