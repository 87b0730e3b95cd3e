"""What of arguments and results may be written: its size, its fingerprint, its text.

No code of the host runs here (a custom redactor is the one exception): values are told apart by
their exact type, subclasses of built-ins are read through the built-in, objects only through what
is physically stored in them. `==`, `hash()` and `in` are never applied to a type, because a
metaclass may define them: that is why types are compared with `is`, one after the other.
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

#: A key is secret when it contains one of these, its case and everything but letters and digits
#: set aside: `X-Api-Key` and `userPassword` are.
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
#: Too short to be looked for inside other words: secret only as a word of the key (`card_pin`).
SECRET_WORDS: Final = frozenset({"pin", "otp", "ssn", "pwd"})
#: Counts and kinds of a model's tokens, the tokenizer, the secretary: taken out before looking.
_HARMLESS: Final = re.compile(
    r"(?<!access)(?<!refresh)(?<!bearer)(?<!session)(?<!auth)(?<!api)tokens"
    r"|token(?:i[sz]|count|limit|usage|budget|length|type)|secretar"
)
#: Called with the path, the value and the tool's name; returns what is written instead.
Custom = Callable[[tuple[str, ...], object, str], object]
REDACTED: Final = "[redacted]"
FAILED: Final = "[redaction failed]"

_COUNTED: Final = 1_000  # items that `size_of` looks at
_NODES: Final = 1_000  # values that a fingerprint may cover
_HEAD: Final = 256  # characters of a long text that enter the fingerprint
_NESTED: Final = 20  # levels that a fingerprint may cover
_INT_BITS: Final = 4_096
_DEPTH: Final = 50  # levels that are rendered
_CONTAINERS: Final = 1_000_000  # that are rendered where there is no limit: shared references
_PARSED: Final = 1 << 20  # characters of JSON text that are opened for a custom redactor


def size_of(value: object) -> int | None:
    """How long the text in `value` is, without encoding it; None where there is none.

    Characters of text, bytes of bytes: of the value itself, else of a dict's values or a list's
    items, there also of message blocks (`[{"type": "text", "text": "..."}]`), the first 1,000.
    """
    kind = type(value)
    items: Any = value
    if kind is str or kind is bytes or kind is bytearray:
        return len(items)
    if kind is dict:
        items = items.values()
    elif kind is not list and kind is not tuple:
        return None
    if len(items) > _COUNTED:
        items = islice(items, _COUNTED)
    total = None
    for item in items:
        kind = type(item)
        if kind is str or kind is bytes or kind is bytearray:
            total = (total or 0) + len(item)
        elif kind is dict and type(value) is not dict:
            text = _block_text(item)
            if text is not None:
                total = (total or 0) + len(text)
    return total


def _block_text(block: dict[object, object]) -> str | None:
    for key, item in islice(block.items(), _COUNTED):
        if type(key) is str and key == "text":
            return item if type(item) is str else None
    return None


class _OpaqueError(Exception):
    """The value is nothing that a fingerprint may cover."""


#: Key -> a hash that has read it; copying one is a fifth of making one.
_keyed: Final[dict[bytes, Callable[[], Any]]] = {}


def fingerprint(arguments: object, key: bytes) -> str | None:
    """16 hex digits that are equal for equal `arguments` under one `key`; None without a key.

    Covers the exact built-in types None, bool, int (up to 4,096 bits), float, str, bytes, list,
    tuple (equal to a list) and dict with str keys in any order; a text or bytes longer than 256
    enters as its head and length. None for anything else, over 1,000 values or 20 levels.
    """
    try:
        message = dumps(_canonical(arguments, [_NODES], _NESTED), 2)
    except _OpaqueError:
        return None
    try:
        state = _keyed[key]()
    except KeyError:
        if not key:
            return None
        state = _key_state(key)()
    state.update(message)
    digest: str = state.hexdigest()
    return digest


def _key_state(key: bytes) -> Callable[[], Any]:
    # The key is the head of the one block that small arguments fill; blake2b's own key=
    # would be a block of its own, and the hash of them a half dearer.
    state = blake2b(blake2b(key, digest_size=32).digest(), digest_size=8)
    if len(_keyed) > 8:  # noqa: PLR2004  # a process has one key; tests have many
        _keyed.clear()
    _keyed[key] = state.copy
    return state.copy


def _canonical(value: Any, left: list[int], depth: int) -> object:
    """A copy made of exact types that marshal writes the same way for equal arguments.

    Raises:
        _OpaqueError: `value` holds something else, or too much.
    """
    kind = type(value)
    if kind is dict:
        _take(len(value), left, depth)
        names = [*value]
        for name in names:
            if type(name) is not str or len(name) > _HEAD:
                raise _OpaqueError
        names.sort()
        copy = {}
        for name in names:
            item = value[name]
            kind = type(item)
            if kind is not str or len(item) > _HEAD:
                item = _canonical(item, left, depth - 1)
            copy[name] = item
        return copy
    if kind is int:
        if value.bit_length() <= _INT_BITS:
            return value
    elif kind is bool or kind is float or value is None:
        return value
    elif kind is str or kind is bytes:
        return value if len(value) <= _HEAD else (..., len(value), value[:_HEAD])
    elif kind is list or kind is tuple:
        _take(len(value), left, depth)
        return [_canonical(item, left, depth - 1) for item in tuple(value)]
    raise _OpaqueError


def _take(nodes: int, left: list[int], depth: int) -> None:
    left[0] -= nodes + 1
    if left[0] < 0 or depth == 0:
        raise _OpaqueError


class Redactor:
    """The first set of redaction rules, by key: what stands under a secret key is never written.

    `extra`: further parts of keys, in any case. `custom`: called with the path, the value and the
    tool's name for every value whose key is not secret; what it returns is written instead (the
    value itself: no change). If it raises, or returns no plain value, `[redaction failed]` is.
    """

    __slots__ = ("_extra", "_known", "custom")

    def __init__(
        self,
        extra: Iterable[str] = (),
        custom: Custom | None = None,
    ) -> None:
        self._extra = tuple(filter(None, map(_squeezed, extra)))
        self._known: dict[str, bool] = {}
        self.custom = custom

    def secret(self, key: str) -> bool:
        """Whether the value under `key`, an exact str, must not be written."""
        known = self._known.get(key)
        if known is None:
            known = self._judge(key)
            if len(key) <= 64 and len(self._known) < 1_024:  # noqa: PLR2004  # 100 kB at most
                self._known[key] = known
        return known

    def _judge(self, key: str) -> bool:
        squeezed = _squeezed(key)
        rest = _HARMLESS.sub(" ", squeezed)
        return (
            any(part in rest for part in SECRET_PARTS)
            or any(part in squeezed for part in self._extra)
            or any(word.lower() in SECRET_WORDS for word in _WORD.findall(key))
        )

    def text(self, text: str) -> str:
        """`text` without the values of secret keys, wherever JSON or Python is quoted in it.

        In linear time, and also where the text is no valid JSON or was cut: a value whose end
        is not found is taken to reach to the end of the text.
        """
        if ":" not in text or not self._mentions_secret(text):
            return text
        kept = []
        at = 0
        for colon in _KEY_END.finditer(text):
            quote = colon.start()
            if quote >= at and self._secret_before(text, at, quote):
                level = _level(text, quote)
                mark = text[quote - (1 << level) + 1 : quote + 1]
                kept += text[at : colon.end()], mark, REDACTED, mark
                at = _value_end(text, colon.end(), level)
        kept.append(text[at:])
        return "".join(kept)

    def _mentions_secret(self, text: str) -> bool:
        """A quick look at the keys without escapes: in nearly all texts, none is secret."""
        return (
            _ESCAPED.search(text) is not None
            or any(map(self.secret, set(_DOUBLE_QUOTED_KEY.findall(text))))
            or any(map(self.secret, set(_SINGLE_QUOTED_KEY.findall(text))))
        )

    def _secret_before(self, text: str, start: int, end: int) -> bool:
        """Whether the key whose closing quote stands at `end` is secret."""
        level = _level(text, end)
        at = text.rfind(text[end], start, end)
        while at > start and _level(text, at) > level:
            at = text.rfind(text[end], start, at)
        key = text[max(at, start) : end]
        return self.secret(_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), key))


_SEPARATORS: Final = re.compile(r"[\W_]+")
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_KEY_END: Final = re.compile(r"""["']\s*:\s*""")
_DOUBLE_QUOTED_KEY: Final = re.compile(r'"([^"]*)"\s*:')
_SINGLE_QUOTED_KEY: Final = re.compile(r"'([^']*)'\s*:")
_ESCAPED: Final = re.compile(r"""\\["'u]""")
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_TOKEN: Final = re.compile(r"""\\+["']?|["'\[\]{}(),]""")


