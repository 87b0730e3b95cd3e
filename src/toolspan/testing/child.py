"""A plugin of pytest for the process that an adapter's contract has of its own: see `alone.py`.

It is told the names of the cases in standard input, and tells their ends in standard output.
"""

from __future__ import annotations

import json
import os
import sys
from typing import IO, TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The plugin that only such a process has.
NAME: Final = "toolspan_contract_told"


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Keep standard output for us, before pytest captures it; all else is written beside it."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    early_config.pluginmanager.register(Teller(out, json.load(sys.stdin)), NAME)
    yield


class Teller:
    """Runs the cases named, in that order, and tells how each ended."""

    def __init__(self, out: IO[str], names: list[str]) -> None:
        self.out = out
        self.names = names
        self.told: dict[str, tuple[str, list[pytest.TestReport]]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what is not named."""
        found = {one.name: one for one in items}
        items[:] = [found[name] for name in self.names if name in found]
        self.told = {one.nodeid: (one.name, []) for one in items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what there is to say of a case."""
        self.told[report.nodeid][1].append(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Say it."""
        name, reports = self.told[nodeid]
        ends = {report.outcome for report in reports}
        outcome = next((one for one in ("failed", "skipped") if one in ends), "passed")
        text = "\n".join(_text(one) for one in reports if one.outcome == outcome != "passed")
        print(json.dumps([name, outcome, text]), file=self.out)


def _text(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    parts = [f"{title}:\n{content}" for title, content in report.sections]
    return "\n".join([report.longreprtext, *parts])
