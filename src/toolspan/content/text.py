"""Text as JSON, encoders and databases take it, within a limit of bytes."""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolspan.content.redaction import Redactor

SHORT: Final = 100  # characters of a text that is treated in one step
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
#: What JSON escapes and how, the backslash first.
_ESCAPES: Final = tuple((c, encode_basestring(c)[1:-1]) for c in ("\\", '"', *map(chr, range(32))))


#: The text of one attribute value, and whether anything is missing from it.
Rendered = tuple[str, bool]


def fitting(text: Any, room: int, redactor: Redactor, form: Callable[[str], str]) -> Rendered:
    """`text` in `form` in `room` bytes, if need be its head behind a mark, if there is room."""
    length = len(text) if type(text) is str else str.__len__(text)
    if type(text) is not str or length > room:
        text = str.__getitem__(text, slice(0, max(room, 0)))
    head = redactor.text(text)
    if length <= room:
        whole = form(head)
        if bytes_of(whole) <= room:
            return whole, False
    mark = f"[cut: {length} characters] "
    shown = mark + _head(head, room - len(mark), form) if len(mark) <= room else ""
    return shown, True


def _head(text: str, room: int, form: Callable[[str], str]) -> str:
    """The longest beginning of `text` that fits in `form`: pieces, halved where too large."""
    pieces = []
    at, step = 0, room
    while step and at < len(text):
        piece = form(text[at : at + step])
        size = bytes_of(piece)
        if size > room:
            step //= 2
        else:
            pieces.append(piece)
            room -= size
            at += step
    return "".join(pieces)


def bytes_of(text: str) -> int:
    """How long it is in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def legible(text: str) -> str:
    """`text`, with U+FFFD for what encoders refuse (lone surrogates) and databases (NUL)."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def escaped(text: str) -> str:
    """`text` as it stands between the quotes of JSON."""
    text = legible(text)
    if len(text) <= SHORT:
        return encode_basestring(text)[1:-1]
    for letter, escape in _ESCAPES:  # several times faster on a long text
        if letter in text:
            text = text.replace(letter, escape)
    return text
