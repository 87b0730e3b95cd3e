"""What of arguments and results may be written: their size, a fingerprint, their text.

No code of the host runs here, but for a custom redactor. Values are told apart by their exact
type, subclasses of built-in types are read through the built-in, and of objects only what is
physically stored in them. A metaclass may define `==` and `hash()`: so types are compared with
`is`, one after the other, and never looked up.
"""

from __future__ import annotations

import json
import math
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

#: A key is secret when it contains one of these, without regard to case or to anything but
#: letters and digits: `X-Api-Key` and `userPassword` are.
SECRET_PARTS: Final = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
    "cookie",
    "credential",
    "cvv",
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

_COUNTED: Final = 1_000  # items that `size_of` looks at
_NODES: Final = 1_000  # values that one fingerprint covers
_LEVELS: Final = 20  # of nesting that one fingerprint covers
_HEAD: Final = 256  # characters of a long text that enter a fingerprint
_INT_BITS: Final = 4_096
_DEPTH: Final = 50  # levels of nesting that are rendered
_CONTAINERS: Final = 1_000_000  # rendered where there is no limit: shared ones multiply
_JSON_TEXT: Final = 1 << 20  # characters that are parsed for a custom redactor
_SHORT: Final = 100  # characters of a text that is rendered in one step
_FEW: Final = 16  # entries of a dict that is
_KEYS: Final = 1_024  # of at most `_SHORT` characters, that a redactor remembers


def size_of(value: object) -> int | None:
    """How long the text in `value` is, never encoding it; None where there is none.

    Characters of text and bytes of bytes: of the value itself, else of a dict's values or of a
    list's items, there also of message blocks (`[{"type": "text", "text": "..."}]`). Looks at
    the first 1,000.
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
    for item in items if len(items) <= _COUNTED else islice(items, _COUNTED):
        kind = type(item)
        if kind is int:
            continue
        if kind is str or kind is bytes or kind is bytearray:
            total = len(item) if total is None else total + len(item)
        elif kind is dict and items is value and (text := _block_text(item)) is not None:
            total = len(text) if total is None else total + len(text)
    return total


def _block_text(block: dict[object, object]) -> str | None:
    for key, item in islice(block.items(), _COUNTED):
        if type(key) is str and key == "text":
            return item if type(item) is str else None
    return None


class _OpaqueError(Exception):
    """The value is none that a fingerprint covers."""


#: Key -> copies of a hash that has read it.
_states: Final[dict[bytes, Callable[[], Any]]] = {}


def fingerprint(arguments: object, key: bytes) -> str | None:
    """16 hex digits, equal for equal `arguments` under one `key`; None without a key.

    Covers the exact types None, bool, int (up to 4,096 bits), float, str, bytes, list, tuple
    (equal to a list) and dict (str keys in any order); of more than 256 characters or bytes the
    head and the length. None for anything else, over 1,000 values and over 20 levels.
    """
    canonical = _canonical_dict if type(arguments) is dict else _canonical
    try:
        message = dumps(canonical(arguments, [_NODES], _LEVELS), 2)
    except _OpaqueError:
        return None
    try:
        state = _states[key]()
    except KeyError:
        if not key:
            return None
        state = _keyed(key)()
    state.update(message)
    digest: str = state.hexdigest()
    return digest


def _keyed(key: bytes) -> Callable[[], Any]:
    # The key begins the one block that small arguments fill. As blake2b's own `key=` it would
    # be a block by itself, and the hash of them half as dear again.
    state = blake2b(blake2b(key, digest_size=32).digest(), digest_size=8)
    if len(_states) == 8:  # noqa: PLR2004  # a process has one key, a test-suite many
        _states.clear()
    _states[key] = state.copy
    return state.copy


def _canonical(value: Any, left: list[int], levels: int) -> Any:
    """A copy in exact types, which marshal writes alike for equal arguments.

    Raises:
        _OpaqueError: `value` holds something else, or too much.
    """
    kind = type(value)
    if kind is dict:
        return _canonical_dict(value, left, levels)
    if kind is list or kind is tuple:
        left[0] -= len(value) + 1
        if left[0] >= 0 and levels:
            return [_canonical(item, left, levels - 1) for item in tuple(value)]
    elif kind is str or kind is bytes:
        return value if len(value) <= _HEAD else (..., len(value), value[:_HEAD])
    elif (
        value is None
        or kind is bool
        or kind is float
        or (kind is int and value.bit_length() <= _INT_BITS)
    ):
        return value
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

    `extra`: further parts of secret keys, in any case. `custom` is asked about every other value
    and returns what is written instead, the value itself for no change; where it raises, or
    returns no plain value, "[redaction failed]" is written.
    """

    __slots__ = ("_extra", "custom", "labels")

    def __init__(self, extra: Iterable[str] = (), custom: Custom | None = None) -> None:
        self._extra = tuple(filter(None, map(_squeezed, extra)))
        self.custom = custom
        #: Key -> how JSON begins with it, and whether it is secret.
        self.labels: dict[str, tuple[str, bool]] = {}

    def secret(self, key: str) -> bool:
        """Whether the value under `key`, an exact str, is secret."""
        return (self.labels.get(key) or self.label(key))[1]

    def label(self, key: str) -> tuple[str, bool]:
        """`key` in JSON with its colon, and whether it is secret."""
        label = f"{_quoted(_legible(key))}:", self._judged(key)
        if len(key) <= _SHORT and len(self.labels) < _KEYS:
            self.labels[key] = label
        return label

    def _judged(self, key: str) -> bool:
        squeezed = _squeezed(key)
        rest = HARMLESS.sub(" ", squeezed)
        return (
            any(part in rest for part in SECRET_PARTS)
            or any(part in squeezed for part in self._extra)
            or any(word.lower() in SECRET_WORDS for word in _WORD.findall(key))
        )

    def text(self, text: str) -> str:
        """`text` without what stands under secret keys, wherever it quotes JSON or Python.

        Linear in time. The text need be no valid JSON, and may have been cut: a value whose end
        is missing ends with the text.
        """
        if ":" not in text or not self._has_secret(text):
            return text
        kept: list[str] = []
        at = 0
        for colon in _KEY_END.finditer(text):
            quote = colon.start()
            if quote >= at and self._closes_secret(text, at, quote):
                level = _level(text, quote)
                mark = text[quote + 1 - (1 << level) : quote + 1]
                kept += text[at : colon.end()], mark, REDACTED, mark
                at = _value_end(text, colon.end(), level)
        kept.append(text[at:])
        return "".join(kept)

    def _has_secret(self, text: str) -> bool:
        """Whether a key may be secret: a quick look, which nearly all texts end with."""
        return (
            _ESCAPED.search(text) is not None
            or any(map(self.secret, set(_DOUBLE_QUOTED_KEY.findall(text))))
            or any(map(self.secret, set(_SINGLE_QUOTED_KEY.findall(text))))
        )

    def _closes_secret(self, text: str, start: int, quote: int) -> bool:
        """Whether the key is secret that this quote closes and that begins after `start`."""
        level = _level(text, quote)
        at = text.rfind(text[quote], start, quote)
        while at > start and _level(text, at) > level:
            at = text.rfind(text[quote], start, at)
        key = text[max(at, start) : quote]
        return self.secret(_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), key))


