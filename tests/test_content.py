"""What of arguments and results may be written, and that looking at them runs no code of theirs."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import enum
import hashlib
import itertools
import json
import marshal
import math
import random
import subprocess
import sys
import textwrap
import threading
import time
from collections import OrderedDict, defaultdict
from decimal import Decimal
from typing import NamedTuple

import pydantic
import pytest

from toolspan.content import (
    SECRET_PARTS,
    SECRET_WORDS,
    Redactor,
    fingerprint,
    render,
    size_of,
)

KEY = b"k" * 32
LIMIT = 64_000
CANARY = "hunter2canary"
PLAIN = Redactor()


def shown(value, limit=LIMIT, redactor=PLAIN, tool="") -> str:
    return render(value, limit, redactor, tool).text


def parsed(value, limit=LIMIT, redactor=PLAIN, tool=""):
    """What a strict parser of JSON reads in the rendered value."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(shown(value, limit, redactor, tool), parse_constant=refuse)


# --- values of the host that tell on whoever touches them

SPECIAL = [
    "__str__",
    "__repr__",
    "__format__",
    "__bytes__",
    "__len__",
    "__length_hint__",
    "__iter__",
    "__next__",
    "__reversed__",
    "__contains__",
    "__getitem__",
    "__missing__",
    "__getattr__",
    "__getattribute__",
    "__eq__",
    "__ne__",
    "__lt__",
    "__le__",
    "__gt__",
    "__ge__",
    "__hash__",
    "__bool__",
    "__int__",
    "__float__",
    "__complex__",
    "__index__",
    "__abs__",
    "__neg__",
    "__pos__",
    "__invert__",
    "__add__",
    "__radd__",
    "__mul__",
    "__rmul__",
    "__mod__",
    "__rmod__",
    "__round__",
    "__trunc__",
    "__ceil__",
    "__floor__",
    "__reduce__",
    "__reduce_ex__",
    "__getstate__",
    "__copy__",
    "__deepcopy__",
    "__sizeof__",
    "__dir__",
    "__json__",
    "__html__",
    "__fspath__",
    "__buffer__",
    "__enter__",
    "__exit__",
    "__call__",
    "__await__",
    "__aiter__",
    "__anext__",
    "__instancecheck__",
    "__subclasscheck__",
    "__prepare__",
    "model_dump",
    "model_dump_json",
    "dict",
    "json",
    "items",
    "keys",
    "values",
    "get",
    "copy",
    "to_dict",
    "isoformat",
]
BASES = (object, str, bytes, bytearray, int, float, dict, list, tuple, set, frozenset)
FILLED = {
    str: "text",
    bytes: b"text",
    bytearray: b"text",
    int: 7,
    float: 0.5,
    dict: {"a": 1},
    list: [1],
    tuple: [1],
    set: [1],
    frozenset: [1],
}
ERRORS = (RuntimeError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit)


class Touched:
    """A record of what was called, once it is armed."""

    def __init__(self, error) -> None:
        self.calls: list[str] = []
        self.armed = False
        self.error = error

    def method(self, name, base):
        def touch(*args, **kwargs):
            if self.armed:
                self.calls.append(name)
                raise self.error(name)
            return getattr(base, name)(*args, **kwargs)

        return touch

    def mine(self, base=object, *, meta=False):
        """An object of a class of its own, and if need be of a metaclass, that calls all of these."""
        names = [name for name in SPECIAL if hasattr(base, name) or base is object]
        body = {name: self.method(name, base) for name in names}
        body["__class__"] = property(self.method("__class__", base))
        kind = type
        if meta:
            loud = [name for name in SPECIAL if hasattr(type, name)]
            kind = type("Meta", (type,), {name: self.method(name, type) for name in loud})
        made = kind("Loud", (base,), body)
        return made(FILLED[base]) if base in FILLED else made()


@pytest.fixture(params=ERRORS, ids=lambda error: error.__name__)
def touched(request):
    """Nothing of the host's was called: the list of calls stays empty."""
    record = Touched(request.param)
    yield record
    record.armed = False
    assert record.calls == []


def surroundings(value):
    """The places where a value may stand."""
    yield value
    yield [value]
    yield (value, 1)
    yield {"a": value, "b": 1}
    yield {"a": [{"b": value}]}
    yield [{"type": "text", "text": value}]


@pytest.mark.parametrize("meta", [False, True], ids=["type", "metaclass"])
def test_no_method_of_a_value_is_ever_called(touched, meta):
    values = [touched.mine(base, meta=meta) for base in BASES]
    places = [place for value in values for place in surroundings(value)]
    touched.armed = True
    for place in places:
        render(place, LIMIT, PLAIN)
        render(place, 64, PLAIN)
        size_of(place)
        assert fingerprint(place, KEY) is None


