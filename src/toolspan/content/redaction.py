"""The first rules of redaction: what stands under a secret key is never written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from toolspan.content.text import SHORT, escaped

if TYPE_CHECKING:
    from toolspan.settings import Settings

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
#: Key -> how JSON begins with it.
Labels = dict[str, str]

_KEYS: Final = 1_024  # of at most `SHORT` characters, that a redactor remembers


class Redactor:
    """The first rules of redaction, by key: what stands under a secret key is never written.

    `extra`: further parts of secret keys. `custom` is asked about every other value and returns
    what is written instead; where it raises or that is no plain value, "[redaction failed]" is.
    """

    __slots__ = ("_extra", "_secrets", "custom", "labels")

    def __init__(self, extra: Iterable[str] = (), custom: Custom | None = None) -> None:
        self._extra = tuple(filter(None, (_SEPARATORS.sub("", part).lower() for part in extra)))
        self.custom = custom
        #: Of keys that are not secret, the last ones.
        self.labels: Labels = {}
        self._secrets: Labels = {}

    def secret(self, key: str) -> bool:
        """Whether the value under `key`, an exact str, is secret."""
        return key not in self.labels and self.label(key)[1]

    def label(self, key: str) -> tuple[str, bool]:
        """`key` in JSON with its colon, and whether it is secret."""
        for labels, secret in ((self.labels, False), (self._secrets, True)):
            if (known := labels.get(key)) is not None:
                return known, secret
        label, secret = f'"{escaped(key)}":', self._judged(key)
        if len(key) <= SHORT:
            labels = self._secrets if secret else self.labels
            if len(labels) >= _KEYS:
                labels.clear()
            labels[key] = label
        return label, secret

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


@dataclass(frozen=True, slots=True)
class Rules:
    """How content is written: what is redacted, and the bytes of the longest value."""

    redactor: Redactor
    limit: int | None


@lru_cache(maxsize=8)
def rules_of(settings: Settings) -> Rules:
    """What the user decided of content."""
    limits = [limit for limit in (settings.value_limit, settings.span_limit) if limit is not None]
    return Rules(Redactor(settings.redact, settings.redactor), min(limits, default=None))


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