def _squeezed(key: str) -> str:
    return _SEPARATORS.sub("", key).lower()


def _level(text: str, quote: int) -> int:
    """How many strings around it the string has that this quote opens or closes.

    JSON inside a JSON string escapes its quotes once, inside another string three times, and an
    even number of backslashes is content: the level is the number of ones that their number ends
    in.
    """
    slashes = 0
    while slashes < quote and text[quote - slashes - 1] == "\\":
        slashes += 1
    level = 0
    while slashes & 1:
        slashes >>= 1
        level += 1
    return level


def _value_end(text: str, at: int, level: int) -> int:
    """Where the value ends that begins at `at`, in the string of `level`."""
    depth = 0
    inside = ""
    for token in _TOKEN.finditer(text, at):
        mark = token[0][-1]
        if mark in "\"'":
            around = _level(text, token.end() - 1)
            if around > level or (inside and inside != mark):
                continue
            if around < level:
                return token.start()
            inside = "" if inside else mark
            if not inside and depth == 0:
                return token.end()
        elif inside or mark == "\\":
            continue
        elif mark in "[{(":
            depth += 1
        elif depth == 0:
            return token.start()
        elif mark != ",":
            depth -= 1
            if depth == 0:
                return token.end()
    return len(text)


class Rendered(NamedTuple):
    """The text of one attribute value, and whether something was left out of it for its size."""

    text: str
    truncated: bool


