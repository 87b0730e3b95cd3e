"""What is physically stored in an object, read without running any code of its class."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

#: Key or index, and value.
Entries = Iterable[tuple[Any, object]]
_BASES: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
_NAMESPACE: Final[Callable[[type], Mapping[str, Any]]] = type.__dict__["__dict__"].__get__
_FIELDS: Final = ("__pydantic_fields__", "__dataclass_fields__")
_MISSING: Final = object()


def pairs_of(value: Any, kind: type) -> tuple[Entries, int] | None:
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
                    if (item := stored(value, name)) is not _MISSING
                    and stored(field, "repr") is not False
                    and stored(field, "exclude") is not True
                ]
                return pairs, len(pairs)
    return None


def stored(value: object, name: str) -> object:
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
