"""Where layers sit: at one place, or in a class and in all below it; taken out exactly there."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from toolspan.containment import contained
from toolspan.hooks.layer import (
    LAYERS,
    Layer,
    Undocumented,
    below,
    layered,
    layers_of,
    others_around,
)
from toolspan.hooks.words import Hook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toolspan.hooks.layer import Wrapper


class Target(NamedTuple):
    """A function to wrap, and the positions of its parameters as a wrapper gets them."""

    function: Any
    parameters: Mapping[str, int]


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
            seated(self.path, member, self._name, self._serves, self._make)

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
            if type(layer) in LAYERS and layer._self_word[0] is self.word:
                setattr(member, self._name, layer.__wrapped__)


def _members(root: Any) -> list[Any]:
    """A class and all below it, each once."""
    found, known = [root], {id(root)}
    for one in found:
        below = [member for member in type.__subclasses__(one) if id(member) not in known]
        known.update(map(id, below))
        found += below
    return found


def seated(
    label: str, owner: Any, name: str, serves: tuple[Any, Any], make: Callable[[Target], Wrapper]
) -> Seat:
    """Put a layer where it is to sit, unless the one that serves the word is there already."""
    original = _standing(owner, name)
    inherited = name not in vars(owner)
    top: Any
    top = layer = next((o for o in layers_of(original) if o._self_word[0] is serves[0]), None)
    if layer is None:  # else it stayed below a patch, or this module bound it with its layer
        others = others_around(original) if _goes_below(serves[0]) else []
        layer = _laid(owner, others[-1].__wrapped__ if others else original, serves, make)
        top = below(others, layer)
        setattr(owner, name, top)
    return Seat(label, owner, name, layer, inherited, top, original)


def _goes_below(word: Any) -> bool:
    """Whether a neighbour that patched the function before us stays outside of our layer.

    Then its span is current where ours would begin, and open where the call ends.
    """
    once = isinstance(word, Hook) and not word.subclasses
    return once and (word.deciding == "beside" or not word.decide)


def _laid(
    owner: Any, function: Any, serves: tuple[Any, Any], make: Callable[[Target], Wrapper]
) -> Layer:
    # Not a wrapper of somebody else, of which a class gives another each time, too.
    method = inspect.isclass(owner) and type(function) in {FunctionType, Undocumented}
    kind = Undocumented if method and function.__doc__ is None else Layer
    layer = layered(function, make(_target(owner, function)), serves, kind=kind)
    if kind is Undocumented:
        layer._self_unbound = Layer.__get__(layer, None, owner)
    return layer


def _standing(owner: Any, name: str) -> Any:
    """What stands at a place: of a class or module as it is, of any other object its method."""
    if inspect.isclass(owner) or inspect.ismodule(owner):
        return inspect.getattr_static(owner, name)
    return getattr(owner, name)


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