def render(value: object, limit: int | None, redactor: Redactor, tool: str = "") -> Rendered:
    """`value` as text of at most `limit` bytes of UTF-8 (None: no cap).

    Text stays as it is; over the limit it begins with "[cut: N characters] ". Anything else
    becomes JSON, over the limit still JSON: what is missing is counted in a last item
    "… N more" or under a last key "…". `tool` is for a custom redactor.
    """
    writer = _Writer(sys.maxsize if limit is None else max(limit, 0), redactor, tool)
    if redactor.custom is not None:
        value = writer.asked(_opened(value) if type(value) is str else value, ())
    kind = type(value)
    if kind is str or (issubclass(kind, str) and not issubclass(kind, Enum)):
        return writer.plain(value)
    if not writer.value(value, ()):
        return Rendered('"…"' if writer.left > len('"…"') + 1 else "", truncated=True)
    return Rendered("".join(writer.parts), writer.cut)


def _opened(text: str) -> object:
    """What JSON text holds, so that a custom redactor sees its paths; else the text."""
    if len(text) > _PARSED or text.lstrip()[:1] not in {"{", "["}:
        return text
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return parsed


@contained
def _custom_redactor(
    custom: Custom, path: tuple[str, ...], value: object, tool: str
) -> tuple[object]:
    return (custom(path, value, tool),)


