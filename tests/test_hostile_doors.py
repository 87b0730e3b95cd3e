"""Hostile values through the doors for hand-written code: nobody touches them, nothing changes.

Each value goes in as an argument and comes out as the result, with content off and on. The spies
note every method of theirs that runs; what they noted stays empty.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import decimal
import enum
import fractions
import io
import math
import operator
import socket
import threading
import time
import types

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

import toolspan
from toolspan import tool
from toolspan.settings import Settings

# -- spies -----------------------------------------------------------------------------------

INHERITED = {name for kind in (object, int, str, dict, list, float, bytes) for name in dir(kind)}
NEEDED = {"__new__", "__init__", "__init_subclass__", "__class__", "__subclasshook__", "__doc__"}
NEEDED |= {"__module__", "__dict__", "__weakref__", "__slots__", "__class_getitem__"}
FURTHER = [
    "__getattr__",
    "__bool__",
    "__call__",
    "__enter__",
    "__exit__",
    "__aenter__",
    "__aexit__",
    "__await__",
    "__aiter__",
    "__anext__",
    "__next__",
    "__index__",
    "__int__",
    "__float__",
    "__complex__",
    "__bytes__",
    "__fspath__",
    "__length_hint__",
    "__copy__",
    "__deepcopy__",
    "__array__",
    "__json__",
    "__rich__",
    "__rich_repr__",
    "__get__",
    "__set__",
    "__set_name__",
    "_repr_html_",
    "model_dump",
    "model_dump_json",
    "to_dict",
    "to_json",
    "json",
    "dict",
    "tolist",
]
METHODS = sorted((INHERITED | set(FURTHER)) - NEEDED)
OF_TYPES = [
    "__getattribute__",
    "__getattr__",
    "__eq__",
    "__ne__",
    "__hash__",
    "__repr__",
    "__str__",
    "__bool__",
    "__len__",
    "__iter__",
    "__contains__",
    "__call__",
    "__instancecheck__",
    "__subclasscheck__",
    "__getitem__",
    "__dir__",
]


#: What the others of an idle spy do not give, who give 0.
QUIET = {"__bool__": False, "__repr__": "spy", "__str__": "spy", "__format__": "spy"}


class Spying:
    """Makes objects that note each of their methods that is run, and raise."""

    def __init__(self, error=RuntimeError) -> None:
        self.seen = []
        self.armed = False
        self._error = error

    def _method(self, name):
        def method(*_args, **_options):
            if self.armed:
                self.seen.append(name)
                raise self._error("secret")
            return QUIET.get(name.removeprefix("type's "), 0)

        return method

    def __enter__(self):
        self.armed = True

    def __exit__(self, *_):
        self.armed = False  # before pytest shows what failed

    def kind(self, base=object, *, spared=(), **more):
        body = {name: self._method(name) for name in METHODS if name not in spared}
        if "__class__" not in spared:
            body["__class__"] = property(self._method("__class__"))
        spied = {name: self._method(f"type's {name}") for name in OF_TYPES if name not in spared}
        return type("Meta", (type,), spied)("Spy", (base,), {**body, **more})

    def make(self, base=object, *args, **options):
        kind = self.kind(base, **options)
        return base.__new__(kind, *args)


def plain_spy(spying):
    return spying.make()


def with_slots(spying):
    return spying.make(__slots__=("a", "b"))


def of(base, *args, fill=None):
    def make(spying):
        made = spying.make(base, *args)
        if fill is not None:
            fill(made)
        return made

    return make


def an_exception(spying):
    return spying.make(Exception, "secret")


def a_spying_type(spying):
    return spying.kind()


def as_a_key(spying):
    key = spying.make()
    return {key: 1, "plain": key}


SPIES = {
    "object": plain_spy,
    "object with slots": with_slots,
    "str subclass": of(str, "secret"),
    "int subclass": of(int, 7),
    "float subclass": of(float, 7.5),
    "bytes subclass": of(bytes, b"secret"),
    "dict subclass": of(dict, fill=lambda d: dict.update(d, {"a": 1})),
    "list subclass": of(list, fill=lambda x: list.extend(x, [1, 2])),
    "tuple subclass": of(tuple, (1, 2)),
    "set subclass": of(set, fill=lambda x: set.add(x, 1)),
    "exception": an_exception,
    "type": a_spying_type,
    "key of a dict": as_a_key,
    "in a list": lambda spying: [1, [spying.make(), spying.make(str, "a")]],
    "in a dict": lambda spying: {"a": {"b": spying.make()}, "password": spying.make()},
    "in a tuple": lambda spying: (spying.make(int, 1), spying.make(tuple, (1,))),
    "in a deque": lambda spying: collections.deque([spying.make()]),
}
ERRORS = [RuntimeError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]

# -- doors -----------------------------------------------------------------------------------


@tool
def add(a, b):
    """The neighbour, whose span must arrive."""
    return a + b


def give(value):
    """Give back what comes in."""
    return value


async def give_later(value):
    """Give back what comes in, later."""
    await asyncio.sleep(0)
    return value


def give_each(value):
    """Give back what comes in, as a stream."""
    got = yield value
    return got


def by_call(value):
    with toolspan.call("give", value) as call:
        call.result = value
    return call.result


def by_call_in_a_dict(value):
    with toolspan.call("give", {"value": value}) as call:
        call.result = [value]
    return call.result[0]


def by_record(value):
    toolspan.record("give", started=1_700_000_000, duration=1, arguments=value, result=value)
    return value


def by_dispatch(value, function=give):
    return toolspan.dispatch({"give": function}, {"name": "give", "arguments": {"value": value}})


DOORS = {
    "tool": tool(give),
    "tool by keyword": lambda value: tool(give)(value=value),
    "tool twice": tool(tool(give)),
    "async tool": lambda value: asyncio.run(tool(name="give")(give_later)(value)),
    "generator": lambda value: next(tool(name="give")(give_each)(value)),
    "call": by_call,
    "call in a dict": by_call_in_a_dict,
    "record": by_record,
    "dispatch": by_dispatch,
    "dispatch of a decorated one": lambda value: by_dispatch(value, tool(give)),
}


def through(traced, door, value):
    """`value` through a door; the very object is back, it has its span, its neighbour too."""
    before = len(traced.exporter.get_finished_spans())
    same = DOORS[door](value) is value
    assert same, door
    assert add(1, 2) == 3
    _ = traced.spans
    names = [span.name for span in traced.exporter.get_finished_spans()[before:]]
    assert sorted(names) == ["execute_tool add", "execute_tool give"]
    return traced.spans


@pytest.fixture(params=[False, True], ids=["content off", "content on"])
def traced(request, trace_with):
    return trace_with(settings=Settings(capture=request.param, fingerprint_key=b"key"))


def check_encodable(spans):
    """What was written arrives: the exporter's own encoder takes every attribute."""
    for span, encoded in zip(
        spans, encode_spans(spans).resource_spans[0].scope_spans[0].spans, strict=True
    ):
        assert len(encoded.attributes) == len(span.attributes)


