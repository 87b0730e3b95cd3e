"""Where layers sit: at one place, or in a class and in all below it; taken out exactly there.

Words that share a place act in one order, whoever came first: nearest to the function those of the
adapter whose name is first, and of one adapter its first word.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakValueDictionary

from toolspan.containment import contained
from toolspan.hooks.layer import (
    Layer,
    Undocumented,
    bare,
    below,
    is_seated,
    layered,
    others_around,
    words_of,
)
from toolspan.hooks.words import Hook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toolspan.hooks.layer import Wrapper

    Rank = tuple[str, int]


def lock_over_forks() -> Any:
    """A lock that no other thread holds in a forked child: a fork waits until it is free."""
    lock = threading.RLock()
    if (register := getattr(os, "register_at_fork", None)) is not None:
        register(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock


#: Imports and classes come in any thread.
_LOCK: Final = lock_over_forks()


class Target(NamedTuple):
    """A function to wrap, and the positions of its parameters as a wrapper gets them."""

    function: Any
    parameters: Mapping[str, int]


class Wish(NamedTuple):
    """A word that wants a layer, and its rank among those that share a place."""

    rank: Rank
    word: Any
    make: Callable[[Target], Wrapper]


class Place:
    """One attribute of a class, a module or an object, and the layers of ours that sit there."""

    def __init__(self, owner: Any, name: str) -> None:
        self.owner = owner
        self._name = name
        self._wishes: dict[Rank, Wish] = {}
        #: By it a layer is switched off where it cannot be taken out.
        self._switches: dict[Rank, list[bool]] = {}
        #: What is seen there while the owner has nothing of its own.
        self._inherited: Any = None

    def take(self, wish: Wish) -> None:
        """Have a layer for the wish, that acts in its turn; nothing changes if it does already."""
        with _LOCK:
            self._wishes.setdefault(wish.rank, wish)
            if self._not_acting_on(_standing(self.owner, self._name)):
                self._lay()

    def leave(self, rank: Rank) -> None:
        """Take the layer out; one that somebody stands on stays there and is off."""
        with _LOCK:
            if self._wishes.pop(rank, None) is not None:
                self._switches.setdefault(rank, []).clear()
                if is_seated(self._stored()):
                    self._lay()

    def _stored(self) -> Any:
        return vars(self.owner).get(self._name)

    def _not_acting_on(self, function: Any) -> list[Wish]:
        acting = list(words_of(function))
        wishes = [self._wishes[rank] for rank in sorted(self._wishes)]
        return [wish for wish in wishes if not any(wish.word is word for word in acting)]

    def _lay(self) -> None:
        """Take out what is there of ours, and put what is wanted around what is left."""
        self._take_out()
        function = self._stored()
        if function is None:
            function = self._inherited = _standing(self.owner, self._name)
        wishes = self._not_acting_on(function)
        others = others_around(function)
        deep = [wish for wish in wishes if others and _goes_below(wish.word)]
        if deep:
            inner = bare(others[-1].__wrapped__)
            function = below(others, functools.reduce(self._laid, deep, inner))
        for wish in wishes:
            function = function if wish in deep else self._laid(function, wish)
        if wishes:
            setattr(self.owner, self._name, function)

    def _take_out(self) -> None:
        standing = self._stored()
        before = bare(standing)
        if standing is before:  # what somebody stands on, or keeps, never acts again
            for switch in self._switches.values():
                switch.clear()
            self._switches.clear()
        elif before is self._inherited:
            delattr(self.owner, self._name)
        else:
            setattr(self.owner, self._name, before)

    def _laid(self, function: Any, wish: Wish) -> Layer:
        # Not a wrapper of somebody else, of which a class gives another each time, too.
        method = inspect.isclass(self.owner) and type(function) in {FunctionType, Undocumented}
        kind = Undocumented if method and function.__doc__ is None else Layer
        switch = self._switches.setdefault(wish.rank, [])
        switch[:] = [True]
        wrapper = wish.make(_target(self.owner, function))
        layer = layered(function, wrapper, (wish.word, self), kind=kind, switch=switch)
        if kind is Undocumented:
            layer._self_unbound = Layer.__get__(layer, None, self.owner)
        return layer


#: Those with layers of ours, which keep them: a class that nobody needs goes with all that is its.
_PLACES: Final[WeakValueDictionary[tuple[int, str], Place]] = WeakValueDictionary()


def _place(owner: Any, name: str) -> Place:
    with _LOCK:
        return _PLACES.setdefault((id(owner), name), Place(owner, name))


class Seat:
    """Where a word has its layer."""

    def __init__(self, path: str, owner: Any, name: str, wish: Wish) -> None:
        self.path = path
        self.owner = owner
        self.wish = wish
        self._place = _place(owner, name)

    def take(self) -> None:
        """Put the layer there, unless it acts there already."""
        self._place.take(self.wish)

    def remove(self) -> None:
        """Take the layer out, or switch it off."""
        self._place.leave(self.wish.rank)


class _Herald(classmethod):  # type: ignore[type-arg]  # of Python 3.10 it takes none
    """An `__init_subclass__` that tells the families of a class of each one to come below it."""

    def __init__(self, root: Any) -> None:
        self.families: list[Family] = []
        self.before = vars(root).get("__init_subclass__")
        families, before = self.families, self.before

        def announced(cls: Any, /, *args: Any, **kwargs: Any) -> None:
            if before is None:  # whatever comes after the root, for this very class
                super(root, cls).__init_subclass__(*args, **kwargs)
            else:
                before.__get__(None, cls)(*args, **kwargs)
            for family in [*families]:
                family.arrived(cls)

        super().__init__(announced)

    @classmethod
    def of(cls, root: Any) -> _Herald:
        """The one that stands in a class, or is put there now."""
        standing = vars(root).get("__init_subclass__")
        if type(standing) is not cls:
            standing = root.__init_subclass__ = cls(root)
        return standing

    def leave(self, root: Any, family: Family) -> None:
        """Tell that family no more; with nobody to tell the herald goes, unless it is stood on."""
        self.families.remove(family)
        if self.families or vars(root).get("__init_subclass__") is not self:
            return
        if self.before is None:
            del root.__init_subclass__
        else:
            root.__init_subclass__ = self.before


class Family:
    """The layers of one word in a class and in every class below it, present and later.

    Each class that has a function of its own gets one. Only Python knows the classes: none is
    kept alive by us.
    """

    def __init__(self, path: str, root: Any, name: str, wish: Wish) -> None:
        self.path = path
        self.owner = root
        self.wish = wish
        self._name = name
        self._herald = _Herald.of(root)
        self._herald.families.append(self)

    def take(self) -> None:
        """Put the layers into all classes that are there, unless they act there already."""
        for member in _members(self.owner):
            self.arrived(member)

    @contained
    def arrived(self, member: type) -> None:
        """Put a layer into a class that has the function, and has it itself."""
        own = vars(member).get(self._name)
        if inspect.isroutine(own) and not getattr(own, "__isabstractmethod__", False):
            _place(member, self._name).take(self.wish)

    def remove(self) -> None:
        """Take out every layer, or switch it off."""
        self._herald.leave(self.owner, self)
        for member in _members(self.owner):
            _place(member, self._name).leave(self.wish.rank)


def _members(root: Any) -> list[Any]:
    """A class and all below it, each once."""
    found, known = [root], {id(root)}
    for one in found:
        below = [member for member in type.__subclasses__(one) if id(member) not in known]
        known.update(map(id, below))
        found += below
    return found


def _goes_below(word: Any) -> bool:
    """Whether a neighbour that patched the function before us stays outside of our layer.

    Then its span is current where ours would begin, and open where the call ends.
    """
    once = isinstance(word, Hook) and not word.subclasses
    return once and (word.deciding == "beside" or not word.decide)


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
