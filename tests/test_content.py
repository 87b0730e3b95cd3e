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
import re
import subprocess
import sys
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
    measure,
    measures,
    render,
    size_of,
)

KEY = b"k" * 32
LIMIT = 64_000
CANARY = "hunter2canary"
PLAIN = Redactor()


def shown(value, limit=LIMIT, redactor=PLAIN, tool="") -> str:
    return render(value, limit, redactor, tool)[0]


def parsed(value, limit=LIMIT, redactor=PLAIN, tool=""):
    """What a strict parser of JSON reads in the rendered value."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(shown(value, limit, redactor, tool), parse_constant=refuse)


# --- values of the host that tell on whoever touches them

BASES = (object, str, bytes, bytearray, int, float, dict, list, tuple, set, frozenset)
FILLED = {str: "text", bytes: b"text", bytearray: b"text", int: 7, float: 0.5, dict: {"a": 1}}
FILLED |= {base: [1] for base in (list, tuple, set, frozenset)}
ERRORS = (RuntimeError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit)
#: What an object may define though no base of its has it.
SPECIAL = """bool len length_hint iter next reversed contains getitem missing getattr int float
    bytes complex index abs neg pos invert add radd mul rmul mod rmod round trunc ceil floor
    getstate copy deepcopy json html fspath buffer enter exit call await aiter anext"""
FURTHER = {f"__{name}__" for name in re.findall(r"\w+", SPECIAL)}
FURTHER |= {"model_dump", "model_dump_json", "dict", "json", "items", "keys", "values", "get"}
#: What a class needs in order to be made.
NEEDED = {"__new__", "__init__", "__init_subclass__", "__subclasshook__", "__class_getitem__"}
NEEDED |= {"__doc__", "__dict__", "__class__", "__prepare__", "mro", "__call__", "__qualname__"}
OF_A_TYPE = {"__module__", "__name__", "__mro__", "__bases__"}


class Touched:
    """A record of what was called, once it is armed."""

    def __init__(self, error) -> None:
        self.calls: list[str] = []
        self.armed = False
        self.error = error

    def method(self, name, base):
        def touch(*args, **kwargs):
            self.tell(name)
            return getattr(base, name)(*args, **kwargs)

        return touch

    def tell(self, name) -> None:
        if self.armed:
            self.calls.append(name)
            raise self.error(name)

    def attribute(self, name):
        def get(owner):
            self.tell(name)
            return type.__dict__[name].__get__(owner)

        return property(get)

    def mine(self, base=object, *, meta=False):
        """An object of a class, and if need be of a metaclass, whose every method tells."""
        names = ({*dir(base)} if base in FILLED else {*dir(base), *FURTHER}) - NEEDED
        body: dict = {name: self.method(name, base) for name in names | {"__getattr__"}}
        body["__class__"] = property(body["__repr__"])
        made = (self.metaclass() if meta else type)("Loud", (base,), body)
        return made(FILLED[base]) if base in FILLED else made()

    def metaclass(self):
        functions = {name for name in dir(type) if callable(getattr(type, name, 0))} - NEEDED
        body: dict = {name: self.method(name, type) for name in functions}
        return type("Meta", (type,), body | {name: self.attribute(name) for name in OF_A_TYPE})


@pytest.fixture(params=ERRORS, ids=lambda error: error.__name__)
def touched(request):
    """Whatever the test does, nothing of the host's is called."""
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
    keys = [touched.mine(base) for base in (object, str, int, float, tuple, bytes, frozenset)]
    places = []
    for key in keys:
        places += {key: 1}, {key: 1, "a": 2}, [{key: "x", "text": "y"}], {"a": {key: 1}}
    touched.armed = True
    for place in places:
        render(place, LIMIT, PLAIN)
        size_of(place)
        assert fingerprint(place, KEY) is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ is a method since 3.12")
def test_an_object_with_a_buffer_of_its_own_is_not_asked_for_it(touched):
    value = touched.mine()
    assert "__buffer__" in type(value).__dict__
    touched.armed = True
    assert fingerprint([value], KEY) is None
    assert fingerprint({"a": 1, "b": {"c": value}}, KEY) is None


