"""The contract of docs/architecture.md, for each of our adapters that has a program and can run here."""

from __future__ import annotations

from ground_truth import PROGRAMS
from toolspan.adapters import LIST
from toolspan.registry import adapter_for, load
from toolspan.testing import adapter_contract


def place_of(framework):
    """Where the adapter stands that serves the version installed here."""
    here = adapter_for(framework)
    (file,) = [one.file for one in LIST if one.name == framework and load(one) is here]
    return f"toolspan.adapters.{file}:ADAPTER"


globals().update(
    {
        f"Test{name.title().replace('-', '')}": adapter_contract(place_of(name), program)
        for name, program in PROGRAMS.items()
    }
)