def test_no_method_of_a_key_is_ever_called(touched):
    hashed = ("__eq__", "__hash__")
    loud = type("Loud", (), {name: touched.method(name, object) for name in hashed})
    keys = [loud(), *(touched.mine(base) for base in (str, int, float, tuple, bytes, frozenset))]
    places = [
        place
        for key in keys
        for place in ({key: 1}, {key: 1, "a": 2}, [{key: "x", "text": "y"}], {"a": {key: 1}})
    ]
    touched.armed = True
    for place in places:
        render(place, LIMIT, PLAIN)
        size_of(place)
        assert fingerprint(place, KEY) is None


def test_a_subclass_is_read_as_the_built_in_that_it_is(touched):
    values = {base: touched.mine(base) for base in BASES}
    touched.armed = True
    read = {base: shown([value]) for base, value in values.items()}
    touched.armed = False
    assert json.loads(read[str]) == ["text"]
    assert json.loads(read[bytes]) == json.loads(read[bytearray]) == [{"bytes": 4}]
    assert json.loads(read[int]) == [7]
    assert json.loads(read[float]) == [0.5]
    assert json.loads(read[dict]) == [{"a": 1}]
    assert json.loads(read[list]) == json.loads(read[tuple]) == json.loads(read[set]) == [[1]]
    assert json.loads(read[object]) == [f"<{__name__}.Loud>"]


class Lying(dict):
    """One whose methods hide and invent."""

    def items(self):
        return [("invented", 1)]

    def __iter__(self):
        return iter(["invented"])

    def __len__(self):
        return 0


def test_overridden_methods_of_a_container_hide_nothing_and_invent_nothing():
    assert parsed(Lying(a=1, b=2)) == {"a": 1, "b": 2}
    assert parsed([OrderedDict(a=1), defaultdict(list, b=2)]) == [{"a": 1}, {"b": 2}]


class Account:
    """A plain object of the host."""

    password = CANARY

    def __init__(self) -> None:
        self.password = CANARY

    def __repr__(self) -> str:
        return CANARY


def test_an_unknown_object_is_only_the_name_of_its_type():
    name = f"<{__name__}.Account>"
    assert parsed({"a": Account(), "b": Decimal(1), "c": Account}) == {
        "a": name,
        "b": "<decimal.Decimal>",
        "c": "<type>",
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda: (number for number in range(10)),
        lambda: iter([1, 2, 3]),
        lambda: itertools.count(),
        lambda: map(int, "123"),
        lambda: enumerate("ab"),
    ],
    ids=["generator", "iterator", "endless", "map", "enumerate"],
)
def test_what_can_be_read_once_is_never_read(make):
    value, untouched = make(), make()
    for place in surroundings(value):
        shown(place)
        size_of(place)
        assert fingerprint(place, KEY) is None
    assert next(value) == next(untouched)


def test_a_file_is_never_read_and_a_coroutine_never_started(tmp_path):
    async def started():
        raise AssertionError("started")

    (tmp_path / "a").write_text("abc")
    waiting = started()
    with (tmp_path / "a").open() as file:
        assert parsed([file, waiting]) == ["<_io.TextIOWrapper>", "<coroutine>"]
        assert file.read() == "abc"
    waiting.close()


def test_endless_iteration_of_a_subclass_of_list_does_not_begin():
    class Endless(list):
        def __iter__(self):
            return itertools.count()

    assert parsed(Endless([1, 2])) == [1, 2]


# --- objects whose fields are known


@dataclasses.dataclass
class Order:
    number: int
    note: str = "n"
    password: str = CANARY
    hidden: str = dataclasses.field(default=CANARY, repr=False)

    def __getattribute__(self, name):
        raise AssertionError(name)


@dataclasses.dataclass(slots=True)
class Slotted:
    number: int
    api_key: str = CANARY


class Login(NamedTuple):
    user: str
    password: str


class Model(pydantic.BaseModel):
    number: int
    secret: str = CANARY
    hidden: str = pydantic.Field(default=CANARY, repr=False)
    left_out: str = pydantic.Field(default=CANARY, exclude=True)
    card: pydantic.SecretStr = pydantic.SecretStr(CANARY)

    @pydantic.computed_field
    def computed(self) -> str:
        raise AssertionError("computed")

    def model_dump(self, **options):
        raise AssertionError(options)


class Colour(enum.Enum):
    RED = CANARY


class Mode(str, enum.Enum):
    FAST = CANARY


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Order(1), {"number": 1, "note": "n", "password": "[redacted]"}),
        (Slotted(1), {"number": 1, "api_key": "[redacted]"}),
        (Login("ada", CANARY), {"user": "ada", "password": "[redacted]"}),
        (
            Model(number=1),
            {"number": 1, "secret": "[redacted]", "card": "<pydantic.types.SecretStr>"},
        ),
        (Colour.RED, f"{__name__}.Colour.RED"),
        (Mode.FAST, f"{__name__}.Mode.FAST"),
    ],
    ids=["dataclass", "slots", "named tuple", "pydantic", "enum", "enum of str"],
)
def test_known_kinds_of_objects_show_their_fields_and_no_secret(value, expected):
    assert parsed(value) == expected
    assert parsed([value, {"a": value}]) == [expected, {"a": expected}]
    assert fingerprint(value, KEY) is None