def test_a_subclass_is_read_as_the_built_in_that_it_is():
    touched = Touched(RuntimeError)
    values = {base: touched.mine(base) for base in BASES}
    touched.armed = True
    read = {base: shown([value]) for base, value in values.items()}
    touched.armed = False
    binary = {"bytes": len("text")}
    expected = FILLED | {bytes: binary, bytearray: binary, object: f"<{__name__}.Loud>"}
    assert {base: json.loads(text)[0] for base, text in read.items()} == expected


class Lying(dict):
    """One whose methods hide and invent."""

    def items(self):
        return [("invented", 1)]

    def __iter__(self):
        return iter(["invented"])

    def __len__(self):
        return 0


def test_overridden_methods_of_a_container_hide_nothing_and_invent_nothing():
    class Endless(list):
        def __iter__(self):
            return itertools.count()

    assert parsed(Lying(a=1, b=2)) == {"a": 1, "b": 2}
    assert parsed(Endless([1, 2])) == [1, 2]
    assert parsed([OrderedDict(a=1), defaultdict(list, b=2)]) == [{"a": 1}, {"b": 2}]


class Account:
    """A plain object of the host."""

    def __init__(self) -> None:
        self.password = CANARY

    def __repr__(self) -> str:
        return CANARY


def test_an_unknown_object_is_only_the_name_of_its_type():
    own = f"<{__name__}.Account>"
    assert parsed([Account(), Decimal(1), Account, 1j]) == [
        *(own, "<decimal.Decimal>", "<type>", "<complex>")
    ]


def test_what_can_be_read_once_is_never_read():
    for make in (
        lambda: (number for number in range(10)),
        lambda: iter([1, 2, 3]),
        lambda: itertools.count(),
        lambda: map(int, "123"),
    ):
        value, untouched = make(), make()
        for place in surroundings(value):
            shown(place)
            size_of(place)
            assert fingerprint(place, KEY) is None
        assert next(value) == next(untouched)


def test_a_file_is_never_read_and_a_coroutine_never_started(tmp_path):
    async def start():
        raise AssertionError("started")

    (tmp_path / "a").write_text("abc")
    waiting = start()
    with (tmp_path / "a").open() as file:
        assert parsed([file, waiting]) == ["<_io.TextIOWrapper>", "<coroutine>"]
        assert file.read() == "abc"
    waiting.close()


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


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Order(1), {"number": 1, "note": "n", "password": "[redacted]"}),
        (Slotted(1), {"number": 1, "api_key": "[redacted]"}),
        (Slotted.__new__(Slotted), {}),
        (Login("ada", CANARY), {"user": "ada", "password": "[redacted]"}),
        (
            Model(number=1),
            {"number": 1, "secret": "[redacted]", "card": "<pydantic.types.SecretStr>"},
        ),
        (Colour.RED, f"{__name__}.Colour.RED"),
        (Mode.FAST, f"{__name__}.Mode.FAST"),
        (Access.WRITE, f"{__name__}.Access.WRITE"),
    ],
    ids=["dataclass", "slots", "unset", "named tuple", "pydantic", "enum", "enum of str", "flag"],
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

    assert parsed(Odd(1)) == {}


# --- the text of ordinary values


def clean(value):
    """U+FFFD for what encoders or databases refuse."""
    if isinstance(value, str):
        return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, (list, tuple)) else value


LETTERS = "ab \"'\\/:,{}[]\n\t\0\x1b\x7f\u2028\u202eé漢😀\ud83d\udc00"
NUMBERS = (0, 1, -1, True, False, None, 2**64, -(2**70), 0.1, -0.0, 1e300)


def some_text(chance) -> str:
    return "".join(chance.choices(LETTERS, k=chance.choice((0, 1, 3, 9, 40, 300))))


def some_key(chance, at):
    """No two are the same in JSON."""
    odd = {0: None, 1: False, 2: at + 0.5}.get(at, at + 10)
    return odd if chance.random() < 0.2 else f"{some_text(chance)}k{at}"


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


def by_the_library(value):
    return json.loads(json.dumps(clean(value)))


@pytest.mark.parametrize("seed", range(4))
def test_a_value_under_the_limit_is_what_the_standard_library_writes(seed):
    chance = random.Random(seed)
    for _ in range(20):
        value = [some_value(chance)]
        text, cut = render(value, None, PLAIN)
        assert json.loads(text) == by_the_library(value)
        assert not cut
        text.encode()


