"""What is told of every value without showing it: its size, and a keyed fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from marshal import dumps
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_MANY: Final = 1_000  # items whose size is counted; values that one fingerprint covers
_LEVELS: Final = 20  # of nesting that one fingerprint covers
_HEAD: Final = 256  # characters of a long text that enter a fingerprint
INT_BITS: Final = 4_096  # of a number that is taken as it is
_INT_BYTES: Final = INT_BITS // 8
_FEW: Final = 16  # entries of a dict that is measured in one pass


def size_of(value: object) -> int | None:
    """How long the text in `value` is, never encoding it; None where there is none.

    Characters of text, bytes of bytes: of the value, else of a dict's values or a list's items,
    there also of message blocks (`[{"type": "text", "text": "..."}]`); of the first 1,000.
    """
    kind = type(value)
    items: Any = value
    if kind is str or kind is bytes or kind is bytearray:
        return len(items)
    if kind is int:  # as the most of what has none
        return None
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


def measure(arguments: object, key: bytes) -> tuple[str | None, int | None]:
    """`fingerprint` and `size_of`; of a small flat dict, as most arguments are, in one pass."""
    if type(arguments) is not dict or len(arguments) > _FEW or not key:
        return fingerprint(arguments, key), size_of(arguments)
    arguments = arguments.copy()  # another thread may change it
    size = None
    for name, value in arguments.items():
        kind = type(value)
        if kind is str:
            if (length := len(value)) > _HEAD:
                break
            size = length if size is None else size + length
        elif kind is not int and kind is not bool and kind is not float and value is not None:
            break
        if type(name) is not str:
            break
    else:
        names = (*arguments,)
        shape = _SHAPES.get(names)
        if shape is None or shape.key is not key:
            shape = _shaped(key, names)
        if shape is not None:
            message = dumps(shape.values(arguments), 2)
            if len(message) < _INT_BYTES:  # no int is too large
                state = shape.state()
                state.update(message)
                return state.hexdigest(), size
    return fingerprint(arguments, key), size_of(arguments)


@dataclass(frozen=True, slots=True)
class _Shape:
    """The names of a dict: copies of a hash that has read a key and them, and their values."""

    key: bytes
    state: Callable[[], blake2b]
    values: Callable[[dict[str, Any]], tuple[Any, ...]]


_SHAPES: Final[dict[tuple[str, ...], _Shape]] = {}


def _shaped(key: bytes, names: tuple[str, ...]) -> _Shape | None:
    if not names or any(len(name) > _HEAD for name in names):
        return None
    ordered = sorted(names)
    state = _keyed(key)()
    state.update(dumps((*ordered,), 2))
    values = itemgetter(*ordered) if names[1:] else lambda one: (one[names[0]],)
    if len(_SHAPES) >= _MANY:
        _SHAPES.clear()
    shape = _SHAPES[names] = _Shape(key, state.copy, values)
    return shape


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
    try:
        canonical = _canonical(arguments, [_MANY], _LEVELS)
    except (_OpaqueError, KeyError, RuntimeError):  # the last two: another thread changes it
        return None
    state = _keyed(key)()
    if type(arguments) is dict:  # by itself, as `measure` does: the names, then the values
        state.update(dumps((*canonical,), 2))
        canonical = (*canonical.values(),)
    state.update(dumps(canonical, 2))
    return state.hexdigest()


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> Callable[[], blake2b]:
    """Copies of a hash that has read `key`.

    The key begins the one block that small arguments fill: as blake2b's own `key=` it would be a
    block by itself, and the hash of them half as dear again.
    """
    return blake2b(blake2b(key, digest_size=32).digest(), digest_size=8).copy


def _canonical(value: Any, left: list[int], levels: int) -> Any:
    """A copy in exact types, which marshal writes alike for equal arguments; or _OpaqueError."""
    kind = type(value)
    if kind is dict:
        return _canonical_dict(value, left, levels)
    if kind is str or kind is bytes:
        return value if len(value) <= _HEAD else (..., len(value), value[:_HEAD])
    if kind is bool or kind is float or value is None:
        return value
    if kind is int and value.bit_length() <= INT_BITS:
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
        if (kind is str and len(item) <= _HEAD) or (kind is int and item.bit_length() <= INT_BITS):
            copy[name] = item
        else:
            copy[name] = _canonical(item, left, levels - 1)
    return copy