def test_a_field_behind_a_property_is_not_looked_up():
    @dataclasses.dataclass
    class Odd:
        number: int

        @property
        def __dict__(self):
            raise AssertionError("__dict__")

    assert parsed(Odd.__new__(Odd)) == {}


# --- the text of ordinary values


def clean(value):
    """What no encoder and no database refuses, as the documentation says it."""
    if isinstance(value, str):
        return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, (list, tuple)) else value


LETTERS = "ab \"'\\/:,{}[]\n\t\0\x1b\x7f\u2028\u202eé漢😀\ud83d\udc00"
NUMBERS = (0, 1, -1, True, False, None, 2**64, -(2**70), 0.1, -0.0, 1e300)


def some_text(chance) -> str:
    return "".join(chance.choices(LETTERS, k=chance.choice((0, 1, 3, 9, 40, 300))))


def some_value(chance, depth=4):
    kind = chance.random()
    if depth == 0 or kind < 0.2:
        return some_text(chance)
    if kind < 0.4:
        return chance.choice(NUMBERS)
    items = [some_value(chance, depth - 1) for _ in range(chance.choice((0, 1, 2, 3, 20)))]
    if kind < 0.6:
        return items
    if kind < 0.7:
        return tuple(items)
    return {some_key(chance, at): item for at, item in enumerate(items)}


def some_key(chance, at):
    """No two are the same in JSON."""
    odd = {0: None, 1: False, 2: at + 0.5}.get(at, at + 10)
    return odd if chance.random() < 0.2 else f"{some_text(chance)}k{at}"


def as_json(value):
    """What the standard library makes of a value."""
    return json.loads(json.dumps(clean(value)))


@pytest.mark.parametrize("seed", range(5))
def test_a_value_under_the_limit_is_what_the_standard_library_writes(seed):
    chance = random.Random(seed)
    for _ in range(20):
        value = [some_value(chance)]
        rendered = render(value, None, PLAIN)
        assert json.loads(rendered.text) == as_json(value)
        assert not rendered.truncated
        rendered.text.encode()


def test_json_is_compact_and_not_escaped_to_ascii():
    assert shown({"a": [1, None, True], "b": "é"}) == '{"a":[1,null,true],"b":"é"}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (12, 12),
        (2**64, 2**64),
        (0.5, 0.5),
        (math.nan, "NaN"),
        ([math.inf, -math.inf], ["Infinity", "-Infinity"]),
        (b"secret bytes", {"bytes": 12}),
        ([bytearray(3)], [{"bytes": 3}]),
        ({1, 2}, [1, 2]),
        (frozenset({"a"}), ["a"]),
        ((), []),
        ({}, {}),
        (
            {1: "a", 0.5: "b", None: "c", False: "d"},
            {"1": "a", "0.5": "b", "null": "c", "false": "d"},
        ),
        ({(1, 2): "a", object: "b"}, {"<tuple>": "a", "<type>": "b"}),
        ({"": 1, "a.b": 2, "gen_ai.tool.name": 3, "__proto__": 4},) * 2,
        ([1 << 100_000], ["<int of 100001 bits>"]),
        (Decimal("1.5"), "<decimal.Decimal>"),
    ],
)
def test_a_value_becomes_json(value, expected):
    assert parsed(value) == expected
    assert not render(value, LIMIT, PLAIN).truncated


def test_text_stays_as_it_is():
    for text in ("", "plain", 'says "no": 1', '{"a": 1.0, "b":[ ]}', "{'a': 1}", "\x1b[31m\u202e"):
        assert render(text, LIMIT, PLAIN) == (text, False)


@pytest.mark.parametrize("bad", ["\ud83d", "\0", "a\udc00b"])
def test_text_that_encoders_or_databases_refuse_is_replaced(bad):
    for value in (bad, [bad], {bad: bad}, bad * 500):
        text = shown(value)
        text.encode("utf-8")
        assert "\0" not in text
        assert "\ufffd" in text


def test_a_cycle_is_named_and_a_shared_value_is_not_one():
    cyclic: dict = {"a": 1}
    cyclic["self"] = cyclic
    ring: list = [1]
    ring.append({"back": ring})
    shared = [1]
    assert parsed(cyclic) == {"a": 1, "self": "<cycle>"}
    assert parsed(ring) == [1, {"back": "<cycle>"}]
    assert parsed([shared, shared]) == [[1], [1]]
    assert fingerprint(cyclic, KEY) is None
    assert fingerprint(ring, KEY) is None


class Text(str):
    __slots__ = ()


def nested(depth) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def test_a_deep_value_ends_in_a_mark():
    assert "<deep>" not in shown(nested(49))
    rendered = render(nested(100_000), LIMIT, PLAIN)
    assert rendered.truncated
    value = json.loads(rendered.text)
    for _ in range(50):
        (value,) = value
    assert value == "<deep>"
    assert fingerprint(nested(100_000), KEY) is None