@pytest.mark.parametrize("spy", SPIES)
def test_nobody_touches_a_spy(traced, spy):
    for door in DOORS:
        spying = Spying()
        value = SPIES[spy](spying)
        with spying:
            through(traced, door, value)
        assert spying.seen == [], door
    check_encodable(traced.spans)


@pytest.mark.parametrize("spy", SPIES)
def test_nobody_touches_a_spy_in_a_tool_of_a_well_known_family(traced, spy):
    """Of these more is looked at: named arguments, and what results and exceptions hold."""
    spying = Spying()
    value = SPIES[spy](spying)
    error = ValueError("x")
    error.response = error.returncode = error.code = value
    given = {key: ["x", value] for key in ("command", "path", "pattern", "query")}
    names = ("bash", "read_file", "write_file", "grep", "fetch", "task", "other")
    with spying:
        for name in names:
            for result in (value, [value], {"stdout": value, "exit_code": value, "file": value}):
                with toolspan.call(name, {**given, "content": value, "url": "http://x"}) as call:
                    call.result = result
            with pytest.raises(ValueError, match="x"), toolspan.call(name, given):
                raise error
    assert spying.seen == []
    assert len(traced.spans) == 4 * len(names)
    check_encodable(traced.spans)


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_a_spy_would_raise_nobody_makes_it(traced, error):
    for door in DOORS:
        spying = Spying(error)
        value = {"a": spying.make(), "b": [spying.make(str, "x")]}
        with spying:
            through(traced, door, value)
        assert spying.seen == []


