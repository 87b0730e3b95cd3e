"""`dispatch`: one tool call of a model, run by a hand-written loop, whatever happens traced."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from toolspan.containment import contained, say_once
from toolspan.hooks import description_of, parameters_of
from toolspan.lifecycle import begin_call, driver_for, wanted_context
from toolspan.toolcall import Outcome, ToolCall, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from toolspan.toolcall import Word

#: Where the known forms keep the call's parts, by attribute or key; the first that is there.
_NAME: Final = ("name", "tool", "tool_name")
_ARGUMENTS: Final = ("arguments", "input", "args", "parameters")
_ID: Final = ("call_id", "id", "tool_call_id")
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class CallError:
    """Why a call was not run, as a value to hand back to the model; awaitable like a result."""

    outcome: Word
    message: str

    def __str__(self) -> str:
        return self.message

    def __await__(self) -> Generator[Any, None, CallError]:
        yield from ()
        return self


def dispatch(tools: Mapping[str, Callable[..., Any]], call: Any) -> Any:
    """Run the tool that a model asked for, and give what it returned (await it where it is async).

    `call`: an OpenAI, Anthropic or plain tool call, as an object, a dict or JSON text. A name
    that `tools` does not have, and arguments that cannot be read or do not fit, run nothing:
    they give their span and a `CallError`. What the tool raises is raised here.

    >>> tools = {"add": lambda a, b: a + b}
    >>> dispatch(tools, {"name": "add", "arguments": '{"a": 1, "b": 2}'})
    3
    >>> print(dispatch(tools, {"name": "subtract", "arguments": "{}"}))
    there is no tool 'subtract'; known: add
    """
    if not isinstance(tools, Mapping):
        say_once("tools", "dispatch(tools, call): tools maps names to functions; it has none here")
        tools = {}
    name, given, id_ = _parts(call)
    asked = ToolCall("unnamed", given, id=id_ if type(id_) is str else None)
    if type(name) is not str or not name:
        return _refuse(asked, "unknown_tool", f"the call names no tool; {_known(tools)}")
    asked.name = clean(name)
    function = tools.get(name)
    if not callable(function):
        message = f"there is no tool {asked.name!r}; {_known(tools)}"
        return _refuse(asked, "unknown_tool", message)
    _describe(asked, function)
    arguments = _mapping(given)
    if arguments is None:
        message = f"the arguments of {asked.name} are no JSON object"
        return _refuse(asked, "invalid_arguments", message)
    asked.arguments = arguments
    if (misfit := _misfit(function, arguments)) is not None:
        message = f"the arguments do not fit {asked.name}: {misfit}"
        return _refuse(asked, "invalid_arguments", message)
    return _run(function, asked, arguments)


def _run(function: Callable[..., Any], asked: ToolCall, arguments: dict[str, Any]) -> Any:
    @contained
    def opener(_instance: Any, _args: Any, _kwargs: Any) -> Any:
        return None if wanted_context() is None else begin_call(asked)

    return driver_for(function)(opener)(function, None, (), arguments)


@contained
def _describe(asked: ToolCall, function: Any) -> None:
    """What the function says of itself, for a call that runs and for one that is refused."""
    asked.description = description_of(function)
    asked.parameters = tuple(parameters_of(function, bound=False))
    asked.functions = (function,)


def _refuse(asked: ToolCall, word: Word, message: str) -> CallError:
    _refused(asked, Outcome(error=word, message=message))
    return CallError(word, message)


@contained
def _refused(call: ToolCall, outcome: Outcome) -> None:
    live = begin_call(call)
    if live is not None:
        live.over(outcome)


def _parts(call: Any) -> tuple[Any, Any, Any]:
    """Name, arguments and id of a call in any of its forms; None for what is not there."""
    if type(call) is str or type(call) is bytes:
        try:
            call = json.loads(call)
        except (ValueError, RecursionError):
            return None, call, None
    id_ = _first(call, _ID)
    inner = _first(call, ("function",))
    if inner is not None and type(inner) is not str:
        call = inner
    return _first(call, _NAME), _first(call, _ARGUMENTS), id_


def _first(call: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        value = call.get(name) if isinstance(call, dict) else getattr(call, name, None)
        if value is not None:
            return value
    return None


def _mapping(given: Any) -> dict[str, Any] | None:
    if given is None or given == "":
        return {}
    if type(given) is str or type(given) is bytes:
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return None
    if not isinstance(given, dict) or any(type(key) is not str for key in given):
        return None
    return dict(given)


def _misfit(function: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(**arguments)
    except TypeError as error:
        return str(error)
    return None


def _known(tools: Mapping[str, Any]) -> str:
    return f"known: {', '.join(map(clean, islice(tools, _SHOWN))) or 'none'}"