_SEPARATORS: Final = re.compile(r"[\W_]+")
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_KEY_END: Final = re.compile(r"""["']\s*:\s*""")
_DOUBLE_QUOTED_KEY: Final = re.compile(r'"([^"]*)"\s*:')
_SINGLE_QUOTED_KEY: Final = re.compile(r"'([^']*)'\s*:")
_ESCAPED: Final = re.compile(r"""\\["'u]""")
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_BOUNDARY: Final = re.compile(r"""["'\[\]{}(),]""")


def _squeezed(key: str) -> str:
    return _SEPARATORS.sub("", key).lower()


def _level(text: str, quote: int) -> int:
    """In how many strings the string stands that this quote opens or closes.

    JSON in a JSON string has one backslash before each quote, in a string of that three: the
    level is the number of ones in which the number of backslashes ends.
    """
    slashes = 0
    while slashes < quote and text[quote - 1 - slashes] == "\\":
        slashes += 1
    level = 0
    while slashes & 1:
        slashes >>= 1
        level += 1
    return level


def _value_end(text: str, at: int, level: int) -> int:
    """Where the value ends that begins at `at`, the quotes of its strings being of `level`."""
    depth = 0
    while (boundary := _BOUNDARY.search(text, at)) is not None:
        start, at = boundary.span()
        mark = text[start]
        if mark in "\"'":
            around = _level(text, start)
            if around < level:
                return start
            if around == level:
                at = _string_end(text, at, mark, level)
                if depth == 0:
                    return at
        elif mark in "[{(":
            depth += 1
        elif depth == 0:
            return start
        elif mark != ",":
            depth -= 1
            if depth == 0:
                return at
    return len(text)