# -- values that are odd by themselves -------------------------------------------------------


def cyclic():
    value = {"a": [1]}
    value["a"].append(value)
    value["self"] = value
    return value


def shared():
    value = ["leaf"]
    for _ in range(10):
        value = [value] * 10
    return value


def deep(levels=100_000):
    value = []
    for _ in range(levels):
        value = [value]
    return value


class Colour(enum.IntEnum):
    RED = 1


class Words(enum.Enum):
    ONE = "one"


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024  # as many are written
VALUES = {
    "None": lambda: None,
    "a cycle": cyclic,
    "shared references": shared,
    "very deep": deep,
    "very deep dict": lambda: {"a": deep(50_000)},
    "10 MB text": lambda: "x" * 10_000_000,
    "10 MB of wide text": lambda: "\U0001f40d" * 2_500_000,
    "10 MB bytes": lambda: b"\xff" * 10_000_000,
    "a million items": lambda: [1] * 1_000_000,
    "a million keys": lambda: dict.fromkeys(map(str, range(300_000))),
    "lone surrogates": lambda: "\ud800 half \udfff",
    "a key of surrogates": lambda: {"\ud800": "\udfff"},
    "NUL and escapes": lambda: "a\0b\x1b[31m\u202e\u2028\u2029\x7f",
    "invalid UTF-8": lambda: b"\xff\xfe\x00",
    "wide at the cut": lambda: "a" * 63_999 + "\U0001f40d" * 10,
    "huge int": lambda: 10**5_000,
    "over 64 bits": lambda: [2**63, -(2**63) - 1, 2**64],
    "NaN": lambda: [math.nan, math.inf, -math.inf, -0.0],
    "decimals": lambda: [decimal.Decimal("NaN"), decimal.Decimal(1), fractions.Fraction(1, 3)],
    "enums": lambda: [Colour.RED, Words.ONE],
    "complex": lambda: [1j, range(10**12), slice(1), ...],
    "named tuple": lambda: Point(1, 2),
    "odd keys": lambda: {None: 1, 7: 2, (1, 2): 3, "": 4, "x" * 10_000: 5, "a.b": 6, b"c": 7},
    "reserved keys": lambda: {"gen_ai.tool.name": "x", "__proto__": {}, "toolspan.outcome": "x"},
    "mapping proxy": lambda: types.MappingProxyType({"a": 1}),
    "default dict": lambda: collections.defaultdict(lambda: 1 / 0),
    "memory": lambda: memoryview(b"secret"),
    "bytearray": lambda: bytearray(b"secret"),
    "module": lambda: math,
    "function": lambda: give,
    "type": lambda: int,
    "NotImplemented": lambda: NotImplemented,
    "lock": threading.Lock,
    "weird set": lambda: {1, "a", None, frozenset({2})},
    "exception": lambda: ValueError("secret"),
    "JSON": lambda: '{"password": "secret"}',
    "empty": lambda: [[], {}, (), "", b""],
}


@pytest.mark.parametrize("kind", VALUES)
def test_an_odd_value_goes_through_unchanged(traced, kind):
    value = VALUES[kind]()
    for door in DOORS:
        if kind == "None" and door == "call":
            continue
        through(traced, door, value)
    check_encodable(traced.spans)
    size = sum(len(str(v)) for span in traced.spans for v in span.attributes.values())
    assert size < 3_000_000
    _take_apart(value)


def _take_apart(value):
    """A very deep list would end the interpreter, were it freed by itself on some versions."""
    while type(value) is list and len(value) == 1:
        value = value.pop()


@pytest.mark.parametrize("door", ["tool", "call", "record", "dispatch"])
@pytest.mark.parametrize("kind", ["10 MB text", "a million items", "a cycle", "shared references"])
def test_a_large_value_costs_next_to_nothing(traced, kind, door):
    value = VALUES[kind]()
    times = []
    for _ in range(3):
        before = time.perf_counter()
        DOORS[door](value)
        times.append(time.perf_counter() - before)
    assert min(times) < 0.25
    assert len(traced.spans) == 3


