"""Put a layer of ours around a function, and take exactly that layer out again.

The only module that knows wrapt. A layer is recognised by its class and by the word it serves,
never by looks: frameworks and other vendors use wrapt themselves.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
import inspect
import operator
import pkgutil
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import wrapt

from toolspan.containment import contained
from toolspan.hooks.words import Hook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

    from toolspan.hooks.words import Adapter, Path, WordOfAdapter

    Wrapper = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]
    _Bound = wrapt.BoundFunctionWrapper[..., Any]

    class _Function(wrapt.FunctionWrapper[..., Any]):
        _self_word: tuple[Any, Any]
        _self_again: Any
else:  # wrapt 1 has no types
    _Bound, _Function = wrapt.BoundFunctionWrapper, wrapt.FunctionWrapper


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
        return pkgutil.resolve_name, (f"{self.__module__}:{self.__qualname__}",)


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
        return self if twin is self.__wrapped__ else self._self_again(twin)

    def __reduce_ex__(self, protocol: Any) -> Any:
        name = f"{self.__module__}:{getattr(self, '__qualname__', '')}"
        if _resolved(name) is self:
            return self.__qualname__
        if self._self_again is None:  # it is where another module bound the function
            return pkgutil.resolve_name, (name,)
        return self._self_again, (self.__wrapped__,)


def _resolved(name: str) -> Any:
    try:
        return pkgutil.resolve_name(name)
    except (AttributeError, ImportError, ValueError):
        return None


class Seat(NamedTuple):
    """Where one layer sits, and what was there before it."""

    path: str
    owner: Any
    name: str
    layer: Layer
    inherited: bool
    #: What stands there with our layer in it, and what stood there before.
    top: Any
    before: Any

    @property
    def word(self) -> Any:
        """What the layer serves."""
        return self.layer._self_word[0]

    def remove(self) -> None:
        """Take the layer out, unless somebody stands on it."""
        standing = vars(self.owner).get(self.name)
        if standing is not self.top and standing is not self.layer:
            return
        if self.inherited:
            delattr(self.owner, self.name)
            return
        gone = standing is self.layer  # a neighbour that was around it
        setattr(self.owner, self.name, self.layer.__wrapped__ if gone else self.before)


class Family:
    """The layers of one word in a class and in every class below it, present and later.

    Each class that has a function of its own gets one. Only Python knows the classes: none is
    kept alive by us.
    """

    def __init__(
        self,
        path: str,
        root: Any,
        name: str,
        serves: tuple[Any, Any],
        make: Callable[[Target], Wrapper],
    ) -> None:
        self.path = path
        self.word = serves[0]
        self._serves = serves
        self._root = root
        self._name = name
        self._make = make
        self._wanted = True
        self._before = vars(root).get("__init_subclass__")
        self._herald = self._heralded()
        for member in _members(root):
            self._join(member)
        root.__init_subclass__ = self._herald

    def _heralded(self) -> Any:
        """An `__init_subclass__` for the root that tells of each class to come."""
        family, root, before = self, self._root, self._before

        def announced(cls: Any, /, *args: Any, **kwargs: Any) -> None:
            if before is None:  # whatever comes after the root, for this very class
                super(root, cls).__init_subclass__(*args, **kwargs)
            else:
                before.__get__(None, cls)(*args, **kwargs)
            family._arrived(cls)

        return classmethod(announced)

    @contained
    def _arrived(self, member: type) -> None:
        if self._wanted:
            self._join(member)

    def _join(self, member: type) -> None:
        own = vars(member).get(self._name)
        if inspect.isroutine(own) and not getattr(own, "__isabstractmethod__", False):
            _seated(self.path, member, self._name, self._serves, self._make)

    def remove(self) -> None:
        """Take out every layer that nobody stands on; what stays is quiet."""
        self._wanted = False
        if vars(self._root).get("__init_subclass__") is self._herald:
            if self._before is None:
                del self._root.__init_subclass__
            else:
                self._root.__init_subclass__ = self._before
        for member in _members(self._root):
            layer = vars(member).get(self._name)
            if type(layer) is Layer and layer._self_word[0] is self.word:
                setattr(member, self._name, layer.__wrapped__)


def _members(root: Any) -> list[Any]:
    """A class and all below it, each once."""
    found, known = [root], {id(root)}
    for one in found:
        below = [member for member in type.__subclasses__(one) if id(member) not in known]
        known.update(map(id, below))
        found += below
    return found


#: The placements of this process, by the adapter's name.
PLACEMENTS: Final[dict[str, Placement]] = {}


class Placement:
    """All layers of one adapter: placed as its modules are imported, taken out together."""

    def __init__(
        self,
        adapter: Adapter,
        actor: Callable[[Adapter, WordOfAdapter | Decision, Target], Wrapper],
    ) -> None:
        self.adapter = adapter
        self.wanted = False
        self.seats: list[Seat | Family] = []
        self.missing: list[str] = []
        self._actor = actor
        self._spots: dict[str, list[tuple[str, WordOfAdapter, Path]]] = {}
        for word in adapter.words:
            for path in _paths(word):
                for alternative in _alternatives(path):
                    module, _, qualname = alternative.partition(":")
                    self._spots.setdefault(module, []).append((qualname, word, path))

    def place(self) -> None:
        """Place what is imported already, and the rest when it is imported."""
        self.wanted = True
        for module in self._spots:
            if module in sys.modules:
                self._arrived(module, sys.modules[module])
            _await_import(module, self)

    def arrived(self, name: str, module: ModuleType) -> None:
        """Place the layers that belong into a module which was imported just now as `name`."""
        if self.wanted:
            self._arrived(name, module)

    def remove(self) -> None:
        """Take out our layers; one that somebody stands on stays there and is quiet."""
        self.wanted = False
        for seat in reversed(self.seats):
            seat.remove()
        self.seats.clear()
        self.missing.clear()

    @property
    def modules(self) -> tuple[str, ...]:
        """Where its layers belong, as far as they are there."""
        return tuple(self._spots)

    def absent(self) -> list[str]:
        """What was looked for in vain: functions, and the modules of those that make spans."""
        wanted = (_alternatives(one.path) for one in self.adapter.words if isinstance(one, Hook))
        gone = [paths[-1] for paths in wanted if all(map(_is_gone, paths))]
        return list(dict.fromkeys((*self.missing, *gone)))

    def _arrived(self, name: str, module: ModuleType) -> None:
        for qualname, word, path in self._spots[name]:  # a module may say of itself what it likes
            self._seat(f"{name}:{qualname}", module, word, path)

    @contained
    def _seat(self, label: str, module: ModuleType, word: WordOfAdapter, path: Path) -> None:
        wanted = path if isinstance(path, tuple) else (label,)
        if any(seat.path in wanted and seat.word is word for seat in self.seats):
            return
        if any(map(_is_there, wanted[: wanted.index(label)])):
            return  # of alternatives the first that exists is taken, whichever module came first
        owner, name = _owner(module, label.partition(":")[2])
        if owner is None:
            self._note_missing(path, label)
            return
        self.missing = [gap for gap in self.missing if gap not in wanted]
        sit = Family if getattr(word, "subclasses", False) else _seated
        self.seats.append(sit(label, owner, name, (word, path), self._make(word, path)))

    def _make(self, word: WordOfAdapter, path: Path) -> Callable[[Target], Wrapper]:
        decides = path in getattr(word, "decide", ())
        return lambda target: self._actor(self.adapter, Decision(word) if decides else word, target)

    def _note_missing(self, path: Path, label: str) -> None:
        if label == _alternatives(path)[-1] and label not in self.missing:
            self.missing.append(label)


class Target(NamedTuple):
    """A function to wrap, and the positions of its parameters as a wrapper gets them."""

    function: Any
    parameters: Mapping[str, int]


class Decision(NamedTuple):
    """Stands for the inner function of a word, where its call adopts a span or opens one."""

    word: WordOfAdapter


def _paths(word: WordOfAdapter) -> list[Path]:
    """Where a word wants layers: its own place, its other names, and where it is decided."""
    first = word.path if isinstance(word.path, str) else word.path[0]
    qualname = first.partition(":")[2]
    others = [f"{module}:{qualname}" for module in getattr(word, "also", ())]
    return [word.path, *others, *getattr(word, "decide", ())]


def _alternatives(path: Path) -> tuple[str, ...]:
    return (path,) if isinstance(path, str) else path


@contained
def _is_gone(path: str) -> bool:
    """Whether the module of a path is not in its package, which is here; nothing is imported."""
    parts = path.partition(":")[0].split(".")
    for depth in range(1, len(parts)):
        package, inner = ".".join(parts[:depth]), ".".join(parts[: depth + 1])
        if package not in sys.modules:
            return False
        if inner not in sys.modules:
            return importlib.util.find_spec(inner) is None
    return False


def _owner(module: ModuleType, qualname: str) -> tuple[Any, str]:
    """The object that holds the last name of `qualname`, or None where it does not exist."""
    *parents, name = qualname.split(".")
    owner: Any = module
    for parent in parents:
        owner = getattr(owner, parent, None)
    if owner is None or inspect.getattr_static(owner, name, None) is None:
        return None, name
    return owner, name


def _is_there(path: str) -> bool:
    """Whether a path leads to something, as far as is imported by now."""
    module, _, qualname = path.partition(":")
    return module in sys.modules and _owner(sys.modules[module], qualname)[0] is not None


def _seated(
    label: str, owner: Any, name: str, serves: tuple[Any, Any], make: Callable[[Target], Wrapper]
) -> Seat:
    original = inspect.getattr_static(owner, name)
    inherited = name not in vars(owner)
    layer = next((one for one in _layers_of(original) if one._self_word[0] is serves[0]), None)
    top: Any = layer
    if layer is None:  # else it stayed below a patch, or this module bound it with its layer
        others = _others_around(original) if _goes_below(serves[0]) else []
        inner = others[-1].__wrapped__ if others else original
        top = layer = layered(inner, make(_target(owner, inner)), serves)
        for one in reversed(others):
            top = wrapt.FunctionWrapper(top, one._self_wrapper, one._self_enabled)
        setattr(owner, name, top)
    return Seat(label, owner, name, layer, inherited, top, original)


def _goes_below(word: Any) -> bool:
    """Whether a neighbour's span shall be there before ours: the word is a call's, from its start.

    Below them ours sees the end, too, while their span is open.
    """
    once = isinstance(word, Hook) and not word.subclasses
    return once and (word.deciding == "beside" or not word.decide)


def _others_around(function: Any) -> list[Any]:
    """The wrappers of known neighbours, the outermost first. None is changed: others like them."""
    found: list[Any] = []
    while type(function) is wrapt.FunctionWrapper and len(found) < _WRAPPERS:
        maker = getattr(function._self_wrapper, "__func__", function._self_wrapper)
        where = getattr(maker, "__module__", None) or type(maker).__module__
        if not where.startswith(_NEIGHBOURS):
            break
        found.append(function)
        function = function.__wrapped__
    return found


def layered(function: Any, wrapper: Wrapper, serves: tuple[Any, Any], again: Any = None) -> Layer:
    """A layer of ours around `function`; `again` makes one around a copy of it."""
    layer = Layer(function, wrapper)
    layer._self_word = serves
    layer._self_again = again
    return layer


def _layers_of(function: Any) -> Iterator[Layer]:
    """The layers of ours around a function, the outermost first, also below other wrappers."""
    for _ in range(_WRAPPERS):
        layer = function._self_parent if type(function) is _BoundLayer else function
        if type(layer) is Layer:
            yield layer
        function = getattr(function, "__wrapped__", None)
        if function is None:
            return


def words_of(function: Any) -> Iterator[Any]:
    """The words that the layers of a function serve."""
    return (layer._self_word[0] for layer in _layers_of(function))


def options_of(function: Any) -> Mapping[str, Any]:
    """What `@tool` was told of a function that it decorated."""
    found = (layer._self_again.keywords for layer in _layers_of(function) if layer._self_again)
    return next(found, {})


def _target(owner: Any, found: Any) -> Target:
    function = found.__func__ if isinstance(found, (classmethod, staticmethod)) else found
    bound = inspect.isclass(owner) and not isinstance(found, staticmethod)
    return Target(function, parameters_of(function, bound=bound))


def parameters_of(function: Any, *, bound: bool) -> Mapping[str, int]:
    """The positions of a function's parameters by name; read once, when a layer is made."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}
    return {name: index for index, name in enumerate(names[1:] if bound else names)}


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


_AWAITED: Final[dict[str, list[Placement]]] = {}


def _await_import(module: str, placement: Placement) -> None:
    """Tell `placement` when `module` is imported; wrapt cannot forget, so each module asks once."""
    waiting = _AWAITED.get(module)
    if waiting is None:
        waiting = _AWAITED[module] = []
        if module not in sys.modules:
            wrapt.register_post_import_hook(functools.partial(_imported, module), module)
    if placement not in waiting:
        waiting.append(placement)


def _imported(name: str, module: ModuleType) -> None:
    for placement in _AWAITED.get(name, ()):
        placement.arrived(name, module)