class _Writer:
    """Writes one value as JSON, piece by piece, into what is left of the limit.

    A method that writes a value writes it in at most `left` bytes, if need be cut and marked, or
    returns False. An open container has set aside what its end needs.
    """

    __slots__ = ("_custom", "_open", "_rest", "cut", "left", "parts", "redactor", "tool")

    def __init__(self, limit: int, redactor: Redactor, tool: str) -> None:
        self.left = limit
        self.redactor = redactor
        self.tool = tool
        self.parts: list[str] = []
        self.cut = False
        self._custom = redactor.custom
        self._open: list[int] = []
        self._rest = _CONTAINERS

    def asked(self, value: object, path: tuple[str, ...]) -> object:
        """What the custom redactor wants written; about its own answer it is not asked again."""
        if self._custom is None:
            return value
        answer = _custom_redactor(self._custom, path, value, self.tool)
        if answer is not None and answer[0] is value:
            return value
        self._custom = None
        if answer is None or not any(type(answer[0]) is plain for plain in _PLAIN):
            return FAILED
        return answer[0]

    def plain(self, text: Any) -> Rendered:
        """A text that stands for itself."""
        shown, cut = self._fitting(text, self.left, _legible)
        return Rendered("[cut]"[: self.left] if shown is None else shown, cut)

    def value(self, value: Any, path: tuple[str, ...]) -> bool:
        """Write any value."""
        kind = type(value)
        if kind is str:
            return self._string(value)
        if kind is int:
            return self._integer(value)
        if kind is dict:
            return self._block(value, len(value), value.items(), path)
        if kind is list or kind is tuple:
            return self._block(value, len(value), enumerate(value), path, "[]")
        if value is None or kind is bool:
            return self._put("null" if value is None else "true" if value else "false")
        return self._foreign(value, kind, path)

    def _foreign(self, value: Any, kind: type, path: tuple[str, ...]) -> bool:
        """Write what is no exact type of JSON."""
        if issubclass(kind, Enum):
            return self._string(_member(value, kind))
        if issubclass(kind, str):
            return self._string(value)
        if issubclass(kind, dict):
            return self._block(value, dict.__len__(value), dict.items(value), path)
        if (fields := _fields(value, kind)) is not None:
            return self._block(value, len(fields), fields, path)
        for builtin in _LISTS:
            if issubclass(kind, builtin):
                items = enumerate(builtin.__iter__(value))
                return self._block(value, builtin.__len__(value), items, path, "[]")
        if issubclass(kind, int):
            return self._integer(value)
        if issubclass(kind, float):
            return self._put(_number(value))
        for builtin in _BYTES:
            if issubclass(kind, builtin):
                return self._put(f'{{"bytes":{builtin.__len__(value)}}}')
        return self._string(f"<{type_name(kind)}>")

    def _block(
        self,
        value: object,
        count: int,
        entries: Iterable[tuple[object, object]],
        path: tuple[str, ...],
        brackets: str = "{}",
    ) -> bool:
        """Write a container, or as many of its entries as fit and how many are missing."""
        if count == 0:
            return self._put(brackets)
        if id(value) in self._open:
            return self._put('"<cycle>"')
        if len(self._open) == _DEPTH or self._rest == 0:
            self.cut = True
            return self._put('"<deep>"')
        note = _NOTE + len(str(count))
        if self.left < len(brackets) + note:
            return False
        self.left -= len(brackets) + note
        self.parts.append(brackets[0])
        self._open.append(id(value))
        self._rest -= 1
        written = self._entries(_steady(entries), count, note, path, keyed=brackets == "{}")
        self._open.pop()
        if written < count:
            self.cut = True
            more = f"{count - written} more"
            form = f'"…":"{more}"' if brackets == "{}" else f'"… {more}"'
            self._put(f",{form}" if written else form)
        self.parts.append(brackets[1])
        return True

    def _entries(
        self,
        entries: Iterable[tuple[object, object]],
        count: int,
        note: int,
        path: tuple[str, ...],
        *,
        keyed: bool,
    ) -> int:
        """Write entries while they fit, and give back the bytes that were kept for a note."""
        written = 0
        for key, item in entries:
            if written == count:  # another thread adds to it
                break
            if written == count - 1:
                self.left += note
                note = 0
            kept, left = len(self.parts), self.left
            if not self._entry("," if written else "", key, item, path, keyed=keyed):
                del self.parts[kept:]
                self.left = left
                break
            written += 1
        self.left += note
        return written

    def _entry(
        self, comma: str, key: object, item: object, path: tuple[str, ...], *, keyed: bool
    ) -> bool:
        name = ""
        if keyed:
            name = key if type(key) is str else _key_text(key)
            if len(name) > self.left:
                return False
            comma = f"{comma}{_quoted(_legible(name))}:"
        if comma and not self._put(comma):
            return False
        if keyed and self.redactor.secret(name):
            return self._put(f'"{REDACTED}"')
        custom = self._custom
        if custom is None:
            return self.value(item, path)
        path = (*path, name if keyed else str(key))
        done = self.value(self.asked(item, path), path)
        self._custom = custom
        return done

    def _string(self, text: Any) -> bool:
        shown, cut = self._fitting(text, self.left - 2, _escaped)
        if shown is None:
            return False
        self.cut |= cut
        return self._put(f'"{shown}"')

    def _fitting(self, text: Any, room: int, form: Callable[[str], str]) -> tuple[str | None, bool]:
        """`text` in `form` in at most `room` bytes, if need be its head behind a mark."""
        if room < 0:
            return None, True
        length = str.__len__(text)
        head = self.redactor.text(str.__getitem__(text, slice(0, room)))
        if length <= room:
            whole = form(head)
            if _bytes(whole) <= room:
                return whole, False
        mark = f"[cut: {length} characters] "
        if len(mark) > room:
            return None, True
        return mark + _head(head, room - len(mark), form), True

    def _integer(self, number: Any) -> bool:
        bits = int.bit_length(number)
        if bits > _INT_BITS:
            return self._put(f'"<int of {bits} bits>"')
        return self._put(int.__repr__(number))

    def _put(self, text: str) -> bool:
        size = _bytes(text)
        if size > self.left:
            return False
        self.left -= size
        self.parts.append(text)
        return True