def _string_end(text: str, at: int, mark: str, level: int) -> int:
    while (at := text.find(mark, at)) >= 0:
        around = _level(text, at)
        at += around >= level
        if around <= level:
            return at
    return len(text)


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
        value, custom = _asked(custom, (), _opened(value), tool)
    room = sys.maxsize if limit is None else max(limit, 0)
    kind = type(value)
    if kind is str or (issubclass(kind, str) and not issubclass(kind, Enum)):
        text, cut = _fitting(value, room, redactor, _legible)
        return Rendered("[cut]"[:room] if text is None else text, cut)
    if kind is dict and custom is None:
        text = _flat(value, redactor.labels)
        if text is not None and _bytes(text) <= room:
            return Rendered(text, truncated=False)
    writer = _Writer(room, redactor, custom, tool)
    if not writer.value(value, ()):
        return Rendered(_CUT if len(_CUT) <= room else "", truncated=True)
    return Rendered("".join(writer.parts), writer.cut)


def _opened(value: object) -> object:
    """What JSON text holds, so that a custom redactor is told its paths; else the value."""
    if type(value) is not str or len(value) > _JSON_TEXT or value.lstrip()[:1] not in {"{", "["}:
        return value
    try:
        parsed: object = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return parsed


def _asked(
    custom: Custom, path: tuple[str, ...], value: object, tool: str
) -> tuple[object, Custom | None]:
    """What is to be written for `value`, and the redactor for what it holds: none for its own."""
    answer = _custom_redactor(custom, path, value, tool)
    if answer is not None and answer[0] is value:
        return value, custom
    if answer is None or not any(type(answer[0]) is plain for plain in _PLAIN):
        return FAILED, None
    return answer[0], None


@contained
def _custom_redactor(
    custom: Custom, path: tuple[str, ...], value: object, tool: str
) -> tuple[object]:
    return (custom(path, value, tool),)


