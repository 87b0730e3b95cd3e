"""A layer of ours around a function: what it is, and how it is known again.

The only module that knows wrapt. A layer is recognised by its class and by the word it serves,
never by looks: frameworks and other vendors use wrapt themselves.
"""

from __future__ import annotations

import copy
import functools
import inspect
import operator
from typing import TYPE_CHECKING, Any, Final

import wrapt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Wrapper = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]
    _Bound = wrapt.BoundFunctionWrapper[..., Any]

    class _Function(wrapt.FunctionWrapper[..., Any]):
        _self_word: tuple[Any, Any]
        _self_again: Any
        _self_unbound: Any
        _self_twin: Any
else:  # wrapt 1 has no types
    _Bound, _Function = wrapt.BoundFunctionWrapper, wrapt.FunctionWrapper

when_imported: Final = wrapt.register_post_import_hook

#: The modules (beginnings) of whoever traces tools too, by wrapt as we do.
_NEIGHBOURS: Final = (
    "openinference.instrumentation.",
    "openlit.instrumentation.",
    "opentelemetry.instrumentation.",
)
_WRAPPERS: Final = 32  # around one another; a chain that is longer runs in a circle


class _BoundLayer(_Bound):
    """A layer bound to an instance or class."""

    __slots__ = ()  # so that its attributes are those of the function below it

    def __copy__(self) -> Any:
        _ask_below(self, copy.copy)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        _ask_below(self, copy.deepcopy, memo)
        if not inspect.ismethod(self):
            return self
        owner = copy.deepcopy(self.__self__, memo)
        return getattr(owner, self.__name__)

    def __reduce_ex__(self, protocol: Any) -> Any:
        _ask_below(self, operator.methodcaller("__reduce_ex__", protocol))
        if inspect.ismethod(self):
            return getattr, (self.__self__, self.__name__)
        return _resolver(), (f"{self.__module__}:{self.__qualname__}",)


def _ask_below(layer: Any, way: Callable[..., Any], *more: Any) -> None:
    """Let somebody else's wrapper below refuse to be copied, as it does without us."""
    if isinstance(layer.__wrapped__, (wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper)):
        way(layer.__wrapped__, *more)


