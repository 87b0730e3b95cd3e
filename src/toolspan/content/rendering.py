"""Any value as text of at most so many bytes: text as it is, anything else as JSON."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from json.encoder import encode_basestring
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

from toolspan.containment import contained
from toolspan.content.measures import INT_BITS
from toolspan.content.redaction import FAILED, REDACTED, Custom, Labels, Redactor
from toolspan.content.text import SHORT, Rendered, bytes_of, escaped, fitting, legible
from toolspan.toolcall import type_name

_DEPTH: Final = 50  # levels of nesting that are rendered
_CONTAINERS: Final = 1_000_000  # rendered where there is no limit: shared ones multiply
_PARTS: Final = 1_000  # pieces of a value, until they are joined
_JSON_TEXT: Final = 1 << 20  # characters that are parsed for a custom redactor
_FEW: Final = 16  # entries of a list or dict that is rendered in one step


def render(value: Any, limit: int | None, redactor: Redactor, tool: str = "") -> Rendered:
    """`value` as text of at most `limit` bytes of UTF-8 (None: no cap).

    Text stays as it is; over the limit it begins with "[cut: N characters] ". Anything else
    becomes JSON, and over the limit it is JSON still: the last item says "… N more", or the last
    key is "…". `tool` is the name that a custom redactor is told.
    """
    custom = redactor.custom
    if custom is not None:
        value, custom = _custom_redactor(custom, tool, (), _opened(value)) or _FAILED
    room = sys.maxsize if limit is None else limit
    kind = type(value)
    if kind is str:
        if len(value) <= room and _is_ordinary(value):
            return value, False
        return fitting(value, room, redactor, legible)
    simple = _simple(value, kind, redactor.labels if custom is None else None)
    if simple is not None and (4 * len(simple) <= room or bytes_of(simple) <= room):
        return simple, False
    if issubclass(kind, str) and not issubclass(kind, Enum):
        return fitting(value, room, redactor, legible)
    writer = _Writer(room, redactor, custom, tool)
    whole = writer.value(value) and not writer.cut
    return "".join(writer.parts), not whole


def render_entry(
    entries: dict[str, object], key: str, limit: int, redactor: Redactor, tool: str
) -> str | None:
    """The text under `key` of a call's arguments, as `render` would write it among the others.

    Several texts are a line each. None where redaction hides it, and for what is no text.
    """
    custom = redactor.custom
    given: object = entries
    if custom is not None:
        given, custom = _custom_redactor(custom, tool, (), entries) or _FAILED
    item = given.get(key) if type(given) is dict and not redactor.secret(key) else None
    if custom is not None and item is not None:
        item, custom = _custom_redactor(custom, tool, (key,), item) or _FAILED
    elif type(item) is list and all(type(one) is str for one in item):
        item = "\n".join(item)
    return fitting(item, limit, redactor, legible)[0] if type(item) is str else None


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
        if (pairs := _pairs_of(value, kind)) is not None:
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
                label, secret = self._redactor.label(name)
                yield name, label, REDACTED if secret else item, secret

    def _answer(self, custom: Custom, before: str, name: str, item: object) -> bool:
        path = self._path
        self._path = (*path, name)
        answer, self._custom = _custom_redactor(custom, self._tool, self._path, item) or _FAILED
        done = self.value(answer, before)
        self._custom, self._path = custom, path
        return done

    def _string(self, before: str, text: Any) -> bool:
        room = self.left - bytes_of(before) - len('""')
        shown, cut = fitting(text, room, self._redactor, escaped)
        self.cut |= cut
        fits = bool(shown) or not cut
        return fits and self._put(f'{before}"{shown}"')

    def _put(self, text: str) -> bool:
        size = len(text) if text.isascii() else len(text.encode())
        if size > self.left:
            return False
        self.left -= size
        self.parts.append(text)
        if len(self.parts) == _PARTS:  # many small strings take more than one large
            self.parts = ["".join(self.parts)]
        return True


#: Key or index, and value.
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


def _is_ordinary(text: str) -> bool:
    """Whether a text is short, ASCII, and quotes nothing that a redactor looks into."""
    return len(text) <= SHORT and text.isascii() and ":" not in text and "\0" not in text


def _scalar(value: Any, kind: type) -> str | None:
    """What most values are, in JSON; None for all others."""
    if kind is str:
        return encode_basestring(value) if _is_ordinary(value) else None
    if kind is int:
        bits = value.bit_length()
        return repr(value) if bits <= INT_BITS else f'"<int of {bits} bits>"'
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
    parts, entries = [], [*value.items()]
    for key, item in entries:
        label = labels.get(key) if type(key) is str else None
        if label is None:
            break
        if type(item) is str and len(item) <= SHORT:  # whether ordinary: all together, below
            parts.append(label + encode_basestring(item))
        elif (scalar := _scalar(item, type(item))) is not None:
            parts.append(label + scalar)
        else:
            break
    else:
        text = f"{{{','.join(parts)}}}"
        plain = text.isascii() and text.count(":") == len(parts) and "\\u0000" not in text
        if plain or all(_is_ordinary(item) for _, item in entries if type(item) is str):
            return text
    return None


def _key_text(key: Any) -> str:
    """A key as JSON writes it; of an unknown type only the type's name."""
    kind = type(key)
    if kind is bytes:
        return str(key, "latin-1")
    if issubclass(kind, str):
        return str.__getitem__(key, slice(None))
    return _scalar(key, kind) or f"<{type_name(kind)}>"


# -- what is physically stored in an object, read without running any code of its class

_BASES: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
_NAMESPACE: Final[Callable[[type], Mapping[str, Any]]] = type.__dict__["__dict__"].__get__
_FIELDS: Final = ("__pydantic_fields__", "__dataclass_fields__")
_MISSING: Final = object()


def _pairs_of(value: Any, kind: type) -> tuple[Entries, int] | None:
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


def stored(value: object, name: str) -> object:
    """What an object holds under `name`, None where nothing is; no code of its class runs."""
    found = _stored(value, name)
    return None if found is _MISSING else found


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