def test_what_can_be_read_once_is_not_read(traced):
    """Generators, iterators, files, sockets and coroutines: as fresh as they came."""

    async def later():
        return 1

    async def stream():
        yield 1

    left, right = socket.socketpair()
    right.send(b"secret")
    coroutine, file, text = later(), io.BytesIO(b"secret"), io.StringIO("secret")
    values = [(n for n in range(3)), iter([1, 2]), map(str, [1]), zip([1], [2], strict=True)]
    values += [coroutine, stream(), file, text, left]
    for door in DOORS:
        for value in values:
            if door in ("tool", "tool by keyword", "tool twice") and value is coroutine:
                continue  # a function that returns a coroutine is awaited by its caller
            if door.startswith("dispatch") and value is coroutine:
                continue
            through(traced, door, value)
    assert [list(value) for value in values[:4]] == [[0, 1, 2], [1, 2], ["1"], [(1, 2)]]
    assert (file.read(), text.read(), left.recv(99)) == (b"secret", "secret", b"secret")
    assert asyncio.run(coroutine) == 1
    left.close()
    right.close()
    assert "secret" not in "".join(span.to_json() for span in traced.spans)


def test_a_value_that_another_thread_changes_breaks_nothing(traced):
    value = {"list": list(range(50)), "dict": {str(n): n for n in range(50)}, "set": {1}}
    stop = threading.Event()

    def change():
        number = 0
        while not stop.is_set():
            number += 1
            value["list"].append(number)
            value["dict"][str(number)] = number
            value["set"].add(number)
            if number % 100 == 0:
                value["list"].clear()
                value["dict"].clear()
                value["set"].clear()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(10):
            for door in DOORS:
                assert DOORS[door](value) is value
    finally:
        stop.set()
        thread.join()
    assert len(traced.spans) == 10 * len(DOORS)


# -- names -----------------------------------------------------------------------------------

NAMES = {
    "None": None,
    "int": 7,
    "object": object(),
    "list": ["a"],
    "bytes": b"\xff",
    "empty": "",
    "1 MB": "x" * 1_000_000,
    "newline": "a\nb\r\n\tc",
    "NUL": "a\0b",
    "surrogate": "\ud800",
    "ANSI": "\x1b[31mred",
    "bidi": "a\u202eb",
    "HTML": "<script>alert(1)</script>",
    "SQL": "'; DROP TABLE spans; --",
    "path": "../../etc/passwd",
    "label": 'a",outcome="ok"} 1\n#',
    "percent": "%s %d {0}",
}


@pytest.mark.parametrize("kind", NAMES)
def test_an_odd_name_is_made_legible(traced, kind):
    name = NAMES[kind]
    with toolspan.call(name, id=name, agent=name, conversation=name, description=name):
        pass
    toolspan.record(name, started=1, duration=1, id=name, agent=name, conversation=name)
    assert toolspan.dispatch({}, {"name": name, "id": name}).outcome == "unknown_tool"
    assert tool(name=name, agent=name)(give)(1) == 1
    assert add(1, 2) == 3
    assert len(traced.spans) == 5
    for span in traced.spans:
        assert len(span.name) <= 150
        assert span.name.isprintable()
        assert span.attributes["gen_ai.tool.name"].isprintable()
    check_encodable(traced.spans)
    assert sum(row.calls for row in toolspan.stats().rows()) == 5
    assert str(toolspan.stats()).encode()


def test_spies_as_names_are_not_touched(traced):
    spying = Spying()
    odd = spying.make()
    text = spying.make(str, "search")
    with spying:
        for name in (odd, text):
            with toolspan.call(name, id=name, agent=name, conversation=name, description=name):
                pass
            toolspan.record(
                name,
                started=name,
                duration=name,
                outcome=name,
                id=name,
                agent=name,
                conversation=name,
                description=name,
            )
            with toolspan.run("work", agent=name, conversation=name, workflow=name):
                add(1, 2)
            with toolspan.call("search", wait=name) as call:
                call.outcome = name
    assert spying.seen == []
    assert len(traced.tools) == 8
    check_encodable(traced.spans)


def test_the_arguments_of_a_dispatched_call_may_hold_anything(traced):
    spying = Spying()
    arguments = {"value": spying.make(), "more": {"a": spying.make(dict)}}
    with spying:
        result = toolspan.dispatch(
            {"give": lambda value, more: (value, more)}, {"name": "give", "arguments": arguments}
        )
        refusal = toolspan.dispatch({"give": give}, {"name": "give", "arguments": arguments})
    assert spying.seen == []
    assert operator.is_(result[0], arguments["value"])
    assert refusal.outcome == "invalid_arguments"
    assert len(traced.spans) == 2


