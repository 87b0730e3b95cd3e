"""The program that `toolspan doctor` examines where it is given none: everything, imported.

A process of its own, so that nothing which an import does or breaks is done to the doctor.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import Final

import toolspan
from toolspan.containment import contained
from toolspan.hooks import PLACEMENTS

#: The doctor sets it to `none`: there will be no metrics, and nobody shall wait for them.
METRICS: Final = "OTEL_METRICS_EXPORTER"


def main() -> None:
    """Switch toolspan on as `toolspan run` does, and import whatever has hooks."""
    toolspan.configure()
    os.environ.pop(METRICS, None)  # the doctor's own is no fact about this environment
    for placement in PLACEMENTS.values():
        for module in placement.modules:
            _import(module)


@contained  # there is no host here, and a framework that is broken is what the doctor looks for
def _import(module: str) -> None:
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(module)
