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
