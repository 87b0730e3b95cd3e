"""The doors for hand-written code, on the same core as the adapters."""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from opentelemetry import context as otel

from toolspan.containment import contained, contained_hot, say_once
from toolspan.hooks import (
    Direct,
    Hook,
    Layer,
    RunFacts,
    description_of,
    layered,
    name_of,
    parameters_of,
)
from toolspan.lifecycle import (
    TRACING,
    UNTRACED,
    begin_call,
    begin_run,
    direct_driver,
    driver_for,
    plain_attributes,
    wanted_context,
)
from toolspan.lifecycle.life import Life
from toolspan.lifecycle.words import outcome_of_error
from toolspan.spans import known_of
from toolspan.toolcall import WORDS, Outcome, ToolCall, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from toolspan.hooks import Invocation
    from toolspan.toolcall import AttributeValue, Word

F = TypeVar("F", bound="Callable[..., Any]")
_NANO: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)
_TEXT: Final = 1_024
_LONG: Final = 1e11  # seconds: some 3,000 years


@overload
def tool(
    function: F,
    /,
    *,
    name: str | None = None,
    agent: str | None = None,
    capture: bool | None = None,
) -> F: ...
@overload
def tool(
    function: str, /, *, agent: str | None = None, capture: bool | None = None
) -> Callable[[F], F]: ...
@overload
def tool(
    *, name: str | None = None, agent: str | None = None, capture: bool | None = None
) -> Callable[[F], F]: ...
def tool(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    agent: str | None = None,
    capture: bool | None = None,
) -> Any:
    """Trace every call of a function as a tool call; it stays the same function otherwise.

    For sync, async, generator and async-generator functions, methods, classmethods,
    staticmethods, partials and callable objects. `@tool("name")` is `@tool(name="name")`.
    `capture` (True or False) overrides the content switch.

    >>> from toolspan.testing import recorded_tools
    >>> @tool(name="add_up")
    ... def add(a: int, b: int) -> int:
    ...     return a + b
    >>> with recorded_tools() as calls:
    ...     add(1, b=2)
    3
    >>> calls[0].name, calls[0].arguments
    ('add_up', {'a': 1, 'b': 2})
    """
    if issubclass(type(function), str):
        function, name = None, function
    if function is None:
        return functools.partial(tool, name=name, agent=agent, capture=capture)
    if not callable(function) and not isinstance(function, (classmethod, staticmethod)):
        say_once("tool", "@tool is for what can be called; %s is not", clean(function))
        return function
    return _traced(function, name, agent, _switch(capture)) or function


@contained
def _traced(function: Any, name: str | None, agent: str | None, capture: bool | None) -> Any:  # noqa: FBT001  # tool() names it
    inner = function.__func__ if isinstance(function, (classmethod, staticmethod)) else function
    names = tuple(parameters_of(inner, bound=False))
    call = ToolCall(
        name=_text(name) or name_of(inner),
        description=description_of(inner),
        agent=_text(agent),
        capture=capture,
        parameters=names,
    )
    hook = Hook("", _never_read, inside=True)
    again = functools.partial(tool, name=name, agent=agent, capture=capture)
    return _layered(function, inner, call, hook, again)


def _layered(function: Any, inner: Any, call: ToolCall, hook: Hook, again: Any) -> Any:
    free, rest = _positional(inner)
    alone = _opener(call, hook, free, rest)
    bound = alone if inspect.ismethod(inner) else _opener(call, hook, free[1:], rest)
    owned = free[:1] in (("self",), ("cls",))

    def opener(instance: Any, args: Any, kwargs: Any) -> Any:
        if instance is not None:
            return bound(args, kwargs)
        if owned:  # a classmethod or a property around the layer
            return bound(args[1:], kwargs)
        return alone(args, kwargs)

    direct = None if owned else direct_driver(alone, function)
    kind = Layer if direct is None else Direct
    driver = driver_for(inner)(opener)
    return layered(function, driver, (hook, ""), again, kind=kind, direct=direct)


