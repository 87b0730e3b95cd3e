"""`dispatch`: one tool call of a model, run by a hand-written loop, whatever happens traced."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from toolspan.containment import contained
from toolspan.hooks import description_of, parameters_of
from toolspan.lifecycle import begin_call, driver_for, wanted_context
from toolspan.toolcall import Outcome, ToolCall, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

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
    name, given, id_ = _parts(call)
    if type(name) is not str or not name:
        message = f"the call names no tool; {_known(tools)}"
        return _refuse("unnamed", given, id_, "unknown_tool", message)
    function = tools.get(name)
    if function is None:
        message = f"there is no tool {clean(name)!r}; {_known(tools)}"
        return _refuse(name, given, id_, "unknown_tool", message)
    arguments = _mapping(given)
    if arguments is None:
        message = f"the arguments of {clean(name)} are no JSON object"
        return _refuse(name, given, id_, "invalid_arguments", message)
    if (misfit := _misfit(function, arguments)) is not None:
        message = f"the arguments do not fit {clean(name)}: {misfit}"
        return _refuse(name, arguments, id_, "invalid_arguments", message)
    return _run(function, name, arguments, id_)


def _run(function: Callable[..., Any], name: str, arguments: dict[str, Any], id_: Any) -> Any:
    @contained
    def opener(_instance: Any, _args: Any, _kwargs: Any) -> Any:
        if wanted_context() is None:
            return None
        return begin_call(_described(function, name, arguments, id_))

    return driver_for(function)(opener)(function, None, (), arguments)


def _described(function: Any, name: str, arguments: dict[str, Any], id_: Any) -> ToolCall:
    return ToolCall(
        name,
        arguments,
        description_of(function),
        id_ if type(id_) is str else None,
        parameters=tuple(parameters_of(function, bound=False)),
        functions=(function,),
    )


def _refuse(name: str, arguments: Any, id_: Any, word: Word, message: str) -> CallError:
    call = ToolCall(clean(name), arguments, id=id_ if type(id_) is str else None)
    _refused(call, Outcome(error=word, message=message))
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
