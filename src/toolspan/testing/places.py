"""Where an adapter wants its layers, and how others patch the same places."""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import pkgutil
from typing import TYPE_CHECKING, Any

import wrapt

from toolspan.hooks import Adapter, Hook

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable

    from toolspan.testing.contract import Program


def paths_of(words: Iterable[Any]) -> list[str]:
    """Every place where an adapter's words want a layer: of alternatives, the first that exists."""
    wanted = [
        path for word in words for path in (word.path, *_also(word), *getattr(word, "decide", ()))
    ]
    found = [filter(_exists, [path] if isinstance(path, str) else path) for path in wanted]
    return sorted({path for paths in found for path in itertools.islice(paths, 1)})


def seats_of(adapter: Adapter, program: Program) -> list[str]:
    """Where its layers sit: of a hook in every class below one, the one in the program's MEMBER."""
    return sorted({_seat(path, adapter, program) for path in paths_of(adapter.words)})


def _seat(path: str, adapter: Adapter, program: Any) -> str:
    hooks = (word for word in adapter.words if type(word) is Hook and word.subclasses)
    if not any(path == hook.path for hook in hooks):
        return path
    return f"{program.MEMBER.__module__}:{program.MEMBER.__qualname__}.{holder_of(path)[1]}"


def _also(word: Any) -> list[str]:
    """Other modules that hold the very function."""
    return [f"{module}:{word.path.partition(':')[2]}" for module in getattr(word, "also", ())]


def _exists(path: str) -> bool:
    try:
        pkgutil.resolve_name(path)
    except (ImportError, AttributeError):
        return False
    return True


def holder_of(path: str) -> tuple[Any, str]:
    """The object that holds the last name of a path, and that name."""
    module, _, qualname = path.partition(":")
    owner, _, name = qualname.rpartition(".")
    holder = importlib.import_module(module)
    return (pkgutil.resolve_name(f"{module}:{owner}") if owner else holder), name


def stored(path: str) -> Any:
    """What stands at a path itself, before any binding."""
    return inspect.getattr_static(*holder_of(path))


def is_inherited(path: str) -> bool:
    """Whether the object that holds the name has it from its class or a base."""
    owner, name = holder_of(path)
    return name not in vars(owner)


# -- somebody else's patch -----------------------------------------------------------------------


def patch_with_wrapt(path: str, seen: Counter[str]) -> Callable[[], None]:
    """Patch as OpenTelemetry's instrumentors do; undo as they do."""
    owner, name = holder_of(path)

    def theirs(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        seen[path] += 1
        return wrapped(*args, **kwargs)

    wrapt.wrap_function_wrapper(owner, name, theirs)
    return lambda: setattr(owner, name, stored(path).__wrapped__)


def patch_with_setattr(path: str, seen: Counter[str]) -> Callable[[], None]:
    """Patch as anybody does by hand, and put back what was found."""
    owner, name = holder_of(path)
    found, stood = getattr(owner, name), stored(path)

    @functools.wraps(found)
    def theirs(*args: Any, **kwargs: Any) -> Any:
        seen[path] += 1
        return found(*args, **kwargs)

    bound = isinstance(stood, (classmethod, staticmethod))
    back = found if is_inherited(path) else stood
    setattr(owner, name, staticmethod(theirs) if bound else theirs)
    return lambda: setattr(owner, name, back)
