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
from collections.abc import Callable, Iterable, Iterator
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
        custom: Callable[[tuple[str, ...], object, str], object] | None = None,
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
            "\\" in text
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
            if around > level or inside not in {"", mark}:
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
    kind = type(value)
    if redactor.custom is not None:
        value = writer.asked(_opened(value) if kind is str else value, ())
        kind = type(value)
    if kind is str or (issubclass(kind, str) and not issubclass(kind, Enum)):
        return writer.plain(value)
    if not writer.shown(value, ()):
        writer.put('"…"')
    return Rendered("".join(writer.parts), writer.cut)
