"""Readers that more than one adapter needs, made from names: what its words are filled with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from toolspan.toolcall import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolspan.hooks.words import Invocation
    from toolspan.toolcall import ToolCall, Word

    Telling = Callable[[Invocation, Any], Outcome | None]

_PARSED: Final = 100_000  # characters; what is longer stays the text that it is


def parsed(given: Any) -> Any:
    """As values, by which a layer below knows the same call, what a model wrote: JSON, mostly."""
    if type(given) is not str or len(given) > _PARSED:
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        return given


def says(key: str, value: str) -> Callable[[Invocation], bool]:
    """A `when`: the framework is about to make a span with this among its `attributes`."""

    def when(invocation: Invocation) -> bool:
        return bool((invocation.get("attributes") or {}).get(key) == value)

    return when


def _told(invocation: Invocation, seen: Any, argument: str | None) -> Any:
    return seen if argument is None else invocation.get(argument)


def gives(outcome: Callable[[Any], Outcome], argument: str | None = None) -> Telling:
    """Of a witness: its function's value, or this argument, is what the tool gave."""

    def read(invocation: Invocation, seen: Any) -> Outcome:
        return outcome(_told(invocation, seen, argument))

    return read


def raises(
    raised: Callable[[BaseException], Outcome | None], argument: str | None = None
) -> Telling:
    """Of a witness: its function's exception, or this argument, is what the tool raised.

    What is no `Exception` is told by the hook alone: it is somebody's wish to stop.
    """

    def read(invocation: Invocation, seen: Any) -> Outcome | None:
        error = _told(invocation, seen, argument)
        if not issubclass(type(error), Exception):
            return None
        return raised(error) or Outcome(error="error", exception=error)

    return read


def fails(word: Word, argument: str | None = None) -> Telling:
    """Of a witness: the call failed so; its exception is the function's own, or this argument."""

    def read(invocation: Invocation, seen: Any) -> Outcome:
        error = _told(invocation, seen, argument)
        raised = issubclass(type(error), BaseException)
        return Outcome(error=word, exception=error if raised else None)

    return read


def refuses(
    word: Word, argument: str, asked: Callable[[Any], ToolCall]
) -> Callable[[Invocation, Any], tuple[ToolCall, Outcome] | None]:
    """Of a refusal: the function tells the model so of the call that this argument asks for."""

    def refused(invocation: Invocation, told: Any) -> tuple[ToolCall, Outcome] | None:
        return None if told is None else (asked(invocation.get(argument)), Outcome(error=word))

    return refused