def test_many_distinct_names_are_bounded(traced):
    for number in range(3_000):
        with toolspan.call(f"tool {number}"):
            pass
    assert len(toolspan.stats().rows()) <= 1_002
    assert sum(row.calls for row in toolspan.stats().rows()) == 3_000
    assert len(traced.exporter.get_finished_spans()) == 3_000


# -- exceptions ------------------------------------------------------------------------------


class Loud(Exception):
    """Every text of it is an error."""

    def __str__(self):
        raise RuntimeError("str")

    __repr__ = __str__


class NotText(Exception):
    """Its names are no text."""


NotText.__module__ = 7


def with_cause_cycle():
    first, second = ValueError("secret"), KeyError("secret")
    first.__cause__, second.__cause__ = second, first
    return first


def a_group():
    group = getattr(__builtins__, "ExceptionGroup", None) or globals().get("ExceptionGroup")
    return group("many", [ValueError("secret")]) if group else ValueError("secret")


def with_notes():
    error = ValueError("secret")
    error.__notes__ = ["secret", 7, object()]
    return error


#: What the interpreter and asyncio themselves run as something is raised.
OF_RAISING = {"__traceback__", "with_traceback", "__class__", "__subclasscheck__"}
OF_RAISING |= {"__instancecheck__", "__setstate__", "__getattribute__", "__setattr__"}


def spying_error(base):
    def make():
        spying = Spying()
        error = spying.make(base, "secret", spared=OF_RAISING)
        error_spies.append(spying)
        return error

    return make


error_spies = []
EXCEPTIONS = {
    "str raises": Loud,
    "names are no text": NotText,
    "10 MB message": lambda: ValueError("x" * 10_000_000),
    "a cycle of causes": with_cause_cycle,
    "a group": a_group,
    "notes": with_notes,
    "odd arguments": lambda: OSError(object(), [1], {}),
    "a spy": spying_error(Exception),
    "a spy, a KeyError": spying_error(KeyError),
    "surrogates": lambda: ValueError("\ud800"),
}


def raise_(error):
    raise error


async def raise_later(error):
    await asyncio.sleep(0)
    raise error


def raise_in_stream(error):
    yield 1
    raise error


def raise_in_call(error):
    with toolspan.call("raise_", error):
        raise error


RAISING = {
    "tool": tool(raise_),
    "tool twice": tool(tool(raise_)),
    "async tool": lambda error: asyncio.run(tool(name="raise_")(raise_later)(error)),
    "generator": lambda error: list(tool(name="raise_")(raise_in_stream)(error)),
    "call": raise_in_call,
    "dispatch": lambda error: toolspan.dispatch(
        {"raise_": raise_}, {"name": "raise_", "arguments": {"error": error}}
    ),
}


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_an_odd_exception_arrives_as_it_is(traced, kind):
    error_spies.clear()
    for door, function in RAISING.items():
        error = EXCEPTIONS[kind]()
        arrived = None
        with contextlib.ExitStack() as armed:
            for spying in error_spies:
                armed.enter_context(spying)
            try:
                function(error)
            except BaseException as caught:  # noqa: BLE001  # whatever it is, it must be the same
                arrived = caught
            error.__traceback__ = None
            toolspan.record("raise_", started=1, duration=1, error=error)
        same = arrived is error
        assert same, door
    assert add(1, 2) == 3
    assert [spying.seen for spying in error_spies] == [[]] * len(error_spies)
    assert traced.outcomes.count("error") == 2 * len(RAISING)
    assert len(traced.spans) == 2 * len(RAISING) + 1
    check_encodable(traced.spans)
    assert "secret" not in "".join(span.to_json() for span in traced.spans)


def test_a_replaced_traceback_stays_replaced(traced):
    try:
        raise ValueError
    except ValueError as caught:
        error, other = ValueError(), caught.__traceback__
    with pytest.raises(ValueError) as raised:  # noqa: PT011  # the very object is compared
        tool(raise_)(error.with_traceback(other))
    assert raised.value is error
    depth = 0
    trace = error.__traceback__
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    assert depth == 5  # this test, our layer and its driver, the function, and what was given
    assert traced.outcomes == ["error"]