class Layer(_Function):
    """The one kind of wrapper that toolspan puts around a function.

    Copy, deepcopy and pickle do with it what they do with what is below it; `_self_again` puts
    a layer around the copy of what has no place of its own.
    """

    # No annotation may stand here: the class's would hide those of the function below.
    __bound_function_wrapper__ = _BoundLayer
    __slots__ = ("_self_again", "_self_word")

    def __copy__(self) -> Any:
        return self._around(copy.copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._around(copy.deepcopy(self.__wrapped__, memo))

    def _around(self, twin: Any) -> Any:
        if twin is self.__wrapped__:
            return self
        return twin if self._self_again is None else self._self_again(twin)

    def __reduce_ex__(self, protocol: Any) -> Any:
        name = f"{self.__module__}:{getattr(self, '__qualname__', '')}"
        if _resolved(name) is self:
            return self.__qualname__
        if self._self_again is not None:
            return self._self_again, (self.__wrapped__,)
        if inspect.ismethod(self):  # of the one object that it was placed on
            return getattr, (self.__self__, self.__name__)
        return _resolver(), (name,)  # it is where another module bound the function


class Direct(Layer):
    """A layer around a plain function: what a call of it does as nobody's method, it is told.

    In wrapt's own way each such call looks for the object that the function may be bound to.
    """

    __slots__ = ("_self_direct",)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "__wrapped__":  # what is called is another now, in wrapt's own way
            _DIRECT.__set__(self, functools.partial(Layer.__call__, self))


class _Call(property):
    """What a call of a layer does is the layer's own: so it is found without a frame of ours."""

    def __call__(self, layer: Any, /, *args: Any, **kwargs: Any) -> Any:
        """As the type's own method, which some ask for."""
        return layer(*args, **kwargs)


def _set_below(layer: Any, value: Any) -> None:
    layer.__wrapped__.__call__ = value  # as without us: of no effect on calls


def _delete_below(layer: Any) -> None:
    del layer.__wrapped__.__call__


_DIRECT: Final = Direct.__dict__["_self_direct"]
type.__setattr__(Direct, "__call__", _Call(_DIRECT.__get__, _set_below, _delete_below))


class Undocumented(Layer):
    """A layer around a method without a docstring, for which `inspect.getdoc` asks the classes.

    It does so where a class, asked for the method, gives the very object that it was given; wrapt
    makes another each time.
    """

    __slots__ = ("_self_unbound",)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self._self_unbound if instance is None else super().__get__(instance, owner)


class _Twin(_Function):
    """A neighbour's wrapper once more, around our layer; the neighbour's own is not changed."""

    __slots__ = ("_self_twin",)


#: Compared by identity: a host's object is not asked for its class.
LAYERS: Final = (Layer, Undocumented, Direct)


def _resolver() -> Callable[[str], Any]:
    """Not ours: whoever reads the pickle need not have us."""
    from pkgutil import resolve_name  # noqa: PLC0415  # few programs copy or pickle a function

    return resolve_name


def _resolved(name: str) -> Any:
    try:
        return _resolver()(name)
    except (AttributeError, ImportError, ValueError):
        return None


def layered(
    function: Any,
    wrapper: Wrapper,
    serves: tuple[Any, Any],
    again: Any = None,
    *,
    kind: type[Layer] = Layer,
    switch: Any = None,
    direct: Callable[..., Any] | None = None,
) -> Layer:
    """A layer of ours around `function`; `again` makes one around a copy of it.

    One that sits at a place has a list as its `switch`, and is off while that is empty. `direct`
    is what a call of a `Direct` one does.
    """
    layer = kind(function, wrapper, switch)
    if kind is Direct:
        _DIRECT.__set__(layer, direct)
    layer._self_word = serves
    layer._self_again = again
    return layer


def layers_of(function: Any) -> Iterator[Layer]:
    """The layers of ours around a function, the outermost first, also below other wrappers."""
    for _ in range(_WRAPPERS):
        layer = function._self_parent if type(function) is _BoundLayer else function
        if type(layer) in LAYERS:
            yield layer
        function = getattr(function, "__wrapped__", None)
        if function is None:
            return


def words_of(function: Any) -> Iterator[Any]:
    """The words that the layers of a function serve, those that are off left out."""
    found = layers_of(function)
    return (one._self_word[0] for one in found if one._self_enabled is None or one._self_enabled)


def is_seated(function: Any) -> bool:
    """Whether the outermost around a function was put at a place by us."""
    kind = type(function)
    layer = kind is _BoundLayer or kind in LAYERS
    return kind is _Twin or (layer and function._self_enabled is not None)


def bare(function: Any) -> Any:
    """What a function is without what was put at a place by us."""
    while is_seated(function):
        function = function._self_twin if type(function) is _Twin else function.__wrapped__
    return function


def options_of(function: Any) -> Mapping[str, Any]:
    """What `@tool` was told of a function that it decorated."""
    found = (layer._self_again.keywords for layer in layers_of(function) if layer._self_again)
    return next(found, {})


def name_of(function: Any) -> str:
    """What a function is called, below any `partial`; an object by its class."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None)
    return name if type(name) is str else type(function).__name__


def description_of(function: Any) -> str | None:
    """What a function says of itself, below any `partial`."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.getdoc(function) if getattr(function, "__doc__", None) else None


def others_around(function: Any) -> list[Any]:
    """The wrappers of known neighbours that a function has, the outermost first."""
    found: list[Any] = []
    while type(function) in {wrapt.FunctionWrapper, _Twin} and len(found) < _WRAPPERS:
        maker = getattr(function._self_wrapper, "__func__", function._self_wrapper)
        where = getattr(maker, "__module__", None) or type(maker).__module__
        if not where.startswith(_NEIGHBOURS):
            break
        found.append(function)
        function = function.__wrapped__
    return found


def below(others: list[Any], layer: Any) -> Any:
    """A layer inside of wrappers like theirs; those themselves are not changed."""
    for one in reversed(others):
        layer = _Twin(layer, one._self_wrapper, one._self_enabled)
        layer._self_twin = one
    return layer