def test_shared_references_do_not_multiply_time():
    value: list = [1] * 10
    for _ in range(10):
        value = [value] * 10
    begun = time.perf_counter()
    rendered = render(value, LIMIT, PLAIN)
    assert fingerprint(value, KEY) is None
    assert time.perf_counter() - begun < 1
    assert rendered.truncated


# --- over the limit


def agrees(cut, whole) -> None:
    """Every part of a cut value is a part of the whole one, and what is missing is counted."""
    if isinstance(cut, str) and cut != whole:
        mark, _, head = cut.partition(" characters] ")
        assert mark == f"[cut: {len(whole)}"
        assert whole.startswith(head)
    elif isinstance(cut, dict):
        missing = cut.pop("…", None)
        assert missing == (f"{len(whole) - len(cut)} more" if len(cut) < len(whole) else None)
        for key, item in cut.items():
            agrees(item, whole[key])
    elif isinstance(cut, list):
        if len(cut) < len(whole) or (cut and str(cut[-1]).startswith("… ")):
            assert cut.pop() == f"… {len(whole) - len(cut)} more"
        for item, of_whole in zip(cut, whole, strict=False):
            agrees(item, of_whole)
    else:
        assert cut == whole


@pytest.mark.parametrize("seed", range(5))
def test_a_cut_value_still_parses_as_json_and_keeps_the_limit(seed):
    chance = random.Random(seed)
    for _ in range(20):
        value = [some_value(chance) for _ in range(chance.choice((1, 3)))]
        whole = as_json(value)
        full = len(render(value, None, PLAIN).text.encode())
        for limit in (64, 65, 80, 127, 300, 1000, full - 1, full, full + 250):
            rendered = render(value, max(limit, 64), PLAIN)
            cut = json.loads(rendered.text)
            assert len(rendered.text.encode()) <= max(limit, 64)
            assert rendered.truncated or cut == whole
            assert not rendered.truncated or limit < full + 250
            assert rendered.truncated or max(limit, 64) >= full
            agrees(cut, whole)


