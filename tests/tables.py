"""Write anew what follows from the adapters, the programs and a run of everything.

    python tests/tables.py            the extras in pyproject.toml, the tables in README.md, and the
                                      environments of a framework that has none
    python tests/run.py --tables      run everything first, and write docs/versions.md too

A framework is written down once, in its adapter; a test fails where one of these says otherwise.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree as ET

import ground_truth
import pins
from ground_truth import ADAPTERS
from pins import tested

ROOT = Path(__file__).resolve().parent.parent
PROJECT, README, VERSIONS = (
    ROOT / place for place in ("pyproject.toml", "README.md", "docs/versions.md")
)
ENVIRONMENTS = sorted(ROOT.glob("tests/environments/*.txt"))
#: The distribution that says which OpenTelemetry an environment has.
TELEMETRY = "opentelemetry-sdk"


def between(text: str, begin: str, end: str, block: str) -> str:
    """The text with `block` between two lines of it.

    Raises:
        ValueError: one of the lines is missing.
    """
    before, _, rest = text.partition(f"{begin}\n")
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"there must be a line {begin}, and {end} after it")
    return f"{before}{begin}\n{block}\n{end}{after}"


def rows(*cells: tuple[str, ...]) -> str:
    """A table as Markdown; the first row is its head."""
    head, *rest = cells
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rest))


# -- what follows from the adapters --------------------------------------------------------------


def extras() -> str:
    """The lines of pyproject.toml: each framework in exactly the tested versions."""
    wanted = {one.name: f"{one.distribution}{tested(one.name)}" for one in ADAPTERS}
    return "\n".join(f'{name} = ["{requirement}"]' for name, requirement in wanted.items())


def frameworks() -> str:
    """The README's table of frameworks, and what installs them."""
    head = "framework", "name", "distribution", "tested versions", "what becomes a span"
    table = rows(
        head,
        *(
            (one.title, f"`{one.name}`", f"`{one.distribution}`", f"`{one.versions}`", one.traces)
            for one in ADAPTERS
        ),
    )
    named = ", ".join(f'`"toolspan[{name}]"`' for name in dict.fromkeys(a.name for a in ADAPTERS))
    return f"{table}\n\n`pip install` one of {named} for a framework in a tested version."


def pages() -> dict[Path, str]:
    """Each file that repeats adapters and programs, as it must be."""
    project, readme = (file.read_text(encoding="utf-8") for file in (PROJECT, README))
    readme = between(readme, "<!-- frameworks -->", "<!-- /frameworks -->", frameworks())
    begin, end = ground_truth.MARKERS
    return {
        PROJECT: between(project, "# frameworks", "# /frameworks", extras()),
        README: between(readme, begin, end, ground_truth.table()),
    }


# -- what a run of everything came to ------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One framework in one environment."""

    name: str
    version: str
    python: str
    telemetry: str
    environment: str


def cells() -> list[Cell]:
    """Every framework in every environment that pins it."""
    found = []
    for file in ENVIRONMENTS:
        text = file.read_text(encoding="utf-8")
        pins = dict(re.findall(r"^([\w.-]+)(?:\[.+\])?==(.+)$", text, re.MULTILINE))
        python = re.search(r"^# Python (\S+)", text, re.MULTILINE)[1]
        here = dict.fromkeys((one.name, one.distribution) for one in ADAPTERS)
        found += [
            Cell(name, pins[distribution], python, pins[TELEMETRY], file.stem)
            for name, distribution in here
            if distribution in pins
        ]
    return sorted(found, key=lambda cell: (list_of(cell.name), cell.environment))


def list_of(name: str) -> int:
    return [one.name for one in ADAPTERS].index(name)


def is_about(name: str, case: ET.Element) -> bool:
    """Whether a case of pytest's report names the framework: its file, its class or its parameter."""
    place, plain = case.get("classname", ""), re.sub(r"\W", "", name)
    in_place = re.search(rf"\btest_{name.replace('-', '_')}|\.Test{plain}\b", place, re.IGNORECASE)
    return bool(in_place or re.search(rf"[\[-]{name} ", case.get("name", "")))


def end_of(case: ET.Element) -> str:
    tags = {part.tag for part in case}
    return "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"


def result(cell: Cell, reports: Path) -> str | None:
    """What the cases about a framework came to in an environment; None: it has none there."""
    tries = [reports / f"{cell.environment}-{time}.xml" for time in ("first", "again")]
    files = [file for file in tries if file.exists()]
    if not files:
        return "cannot be installed"
    cases = {}
    for file in files:  # what passes in the second try, alone, has passed
        for case in filter(lambda case: is_about(cell.name, case), ET.parse(file).iter("testcase")):
            cases[case.get("classname"), case.get("name")] = end_of(case)
    ends = Counter(cases.values())
    told = (f"{ends[word]} {word}" for word in ("passed", "failed", "skipped") if ends[word])
    return ", ".join(told) or None


def matrix(reports: Path, day: str) -> str:
    """The page of versions, as a run of everything found it."""
    head = "framework", "version", "Python", "OpenTelemetry", "environment", "cases about it"
    found = [(cell, result(cell, reports)) for cell in cells()]
    table = [
        (cell.name, cell.version, cell.python, cell.telemetry, cell.environment, told)
        for cell, told in found
        if told is not None
    ]
    said = f"""# Tested versions

As `python tests/run.py --tables` found it on {day}. A case that is skipped belongs to another version
or is a declared gap; what could not be installed says so.
"""
    return f"{said}\n{rows(head, *table)}\n"


def main(*reports: str) -> None:
    """Write everything that can be written; with a folder of pytest's reports, the versions too."""
    pins.main()
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")
    for folder in reports:
        today = datetime.now(timezone.utc).date().isoformat()
        VERSIONS.write_text(matrix(Path(folder), today), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