def _opener(like: ToolCall, hook: Hook, names: tuple[str, ...], rest: str) -> Callable[..., Any]:
    """The opener of calls `like` this one that pass `names` by position, and more as `rest`."""
    name, description, agent = like.name, like.description, like.agent
    capture, parameters, known = like.capture, like.parameters, known_of(like)

    @contained_hot
    def opener(args: Any, kwargs: Any) -> Any:
        current = wanted_context()
        if current is None:
            return None
        arguments: dict[str, Any] = {}
        index, given = 0, len(args)  # by hand: zip() would be half of what reading them costs
        for name_ in names:
            if index == given:
                break
            arguments[name_] = args[index]
            index += 1
        if given > index:
            arguments[rest] = args[index:]
        if kwargs:
            arguments.update(kwargs)
        call = ToolCall(name, arguments, description)
        call.agent, call.capture, call.parameters = agent, capture, parameters
        call.known = known
        return begin_call(call, hook, current)

    return opener


def _positional(function: Any) -> tuple[tuple[str, ...], str]:
    """The names of what may be passed by position, and of what takes the rest."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return (), "*"
    rest = [one.name for one in parameters if one.kind is one.VAR_POSITIONAL]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(one.name for one in parameters if one.kind in kinds), (*rest, "*")[0]


def _never_read(_invocation: Invocation) -> None:
    """A decorated function reads its own arguments."""


class TracedCall:
    """A call that hand-written code makes between `with` and its end."""

    def __init__(self, call: ToolCall) -> None:
        #: What the tool gave; set it before the block ends.
        self.result: Any = None
        #: True when the result came from a cache and no tool ran.
        self.cached: bool = False
        #: How many tries this block made.
        self.attempts: int | None = None
        #: How the call ended, where that is not `ok` and nothing was raised.
        self.outcome: Word | None = None
        self._call = call
        self._live: Any = None

    def __enter__(self) -> TracedCall:
        if TRACING.active:
            self._live = _begun(replace(self._call))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.over(self._outcome(error) or Outcome(), collected=kind is GeneratorExit)

    async def __aenter__(self) -> TracedCall:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    @contained
    def _outcome(self, error: BaseException | None) -> Outcome:
        if error is not None:
            outcome = outcome_of_error(error, None)
        else:
            outcome = Outcome(error=_word(self.outcome))
        outcome.result = self.result
        outcome.cached = self.cached
        outcome.attempts = self.attempts
        return outcome


def call(
    name: str,
    arguments: Any = None,
    *,
    description: str | None = None,
    id: str | None = None,  # noqa: A002  # the convention's word
    agent: str | None = None,
    conversation: str | None = None,
    capture: bool | None = None,
    wait: float | None = None,
) -> TracedCall:
    """One tool call around a block of code, whose `result` the block sets.

    Also `async with`; settable too: `outcome`, `cached`, `attempts` (tries inside this one span).
    `wait`: seconds that the call waited before its tool ran.

    >>> from toolspan.testing import recorded_tools
    >>> with recorded_tools() as calls:
    ...     with call("search", {"query": "emma"}) as search:
    ...         search.result = ["Emma"]
    >>> calls[0].outcome, calls[0].result
    ('ok', ['Emma'])
    """
    if wait is not None and not _are_seconds(wait):
        say_once("wait", "call(wait=...) takes a number of seconds; another value is left out")
        wait = None
    return TracedCall(
        ToolCall(
            name=_text(name) or "unnamed",
            arguments=arguments,
            description=description,
            id=_text(id),
            agent=_text(agent),
            conversation=_text(conversation),
            capture=_switch(capture),
            wait=wait,
        )
    )


def _switch(value: Any) -> bool | None:
    """`capture` as it was given; anything but True, False and None counts as False."""
    if value is None or value is True or value is False:
        return value
    say_once("capture", "capture= is True, False or None; of another value content stays off")
    return False


def _text(value: Any) -> str | None:
    """A name or an id as plain text; of anything else its type's name, and one line about it."""
    if value is None:
        return None
    if issubclass(type(value), str):
        return clean(str.__getitem__(value, slice(None)), _TEXT)
    kind = clean(value)
    say_once(
        "text",
        "names, ids, agents and conversations are text; of another value, here %s, "
        "only the type is written",
        kind,
    )
    return kind


@contained
def _begun(call: ToolCall) -> Any:
    live = begin_call(call)
    if live is not None:
        live.mark()
    return live