def test_a_value_that_fits_exactly_is_not_cut():
    for limit in range(64, 90):
        inner = "x" * (limit - len('{"a":["b",""]}'))
        assert render({"a": ["b", inner]}, limit, PLAIN) == (f'{{"a":["b","{inner}"]}}', False)
        assert render({"a": ["b", inner + "x"]}, limit, PLAIN).truncated
        assert render("é" * (limit // 2), limit, PLAIN) == ("é" * (limit // 2), False)


@pytest.mark.parametrize("letter", ["x", "é", "漢", "😀", "\n", "\x01", '"', "\\", "\ud800", "\0"])
def test_a_cut_text_says_in_front_how_long_it_was_and_splits_no_character(letter):
    text = letter * 100_000
    mark = "[cut: 100000 characters] "
    whole = clean(text)
    for limit in (64, 65, 66, 67, 1000, LIMIT):
        plain = render(text, limit, PLAIN)
        assert plain.truncated
        assert plain.text.startswith(mark)
        assert whole.startswith(plain.text.removeprefix(mark))
        assert limit - 4 < len(plain.text.encode()) <= limit
        within = render({"a": text}, limit, PLAIN)
        agrees(json.loads(within.text), {"a": whole})
        assert limit - 10 < len(within.text.encode()) <= limit


def test_any_limit_is_kept_even_one_in_which_nothing_fits():
    for limit in range(64):
        for value in ("x" * 500, ["x" * 500], {"a" * 500: 1}, 2**500, [1] * 500, Account()):
            assert len(shown(value, limit).encode()) <= limit


def test_a_key_too_long_for_the_limit_is_counted_as_missing():
    assert parsed({"x" * 1_000_000: CANARY, "b": 2}) == {"…": "2 more"}
    assert parsed({"b": 2, "x" * 10_000: 1}) == {"b": 2, "x" * 10_000: 1}


GIANT = """
import json, resource, sys, time, tracemalloc
from toolspan.content import Redactor, fingerprint, render, size_of

def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)

value = {value}
redactor = Redactor()
render(["warm"], 64000, redactor)
before = peak_rss()
seconds = []
for _ in range(5):
    begun = time.perf_counter()
    rendered = render(value, 64000, redactor)
    seconds.append(time.perf_counter() - begun)
grown = peak_rss() - before
begun = time.perf_counter()
size_of(value), fingerprint(value, b"k")
looked = time.perf_counter() - begun
tracemalloc.start()
render(value, 64000, redactor)
print(json.dumps(dict(seconds=min(seconds), grown=grown, looked=looked, text=rendered.text,
                      peak=tracemalloc.get_traced_memory()[1] / 1e6, cut=rendered.truncated)))
"""


@pytest.mark.parametrize(
    ("value", "begins"),
    [
        ('"x" * 200_000_000', "[cut: 200000000 characters] xxx"),
        ("""'{"a": "' + "x" * 200_000_000""", '[cut: 200000007 characters] {"a": "xx'),
        ('["x" * 1_000_000 + str(i) for i in range(200)]', '["[cut: 1000001 characters] xxx'),
        ('["x" * 50 + str(i) for i in range(2_000_000)]', '["xxx'),
        ('{"text": "x" * 200_000_000}', '{"text":"[cut: 200000000 characters] xxx'),
        ('{"a": bytes(200_000_000), "b": "x" * 64_000}', '{"a":{"bytes":200000000},"b":"[cut'),
        ("list(range(1_000_000))", "[0,1,2,"),
        ("{str(i): i for i in range(1_000_000)}", '{"0":0,"1":1,'),
        ('type("S", (str,), {})("x" * 200_000_000)', "[cut: 200000000 characters] xxx"),
    ],
    ids=[
        "text",
        "json text",
        "texts",
        "short texts",
        "argument",
        "bytes",
        "list",
        "dict",
        "subclass",
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_a_result_of_200_mb_adds_less_than_2_mb_and_50_ms(value, begins):
    program = textwrap.dedent(GIANT).replace("{value}", value)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=120
    )
    seen = json.loads(done.stdout)
    assert seen["text"].startswith(begins)
    assert seen["cut"]
    assert LIMIT - 100 < len(seen["text"].encode()) <= LIMIT
    assert seen["peak"] < 2
    assert seen["grown"] < 2
    assert seen["seconds"] < 0.050
    assert seen["looked"] < 0.050


def test_without_a_limit_nothing_is_cut():
    value = {"text": "x" * 300_000, "numbers": list(range(50_000)), "é": ["é" * 100_000]}
    rendered = render(value, None, PLAIN)
    assert not rendered.truncated
    assert json.loads(rendered.text) == value


# --- the size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("", 0),
        ("é漢😀", 3),
        (b"\xff\xfe", 2),
        (bytearray(7), 7),
        ({"a": 1, "b": 2}, None),
        ({"a": "abc", "b": b"de", "c": 1, "d": ["not counted"]}, 5),
        (["abc", 1, "de"], 5),
        (("abc", None), 3),
        ([{"type": "text", "text": "hello"}, {"type": "image", "data": "xxxx"}], 5),
        ([{"type": "image", "data": "xxxx"}], None),
        ({"a": {"text": "not a block of a list"}}, None),
        ([["nested"]], None),
        ([{"text": 5}], None),
        ([""], 0),
        (None, None),
        (5, None),
        ({"a"}, None),
        (["x"] * 1_500, 1_000),
        ({str(number): "x" for number in range(1_500)}, 1_000),
    ],
)
def test_the_size_is_the_length_of_what_is_already_text(value, size):
    assert size_of(value) == size


def test_no_size_is_taken_of_a_subclass():
    assert size_of(Mode.FAST) is None
    assert size_of(Lying(a="abc")) is None
    assert size_of([Lying(text="abc"), "de"]) == 2


# --- the fingerprint


def by_hand(canonical, key=KEY) -> str:
    """The documented form, put together again from the standard library."""
    key = hashlib.blake2b(key, digest_size=32).digest()
    return hashlib.blake2b(key + marshal.dumps(canonical, 2), digest_size=8).hexdigest()


def test_the_fingerprint_is_a_keyed_hash_of_the_documented_form():
    assert fingerprint({"b": [1, (2.5, None)], "a": "x"}, KEY) == by_hand(
        {"a": "x", "b": [1, [2.5, None]]}
    )
    assert fingerprint("x" * 300, KEY) == by_hand((..., 300, "x" * 256))
    assert fingerprint({"a": 1}, b"other") == by_hand({"a": 1}, b"other")
    assert fingerprint({"a": 1}, b"k" * 500) == by_hand({"a": 1}, b"k" * 500)


def test_the_fingerprint_is_the_same_in_every_version_of_python():
    assert fingerprint({"b": 2, "a": [1, "é", 2**70, None, True, 0.5, b"\0"]}, KEY) == GOLDEN


GOLDEN = "2c7c9b4adc03310e"


def test_a_fingerprint_needs_a_key():
    assert fingerprint({"pin": 1234}, b"") is None


def test_the_order_of_keys_does_not_matter():
    one = {"a": 1, "b": {"c": [1, 2], "d": None}}
    other = {"b": {"d": None, "c": [1, 2]}, "a": 1}
    assert fingerprint(one, KEY) == fingerprint(other, KEY)
    assert fingerprint({"a": [1, 2]}, KEY) == fingerprint({"a": (1, 2)}, KEY)


def test_different_arguments_have_different_fingerprints():
    different = [
        None, True, False, 0, 1, -1, 1.0, 0.0, -0.0, math.inf, "", "1", "a", "b", b"", b"1", b"a",
        [], {}, [1], [[1]], [1, 2], [2, 1], ["a", 1], {"a": 1}, {"a": True}, {"a": 1.0}, {"a": "1"},
        {"a": None}, {"b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, [{"a": 1}], [["a", 1]],
        {"a": {"b": 1}}, "\ud800", "\udc00", "\ufffd", 2**64, 2**64 + 1, -(2**64), 2**4095,
        "x" * 256, "x" * 257, "x" * 258, "y" + "x" * 256, b"x" * 257, [257, "x" * 256],
        ["...", 257, "x" * 256], {"a": "x" * 300}, {"a": "x" * 301},
    ]  # fmt: skip
    marks = [fingerprint(value, KEY) for value in different]
    assert None not in marks
    assert len(set(marks)) == len(different)
    assert all(len(mark) == 16 and int(mark, 16) >= 0 for mark in marks)


def test_anything_else_has_no_fingerprint():
    for value in (
        object(), {1, 2}, frozenset(), bytearray(b"a"), memoryview(b"a"), 1j, ..., range(3), Text("a"),
        Mode.FAST, OrderedDict(a=1), Decimal(1), 2**4096, -(2**4096), {1: 2}, {"a": 1, None: 2},
        {Text("a"): 1}, {"a": object()}, [Text("a")], {"x" * 257: 1}, [1] * 1_000, [[1]] * 500,
        {str(number): 1 for number in range(1_000)}, nested(20), {"a": nested(19)},
    ):  # fmt: skip
        assert fingerprint(value, KEY) is None
        assert fingerprint({"a": value}, KEY) is None


def test_the_bounds_of_a_fingerprint_are_where_they_are_said_to_be():
    assert fingerprint([1] * 999, KEY)
    assert fingerprint(nested(19), KEY)
    assert fingerprint({"x" * 256: 1}, KEY)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ is a method since 3.12")
def test_an_object_with_a_buffer_of_its_own_is_not_asked_for_it(touched):
    value = touched.mine()
    touched.armed = True
    assert fingerprint([value], KEY) is None
    assert fingerprint({"a": 1, "b": {"c": value}}, KEY) is None


def test_a_long_text_costs_no_more_than_its_head():
    def cost(value):
        begun = time.perf_counter()
        for _ in range(200):
            fingerprint(value, KEY)
        return time.perf_counter() - begun

    small, large = {"a": "x" * 257}, {"a": "x" * 50_000_000}
    best = min(cost(large) for _ in range(5)), min(cost(small) for _ in range(5))
    assert best[0] < 3 * best[1]


# --- another thread changes the value meanwhile


@pytest.mark.parametrize("kind", ["dict", "list", "set"])
def test_a_value_that_another_thread_changes_raises_nothing(kind):
    value = {"dict": {}, "list": [], "set": set()}[kind]
    done = threading.Event()

    def change():
        for number in itertools.count():
            if done.is_set():
                return
            if kind == "dict":
                value[f"key{number % 700}"] = [number]
                value.pop(f"key{(number * 7) % 700}", None)
            elif kind == "list":
                value.extend([number, "abc"])
                del value[: number % 5]
            else:
                value.add(number)
                value.discard(number - number % 50)

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=change)
    thread.start()
    try:
        sys.setswitchinterval(1e-5)
        until = time.monotonic() + 0.7
        while time.monotonic() < until:
            for place in (value, {"a": value}):
                json.loads(render(place, 3_000, PLAIN).text)
                size_of(place)
                fingerprint(place, KEY)
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()


# --- secrets, by key

SPELLED = {
    part: (part, part.upper(), f"my_{part}_2", f"x-{part}", part.title()) for part in SECRET_PARTS
}
SPELLED |= {
    word: (word, word.upper(), f"card_{word}", f"x-{word}-1", f"card{word.title()}")
    for word in SECRET_WORDS
}
SPELLED |= {
    "and further": (
        *(
            "apiKey",
            "API Key",
            "api_key",
            "X-Api-Key",
            "private-key",
            "accessKeyId",
            "access_token",
        ),
        *("Set-Cookie", "Proxy-Authorization", "AWS_SECRET_ACCESS_KEY", "refreshTokens", "userPIN"),
        *("auth_tokens", "client.secret", "user SSN", "pass wd", "pass_phrase", "pinCode"),
    )
}
HARMLESS = [
    "tokens",
    "max_tokens",
    "total_tokens",
    "maxTokens",
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "tokenizer",
    "tokenization",
    "token_count",
    "tokenCount",
    "token_limit",
    "token_usage",
    "token_type",
    "tokens_per_second",
    "budget_tokens",
    "secretary",
    "shipping",
    "spinner",
    "pinned",
    "opinion",
    "className",
    "key",
    "keyboard",
    "monkey",
    "author",
    "authority",
    "pass",
    "passenger",
    "compass",
    "user",
    "id",
    "description",
    "hotpot",
    "option",
    "pins",
    "lesson",
    "bypass",
    "session",
]


@pytest.mark.parametrize("part", SPELLED)
def test_what_stands_under_a_secret_key_is_never_written(part):
    for name in SPELLED[part]:
        deep: object = {name: CANARY}
        for level in range(20):
            deep = [deep] if level % 2 else {"level": deep}
        for value in (
            {name: CANARY},
            {name: [CANARY]},
            {name: {"a": {"b": CANARY}}},
            {name: (CANARY, CANARY.encode()), "after": 1},
            {name.encode(): CANARY},
            {Text(name): CANARY},
            [{name: CANARY}] * 3,
            deep,
        ):
            texts = [shown(value), shown(value, 64), shown(str(value)), shown([str(value)])]
            assert not any(CANARY in text for text in texts)
        assert parsed({name: {"a": CANARY}, "b": 1}) == {name: "[redacted]", "b": 1}


@pytest.mark.parametrize("part", SPELLED)
def test_a_secret_in_raw_json_text_is_never_written(part):
    secrets = (CANARY, [CANARY, "]"], {"a": {"}": CANARY}}, f'"{CANARY}\\', None, 1.5e300)
    for name, secret in itertools.product(SPELLED[part], secrets):
        value = {"before": '"', name: secret, "after": [1, {"a": "}"}]}
        expected = value | {name: "[redacted]"}
        for text in (json.dumps(value), json.dumps(value, indent=2)):
            assert parsed(text) == expected
            assert parsed(f"[{text}]") == [expected]
            (found,) = parsed([text])
            assert json.loads(found) == expected


def test_a_key_that_only_looks_like_a_secret_one_is_shown():
    for name in HARMLESS:
        assert parsed({name: "v"}) == {name: "v"}
        assert shown(f'{{"{name}": "v"}}') == f'{{"{name}": "v"}}'


def pieces(text, size=6):
    return {text[at : at + size] for at in range(len(text) - size + 1)}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"a": 'x"', "password": CANARY, "b": [{"api_key": [CANARY, "x"]}], "c": 1}),
        json.dumps({"a": 1, "credentials": {"user": CANARY, "x": "}", "y": [CANARY]}}, indent=1),
        json.dumps({"body": json.dumps({"b": 1, "token": CANARY})}),
        json.dumps({"body": json.dumps({"inner": json.dumps({"secret": [CANARY]})})}),
        str({"a": "it's", "password": CANARY, "b": [{"otp": {"c": CANARY}}], "d": None}),
        str({"body": str({"password": CANARY, "b": 'a"'})}),
        '{"password":"' + CANARY + '" "broken',
        '{"pass\\u0077ord": "' + CANARY + '"}',
        '{"\\u0074oken" : {"a":"' + CANARY + '"}}',
        f'{{"token": {CANARY}-{CANARY}, "a": 1}}',
        f'no json: {{"token":\n  "{CANARY}"}} and more',
        f'{{"a":1,"cookie":"{CANARY}"}}\n{{"a":2,"cookie":"{CANARY}"}}',
        f'{{":token": "{CANARY}", "token:": "{CANARY}"}}',
        f'{{"a\\\\": 1, "token\\\\": "{CANARY}", "say \\"token\\"": "{CANARY}"}}',
        f'5" of \'it\': {{"token": "{CANARY}"}}',
    ],
)
def test_a_secret_in_text_is_hidden_wherever_the_text_is_cut(text):
    for end in range(len(text) + 1):
        for shown_text in (shown(text[:end], None), shown({"a": text[:end]}, None)):
            assert not any(piece in shown_text for piece in pieces(CANARY))
    for limit in (64, 70, 80, 100):
        assert CANARY not in shown(text * 20, limit)


