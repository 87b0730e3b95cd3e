"""What of arguments and results may be written: their size, a fingerprint, their text.

No code of the host runs here, but for a custom redactor. Values are told apart by their exact
type, subclasses of built-in types are read through the built-in, and of objects only what is
physically stored in them. A metaclass may define `==` and `hash()`: so types are compared with
`is`, one after the other, and never looked up.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from hashlib import blake2b
from itertools import islice
from json.encoder import encode_basestring
from marshal import dumps
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final, NamedTuple

from toolspan.containment import contained
from toolspan.toolcall import type_name

#: A key is secret when it contains one of these, its case and all but letters and digits left
#: aside: `X-Api-Key` and `userPassword` are.
SECRET_PARTS: Final = (
    *("password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "privatekey"),
    *("authorization", "cookie", "credential", "cvv"),
)
#: Too short to be looked for within words: secret as a word of its own (`card_pin`, `cardPin`).
SECRET_WORDS: Final = frozenset({"pin", "otp", "ssn", "pwd"})
#: Not secret: numbers, limits and kinds of a model's tokens, tokenizers, secretaries.
HARMLESS: Final = re.compile(
    r"(?<!access)(?<!refresh)(?<!bearer)(?<!session)(?<!auth)(?<!api)tokens"
    r"|token(?:i[sz]|count|limit|usage|budget|length|type)|secretar"
)
REDACTED: Final = "[redacted]"
FAILED: Final = "[redaction failed]"

#: Called with path, value and the tool's name; returns what is written instead.
Custom = Callable[[tuple[str, ...], object, str], object]
#: Key -> how JSON begins with it, and whether it is secret.
Labels = dict[str, tuple[str, bool]]

_MANY: Final = 1_000  # items whose size is counted; values that one fingerprint covers
_LEVELS: Final = 20  # of nesting that one fingerprint covers
_HEAD: Final = 256  # characters of a long text that enter a fingerprint
_INT_BITS: Final = 4_096
_DEPTH: Final = 50  # levels of nesting that are rendered
_CONTAINERS: Final = 1_000_000  # rendered where there is no limit: shared ones multiply
_JSON_TEXT: Final = 1 << 20  # characters that are parsed for a custom redactor
_SHORT: Final = 100  # characters of a text that is rendered in one step
_FEW: Final = 16  # entries of a list or dict that is
_KEYS: Final = 1_024  # of at most `_SHORT` characters, that a redactor remembers


def size_of(value: object) -> int | None:
    """How long the text in `value` is, never encoding it; None where there is none.

    Characters of text, bytes of bytes: of the value, else of a dict's values or a list's items,
    there also of message blocks (`[{"type": "text", "text": "..."}]`); of the first 1,000.
    """
    kind = type(value)
    items: Any = value
    if kind is str or kind is bytes or kind is bytearray:
        return len(items)
    if kind is dict:
        items = items.values()
    elif kind is not list and kind is not tuple:
        return None
    total = None
    try:
        for item in items if len(items) <= _MANY else islice(items, _MANY):
            kind = type(item)
            if kind is int:
                continue
            if kind is str or kind is bytes or kind is bytearray:
                total = (total or 0) + len(item)
            elif kind is dict and items is value and type(text := _block_text(item)) is str:
                total = (total or 0) + len(text)
    except RuntimeError:  # another thread changes it
        pass
    return total


def _block_text(block: dict[object, object]) -> object:
    pairs = islice(block.items(), _MANY)
    return next((text for key, text in pairs if type(key) is str and key == "text"), None)


class _OpaqueError(Exception):
    """The value is none that a fingerprint covers."""


def fingerprint(arguments: object, key: bytes) -> str | None:
    """16 hex digits, equal for equal `arguments` under one `key`; None without a key.

    Covers the exact types None, bool, int (up to 4,096 bits), float, str, bytes, list, tuple
    (equal to a list) and dict (str keys in any order); of more than 256 characters or bytes the
    head and the length. None for anything else, over 1,000 values and over 20 levels.
    """
    if not key:
        return None
    canonical: Any = _canonical_dict if type(arguments) is dict else _canonical
    try:
        message = dumps(canonical(arguments, [_MANY], _LEVELS), 2)
    except (_OpaqueError, KeyError, RuntimeError):  # the last two: another thread changes it
        return None
    state = (_states.get(key) or _keyed(key))()
    state.update(message)
    return state.hexdigest()


#: Key -> copies of a hash that has read it.
_states: Final[dict[bytes, Callable[[], blake2b]]] = {}


def _keyed(key: bytes) -> Callable[[], blake2b]:
    # The key begins the one block that small arguments fill. As blake2b's own `key=` it would be
    # a block by itself, and the hash of them half as dear again.
    state = blake2b(blake2b(key, digest_size=32).digest(), digest_size=8)
    return _states.setdefault(key, state.copy)


def _canonical(value: Any, left: list[int], levels: int) -> Any:
    """A copy in exact types, which marshal writes alike for equal arguments; or _OpaqueError."""
    kind = type(value)
    if kind is dict:
        return _canonical_dict(value, left, levels)
    if kind is str or kind is bytes:
        return value if len(value) <= _HEAD else (..., len(value), value[:_HEAD])
    if kind is bool or kind is float or value is None:
        return value
    if kind is int and value.bit_length() <= _INT_BITS:
        return value
    if kind is list or kind is tuple:
        left[0] -= len(value) + 1
        if left[0] >= 0 and levels:
            return [_canonical(item, left, levels - 1) for item in tuple(value)]
    raise _OpaqueError


def _canonical_dict(value: dict[Any, Any], left: list[int], levels: int) -> dict[str, Any]:
    left[0] -= len(value) + 1
    if left[0] < 0 or not levels:
        raise _OpaqueError
    names = [*value]
    for name in names:
        if type(name) is not str or len(name) > _HEAD:
            raise _OpaqueError
    names.sort()
    copy = {}
    for name in names:
        item = value[name]
        kind = type(item)
        # What most items are is told here: a call for each would cost a fifth more.
        if (kind is str and len(item) <= _HEAD) or (kind is int and item.bit_length() <= _INT_BITS):
            copy[name] = item
        else:
            copy[name] = _canonical(item, left, levels - 1)
    return copy


class Redactor:
    """The first rules of redaction, by key: what stands under a secret key is never written.

    `extra`: further parts of secret keys. `custom` is asked about every other value and returns
    what is written instead; where it raises or that is no plain value, "[redaction failed]" is.
    """

    __slots__ = ("_extra", "custom", "labels")

    def __init__(self, extra: Iterable[str] = (), custom: Custom | None = None) -> None:
        self._extra = tuple(filter(None, (_SEPARATORS.sub("", part).lower() for part in extra)))
        self.custom = custom
        self.labels: Labels = {}

    def secret(self, key: str) -> bool:
        """Whether the value under `key`, an exact str, is secret."""
        return (self.labels.get(key) or self.label(key))[1]

    def label(self, key: str) -> tuple[str, bool]:
        """`key` in JSON with its colon, and whether it is secret."""
        label = f'"{_escaped(key)}":', self._judged(key)
        if len(key) <= _SHORT:
            if len(self.labels) >= _KEYS:
                self.labels.clear()
            self.labels[key] = label
        return label

    def _judged(self, key: str) -> bool:
        key = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), key)
        squeezed = _SEPARATORS.sub("", key).lower()
        return (
            _PARTS.search(HARMLESS.sub(" ", squeezed)) is not None
            or any(part in squeezed for part in self._extra)
            or not SECRET_WORDS.isdisjoint(map(str.lower, _WORD.findall(key)))
        )

    def text(self, text: str) -> str:
        """`text` without what stands under secret keys, wherever it quotes JSON or Python.

        In linear time, and where the text is no valid JSON or was cut, too: a value whose end is
        not found ends with the text.
        """
        if ":" in text:
            for form in _FORMS:
                if form[1].search(text) and any(map(self.secret, set(form[0].findall(text)))):
                    text = self._without(text, form)
        return text

    def _without(self, text: str, form: Form) -> str:
        key, colon, mark, rest = form
        kept: list[str] = []
        at = 0
        for found in key.finditer(text):
            end = colon.match(text, found.end(1))
            if end and found.start() >= at and self.secret(found[1]):
                kept += text[at : end.end()], mark, REDACTED, mark
                at = _value_end(text, end.end(), rest)
        kept.append(text[at:])
        return "".join(kept)


Pattern = re.Pattern[str]
Form = tuple[Pattern, Pattern, str, Pattern | None]


def _forms(quote: str, foreign: str) -> Iterator[Form]:
    """How a text quotes keys. Escaped: JSON in a string, the rest of which goes with a secret."""
    colon = re.compile(rf"{quote}\s*:\s*")
    string = rf"[^{quote}\\]*(?:\\.[^{quote}\\]*)*"
    key = rf"{quote}(?<!\\{quote})(?=({string.replace('^', '^' + foreign)}){quote}\s*:)"
    yield re.compile(key, re.DOTALL), colon, quote, None
    key = rf"\\{quote}(?=([^{quote}{foreign}]*\\){quote}\s*:)"
    yield re.compile(key), colon, "", re.compile(string, re.DOTALL)


_FORMS: Final = (*_forms('"', ""), *_forms("'", '"'))
_JSON: Final = json.JSONDecoder(strict=False)
_PYTHON: Final = re.compile(r"'[^'\\]*(?:\\.[^'\\]*)*'|None|True|False", re.DOTALL)
_REST: Final = re.compile(r"[^\s,\]})]*")
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_SEPARATORS: Final = re.compile(r"[\W_]+")
_PARTS: Final = re.compile("|".join(SECRET_PARTS))
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _value_end(text: str, at: int, rest: Pattern | None) -> int:
    if found := (rest or _PYTHON).match(text, at):
        return found.end()
    try:
        at = _JSON.raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return len(text)
    return _REST.match(text, at).end()  # type: ignore[union-attr]  # it matches anywhere


class Rendered(NamedTuple):
    """The text of one attribute value, and whether anything is missing from it."""

    text: str
    truncated: bool


def render(value: object, limit: int | None, redactor: Redactor, tool: str = "") -> Rendered:
    """`value` as text of at most `limit` bytes of UTF-8 (None: no cap).

    Text stays as it is; over the limit it begins with "[cut: N characters] ". Anything else
    becomes JSON, and over the limit it is JSON still: the last item says "… N more", or the last
    key is "…". `tool` is the name that a custom redactor is told.
    """
    custom = redactor.custom
    if custom is not None:
        value, custom = _custom_redactor(custom, tool, (), _opened(value)) or _FAILED
    room = sys.maxsize if limit is None else max(limit, 0)
    kind = type(value)
    if kind is str or (issubclass(kind, str) and not issubclass(kind, Enum)):
        return _fitting(value, room, redactor, _legible)
    simple = _simple(value, kind, redactor.labels if custom is None else None)
    if simple is not None and _bytes(simple) <= room:
        return Rendered(simple, truncated=False)
    writer = _Writer(room, redactor, custom, tool)
    whole = writer.value(value) and not writer.cut
    return Rendered("".join(writer.parts), not whole)


def _opened(value: object) -> object:
    """What JSON text holds, so that a custom redactor is told its paths; else the value."""
    if type(value) is str and len(value) <= _JSON_TEXT and value.lstrip()[:1] in {"{", "["}:
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


@contained
def _custom_redactor(
    custom: Custom, tool: str, path: tuple[str, ...], value: object
) -> tuple[object, Custom | None]:
    """What is to be written for `value`, and who is asked about what it holds."""
    answer = custom(path, value, tool)
    if answer is value:
        return value, custom
    return (answer, None) if any(type(answer) is plain for plain in _PLAIN) else _FAILED


class _Writer:
    """Writes one value as JSON, piece by piece, into what is left of the limit.

    A method that writes writes at most `left` bytes, a value if need be cut and marked, or it
    returns False. An open container has set aside what its end needs.
    """

    cut = False
    _containers = _CONTAINERS
    _path: tuple[str, ...] = ()

    def __init__(self, room: int, redactor: Redactor, custom: Custom | None, tool: str) -> None:
        self.left = room
        self.parts: list[str] = []
        self._redactor = redactor
        self._custom = custom
        self._tool = tool
        self._open: list[int] = []

    def value(self, value: Any, before: str = "") -> bool:
        """Write `before` and the value."""
        kind = type(value)
        simple = _simple(value, kind, self._redactor.labels if self._custom is None else None)
        if simple is not None and self._put(before + simple):
            return True
        if kind is dict:
            return self._block(before, value, value.items(), len(value), "{}")
        if kind is list or kind is tuple:
            return self._block(before, value, enumerate(value), len(value), "[]")
        if kind is str or (issubclass(kind, str) and not issubclass(kind, Enum)):
            return self._string(before, value)
        return simple is None and self._foreign(before, value, kind)

    def _foreign(self, before: str, value: Any, kind: type) -> bool:
        if issubclass(kind, Enum):
            name = _stored(value, "_name_")  # a combination of flags has none
            return self._string(before, f"{type_name(kind)}.{name if type(name) is str else '…'}")
        if (pairs := _pairs(value, kind)) is not None:
            return self._block(before, value, *pairs, "{}")
        for listing in _LISTS:
            if issubclass(kind, listing):
                items = enumerate(listing.__iter__(value))
                return self._block(before, value, items, listing.__len__(value), "[]")
        for number in _NUMBERS:
            if issubclass(kind, number):
                return self.value(number.__pos__(value), before)
        size = next((some.__len__(value) for some in _BYTES if issubclass(kind, some)), None)
        if size is None:
            return self._string(before, f"<{type_name(kind)}>")
        return self._put(f'{before}{{"bytes":{size}}}')

    def _block(self, before: str, value: object, entries: Entries, count: int, ends: str) -> bool:
        """Write a container, or as many of its entries as fit and how many are missing."""
        if count == 0:
            return self._put(before + ends)
        if id(value) in self._open:
            return self._put(f'{before}"<cycle>"')
        if len(self._open) == _DEPTH or self._containers == 0:
            self.cut = True
            return self._put(f'{before}"<deep>"')
        self.left -= _END
        if not self._put(before + ends[0]):
            self.left += _END
            return False
        self._open.append(id(value))
        self._containers -= 1
        written = self._entries(self._labelled(entries, keyed=ends == "{}"), count)
        self._open.pop()
        if written < count:
            self.cut = True
            form = '"…":"{} more"' if ends == "{}" else '"… {} more"'
            self._put(("," if written else "") + form.format(count - written))
        self._put(ends[1])
        return True

    def _entries(self, entries: Labelled, count: int) -> int:
        """Write the entries that fit, and give back what the end of the container needs."""
        end = _END
        written = 0
        for name, label, item, secret in entries:
            if written == count:  # another thread adds more
                break
            if written == count - 1:  # without a note after it
                self.left += end - 1
                end = 1
            before = f",{label}" if written else label
            if self._custom is not None and not secret:
                done = self._answer(self._custom, before, name, item)
            else:
                scalar = _scalar(item, type(item))
                done = scalar is not None and self._put(before + scalar)
                done = done or self.value(item, before)
            if not done:
                break
            written += 1
        self.left += end
        return written

    def _labelled(self, entries: Entries, *, keyed: bool) -> Labelled:
        """Entries, how JSON begins each and whether it is secret; until a key is too long."""
        with contextlib.suppress(RuntimeError):  # another thread changes the container
            for key, item in entries:
                if not keyed:
                    yield "" if self._custom is None else str(key), "", item, False
                    continue
                name = key if type(key) is str else _key_text(key)
                if len(name) > self.left:
                    return
                label, secret = self._redactor.labels.get(name) or self._redactor.label(name)
                yield name, label, REDACTED if secret else item, secret

    def _answer(self, custom: Custom, before: str, name: str, item: object) -> bool:
        path = self._path
        self._path = (*path, name)
        answer, self._custom = _custom_redactor(custom, self._tool, self._path, item) or _FAILED
        done = self.value(answer, before)
        self._custom, self._path = custom, path
        return done

    def _string(self, before: str, text: Any) -> bool:
        room = self.left - _bytes(before) - len('""')
        shown, cut = _fitting(text, room, self._redactor, _escaped)
        self.cut |= cut
        return (bool(shown) or not cut) and self._put(f'{before}"{shown}"')

    def _put(self, text: str) -> bool:
        size = len(text) if text.isascii() else len(text.encode())
        if size > self.left:
            return False
        self.left -= size
        self.parts.append(text)
        if len(self.parts) == _MANY:  # many small strings take more than one large
            self.parts = ["".join(self.parts)]
        return True


Entries = Iterable[tuple[Any, object]]
Labelled = Iterator[tuple[str, str, object, bool]]
_FAILED: Final = FAILED, None
_NOT_FINITE: Final = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
_PLAIN: Final = (str, int, float, bool, type(None), dict, list, tuple)
_LISTS: Final[tuple[Any, ...]] = (list, tuple, set, frozenset)
_BYTES: Final[tuple[Any, ...]] = (bytes, bytearray)
_NUMBERS: Final[tuple[Any, ...]] = (int, float)
#: Bytes that the end of a container may need.
_END: Final = len(',"…":"9999999999 more"}'.encode())
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
#: What JSON escapes and how, the backslash first.
_ESCAPES: Final = tuple((c, encode_basestring(c)[1:-1]) for c in ("\\", '"', *map(chr, range(32))))


def _fitting(text: Any, room: int, redactor: Redactor, form: Callable[[str], str]) -> Rendered:
    """`text` in `form` in `room` bytes, if need be its head behind a mark, if there is room."""
    length = len(text) if type(text) is str else str.__len__(text)
    if type(text) is not str or length > room:
        text = str.__getitem__(text, slice(0, max(room, 0)))
    head = redactor.text(text)
    if length <= room:
        whole = form(head)
        if _bytes(whole) <= room:
            return Rendered(whole, truncated=False)
    mark = f"[cut: {length} characters] "
    shown = mark + _head(head, room - len(mark), form) if len(mark) <= room else ""
    return Rendered(shown, truncated=True)


def _head(text: str, room: int, form: Callable[[str], str]) -> str:
    """The longest beginning of `text` that fits in `form`: pieces, halved where too large."""
    pieces = []
    at, step = 0, room
    while step and at < len(text):
        piece = form(text[at : at + step])
        size = _bytes(piece)
        if size > room:
            step //= 2
        else:
            pieces.append(piece)
            room -= size
            at += step
    return "".join(pieces)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _legible(text: str) -> str:
    """`text`, with U+FFFD for what encoders refuse (lone surrogates) and databases (NUL)."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _escaped(text: str) -> str:
    """`text` as it stands between the quotes of JSON."""
    text = _legible(text)
    if len(text) <= _SHORT:
        return encode_basestring(text)[1:-1]
    for letter, escape in _ESCAPES:  # several times faster on a long text
        if letter in text:
            text = text.replace(letter, escape)
    return text


