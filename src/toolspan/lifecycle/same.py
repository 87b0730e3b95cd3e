"""Whether two layers of one call were given the same arguments, without asking host objects."""

from __future__ import annotations

from typing import Any, Final

_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_DEPTH: Final = 20


def same_arguments(first: Any, second: Any, depth: int = 0) -> bool:
    """The same object, or equal values of exact built-in types."""
    if first is second:
        return True
    kind = type(first)
    if kind is not type(second) or depth > _DEPTH:
        return False
    if kind in _PLAIN:
        return bool(first == second)
    if kind is dict:
        return _same_mapping(first, second, depth)
    if kind in (list, tuple):
        return len(first) == len(second) and all(
            same_arguments(one, other, depth + 1)
            for one, other in zip(list(first), list(second), strict=False)
        )
    return False


def _same_mapping(first: dict[Any, Any], second: dict[Any, Any], depth: int) -> bool:
    if len(first) != len(second):
        return False
    pairs = list(first.items())
    return all(
        type(key) is str and key in second and same_arguments(value, second[key], depth + 1)
        for key, value in pairs
    )