def redacted(value, secret):
    """The rule, by an own walk over what a parser reads."""
    if isinstance(value, dict):
        return {k: "[redacted]" if k in secret else redacted(v, secret) for k, v in value.items()}
    return [redacted(item, secret) for item in value] if isinstance(value, list) else value


def with_secrets(chance, value, secret):
    if isinstance(value, list):
        return [with_secrets(chance, item, secret) for item in value]
    if not isinstance(value, dict):
        return value
    items = {key: with_secrets(chance, item, secret) for key, item in value.items()}
    items[chance.choice(secret)] = chance.choice((CANARY, [CANARY], {"a": CANARY}, f'"{CANARY}'))
    return dict(chance.sample(list(items.items()), len(items)))


@pytest.mark.parametrize("seed", range(5))
def test_any_json_text_is_redacted_as_a_parser_reads_it(seed):
    chance = random.Random(seed)
    secret = ["password", "x-api-key", '"token"', "\ncookie\\", "secret:", ":pin", "ötp otp"]
    for _ in range(20):
        value = json.loads(json.dumps([some_value(chance), {"a": {}}]))
        value = with_secrets(chance, value, secret)
        for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
            rendered = shown(text, None)
            assert json.loads(rendered) == redacted(json.loads(clean(text)), secret)
            assert CANARY not in rendered
        assert json.loads(shown(value, None)) == redacted(clean(value), secret)


