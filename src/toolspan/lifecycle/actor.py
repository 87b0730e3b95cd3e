"""What the core does for each word of an adapter: the wrapper that is placed at its path."""

from __future__ import annotations

import functools
import inspect
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from toolspan import semconv
from toolspan.containment import contained, contained_hot
from toolspan.hooks import (
    Body,
    Carrier,
    Decision,
    Enrich,
    Events,
    Hook,
    Invocation,
    KeepContext,
    Mute,
    Pending,
    Propagate,
    Refusal,
    Run,
    Witness,
)
from toolspan.lifecycle.call import Merged, begin_call, current_call, tell_waiting
from toolspan.lifecycle.carrying import begin_carrying, learn
from toolspan.lifecycle.drivers import driver_for, managing
from toolspan.lifecycle.events import Watching, begin_body, begin_keyed
from toolspan.lifecycle.propagation import inject
from toolspan.lifecycle.run import begin_run
from toolspan.lifecycle.span_doors import Adopting, Muted
from toolspan.lifecycle.tracing import TRACING, undecided, wanted_context
from toolspan.neighbours import SEEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context

    from toolspan.hooks import Adapter, Target
    from toolspan.lifecycle.call import LiveCall
    from toolspan.toolcall import Outcome, ToolCall

    Wrapper = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]


def wrapper_for(adapter: Adapter, word: Any, target: Target) -> Wrapper:
    """The wrapper that acts for `word` around the function of `target`."""
    return _ACTIONS[type(word)](adapter, word, target)


def _hook(_adapter: Adapter, hook: Hook, target: Target) -> Wrapper:
    if hook.subclasses:
        hook = replace(hook)  # this layer's own: by it, `super()` is told from a second call
    begin = begin_keyed if hook.keyed else begin_call

    @contained_hot
    def opener(instance: Any, args: Any, kwargs: Any) -> Any:
        current = wanted_context()
        if current is None:
            return None
        call = hook.read(Invocation(instance, args, kwargs, target.parameters))
        return None if call is None else begin(call, hook, current)

    return driver_for(target.function)(opener)


def _run(_adapter: Adapter, word: Run, target: Target) -> Wrapper:
    def begin(invocation: Invocation, _current: Context) -> Any:
        facts = word.read(invocation)
        return None if facts is None else begin_run(facts, word)

    return (managing if word.manager else driver_for(target.function))(_opener(target, begin))


def _decision(_adapter: Adapter, decision: Decision, target: Target) -> Wrapper:
    # A hook has none, and every invocation is true.
    at: Any = getattr(decision.word, "deciding_at", bool)

    @contained
    def decide(instance: Any, args: Any, kwargs: Any, _seen: Any) -> None:
        life = undecided()
        if life is None or life.word != decision.word:
            return
        if not SEEN or at(Invocation(instance, args, kwargs, target.parameters)):
            life.decide()

    return _acting(getattr(decision.word, "deciding", "after"), target, decide)


def _refusal(adapter: Adapter, refusal: Refusal, target: Target) -> Wrapper:
    @contained
    def note(instance: Any, args: Any, kwargs: Any, seen: Any) -> None:
        if not TRACING.active:
            return
        found = refusal.read(Invocation(instance, args, kwargs, target.parameters), seen)
        for one in found if isinstance(found, list) else (found,):
            if one is not None:
                refuse(*one)

    def refuse(call: ToolCall, outcome: Outcome) -> None:
        around = _call_of(adapter.words)
        if around is not None and type(call.id) is str and around.call.id == call.id:
            around.tell(outcome)  # it began before that was decided
        elif (live := begin_call(call)) is not None:
            live.over(outcome)

    return _acting(refusal.when, target, note)


def _witness(adapter: Adapter, witness: Witness, target: Target) -> Wrapper:
    words = adapter.words if witness.of is None else (witness.of,)

    @contained
    def tell(instance: Any, args: Any, kwargs: Any, seen: Any) -> None:
        live = _call_of(words)
        if live is None:
            return
        told = witness.read(Invocation(instance, args, kwargs, target.parameters), seen)
        if told is not None:
            live.tell(told)

    return _acting(witness.when, target, tell)


def _pending(_adapter: Adapter, word: Pending, target: Target) -> Wrapper:
    @contained
    def note(instance: Any, args: Any, kwargs: Any, seen: Any) -> None:
        current = wanted_context() if SEEN else None
        if current is not None:
            call = word.read(Invocation(instance, args, kwargs, target.parameters), seen)
            if call is not None:
                tell_waiting(call, current)

    return _afterwards(target, note)


def _carrier(_adapter: Adapter, word: Carrier, target: Target) -> Wrapper:
    if word.when == "before":

        @contained
        def adding(instance: Any, args: Any, kwargs: Any, _seen: Any) -> None:
            learn(word.read(Invocation(instance, args, kwargs, target.parameters)))

        return _acting(word.when, target, adding)

    def begin(invocation: Invocation, current: Context) -> Any:
        calls = list(word.read(invocation))
        return begin_carrying(calls, current, word.unrun) if calls else None

    return driver_for(target.function)(_opener(target, begin))


def _events(_adapter: Adapter, word: Events, target: Target) -> Wrapper:
    @contained
    def opener(instance: Any, args: Any, kwargs: Any) -> Any:
        return Watching(word, Invocation(instance, args, kwargs, target.parameters))

    return driver_for(target.function)(opener)


