"""Our own errors end here: the only catch-all `except` of the library.

Loud in our tests (a fixture raises what was contained), quiet in production: one log line for
each kind and place. Host code never runs inside a contained function.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

LOGGER: Final = logging.getLogger("toolspan")
_SAID: Final[set[str]] = set()
_LOCK: Final = threading.Lock()

#: What was contained since the process began: "place: ErrorType" -> times. `status()` shows it.
failures: Final[Counter[str]] = Counter()
#: Called with each contained error; our test-suite puts a collector here.
witnesses: Final[list[Callable[[str, Exception], None]]] = []


def contained(function: Callable[P, R]) -> Callable[P, R | None]:
    """Run `function` so that an error in it returns None instead of reaching the host."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # this is the place where they end
            report(function.__qualname__, error)
            return None

    return guarded


def contained_hot(function: Callable[..., R]) -> Callable[..., R | None]:
    """`contained` for what runs in every call, of two or three positional arguments.

    Without `*args` it costs a third.
    """

    @functools.wraps(function)
    def of_two(one: object, two: object) -> R | None:
        try:
            return function(one, two)
        except Exception as error:  # noqa: BLE001  # this is the place where they end
            report(function.__qualname__, error)
            return None

    @functools.wraps(function)
    def of_three(one: object, two: object, three: object) -> R | None:
        try:
            return function(one, two, three)
        except Exception as error:  # noqa: BLE001  # this is the place where they end
            report(function.__qualname__, error)
            return None

    return of_two if function.__code__.co_argcount == 2 else of_three  # noqa: PLR2004  # its name


def report(place: str, error: Exception) -> None:
    """Note an error of ours that was contained at `place`; log it the first time."""
    kind = f"{place}: {type(error).__name__}"
    failures[kind] += 1
    for witness in witnesses:
        witness(place, error)
    say_once(
        kind,
        "toolspan failed in %s (%s); your program runs on, this call is told less about",
        place,
        type(error).__name__,
    )


def say_once(key: str, message: str, *values: object) -> None:
    """Log one warning line for `key`, and never again in this process."""
    with _LOCK:
        if key in _SAID:
            return
        _SAID.add(key)
    LOGGER.warning(message, *values)


def forget_said() -> None:
    """Let every line be said once more (a new `instrument()`, a test)."""
    with _LOCK:
        _SAID.clear()