def test_json_is_compact_and_not_escaped_to_ascii():
    assert shown({"a": [1, None, True], "b": "é"}) == '{"a":[1,null,true],"b":"é"}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (2**64, 2**64),
        (0.5, 0.5),
        ([math.nan, math.inf, -math.inf], ["NaN", "Infinity", "-Infinity"]),
        (b"secret bytes", {"bytes": 12}),
        ([bytearray(3)], [{"bytes": 3}]),
        ([{1, 2}, frozenset({"a"}), ()], [[1, 2], ["a"], []]),
        (
            {1: "a", 0.5: "b", None: "c", False: "d"},
            {"1": "a", "0.5": "b", "null": "c", "false": "d"},
        ),
        ({(1, 2): "a", object: "b"}, {"<tuple>": "a", "<type>": "b"}),
        (*[{"": 1, "a.b": 2, "gen_ai.tool.name": 3, "__proto__": 4}] * 2,),
        ([1 << 100_000], ["<int of 100001 bits>"]),
    ],
)
def test_a_value_becomes_json(value, expected):
    assert parsed(value) == expected
    assert not render(value, LIMIT, PLAIN)[1]


def test_text_stays_as_it_is():
    for text in ("", "plain", 'says "no": 1', '{"a": 1.0, "b":[ ]}', "{'a': 1}", "\x1b[31m\u202e"):
        assert render(text, LIMIT, PLAIN) == (text, False)


def test_text_that_encoders_or_databases_refuse_is_replaced():
    for bad in ("\ud83d", "\0", "a\udc00b"):
        for value in (bad, [bad], {bad: bad}, bad * 500, {"x": bad * 500}):
            text = shown(value)
            text.encode("utf-8")
            assert "\ufffd" in text
            assert "\0" not in text
            assert "\\u0000" not in text


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


def nested(depth) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def test_a_deep_value_ends_in_a_mark():
    assert parsed(nested(49)) == nested(49)
    text, cut = render(nested(100_000), LIMIT, PLAIN)
    value = json.loads(text)
    for _ in range(50):
        (value,) = value
    assert value == "<deep>"
    assert cut
    assert fingerprint(nested(100_000), KEY) is None


def test_shared_references_do_not_multiply_time():
    value: list = [1] * 10
    for _ in range(10):
        value = [value] * 10
    begun = time.perf_counter()
    _text, cut = render(value, LIMIT, PLAIN)
    assert fingerprint(value, KEY) is None
    assert time.perf_counter() - begun < 1
    assert cut


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


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_value_still_parses_as_json_and_keeps_the_limit(seed):
    chance = random.Random(seed)
    for _ in range(20):
        value = [some_value(chance) for _ in range(chance.choice((1, 3)))]
        whole = by_the_library(value)
        full = len(shown(value, None).encode())
        for limit in {64, 65, 80, 127, 300, 1000, *(max(64, full + more) for more in (-1, 0, 250))}:
            text, cut = render(value, limit, PLAIN)
            assert len(text.encode()) <= limit
            seen = json.loads(text)
            assert cut == (seen != whole)
            assert cut or limit >= full
            assert not cut or limit < full + 250
            agrees(seen, whole)