_PLAIN: Final = (str, int, float, bool, type(None), dict, list, tuple)
_LISTS: Final[tuple[Any, ...]] = (list, tuple, set, frozenset)
_BYTES: Final[tuple[Any, ...]] = (bytes, bytearray)
_NOTE: Final = len(',"…":" more"'.encode())
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
#: Characters that JSON escapes, the backslash first.
_ESCAPES: Final = tuple(
    (letter, encode_basestring(letter)[1:-1]) for letter in ("\\", '"', *map(chr, range(32)))
)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _legible(text: str) -> str:
    """`text` as every encoder takes it: U+FFFD for lone surrogates, and for NUL, which databases
    refuse.
    """
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if text.isascii():
        return text
    return _SURROGATE.sub("\ufffd", text)


def _quoted(text: str) -> str:
    if len(text) < 1_000:  # noqa: PLR2004  # from here on, replacing is up to seven times faster
        return encode_basestring(text)
    for letter, escape in _ESCAPES:
        text = text.replace(letter, escape)
    return f'"{text}"'


def _escaped(text: str) -> str:
    return _quoted(_legible(text))[1:-1]


def _head(text: str, room: int, form: Callable[[str], str]) -> str:
    """As much of the beginning of `text` in `form` as fits: by pieces, halved when too large."""
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


def _number(number: float) -> str:
    if math.isfinite(number):
        return float.__repr__(number)
    return '"NaN"' if math.isnan(number) else '"Infinity"' if number > 0 else '"-Infinity"'


def _key_text(key: Any) -> str:
    """A key as JSON writes it, of an unknown type only the type's name."""
    kind = type(key)
    if key is None or kind is bool:
        return "null" if key is None else "true" if key else "false"
    if kind is int and key.bit_length() <= _INT_BITS:
        return int.__repr__(key)
    if kind is float:
        return float.__repr__(key)
    if kind is bytes:
        return key.decode("latin-1")  # type: ignore[no-any-return]
    if issubclass(kind, str):
        return str.__getitem__(key, slice(None))
    return f"<{type_name(kind)}>"


def _steady(entries: Iterable[tuple[object, object]]) -> Iterator[tuple[object, object]]:
    """`entries`, ending where another thread has changed the container under them."""
    try:
        yield from entries
    except RuntimeError:
        return


_MISSING: Final = object()
_BASES: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
_NAMESPACE: Final[Callable[[type], Mapping[str, Any]]] = type.__dict__["__dict__"].__get__
#: Where dataclasses and the models of pydantic 2.10, 2.0 and 1 keep their fields.
_FIELD_TABLES: Final = (
    "__pydantic_fields__",
    "__dataclass_fields__",
    "model_fields",
    "__fields__",
)


def _fields(value: Any, kind: type) -> list[tuple[object, object]] | None:
    """Names and values of a named tuple, dataclass or pydantic model; None for another object.

    Fields that are declared with `repr=False` or `exclude=True` are left out.
    """
    for base in _BASES(kind):
        namespace = _NAMESPACE(base)
        names = namespace.get("_fields")
        if type(names) is tuple and issubclass(kind, tuple):
            return [*zip(names, tuple.__iter__(value), strict=False)]
        for place in _FIELD_TABLES:
            table = namespace.get(place)
            if type(table) is dict:
                return [
                    (name, item)
                    for name, field in table.items()
                    if type(name) is str
                    and not _hidden(field)
                    and (item := _stored(value, name)) is not _MISSING
                ]
    return None


def _hidden(field: object) -> bool:
    return _stored(field, "repr") is False or _stored(field, "exclude") is True


def _stored(value: object, name: str) -> object:
    """What is physically stored in `value` as attribute `name`: no property, no lookup."""
    for base in _BASES(type(value)):
        namespace = _NAMESPACE(base)
        slot = namespace.get(name)
        if type(slot) is MemberDescriptorType:
            return _slot(slot, value)
        place = namespace.get("__dict__")
        if type(place) is GetSetDescriptorType:
            attributes = place.__get__(value)
            if issubclass(type(attributes), dict) and dict.__contains__(attributes, name):
                return dict.__getitem__(attributes, name)
    return _MISSING


def _slot(slot: MemberDescriptorType, value: object) -> object:
    try:
        return slot.__get__(value)
    except AttributeError:
        return _MISSING


def _member(value: object, kind: type) -> str:
    name = _stored(value, "_name_")
    return f"{type_name(kind)}.{name}" if type(name) is str else f"<{type_name(kind)}>"