def record(
    name: str,
    *,
    started: datetime | float,
    duration: float,
    outcome: Word = "ok",
    arguments: Any = None,
    result: Any = None,
    error: BaseException | None = None,
    description: str | None = None,
    id: str | None = None,  # noqa: A002  # the convention's word
    agent: str | None = None,
    conversation: str | None = None,
) -> None:
    """Record a call that is already over.

    `started`: an aware datetime or seconds since 1970; `duration`: seconds.

    >>> from toolspan.testing import recorded_tools
    >>> with recorded_tools() as calls:
    ...     record("search", started=1_700_000_000, duration=2.5, outcome="timeout")
    >>> calls[0].outcome, calls[0].duration
    ('timeout', 2.5)
    """
    call = ToolCall(
        name=_text(name) or "unnamed",
        arguments=arguments,
        description=description,
        id=_text(id),
        agent=_text(agent),
        conversation=_text(conversation),
    )
    word = _word(outcome)
    ended = Outcome(result, error=word or ("error" if error is not None else None), exception=error)
    if TRACING.active:
        _recorded(call, ended, started, duration)


@contained
def _recorded(call: ToolCall, outcome: Outcome, started: Any, duration: Any) -> None:
    call.started = _nanoseconds(started)
    live: Any = begin_call(call)
    if live is None:
        return
    if not _are_seconds(duration):
        say_once("duration", "record(duration=...) takes seconds; another value counts as 0")
        duration = 0
    live.recorded(outcome, round(duration * _NANO))


def _nanoseconds(moment: Any) -> int:
    """Nanoseconds since 1970; 0, which is now, for what is no moment."""
    if issubclass(type(moment), datetime):
        if moment.utcoffset() is None:
            say_once("naive", "record(started=...) got a datetime without zone; it counts as UTC")
            moment = moment.replace(tzinfo=timezone.utc)
        microseconds: int = (moment - _EPOCH) // _MICROSECOND
        if microseconds >= 0:
            return microseconds * 1_000
    elif _are_seconds(moment):
        return round(float(moment) * _NANO)
    say_once(
        "started",
        "record(started=...) takes an aware datetime or seconds since 1970; another value is now",
    )
    return 0


def _are_seconds(value: Any) -> bool:
    kind = type(value)
    return (kind is int or kind is float) and 0 <= value < _LONG


def _word(word: Any) -> Word | None:
    if word is None:
        return None
    if type(word) is str and word in WORDS:
        return None if word == "ok" else word
    say_once("outcome", "outcome %r is not known; allowed: %s", clean(word), ", ".join(WORDS))
    return "error"


class TracedRun:
    """A run between `with` and its end."""

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._live: Any = None

    def __enter__(self) -> TracedRun:
        if TRACING.active:
            self._live = _run_begun(self._facts)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        live, self._live = self._live, None
        if live is None:
            return
        if error is None:
            live.ended(None)
        else:
            live.raised(error)

    async def __aenter__(self) -> TracedRun:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)


def run(
    name: str,
    *,
    agent: str | None = None,
    conversation: str | None = None,
    workflow: str | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> TracedRun:
    """One run of an agent, one trace: its facts stand on every tool span below it.

    Opens one INTERNAL span, unless an agent's or a workflow's span is current already; a run
    inside a run adds to what it inherits. Also `async with`. `attributes`: at most 25.

    >>> from toolspan.testing import recorded_tools
    >>> with recorded_tools() as calls:
    ...     with run("nightly report", agent="clerk", attributes={"phase": "Build"}):
    ...         record("search", started=1_700_000_000, duration=2.5)
    >>> calls[0].agent
    'clerk'
    """
    return TracedRun(
        RunFacts(
            name=_text(name) or "unnamed",
            agent=_text(agent),
            conversation=_text(conversation),
            workflow=_text(workflow),
            attributes=None if attributes is None else plain_attributes(attributes),
        )
    )


@contained
def _run_begun(facts: RunFacts) -> Any:
    if wanted_context() is None:
        return None
    run = begin_run(facts)
    run.mark()
    return run


class untraced:  # noqa: N801  # it reads as a statement: with untraced():
    """`with untraced():` tool calls inside give no span and are not counted.

    >>> from toolspan.testing import recorded_tools
    >>> with recorded_tools() as calls, untraced():
    ...     record("search", started=1_700_000_000, duration=2.5)
    >>> calls
    []
    """

    def __init__(self) -> None:
        self._lives: list[Life] = []

    def __enter__(self) -> untraced:
        life = Life()
        life.enter(otel.set_value(UNTRACED, value=True))
        life.mark()
        self._lives.append(life)
        return self

    def __exit__(self, *_: object) -> None:
        self._lives.pop().pause()