class _Writer:
    """Writes one value as JSON, piece by piece, into what is left of the limit.

    A method that writes writes at most `left` bytes, a value if need be cut and marked, or it
    returns False. An open container has set aside what its end needs.
    """

    __slots__ = ("_containers", "_custom", "_open", "_redactor", "_tool", "cut", "left", "parts")

    def __init__(self, room: int, redactor: Redactor, custom: Custom | None, tool: str) -> None:
        self.left = room
        self.parts: list[str] = []
        self.cut = False
        self._redactor = redactor
        self._custom = custom
        self._tool = tool
        self._open: list[int] = []
        self._containers = _CONTAINERS

    def value(self, value: Any, path: tuple[str, ...], before: str = "") -> bool:
        """Write `before` and the value."""
        kind = type(value)
        if (scalar := _scalar(value, kind)) is not None:
            return self._put(before + scalar)
        if kind is str:
            return self._string(value, before)
        if kind is dict:
            flat = _flat(value, self._redactor.labels) if self._custom is None else None
            if flat is not None and self._put(before + flat):
                return True
            return self._block(value, (len(value), value.items()), path, before, "{}")
        if kind is list or kind is tuple:
            return self._block(value, (len(value), enumerate(value)), path, before, "[]")
        return self._foreign(value, kind, path, before)

    def _foreign(self, value: Any, kind: type, path: tuple[str, ...], before: str) -> bool:
        if issubclass(kind, Enum):
            return self._string(_member(value, kind), before)
        if (pairs := _pairs(value, kind)) is not None:
            return self._block(value, pairs, path, before, "{}")
        if (builtin := _base(kind, _LISTS)) is not None:
            items = enumerate(builtin.__iter__(value))
            return self._block(value, (builtin.__len__(value), items), path, before, "[]")
        if issubclass(kind, str):
            return self._string(value, before)
        if (number := _number(value, kind)) is not None:
            return self._put(before + number)
        return self._string(f"<{type_name(kind)}>", before)

    def _block(
        self,
        value: object,
        content: tuple[int, Entries],
        path: tuple[str, ...],
        before: str,
        brackets: str,
    ) -> bool:
        """Write a container, or as many of its entries as fit and how many are missing."""
        count, entries = content
        if count == 0:
            return self._put(before + brackets)
        if id(value) in self._open:
            return self._put(f'{before}"<cycle>"')
        if len(self._open) == _DEPTH or self._containers == 0:
            self.cut = True
            return self._put(f'{before}"<deep>"')
        note = _NOTE + len(str(count))
        if _bytes(before) + len(brackets) + note > self.left:
            return False
        self._put(before + brackets[0])
        self.left -= len(brackets[1]) + note
        self._open.append(id(value))
        self._containers -= 1
        written = self._entries(_steady(entries), count, note, path, keyed=brackets == "{}")
        self._open.pop()
        if written < count:
            self.cut = True
            form = '"…":"{} more"' if brackets == "{}" else '"… {} more"'
            self._put(("," if written else "") + form.format(count - written))
        self.parts.append(brackets[1])
        return True

    def _entries(
        self, entries: Entries, count: int, note: int, path: tuple[str, ...], *, keyed: bool
    ) -> int:
        """Write the entries that fit, and give back the bytes kept for the note on the others."""
        written = 0
        for key, item in entries:
            if written == count:  # another thread adds more
                break
            if written == count - 1:
                self.left += note
                note = 0
            before = "," if written else ""
            if not (
                self._entry(key, item, path, before, keyed=keyed)
                if keyed or self._custom is not None
                else self.value(item, path, before)
            ):
                break
            written += 1
        self.left += note
        return written

    def _entry(
        self, key: Any, item: object, path: tuple[str, ...], before: str, *, keyed: bool
    ) -> bool:
        name = key if type(key) is str else _key_text(key)
        if keyed:
            if len(name) > self.left:
                return False
            label, secret = self._redactor.labels.get(name) or self._redactor.label(name)
            before += label
            if secret:
                return self._put(f'{before}"{REDACTED}"')
        custom = self._custom
        if custom is None:
            return self.value(item, path, before)
        path = (*path, name)
        item, self._custom = _asked(custom, path, item, self._tool)
        done = self.value(item, path, before)
        self._custom = custom
        return done

    def _string(self, text: Any, before: str) -> bool:
        room = self.left - _bytes(before) - len('""')
        shown, cut = _fitting(text, room, self._redactor, _escaped)
        if shown is None:
            return False
        self.cut |= cut
        return self._put(f'{before}"{shown}"')

    def _put(self, text: str) -> bool:
        size = len(text) if text.isascii() else len(text.encode())
        if size > self.left:
            return False
        self.left -= size
        self.parts.append(text)
        return True


Entries = Iterable[tuple[object, object]]
_PLAIN: Final = (str, int, float, bool, type(None), dict, list, tuple)
_LISTS: Final[tuple[Any, ...]] = (list, tuple, set, frozenset)
_BYTES: Final[tuple[Any, ...]] = (bytes, bytearray)
_CUT: Final = '"[cut]"'
_NOTE: Final = len(',"…":" more"'.encode())
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
#: What JSON escapes and how, the backslash first.
_ESCAPES: Final = tuple(
    (letter, encode_basestring(letter)[1:-1]) for letter in ("\\", '"', *map(chr, range(32)))
)


