"""Imported by Python itself before a program that `toolspan run` starts: calls `configure()`.

`site` reports whatever is raised here on stderr and goes on, so nothing of it can reach the
program. `toolspan` is imported only after this folder has gone from the paths again.
"""  # noqa: INP001  # Python finds this file by its name, in a folder of its own

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec


def _leave(folder: str) -> None:
    """Take `folder` out of the paths of this process and of those that it starts."""
    sys.path[:] = [path for path in sys.path if path != folder]
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    rest = os.pathsep.join(path for path in paths if path != folder)
    if rest:
        os.environ["PYTHONPATH"] = rest
    else:
        os.environ.pop("PYTHONPATH", None)


def _import_the_next() -> None:
    """Import the sitecustomize that would have run without us, in our place."""
    spec = PathFinder.find_spec(__name__)
    if spec is None or spec.loader is None:
        return
    sys.modules[__name__] = module = module_from_spec(spec)
    spec.loader.exec_module(module)


def _configure() -> None:
    try:
        from toolspan.containment import contained  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "toolspan":
            raise
        sys.stderr.write(f"toolspan is not installed for {sys.executable}: nothing is traced\n")
        return
    import toolspan  # noqa: PLC0415

    contained(toolspan.configure)()


_leave(os.path.dirname(__file__))  # noqa: PTH120  # pathlib would load 20 modules into the program
try:
    _import_the_next()
finally:
    _configure()