def _scalar(value: Any, kind: type) -> str | None:
    """What most values are, in JSON; None for all others."""
    if kind is str:
        ordinary = len(value) <= _SHORT and value.isascii() and ":" not in value
        return encode_basestring(value) if ordinary and "\0" not in value else None
    if kind is int:
        bits = value.bit_length()
        return repr(value) if bits <= _INT_BITS else f'"<int of {bits} bits>"'
    if kind is bool:
        return "true" if value else "false"
    if kind is float:
        text = repr(value)
        return _NOT_FINITE.get(text, text)
    return "null" if value is None else None


def _simple(value: Any, kind: type, labels: Labels | None) -> str | None:
    """The same, and short lists and dicts of such values, as most arguments are."""
    if labels is None or (kind is not dict and kind is not list):
        return _scalar(value, kind)
    if len(value) > _FEW:
        return None
    if kind is list:
        texts: list[Any] = [_scalar(item, type(item)) for item in [*value]]
        return None if None in texts else f"[{','.join(texts)}]"
    text = ""
    for key, item in [*value.items()]:
        label, secret = (labels.get(key) if type(key) is str else None) or ("", True)
        scalar = None if secret else _scalar(item, type(item))
        if scalar is None:
            return None
        text += f",{label}{scalar}"
    return f"{{{text[1:]}}}"


