"""Place the layers of an adapter where its framework is, as that is imported, and take them out."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from toolspan.containment import contained
from toolspan.hooks.layer import when_imported
from toolspan.hooks.seats import Family, Seat, Wish
from toolspan.hooks.words import Hook

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from toolspan.hooks.layer import Wrapper
    from toolspan.hooks.seats import Target
    from toolspan.hooks.words import Adapter, Path, WordOfAdapter


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
        self._spots: dict[str, list[tuple[str, Path, Wish]]] = {}
        for index, word in enumerate(adapter.words):
            for path in _paths(word):
                wish = Wish((adapter.name, index), word, self._make(word, path))
                for alternative in _alternatives(path):
                    module, _, qualname = alternative.partition(":")
                    self._spots.setdefault(module, []).append((qualname, path, wish))

    def place(self) -> None:
        """From now on have the layers where they belong."""
        self.wanted = True
        self.settle()

    def settle(self) -> None:
        """Place what is imported already, and the rest when it is imported."""
        for module in self._spots:
            if module in sys.modules:
                self._arrived(module, sys.modules[module])
            _await_import(module, self)

    def arrived(self, name: str, module: ModuleType) -> None:
        """Place the layers that belong into a module which was imported just now as `name`."""
        if self.wanted:
            self._arrived(name, module)

    def remove(self) -> None:
        """Take out our layers; one that somebody stands on stays there and is off."""
        self.wanted = False
        for seat in self.seats:
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
        for qualname, path, wish in self._spots[name]:  # a module may say of itself what it likes
            self._seat(f"{name}:{qualname}", module, path, wish)

    @contained
    def _seat(self, label: str, module: ModuleType, path: Path, wish: Wish) -> None:
        wanted = path if isinstance(path, tuple) else (label,)
        seats = [one for one in self.seats if one.path in wanted and one.wish.word is wish.word]
        first = seats[0].path if seats else next(filter(_is_there, wanted), label)
        if label != first:
            return  # of alternatives the first that exists is taken, whichever module came first
        owner, name = _owner(module, label.partition(":")[2])
        if owner is None:
            self._note_missing(path, label)
            return
        self.missing = [gap for gap in self.missing if gap not in wanted]
        kind = Family if getattr(wish.word, "subclasses", False) else Seat
        seat = next((one for one in seats if one.owner is owner), None)
        if seat is None:
            seat = kind(label, owner, name, wish)
            self.seats.append(seat)
        seat.take()
        if not self.wanted:  # any more: taken out in another thread meanwhile
            seat.remove()

    def _make(self, word: WordOfAdapter, path: Path) -> Callable[[Target], Wrapper]:
        decides = path in getattr(word, "decide", ())
        return lambda target: self._actor(self.adapter, Decision(word) if decides else word, target)

    def _note_missing(self, path: Path, label: str) -> None:
        if label == _alternatives(path)[-1] and label not in self.missing:
            self.missing.append(label)


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


_AWAITED: Final[dict[str, list[Placement]]] = {}


def _await_import(module: str, placement: Placement) -> None:
    """Tell `placement` when `module` is imported; wrapt cannot forget, so each module asks once."""
    waiting = _AWAITED.get(module)
    if waiting is None:
        waiting = _AWAITED[module] = []
        if module not in sys.modules:
            when_imported(functools.partial(_imported, module), module)
    if placement not in waiting:
        waiting.append(placement)


def _imported(name: str, module: ModuleType) -> None:
    for placement in _AWAITED.get(name, ()):
        placement.arrived(name, module)