def test_a_value_that_fits_exactly_is_not_cut():
    for limit in range(64, 90):
        inner = "x" * (limit - len('{"a":["b",""]}'))
        assert render({"a": ["b", inner]}, limit, PLAIN) == (f'{{"a":["b","{inner}"]}}', False)
        assert render({"a": ["b", inner + "x"]}, limit, PLAIN)[1]
        assert render("é" * (limit // 2), limit, PLAIN) == ("é" * (limit // 2), False)


@pytest.mark.parametrize("letter", ["x", "é", "漢", "😀", "\n", "\x01", '"', "\\", "\ud800", "\0"])
def test_a_cut_text_says_in_front_how_long_it_was_and_splits_no_character(letter):
    text = letter * 100_000
    mark = "[cut: 100000 characters] "
    for limit in (64, 65, 66, 67, 1000, LIMIT):
        plain, cut = render(text, limit, PLAIN)
        assert cut
        assert plain.startswith(mark)
        assert clean(text).startswith(plain.removeprefix(mark))
        assert limit - 4 < len(plain.encode()) <= limit
        within = shown({"a": text}, limit)
        agrees(json.loads(within), {"a": clean(text)})
        assert limit - 10 < len(within.encode()) <= limit


def test_any_limit_is_kept_even_one_in_which_nothing_fits():
    for limit in range(64):
        for value in ("x" * 500, ["x" * 500], {"a" * 500: 1}, 2**500, [1] * 500, Account()):
            assert len(shown(value, limit).encode()) <= limit


@pytest.mark.parametrize("value", [{"größe": 5}, {"a:b": 5, "c": "d"}, {"a": "b", "ü": "x y"}])
def test_what_fits_is_rendered_whole_whatever_its_keys_are(value):
    redactor = Redactor()
    whole = render(value, None, redactor)
    assert render(value, len(whole[0].encode()), redactor) == whole == (whole[0], False)


def test_a_key_too_long_for_the_limit_is_counted_as_missing():
    assert parsed({"x" * 1_000_000: CANARY, "b": 2}) == {"…": "2 more"}
    assert parsed({"b": 2, "x" * 10_000: 1}) == {"b": 2, "x" * 10_000: 1}


def test_without_a_limit_nothing_is_cut():
    value = {"text": "x" * 300_000, "numbers": list(range(50_000)), "é": ["é" * 100_000]}
    text, cut = render(value, None, PLAIN)
    assert not cut
    assert json.loads(text) == value


GIANT = """
import json, resource, sys, time, tracemalloc
from toolspan.content import Redactor, fingerprint, render, size_of

def peak_rss():
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

value = {value}
redactor = Redactor()
render(["warm"], 64000, redactor)
before = peak_rss()
seconds = []
for _ in range(5):
    begun = time.perf_counter()
    text, cut = render(value, 64000, redactor)
    seconds.append(time.perf_counter() - begun)
grown = peak_rss() - before
begun = time.perf_counter()
size_of(value), fingerprint(value, b"k")
looked = time.perf_counter() - begun
tracemalloc.start()
render(value, 64000, redactor)
peak = tracemalloc.get_traced_memory()[1] / 1e6
print(json.dumps([min(seconds), looked, grown, peak, text, cut]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
@pytest.mark.parametrize(
    ("value", "begins", "bound"),
    [
        ('"x" * 200_000_000', "[cut: 200000000 characters] xxx", 0.05),
        ("""'{"a": "' + "x" * 200_000_000""", '[cut: 200000007 characters] {"a": "xx', 0.05),
        ('["x" * 1_000_000 + str(i) for i in range(200)]', '["[cut: 1000001 characters] x', 0.05),
        ('["x" * 50 + str(i) for i in range(2_000_000)]', '["xxx', 0.05),
        ('{"text": "x" * 200_000_000}', '{"text":"[cut: 200000000 characters] xxx', 0.05),
        ('{"a": bytes(200_000_000), "b": "x" * 64_000}', '{"a":{"bytes":200000000},"b":"[', 0.05),
        ('type("S", (str,), {})("x" * 200_000_000)', "[cut: 200000000 characters] xxx", 0.05),
        ("[0] * 1_000_000", "[0,0,0,", 0.2),
        ("{str(i): i for i in range(1_000_000)}", '{"0":0,"1":1,', 0.2),
    ],
    ids=re.findall(r"\w+", "text json_text texts short_texts argument bytes subclass items keys"),
)
def test_a_result_of_200_mb_adds_less_than_2_mb_and_50_ms(value, begins, bound):
    program = GIANT.replace("{value}", value)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=120
    )
    seconds, looked, grown, peak, text, cut = json.loads(done.stdout)
    assert text.startswith(begins)
    assert LIMIT - 100 < len(text.encode()) <= LIMIT
    assert cut
    assert grown < 2
    assert peak < 1
    assert seconds < bound
    assert looked < 0.05


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
        ([{"type": "image", "data": "xxxx"}, {"text": 5}, ["nested"]], None),
        ({"a": {"text": "not a block of a list"}}, None),
        ([""], 0),
        (5, None),
        (["x"] * 1_500, 1_000),
        ({str(number): "x" for number in range(1_500)}, 1_000),
        (Mode.FAST, None),
        (Lying(a="abc"), None),
        ([Lying(text="abc"), "de"], 2),
    ],
)
def test_the_size_is_the_length_of_what_is_already_text(value, size):
    assert size_of(value) == size


# --- the fingerprint


def by_hand(canonical, key=KEY) -> str:
    """The documented form, put together again from the standard library."""
    message = hashlib.blake2b(key, digest_size=32).digest()
    if type(canonical) is dict:
        message += marshal.dumps((*canonical,), 2)
        canonical = (*canonical.values(),)
    return hashlib.blake2b(message + marshal.dumps(canonical, 2), digest_size=8).hexdigest()


def test_the_fingerprint_is_a_keyed_hash_of_the_documented_form():
    value = {"b": [1, (2.5, None)], "a": "x"}
    assert fingerprint(value, KEY) == by_hand({"a": "x", "b": [1, [2.5, None]]})
    assert fingerprint("x" * 300, KEY) == by_hand((..., 300, "x" * 256))
    assert fingerprint(value, b"k" * 500) == by_hand({"a": "x", "b": [1, [2.5, None]]}, b"k" * 500)
    assert fingerprint(value, b"k") != fingerprint(value, b"l")
    assert fingerprint(value, b"") is None


def test_the_fingerprint_is_the_same_in_every_version_of_python():
    value = {"b": 2, "a": [1, "é", 2**70, None, True, 0.5, b"\0"]}
    assert fingerprint(value, KEY) == "293276e99ae6e290"


def test_the_order_of_keys_does_not_matter():
    one = {"a": 1, "b": {"c": [1, 2], "d": None}}
    other = {"b": {"d": None, "c": [1, 2]}, "a": 1}
    assert fingerprint(one, KEY) == fingerprint(other, KEY)
    assert fingerprint({"a": [1, 2]}, KEY) == fingerprint({"a": (1, 2)}, KEY)


def test_different_arguments_have_different_fingerprints():
    different = (
        None, True, False, 0, 1, -1, 1.0, 0.0, -0.0, math.inf, "", "1", "a", "b", b"", b"1", b"a",
        [], {}, [1], [[1]], [1, 2], [2, 1], ["a", 1], {"a": 1}, {"a": True}, {"a": 1.0}, {"a": "1"},
        {"a": None}, {"b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, [{"a": 1}], [["a", 1]],
        {"a": {"b": 1}}, "\ud800", "\udc00", "\ufffd", 2**64, 2**64 + 1, -(2**64), 2**4095,
        "x" * 256, "x" * 257, "x" * 258, "y" + "x" * 256, b"x" * 257, [257, "x" * 256],
        ["...", 257, "x" * 256], {"a": "x" * 300}, {"a": "x" * 301},
    )  # fmt: skip
    marks = [fingerprint(value, KEY) for value in different]
    assert all(mark is not None and len(mark) == 16 and int(mark, 16) >= 0 for mark in marks)
    assert len(set(marks)) == len(different)


class Text(str):
    __slots__ = ()


def test_anything_but_small_exact_built_in_values_has_no_fingerprint():
    strange = (
        object(), {1, 2}, frozenset(), bytearray(b"a"), memoryview(b"a"), 1j, ..., range(3), Text("a"),
        Mode.FAST, OrderedDict(a=1), Decimal(1), 2**4096, -(2**4096), {1: 2}, {"a": 1, None: 2},
        {Text("a"): 1}, {"a": object()}, [Text("a")], {"x" * 257: 1}, [1] * 1_000, [[1]] * 500,
        {str(number): 1 for number in range(1_000)}, nested(20), {"a": nested(19)},
    )  # fmt: skip
    for value in strange:
        assert fingerprint(value, KEY) is None
        assert fingerprint({"a": value}, KEY) is None
    for value in ([1] * 999, nested(19), {"x" * 256: 1}):
        assert fingerprint(value, KEY)


def test_a_long_text_costs_no_more_than_its_head():
    def cost(value):
        begun = time.perf_counter()
        for _ in range(200):
            fingerprint(value, KEY)
        return time.perf_counter() - begun

    small, large = {"a": "x" * 257}, {"a": "x" * 50_000_000}
    assert min(cost(large) for _ in range(5)) < 3 * min(cost(small) for _ in range(5))


# --- another thread changes the value meanwhile


@pytest.mark.parametrize("kind", [dict, list, set])
def test_a_value_that_another_thread_changes_raises_nothing(kind):
    value = kind()
    done = threading.Event()

    def change():
        for number in itertools.count():
            if done.is_set():
                return
            if kind is dict:
                value[f"key{number % 700}"] = [number]
                value.pop(f"key{(number * 7) % 700}", None)
            elif kind is list:
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
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            for place in (value, {"a": value}):
                json.loads(shown(place, 3_000))
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
SPELLED["and further"] = (
    *("apiKey", "API Key", "api_key", "X-Api-Key", "private-key", "accessKeyId", "access_token"),
    *("Set-Cookie", "Proxy-Authorization", "AWS_SECRET_ACCESS_KEY", "refreshTokens", "userPIN"),
    *("auth_tokens", "client.secret", "user SSN", "pass wd", "pass_phrase", "pinCode"),
)
HARMLESS = """
tokens max_tokens total_tokens maxTokens prompt_tokens completion_tokens input_tokens output_tokens
tokenizer tokenization token_count tokenCount token_limit token_usage token_type tokens_per_second
budget_tokens secretary shipping spinner pinned opinion className key keyboard monkey author
authority pass passenger compass user id description hotpot option pins lesson bypass session
"""


@pytest.mark.parametrize("part", sorted(SPELLED))
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


@pytest.mark.parametrize("part", sorted(SPELLED))
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
    for name in HARMLESS.split():
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
        f'{{"token": 12-{CANARY}, "a": 1}}',
        f'no json: {{"token":\n  "{CANARY}"}} and more',
        f'{{"a":1,"cookie":"{CANARY}"}}\n{{"a":2,"cookie":"{CANARY}"}}',
        f'{{":token": "{CANARY}", "token:": "{CANARY}"}}',
        f'{{"a\\\\": 1, "token\\\\": "{CANARY}", "say \\"token\\"": "{CANARY}"}}',
        f'5" of \'it\': {{"token": "{CANARY}"}}',
    ],
)
def test_a_secret_in_text_is_hidden_wherever_the_text_is_cut(text):
    for end in range(len(text) + 1):
        for written in (shown(text[:end], None), shown({"a": text[:end]}, None)):
            assert not any(piece in written for piece in pieces(CANARY))
    for limit in (64, 70, 80, 100):
        assert CANARY not in shown(text * 20, limit)


def redacted(value, secret):
    """The rule, by a walk of the test's own over what a parser reads."""
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


@pytest.mark.parametrize("seed", range(4))
def test_any_json_text_is_redacted_as_a_parser_reads_it(seed):
    chance = random.Random(seed)
    secret = ["password", "x-api-key", '"token"', "\ncookie\\", "secret:", ":pin", "ötp otp"]
    for _ in range(15):
        value = json.loads(json.dumps([some_value(chance), {"a": {}}]))
        value = with_secrets(chance, value, secret)
        for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
            written = shown(text, None)
            assert json.loads(written) == redacted(json.loads(clean(text)), secret)
            assert CANARY not in written
        assert json.loads(shown(value, None)) == redacted(clean(value), secret)


def test_only_what_stands_under_the_key_is_hidden():
    for text, expected in (
        ('{"token": "a\nb", "c": 1}', '{"token": "[redacted]", "c": 1}'),
        ('{"cookie":{"a":[1]}}\n{"b":2}', '{"cookie":"[redacted]"}\n{"b":2}'),
        ("{'otp': 'it\\'s', 'b': ','}", "{'otp': '[redacted]', 'b': ','}"),
        ('see "token": 5 and more', 'see "token": "[redacted]" and more'),
    ):
        assert shown(text) == expected


def test_python_quoted_in_a_text_stays_python():
    text = shown(str({"a": 1, "password": "it's", "b": None, "otp": None}))
    quoted = ast.literal_eval(text)
    assert quoted == {"a": 1, "password": "[redacted]", "b": None, "otp": "[redacted]"}


def test_redaction_is_linear_in_the_length_of_a_text():
    def cost(text):
        begun = time.perf_counter()
        PLAIN.text(text)
        return time.perf_counter() - begun

    for piece in (
        '"token":', '\\"token\\":', '":', "':", '"token":[', '"token":"', '"a":"', "\\", '\\"', '"',
        "'", '"token": \'', '"token":1,"a":"\\\\', '"token":"\\', ' "token" ', '{"a":',
    ):  # fmt: skip
        text = piece * (100_000 // len(piece)) + ":"
        for longer in (text, f'"{text}', f'"token":"{text}'):
            assert min(cost(longer) for _ in range(2)) < 0.5, piece


def test_further_keys_are_given_as_parts_in_any_case():
    redactor = Redactor(extra=["Customer-Id", "tokens", " "])
    keys = ["CUSTOMER_ID", "xcustomerids", "max_tokens", "id"]
    hidden = ["[redacted]", "[redacted]", "[redacted]", 1]
    assert parsed(dict.fromkeys(keys, 1), redactor=redactor) == dict(zip(keys, hidden, strict=True))
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
    read = parsed(value, redactor=Redactor(custom=custom), tool="search")
    assert read == {"a": [1, {"b": "x"}], "password": "[redacted]"}
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
            return {"last": str(value)[-4:], "password": CANARY, "mail": "not asked again"}
        return None if path[-1:] == ("gone",) else value

    value = {"mail": CANARY, "card": 12345678, "gone": CANARY, "to": {"mail": 1}}
    assert parsed(value, redactor=Redactor(custom=custom)) == {
        "mail": "[mail]",
        "card": {"last": "5678", "password": "[redacted]", "mail": "not asked again"},
        "gone": None,
        "to": {"mail": "[mail]"},
    }


def test_raw_json_text_is_opened_for_a_custom_redactor():
    def custom(path, value, _tool):
        return "[mail]" if path == ("to", "mail") else value

    redactor = Redactor(custom=custom)
    text = json.dumps({"to": {"mail": CANARY}, "token": CANARY, "a": 1})
    expected = {"to": {"mail": "[mail]"}, "token": "[redacted]", "a": 1}
    assert parsed(text, redactor=redactor) == expected
    for plain in ("no json", "{broken", "[" * 100_000, "{'a': 1}"):
        assert shown(plain, None, redactor) == plain


@pytest.mark.contains
@pytest.mark.parametrize(
    "answer", [ValueError(), object(), Account(), Text("a"), {1}, b"x"], ids=repr
)
def test_a_custom_redactor_that_fails_shows_nothing(answer):
    def custom(path, value, _tool):
        if path == ("mail",) and type(answer) is ValueError:
            raise answer
        return answer if path == ("mail",) else value

    read = parsed({"mail": {"deep": CANARY}, "a": 1}, redactor=Redactor(custom=custom))
    assert read == {"mail": "[redaction failed]", "a": 1}


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


def test_a_limit_holds_with_a_custom_redactor_too():
    redactor = Redactor(custom=lambda _path, value, _tool: "y" * 50 if value == 3 else value)
    for limit in (64, 100, 200):
        text, cut = render({"a": [1, 2, 3, "x" * 500], "b": 3}, limit, redactor)
        assert len(text.encode()) <= limit
        assert cut
        json.loads(text)


# --- both in one pass


def an_argument(chance, depth=0):
    kinds = [
        lambda: chance.randrange(-5, 5),
        lambda: 1 << chance.randrange(4_090, 4_102),
        lambda: -(1 << chance.randrange(60, 70)),
        lambda: "x" * chance.choice([0, 1, 255, 256, 257, 1_000]),
        lambda: chance.choice(["é", "\ud800", "", "a:b"]),
        lambda: chance.choice([True, False, None, 0.5, float("nan"), b"b", object(), str, {1}]),
        lambda: [an_argument(chance, depth + 1) for _ in range(chance.randrange(3))],
        lambda: {str(n): an_argument(chance, depth + 1) for n in range(chance.randrange(3))},
    ]
    return chance.choice(kinds if depth < 3 else kinds[:5])()


@pytest.mark.parametrize("seed", range(20))
def test_measured_in_one_pass_or_by_themselves_size_and_fingerprint_are_the_same(seed):
    chance = random.Random(seed)
    names = ["b", "a", "text", "é", "n" * 256, "n" * 257, 3, ("t",), ""]
    for _ in range(200):
        chosen = chance.sample(names, chance.randrange(0, 6))
        value = {name: an_argument(chance) for name in chosen}
        for key in (KEY, b"another", b""):
            assert measure(value, key) == (fingerprint(value, key), size_of(value))
    many = {f"name {number}": number for number in range(30)}
    assert measure(many, KEY) == (fingerprint(many, KEY), None)
    assert measure("text", KEY) == (fingerprint("text", KEY), 4)


def test_names_that_are_remembered_for_their_order_are_bounded():
    for number in range(3_000):
        assert measure({f"name {number}": 1}, KEY)[0]
    assert len(measures._SHAPES) <= 1_000
