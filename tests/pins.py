"""Write the environments of a framework that is pinned in none: its newest release and its oldest.

    python tests/pins.py              of each adapter that has none; `python tests/tables.py` does it too
    python tests/pins.py crewai ...   an environment anew: what its tests name stays, the rest is resolved

What a program cannot do without is added to the lines above; then its environment is made anew. Asks
the package index.
"""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import run
from ground_truth import ADAPTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Resolve = Callable[[str, str], Mapping[str, str]]

FOLDER = run.ROOT / "tests" / "environments"
#: A line that asks for a distribution, maybe with extras and in certain versions.
ASKED = re.compile(r"^([\w.-]+)(\[[\w,.-]+\])?([=<>!~].*)?$", re.MULTILINE)
BROUGHT = "# What those bring:\n"
#: What every environment names besides, as new as the framework lets it be.
BESIDES = """\
opentelemetry-sdk
opentelemetry-instrumentation
opentelemetry-exporter-otlp
mcp
pytest
pytest-randomly
"""


def pinned(text: str) -> dict[str, str]:
    """What an environment pins: of each distribution the version."""
    return {name: version[2:] for name, _, version in ASKED.findall(text) if version[:2] == "=="}


def anew(text: str, resolve: Resolve) -> str:
    """An environment: its head and what its tests name, and all that those bring, as resolved."""
    named = text.partition(BROUGHT)[0].rstrip("\n")
    head, _, wanted = named.partition("\n\n")
    found = resolve(wanted, re.search(r"^# Python (\S+)", head)[1])
    kept = ASKED.sub(lambda line: f"{line[1]}{line[2] or ''}=={found[line[1]]}", wanted)
    rest = [f"{name}=={found[name]}\n" for name in sorted(found) if name not in pinned(kept)]
    return f"{head}\n\n{kept}\n\n{BROUGHT}{''.join(rest)}"


def resolved(wanted: str, python: str) -> dict[str, str]:
    """What the package index has for these lines, by uv.

    Raises:
        subprocess.CalledProcessError: nothing fits together; uv has said why.
    """
    command = (run.find_uv(), "pip", "compile", "--no-header", "--no-annotate", "--quiet")
    asked = (*command, "--python-version", python, "-")
    done = subprocess.run(asked, input=wanted, stdout=subprocess.PIPE, text=True, check=True)
    return pinned(done.stdout)


def tested(name: str) -> str:
    """The tested versions of all adapters of a name, as a specifier.

    Raises:
        ValueError: an adapter does not begin where the one before it ends.
    """
    bounds = [one.versions.split(",") for one in ADAPTERS if one.name == name]
    for (_, upper), (lower, _) in pairwise(bounds):
        if upper.removeprefix("<") != lower.removeprefix(">="):
            raise ValueError(f"between {upper} and {lower} no adapter of {name} is tested")
    return f"{bounds[0][0]},{bounds[-1][1]}"


def first(name: str, distribution: str) -> dict[str, str]:
    """The environments of a framework that has none, by their names, before they are resolved."""
    versions = tested(name)
    lowest = versions.partition(",")[0].replace(">", "=")
    head = "# Python 3.13\n# Tests tests/test_ground_truth.py tests/test_contract.py\n\n"
    newest = f"# What the tests name:\n{distribution}{versions}\n"
    oldest = f"# What the tests name, the oldest:\n{distribution}{lowest}\n"
    return {name: head + newest + BESIDES, f"oldest-{name}": head + oldest + BESIDES}


def unpinned() -> dict[str, str]:
    """The distributions that no environment pins but beside neighbours, by their adapters' names."""
    files = [file for file in FOLDER.glob("*.txt") if not file.stem.startswith("neighbours")]
    there = {name for file in files for name in pinned(file.read_text(encoding="utf-8"))}
    return {one.name: one.distribution for one in ADAPTERS if one.distribution not in there}


def main(*names: str) -> None:
    """Write these environments anew, or those that are missing."""
    texts = {name: (FOLDER / f"{name}.txt").read_text(encoding="utf-8") for name in names}
    for name, distribution in {} if names else unpinned().items():
        texts |= first(name, distribution)
    for name, text in texts.items():
        print(f"{name}: resolving")
        (FOLDER / f"{name}.txt").write_text(anew(text, resolved), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