def _body(_adapter: Adapter, word: Body, target: Target) -> Wrapper:
    def begin(invocation: Invocation, _current: Context) -> Any:
        key = word.key(invocation)
        return None if key is None else begin_body(key)

    return driver_for(target.function)(_opener(target, begin))


def _keep_context(_adapter: Adapter, _word: KeepContext, _target: Target) -> Wrapper:
    def made(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        executor = wrapped(*args, **kwargs)
        _submitting_with_context(executor)
        return executor

    return made


@contained
def _submitting_with_context(executor: Any) -> None:
    executor.submit = functools.partial(_submit, executor.submit)


def _submit(submit: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    return submit(copy_context().run, function, *args, **kwargs)


def _enrich(_adapter: Adapter, word: Enrich, target: Target) -> Wrapper:
    @contained
    def adopting(instance: Any, args: Any, kwargs: Any) -> Any:
        life, invocation = undecided(), Invocation(instance, args, kwargs, target.parameters)
        if life is None or isinstance(life, Merged) or not word.when(invocation):
            return None  # a layer of a call that has its span adopts none
        given = None if TRACING.settings.capture else invocation.get("attributes")
        if word.texts and given:
            silent = {key: value for key, value in given.items() if key not in word.texts}
            args, kwargs = invocation.replacing("attributes", silent)
        return life, args, kwargs

    def enriched(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        life, args, kwargs = adopting(instance, args, kwargs) or (None, args, kwargs)
        manager = wrapped(*args, **kwargs)
        return manager if life is None else Adopting(manager, life, word.texts)

    return enriched


def _mute(adapter: Adapter, word: Mute, target: Target) -> Wrapper:
    @contained
    def instead(instance: Any, args: Any, kwargs: Any) -> Any:
        live = _call_of(adapter.words)
        invocation = Invocation(instance, args, kwargs, target.parameters)
        traced = wanted_context() is not None if live is None else not live.undecided
        if not traced or not word.when(invocation):
            return None
        told = word.attributes(invocation) or {}
        if live is not None and not _is_of_another(told.get(semconv.TOOL_NAME), live.call.name):
            live.enrich(told)
            return Muted(live, word.texts)
        return Muted(None, word.texts) if word.beside else None

    def muted(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        inert = instead(instance, args, kwargs)
        if inert is None:
            return wrapped(*args, **kwargs)
        if not word.runs:
            return inert
        with inert.current():
            return wrapped(*args, **kwargs)

    return muted


def _is_of_another(named: object, tool: object) -> bool:
    return type(named) is type(tool) is str and named != tool  # else comparing is the host's code


def _propagate(adapter: Adapter, word: Propagate, target: Target) -> Wrapper:
    @contained
    def rewritten(instance: Any, args: Any, kwargs: Any) -> Any:
        live = _call_of(adapter.words)
        if live is None:
            return None
        live.decide()
        carrier: dict[str, str] = {}
        inject(carrier)
        return word.inject(Invocation(instance, args, kwargs, target.parameters), carrier)

    def send(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = rewritten(instance, args, kwargs) or (args, kwargs)
        return wrapped(*args, **kwargs)

    return send


_ACTIONS: Final[dict[type, Callable[[Adapter, Any, Target], Wrapper]]] = {
    Hook: _hook,
    Run: _run,
    Decision: _decision,
    Refusal: _refusal,
    Witness: _witness,
    Pending: _pending,
    Carrier: _carrier,
    Events: _events,
    Body: _body,
    KeepContext: _keep_context,
    Enrich: _enrich,
    Mute: _mute,
    Propagate: _propagate,
}


def _call_of(words: Iterable[Any]) -> LiveCall | None:
    """The current call, where one of these words opened it or was merged into it."""
    live = current_call()
    if live is None or live.done or not TRACING.active:
        return None
    mine = any(word in words for word in (live.word, *live.merged))
    return live if mine else None


def _opener(target: Target, begin: Callable[[Invocation, Context], Any]) -> Callable[..., Any]:
    """What `begin` makes of an invocation, where anybody wants to know of it."""

    @contained
    def opener(instance: Any, args: Any, kwargs: Any) -> Any:
        current = wanted_context()
        if current is None:
            return None
        return begin(Invocation(instance, args, kwargs, target.parameters), current)

    return opener


def _acting(when: str, target: Target, act: Callable[..., object]) -> Wrapper:
    """Act where the word says: at the call, on the value, on the exception."""
    if when == "after":
        return _afterwards(target, act)
    if when == "raised":
        return _when_raised(target, act)

    def before(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        act(instance, args, kwargs, None)
        return wrapped(*args, **kwargs)

    return before


def _afterwards(target: Target, act: Callable[..., object]) -> Wrapper:
    """Act on the value that the function returned, awaited where it is a coroutine's."""
    if not inspect.iscoroutinefunction(target.function):

        def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            value = wrapped(*args, **kwargs)
            act(instance, args, kwargs, value)
            return value

        return call

    async def awaited(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        value = await wrapped(*args, **kwargs)
        act(instance, args, kwargs, value)
        return value

    return awaited


def _when_raised(target: Target, act: Callable[..., object]) -> Wrapper:
    if not inspect.iscoroutinefunction(target.function):

        def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            try:
                return wrapped(*args, **kwargs)
            except BaseException as error:
                act(instance, args, kwargs, error)
                raise

        return call

    async def awaited(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        try:
            return await wrapped(*args, **kwargs)
        except BaseException as error:
            act(instance, args, kwargs, error)
            raise

    return awaited