def _fitting(
    text: Any, room: int, redactor: Redactor, form: Callable[[str], str]
) -> tuple[str | None, bool]:
    """`text` in `form` in at most `room` bytes, if need be its head behind a mark; and whether.

    None where there is not even room for the mark.
    """
    length = len(text) if type(text) is str else str.__len__(text)
    if type(text) is not str or length > room:
        text = str.__getitem__(text, slice(0, max(room, 0)))
    head = redactor.text(text)
    if length <= room:
        whole = form(head)
        if _bytes(whole) <= room:
            return whole, False
    mark = f"[cut: {length} characters] "
    if len(mark) > room:
        return None, True
    return mark + _head(head, room - len(mark), form), True


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
    """`text` with U+FFFD for lone surrogates, which encoders refuse, and NUL, which databases do."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _escaped(text: str) -> str:
    return _quoted(_legible(text))[1:-1]


def _quoted(text: str) -> str:
    if len(text) <= _SHORT:
        return encode_basestring(text)
    for letter, escape in _ESCAPES:  # several times faster on a long text
        if letter in text:
            text = text.replace(letter, escape)
    return f'"{text}"'


def _scalar(value: Any, kind: type) -> str | None:
    """What most values are, in JSON; None for all others."""
    if kind is str:
        ordinary = len(value) <= _SHORT and value.isascii() and ":" not in value
        return encode_basestring(value) if ordinary and "\0" not in value else None
    if kind is int:
        return repr(value) if value.bit_length() <= _INT_BITS else None
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    return None


def _flat(value: dict[Any, Any], labels: dict[str, tuple[str, bool]]) -> str | None:
    """A small dict of such values, as most arguments are, under keys that are known; else None."""
    if not 0 < len(value) <= _FEW:
        return None
    text = ""
    try:
        for key, item in value.items():
            label = labels.get(key) if type(key) is str else None
            scalar = _scalar(item, type(item))
            if label is None or label[1] or scalar is None:
                return None
            text += f",{label[0]}{scalar}"
    except RuntimeError:  # another thread changes it
        return None
    return f"{{{text[1:]}}}"


def _number(value: Any, kind: type) -> str | None:
    """A number, of a subclass too, or the length of bytes in JSON; None for anything else."""
    if issubclass(kind, int):
        bits = int.bit_length(value)
        return f'"<int of {bits} bits>"' if bits > _INT_BITS else int.__repr__(value)
    if issubclass(kind, float):
        if math.isfinite(value):
            return float.__repr__(value)
        return '"NaN"' if math.isnan(value) else f'"{"-" * (value < 0)}Infinity"'
    builtin = _base(kind, _BYTES)
    return None if builtin is None else f'{{"bytes":{builtin.__len__(value)}}}'


def _base(kind: type, builtins: tuple[Any, ...]) -> Any:
    return next((builtin for builtin in builtins if issubclass(kind, builtin)), None)


def _key_text(key: Any) -> str:
    """A key as JSON writes it; of an unknown type only the type's name."""
    kind = type(key)
    if kind is bytes:
        return str(key, "latin-1")
    if issubclass(kind, str):
        return str.__getitem__(key, slice(None))
    if kind is float:
        return float.__repr__(key)
    return _scalar(key, kind) or f"<{type_name(kind)}>"


def _steady(entries: Entries) -> Iterator[tuple[object, object]]:
    """`entries`, ended where another thread changes the container under them."""
    try:
        yield from entries
    except RuntimeError:
        return


_BASES: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
_NAMESPACE: Final[Callable[[type], Mapping[str, Any]]] = type.__dict__["__dict__"].__get__
_FIELDS: Final = ("__pydantic_fields__", "__dataclass_fields__")
_MISSING: Final = object()


def _pairs(value: Any, kind: type) -> tuple[int, Entries] | None:
    """The entries of a dict of any class, a named tuple, dataclass or pydantic model."""
    if issubclass(kind, dict):
        return dict.__len__(value), dict.items(value)
    for base in _BASES(kind):
        namespace = _NAMESPACE(base)
        names = namespace.get("_fields")
        if type(names) is tuple and issubclass(kind, tuple):
            return tuple.__len__(value), zip(names, tuple.__iter__(value), strict=False)
        for table in map(namespace.get, _FIELDS):
            if type(table) is dict:
                pairs = _shown_fields(value, table)
                return len(pairs), pairs
    return None


def _shown_fields(value: object, table: dict[str, object]) -> list[tuple[object, object]]:
    """Names and values of fields, without those declared with `repr=False` or `exclude=True`."""
    pairs = []
    for name, field in table.items():
        hidden = _stored(field, "repr") is False or _stored(field, "exclude") is True
        if not hidden and (item := _stored(value, name)) is not _MISSING:
            pairs.append((name, item))
    return pairs


def _stored(value: object, name: str) -> object:
    """What is physically stored in `value` under `name`: no property, no `__getattr__`."""
    for base in _BASES(type(value)):
        namespace = _NAMESPACE(base)
        slot = namespace.get(name)
        if type(slot) is MemberDescriptorType:
            try:
                return slot.__get__(value)
            except AttributeError:
                return _MISSING
        place = namespace.get("__dict__")
        if type(place) is GetSetDescriptorType:
            attributes = place.__get__(value)
            if issubclass(type(attributes), dict) and dict.__contains__(attributes, name):
                return dict.__getitem__(attributes, name)
    return _MISSING


def _member(value: object, kind: type) -> str:
    """An enum's member by its name; a combination of flags has none."""
    name = _stored(value, "_name_")
    return f"{type_name(kind)}.{name}" if type(name) is str else f"<{type_name(kind)}>"