def _key_text(key: Any) -> str:
    """A key as JSON writes it; of an unknown type only the type's name."""
    kind = type(key)
    if kind is bytes:
        return str(key, "latin-1")
    if issubclass(kind, str):
        return str.__getitem__(key, slice(None))
    return _scalar(key, kind) or f"<{type_name(kind)}>"


_BASES: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
_NAMESPACE: Final[Callable[[type], Mapping[str, Any]]] = type.__dict__["__dict__"].__get__
_FIELDS: Final = ("__pydantic_fields__", "__dataclass_fields__")
_MISSING: Final = object()


def _pairs(value: Any, kind: type) -> tuple[Entries, int] | None:
    """The entries of a dict, named tuple, dataclass or pydantic model, but for hidden fields."""
    if issubclass(kind, dict):
        return dict.items(value), dict.__len__(value)
    for base in _BASES(kind):
        namespace = _NAMESPACE(base)
        names = namespace.get("_fields")
        if type(names) is tuple and issubclass(kind, tuple):
            return zip(names, tuple.__iter__(value), strict=False), tuple.__len__(value)
        for table in map(namespace.get, _FIELDS):
            if type(table) is dict:
                pairs = [
                    (name, item)
                    for name, field in table.items()
                    if (item := _stored(value, name)) is not _MISSING
                    and _stored(field, "repr") is not False
                    and _stored(field, "exclude") is not True
                ]
                return pairs, len(pairs)
    return None


def _stored(value: object, name: str) -> object:
    """What is physically stored in `value` under `name`: no property, no `__getattr__`."""
    for base in _BASES(type(value)):
        namespace = _NAMESPACE(base)
        slot = namespace.get(name)
        if type(slot) is MemberDescriptorType:
            with contextlib.suppress(AttributeError):
                return slot.__get__(value)
        place = namespace.get("__dict__")
        if type(place) is GetSetDescriptorType:
            attributes = place.__get__(value)
            if issubclass(type(attributes), dict) and dict.__contains__(attributes, name):
                return dict.__getitem__(attributes, name)
    return _MISSING
