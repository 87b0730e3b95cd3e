"""Run a host's function inside a life: written once for sync, async, generator, async generator.

Host code runs outside all containment; only opening, pausing and ending a life are contained.
The host's own generator or coroutine is made at the call, as it is without us, and stepped by
ours; each step attaches and detaches, and no context stays attached across a yield.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import weakref
from types import CoroutineType, FunctionType
from typing import TYPE_CHECKING, Any

from toolspan.containment import contained
from toolspan.lifecycle.words import is_cancellation
from toolspan.toolcall import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from typing import TypeAlias

    from toolspan.lifecycle.call import LiveCall, Merged
    from toolspan.lifecycle.run import LiveRun

    AnyLife: TypeAlias = LiveCall | Merged | LiveRun
    Opener: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], AnyLife | None]
    Wrapper: TypeAlias = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]


class _Nobody:
    """Stands for the life of a call that is not traced."""

    done = True
    undecided = False

    def ended(self, value: Any) -> None:
        pass

    def raised(self, error: BaseException, *, collected: bool = False) -> None:
        pass

    def over(self, outcome: Outcome, *, collected: bool = False) -> None:
        pass

    def mark(self, _item: Any = None) -> None:
        pass

    pause = resume = mark


_NOBODY = _Nobody()


class _Holder:
    """Ties a life to the host's coroutine or generator, and ends it if both are just dropped."""

    __slots__ = ("begun", "inner", "life", "stepper")

    def __init__(self, begun: Any = _NOBODY) -> None:
        #: The life of the function that made the coroutine, until its first step takes it over.
        self.begun = begun
        self.life: Any = None
        self.stepper: Callable[[], object] = lambda: None
        self.inner: Any = None

    def open(self, opener: Opener, instance: Any, args: Any, kwargs: Any) -> Any:
        self.life = opener(instance, args, kwargs) or _NOBODY
        return self.life

    def watch(self, stepper: Any) -> Any:
        # A reference with a callback is cleared before a finalizer runs: when it is dead while
        # the stepper is closed, the garbage collector closes it and may hold any lock.
        self.stepper = weakref.ref(stepper, _forget)
        stepper.__name__ = getattr(self.inner, "__name__", stepper.__name__)
        stepper.__qualname__ = getattr(self.inner, "__qualname__", stepper.__qualname__)
        return stepper

    def collected(self) -> bool:
        return self.stepper() is None

    def __del__(self) -> None:
        if self.life is not None and self.life.done:
            return
        awaitable = type(self.inner) is CoroutineType
        if awaitable and self.life is None:
            self.inner.close()  # never awaited: the one warning about it is our stepper's
        outcome = Outcome(error="cancelled") if awaitable else _broken_off()
        (self.life or self.begun).over(outcome, collected=True)


def _forget(_reference: object) -> None:
    pass


def _broken_off() -> Outcome:
    return Outcome(complete=False)


def driver_for(function: Any) -> Callable[[Opener], Wrapper]:
    """The driver that fits the kind of `function`, which is read once."""
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not inspect.isroutine(inner) and not inspect.isclass(inner):
        inner = getattr(type(inner), "__call__", inner)  # noqa: B004  # its kind is asked, not whether
    if inspect.isasyncgenfunction(inner):
        return _stepping(_async_stepped)
    if inspect.iscoroutinefunction(inner):
        return _stepping(_awaited)
    if inspect.isgeneratorfunction(inner):
        return _stepping(_stepped)
    return _function


def _function(opener: Opener) -> Wrapper:
    def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        life = opener(instance, args, kwargs)
        if life is None:
            return wrapped(*args, **kwargs)
        try:
            value = wrapped(*args, **kwargs)
        except BaseException as error:
            life.raised(error)
            raise
        if type(value) is CoroutineType:
            life.pause()
            return _resumed(life, value)
        life.ended(value)
        return value

    return call


def direct_driver(
    opener: Callable[[Any, Any], AnyLife | None], function: Any
) -> Callable[..., Any] | None:
    """The same around one plain `function` that is nobody's method; None around all others.

    Written out again: what both would call were one more frame in a host's traceback.
    """
    if type(function) is not FunctionType or driver_for(function) is not _function:
        return None

    def call(*args: Any, **kwargs: Any) -> Any:
        life = opener(args, kwargs)
        if life is None:
            return function(*args, **kwargs)
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            life.raised(error)
            raise
        if type(value) is CoroutineType:
            life.pause()
            return _resumed(life, value)
        life.ended(value)
        return value

    return call


