"""Which adapters this process knows: ours, loaded by need, and those of other packages."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, cast, get_args

from toolspan.adapters import LIST
from toolspan.containment import LOGGER, contained
from toolspan.hooks import Adapter, WordOfAdapter, lock_over_forks
from toolspan.toolcall import clean, type_name
from toolspan.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint

    from toolspan.adapters import Listed

#: Where another package names its adapters: `[project.entry-points.toolspan_adapter]`.
GROUP: Final = "toolspan_adapter"

#: Held while it is found out which adapters are wanted; no code of a host runs under it.
LOCK: Final = lock_over_forks()

_REGISTERED: Final[list[Adapter]] = []
_PATH: Final = re.compile(r"[\w.]+:[\w.]+")
_WORDS: Final = get_args(WordOfAdapter)


def enlist(adapter: Adapter) -> None:
    """Know an adapter of somebody else from now on; one of its name and versions gives way.

    Raises:
        TypeError: it is no adapter, or what stands in it is of another kind.
        ValueError: its versions are no specifier, or a path leads nowhere in any module.
    """
    if type(adapter) is not Adapter:
        kind = clean(type_name(type(adapter)))
        raise TypeError(f"toolspan.register() takes a toolspan.hooks.Adapter, not {kind}")
    _check(adapter)
    with LOCK:
        others = [one for one in _REGISTERED if _place_of(one) != _place_of(adapter)]
        _REGISTERED[:] = [*others, adapter]


def _check(adapter: Adapter) -> None:
    """Refuse here what would fail where all adapters are placed, and keep the others from it."""
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415  # not every process asks

    if {type(fact) for fact in _place_of(adapter)} != {str}:
        raise TypeError("an adapter's name, distribution and versions are text")
    SpecifierSet(adapter.versions)
    if type(adapter.words) is not tuple or not {type(one) for one in adapter.words} <= {*_WORDS}:
        raise TypeError(f"the words of the adapter {adapter.name} are no tuple of toolspan.hooks'")
    for word in adapter.words:
        paths = word.path if type(word.path) is tuple else (word.path,)
        if not paths or not all(type(path) is str and _PATH.fullmatch(path) for path in paths):
            raise ValueError(f"the adapter {adapter.name} has a path that is no 'module:name'")


def _place_of(adapter: Adapter) -> tuple[str, str, str]:
    return adapter.name, adapter.distribution, adapter.versions


def requirements() -> dict[str, str]:
    """Every framework that is known here, installed or not, and what to give pip for it."""
    _load_others()
    others = {one.name: one.distribution for one in _REGISTERED}
    return {**others, **{one.name: f"toolspan[{one.name}]" for one in LIST}}


def adapter_for(name: str) -> Adapter | None:
    """The adapter of that name for the version installed here, None without one.

    A version that nobody tested gets the newest adapter: whatever fits is placed.
    """
    _load_others()
    found = None
    for adapter in _installed(name):
        if adapter.is_tested(version_of(adapter.distribution)):
            return adapter
        found = found or adapter
    return found


def _installed(name: str) -> Iterator[Adapter]:
    for one in reversed(LIST):  # the newest first: mostly no other need be loaded
        if one.name == name and version_of(one.distribution) is not None:
            yield load(one)
    for adapter in _REGISTERED:
        if adapter.name == name and version_of(adapter.distribution) is not None:
            yield adapter


def load(listed: Listed) -> Adapter:
    """The adapter that a file of ours describes."""
    return cast("Adapter", import_module(f"toolspan.adapters.{listed.file}").ADAPTER)


@cache
def _load_others() -> None:
    """Know the adapters that other packages name; one that cannot be loaded stops nothing."""
    for entry in entry_points(group=GROUP):
        adapter = _loaded(entry)
        try:
            enlist(cast("Adapter", adapter))
        except (TypeError, ValueError) as error:
            why = error if type(adapter) is Adapter else "no Adapter there"
            LOGGER.warning("toolspan leaves out the adapter %s: %s", entry.value, why)


@contained
def _loaded(entry: EntryPoint) -> object:
    return entry.load()
