"""Values, exceptions and names that break who is careless with them."""

from __future__ import annotations

import asyncio
import builtins
import functools
import itertools
import math
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from toolspan.api import call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

#: Every look at a hostile value, as it happens.
LOOKS: Final[list[str]] = []
#: What a look may be: the special methods, and what libraries ask an object for.
SPECIAL: Final = """
    str repr format bytes len length_hint iter next aiter anext await eq ne lt gt le ge
    hash bool contains getitem reversed int float index complex call enter exit aenter
    aexit fspath dir sizeof copy deepcopy reduce reduce_ex getstate json html array
    instancecheck
""".split()
PLAIN: Final = "model_dump dict json keys items values read to_dict tolist".split()


# -- values --------------------------------------------------------------------------------------


def _spy(answer: Callable[[], object], *bases: type, everything: bool = False) -> Any:
    """A class that notes each look at its instances and then does `answer`."""

    def noted(name: str) -> Callable[..., object]:
        def look(*_args: object, **_kwargs: object) -> object:
            LOOKS.append(name)
            return answer()

        return look

    names = [*(f"__{name}__" for name in SPECIAL), *PLAIN, "__getattr__"]
    if everything:
        names.append("__getattribute__")
    return type("Spy", bases, {name: noted(name) for name in names})


def _throw(error: BaseException) -> NoReturn:
    raise error


def _thrower(error: BaseException) -> Callable[[], NoReturn]:
    return functools.partial(_throw, error)


def _call_a_tool() -> str:
    with call("look"):
        return "looked"


class Fatal(BaseException):  # it is one like SystemExit
    """What no `except Exception` stops; pytest, shown a SystemExit, would stop itself."""


class _Meta(type):
    """A class of classes that answers nothing either."""

    def __getattribute__(cls, name: str) -> object:
        LOOKS.append(name)
        raise Fatal


def _cycle() -> object:
    ring: dict[str, Any] = {"list": []}
    ring["list"].append(ring)
    return ring


def _shared() -> object:
    value: list[Any] = ["leaf"]
    for _ in range(5):  # with 10 levels, a framework itself renders 10 GB of text
        value = [value] * 10
    return value


def _deep() -> object:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


async def _unfinished() -> AsyncIterator[int]:
    yield 1


def _numbers() -> Iterator[int]:
    return (number for number in range(3))


def _with_a_key() -> object:
    kind = _spy(_thrower(ValueError("look")))
    kind.__hash__ = object.__hash__
    kind.__eq__ = object.__eq__
    return {kind(): 1}


#: Each made anew, by what is wrong with it.
HOSTILE: Final[dict[str, Callable[[], Any]]] = {
    "H1 raising": lambda: _spy(_thrower(ValueError("look")))(),
    "H1 raising on all": lambda: _spy(_thrower(RuntimeError("look")), everything=True)(),
    "H1 class of a class": lambda: _Meta("Odd", (), {})(),
    "H2 fatal": lambda: _spy(_thrower(Fatal()))(),
    "H2 CancelledError": lambda: _spy(_thrower(asyncio.CancelledError()))(),
    "H2 GeneratorExit": lambda: _spy(_thrower(GeneratorExit()))(),
    "H3 slow": lambda: _spy(lambda: time.sleep(0.01))(),
    "H4 endless": itertools.count,
    "H4 generator": _numbers,
    "H4 async generator": _unfinished,
    "H4 file": lambda: Path(__file__).open("rb"),  # noqa: SIM115  # it is a value
    "H5 cycle": _cycle,
    "H5 shared": _shared,
    "H5 deep": _deep,
    "H6 text": lambda: "x" * 20_000_000,
    "H6 bytes": lambda: b"x" * 20_000_000,
    "H6 list": lambda: list(range(1_000_000)),
    "H6 dict": lambda: {str(number): number for number in range(100_000)},
    "H8 re-entrant": lambda: _spy(_call_a_tool)(),
    "H9 surrogate": lambda: "a\ud83d",
    "H9 controls": lambda: "\0\x1b[31m\u2028\u202e",
    "H9 not UTF-8": lambda: b"\xff\xfe",
    "H10 large": lambda: 2**100,
    "H10 not a number": lambda: [math.nan, math.inf, -math.inf],
    "H10 decimal": lambda: Decimal("NaN"),
    "H11 str": lambda: _spy(_thrower(ValueError("look")), str)("text"),
    "H11 dict": lambda: _spy(_thrower(ValueError("look")), dict)(a=1),
    "H11 list": lambda: _spy(_thrower(ValueError("look")), list)([1]),
    "H12 keys": lambda: {1: 1, "": 2, "k" * 10_000: 3, "gen_ai.tool.name": 4, (1, 2): 5},
    "H12 hostile key": _with_a_key,
    "H12 reserved": lambda: {"__proto__": 1, "a.b": {"c": 2}, "self": 3, "*": 4},
}


# -- exceptions ----------------------------------------------------------------------------------


class MuteError(Exception):
    """An exception that cannot be shown."""

    def _look(self, *_others: object) -> Any:
        LOOKS.append("MuteError")
        raise Fatal

    __str__ = __repr__ = __format__ = __reduce__ = __eq__ = __hash__ = _look


def _caused_by_itself() -> BaseException:
    error, other = ValueError("ring"), ValueError("other")
    error.__cause__, other.__cause__ = other, error
    return error


def _grouped() -> BaseException:
    group = getattr(builtins, "ExceptionGroup", ValueError)  # it came with Python 3.11
    made: BaseException = group("many", [ValueError("one")])
    return made


def _noted() -> BaseException:
    error = ValueError("noted")
    vars(error)["__notes__"] = "not even a list"
    return error


#: Each made anew, by what is odd about it.
ERRORS: Final[dict[str, Callable[[], BaseException]]] = {
    "mute": MuteError,
    "huge": lambda: ValueError("x" * 10_000_000),
    "cause in a ring": _caused_by_itself,
    "group": _grouped,
    "odd notes": _noted,
    "hostile argument": lambda: ValueError(HOSTILE["H2 fatal"]()),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration(1),
    "MemoryError": MemoryError,
}

#: What a model, or whoever writes a tool, may call it, by what is odd about it.
NAMES: Final = {
    "two lines": "a\nb",
    "zero byte": "a\0b",
    "huge": "x" * 1_000_000,
    "surrogate": "\ud83d",
    "emoji": "🧨",
    "markup": "<b>",
    "SQL": "'; --",
    "path": "../..",
    "template": "{a}",
}


# -- a way to pass them ---------------------------------------------------------------------------


class Box:
    """Keeps a hostile value where no report of a failed test looks at it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def through(self, door: Callable[[Any], Any]) -> tuple[object, list[str]]:
        """How the value went through a door: what came back, and every look at it on the way."""
        LOOKS.clear()
        try:
            given = door(self.value)
        except BaseException as error:  # noqa: BLE001  # some are meant to raise anything
            return ("raised", type(error).__name__), list(LOOKS)
        shown = given if type(given) is str else None
        return ("gave", given is self.value, shown), list(LOOKS)