def managing(opener: Opener) -> Wrapper:
    """The driver of a function that gives an async context manager: the life is its block."""

    def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _managed(wrapped(*args, **kwargs), opener, instance, args, kwargs)

    return call


@contextlib.asynccontextmanager
async def _managed(
    manager: Any, opener: Opener, instance: Any, args: Any, kwargs: Any
) -> AsyncGenerator[Any, None]:
    life = opener(instance, args, kwargs) or _NOBODY
    life.mark()
    try:
        async with manager as value:
            _decided(life)
            yield value
    except BaseException as error:
        life.raised(error)
        raise
    life.ended(None)


@contained
def _decided(life: Any) -> None:
    if life.undecided:
        life.decide()


def _stepping(stepper: Callable[..., Any]) -> Callable[[Opener], Wrapper]:
    """The driver of a function that gives something to be stepped by `stepper`."""

    def driver(opener: Opener) -> Wrapper:
        def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            holder = _Holder()  # made first: then a collected cycle finalizes it first
            try:
                holder.inner = wrapped(*args, **kwargs)
            except BaseException as error:
                (opener(instance, args, kwargs) or _NOBODY).raised(error)
                raise
            return holder.watch(stepper(holder, opener, instance, args, kwargs))

        return call

    return driver


def _resumed(life: AnyLife, inner: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """Await the coroutine that a plain function returned, in the life of that function."""

    def reopen(_instance: Any, _args: Any, _kwargs: Any) -> AnyLife:
        life.resume()
        return life

    holder = _Holder(life)
    holder.inner = inner
    return holder.watch(_awaited(holder, reopen, None, (), {}))  # type: ignore[no-any-return]  # the same object


async def _awaited(holder: _Holder, opener: Opener, instance: Any, args: Any, kwargs: Any) -> Any:
    life = holder.open(opener, instance, args, kwargs)
    life.mark()
    try:
        value = await holder.inner
    except BaseException as error:
        life.raised(error)
        raise
    life.ended(value)
    return value


def _stepped(
    holder: _Holder, opener: Opener, instance: Any, args: Any, kwargs: Any
) -> Generator[Any, Any, Any]:
    inner, life = holder.inner, holder.open(opener, instance, args, kwargs)
    step, value = inner.send, None
    while True:
        try:
            item = step(value)
        except StopIteration as stop:
            life.ended(stop.value)
            return stop.value
        except BaseException as error:
            life.raised(error)
            raise
        life.pause(item)
        try:
            value = yield item
            step = inner.send
        except GeneratorExit:
            life.resume()
            _close(holder)
            life.over(_broken_off(), collected=holder.collected())
            raise
        except BaseException as error:  # noqa: BLE001  # thrown in by the consumer, for the body
            step, value = inner.throw, error
        life.resume()


def _close(holder: _Holder) -> None:
    try:
        holder.inner.close()
    except BaseException as error:
        holder.life.raised(error, collected=holder.collected())
        raise


async def _async_stepped(
    holder: _Holder, opener: Opener, instance: Any, args: Any, kwargs: Any
) -> AsyncGenerator[Any, Any]:
    inner, life = holder.inner, holder.open(opener, instance, args, kwargs)
    life.mark()
    step, value = functools.partial(_first_step, inner), None
    while True:
        try:
            item = await step(value)
        except StopAsyncIteration:
            life.ended(None)
            return
        except GeneratorExit:
            life.over(_broken_off(), collected=True)
            raise
        except BaseException as error:
            if error is value and is_cancellation(type(error)):
                life.over(_broken_off())  # its consumer left, and the loop ended before its close
            else:
                life.raised(error)
            raise
        life.pause(item)
        try:
            value = yield item
            step = inner.asend
        except GeneratorExit:
            life.resume()
            await _aclose(holder)
            life.over(_broken_off(), collected=holder.collected())
            raise
        except BaseException as error:  # noqa: BLE001  # thrown in by the consumer, for the body
            step, value = inner.athrow, error
        life.resume()
        life.mark()


def _first_step(inner: Any, value: None) -> Any:
    """Begin the host's generator; an event loop is to close ours alone, which closes it."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, _forget)
    try:
        return inner.asend(value)
    finally:
        sys.set_asyncgen_hooks(*hooks)


async def _aclose(holder: _Holder) -> None:
    try:
        await holder.inner.aclose()
    except BaseException as error:
        holder.life.raised(error, collected=holder.collected())
        raise