def test_python_quoted_in_a_text_stays_python():
    text = shown(str({"a": 1, "password": "it's", "b": None, "otp": None}))
    assert ast.literal_eval(text.replace('"[redacted]"', "'[redacted]'")) == {
        "a": 1,
        "password": "[redacted]",
        "b": None,
        "otp": "[redacted]",
    }


def test_redaction_is_linear_in_the_length_of_a_text():
    def cost(text):
        begun = time.perf_counter()
        PLAIN.text(text)
        return time.perf_counter() - begun

    for piece in (
        '"token":', '\\"token\\":', '":', "':", '"token":[', '"token":"', '"a":"', "\\", '\\"', '"',
        "'", '"token": \'', '"token":1,"a":"\\\\', '"token":"\\', ' "token" ', '{"a":',
    ):  # fmt: skip
        for text in (
            piece * (200_000 // len(piece)) + ":",
            '"' + piece * (200_000 // len(piece)) + ":",
        ):
            assert min(cost(text) for _ in range(2)) < 1.0, piece


def test_further_keys_are_given_as_parts_in_any_case():
    redactor = Redactor(extra=["Customer-Id", "tokens", " "])
    assert parsed(
        {"CUSTOMER_ID": 1, "xcustomerids": 2, "max_tokens": 3, "id": 4}, redactor=redactor
    ) == {
        "CUSTOMER_ID": "[redacted]",
        "xcustomerids": "[redacted]",
        "max_tokens": "[redacted]",
        "id": 4,
    }
    assert CANARY not in shown(f'{{"customerId": "{CANARY}"}}', redactor=redactor)


def test_the_memory_of_known_keys_is_bounded():
    redactor = Redactor()
    for number in range(3_000):
        shown({f"key{number}": 1, f"password{number}": CANARY}, redactor=redactor)
    shown({"k" * 50_000: 1}, redactor=redactor)
    assert sum(map(len, redactor.labels)) < 50_000


# --- a redactor of the user's own


def test_a_custom_redactor_is_told_path_value_and_tool():
    told = []

    def custom(path, value, tool):
        told.append((path, value, tool))
        return value

    value = {"a": [1, {"b": "x"}], "password": CANARY}
    redactor = Redactor(custom=custom)
    assert parsed(value, redactor=redactor, tool="search") == {
        "a": [1, {"b": "x"}],
        "password": "[redacted]",
    }
    assert told == [
        ((), value, "search"),
        (("a",), value["a"], "search"),
        (("a", "0"), 1, "search"),
        (("a", "1"), {"b": "x"}, "search"),
        (("a", "1", "b"), "x", "search"),
    ]


def test_what_a_custom_redactor_returns_is_written_instead():
    def custom(path, value, _tool):
        if path[-1:] == ("mail",):
            return "[mail]"
        if path[-1:] == ("card",):
            return {"last": str(value)[-4:], "password": CANARY, "mail": "kept: not asked again"}
        return None if path[-1:] == ("gone",) else value

    redactor = Redactor(custom=custom)
    assert parsed(
        {"mail": CANARY, "card": 12345678, "gone": CANARY, "to": {"mail": 1}}, redactor=redactor
    ) == {
        "mail": "[mail]",
        "card": {"last": "5678", "password": "[redacted]", "mail": "kept: not asked again"},
        "gone": None,
        "to": {"mail": "[mail]"},
    }


def test_raw_json_text_is_opened_for_a_custom_redactor():
    redactor = Redactor(
        custom=lambda path, value, _tool: "[mail]" if path == ("to", "mail") else value
    )
    text = json.dumps({"to": {"mail": CANARY}, "token": CANARY, "a": 1})
    assert parsed(text, redactor=redactor) == {
        "to": {"mail": "[mail]"},
        "token": "[redacted]",
        "a": 1,
    }
    for plain in ("no json", "{broken", "[" * 100_000, "{'a': 1}"):
        assert shown(plain, None, redactor) == plain


@pytest.mark.contains
@pytest.mark.parametrize(
    "answer", [ValueError("no"), object(), Account(), Text("a"), {1}, b"x"], ids=repr
)
def test_a_custom_redactor_that_fails_shows_nothing(answer):
    def custom(path, value, _tool):
        if path == ("mail",) and isinstance(answer, Exception):
            raise answer
        return answer if path == ("mail",) else value

    redactor = Redactor(custom=custom)
    assert parsed({"mail": {"deep": CANARY}, "a": 1}, redactor=redactor) == {
        "mail": "[redaction failed]",
        "a": 1,
    }


@pytest.mark.contains
def test_a_custom_redactor_that_fails_for_the_whole_value_shows_nothing():
    redactor = Redactor(custom=lambda *_: 1 / 0)
    assert shown({"a": CANARY}, redactor=redactor) == "[redaction failed]"
    assert shown(CANARY, redactor=redactor) == "[redaction failed]"


def test_a_base_exception_of_a_custom_redactor_passes():
    def custom(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shown({"a": 1}, redactor=Redactor(custom=custom))


@pytest.mark.parametrize("limit", [64, 100, 200])
def test_a_limit_holds_with_a_custom_redactor_too(limit):
    redactor = Redactor(custom=lambda _path, value, _tool: "y" * 50 if value == 3 else value)
    rendered = render({"a": [1, 2, 3, "x" * 500], "b": 3}, limit, redactor)
    assert len(rendered.text.encode()) <= limit
    assert rendered.truncated
    json.loads(rendered.text)
