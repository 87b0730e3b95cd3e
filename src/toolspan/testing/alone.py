"""The contract of an adapter runs in a process of its own, and is told case by case as if here.

So what one adapter leaves behind, or brings down, is nothing to another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from toolspan.testing.child import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How much is shown of what a process wrote that broke down, in bytes.
SHOWN: Final = 16_000


def cases(collector: pytest.Module | pytest.Class, name: str, contract: type) -> Cases | None:
    """A contract's cases; None: this is its own process, or one looked into with `--pdb`."""
    here = collector.config.pluginmanager.has_plugin(NAME) or collector.config.getoption("usepdb")
    if here or not collector.istestclass(contract, name):
        return None
    return Cases.from_parent(collector, name=name, obj=contract)


class Cases(pytest.Class):
    """The cases of one contract."""

    child: Child | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """Every case has the same name here as there."""
        for there in super().collect():
            if isinstance(there, pytest.Function):
                yield Case.from_parent(self, name=there.name, there=there)

    def setup(self) -> None:
        """Start the process, with those cases that are selected."""
        if self.child is None:
            place = "::".join([str(self.path), *self.nodeid.split("::")[1:]])
            names = [one.name for one in self.session.items if one.parent is self]
            self.child = Child([*_words(self.config), place], names)
            self.session.addfinalizer(self.child.stop)


class Case(pytest.Item):
    """A case that runs there."""

    def __init__(self, *, there: pytest.Function, **more: Any) -> None:
        super().__init__(**more)
        self.there = there
        self.cls, self.module = there.cls, there.module  # who shuffles cases looks for them
        self.own_markers.extend(there.own_markers)
        self.keywords.update(there.keywords)

    def runtest(self) -> None:
        """Wait for its end.

        Raises:
            FailedThereError: it failed.
        """
        child = cast("Child", cast("Cases", self.parent).child)
        outcome, text = child.ending_of(self.name)
        if outcome == "skipped":
            pytest.skip(text)
        if outcome == "failed":
            raise FailedThereError(text)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What was told of it."""
        told = isinstance(excinfo.value, FailedThereError)
        return str(excinfo.value) if told else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where it stands."""
        return self.there.reportinfo()


class FailedThereError(Exception):
    """A case, or all that was left, has failed in the process of a contract."""


class Child:
    """A process that runs the named cases in their order."""

    def __init__(self, words: list[str], names: list[str]) -> None:
        self.left = set(names)
        self.endings: dict[str, tuple[str, str]] = {}
        self.written = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `stop`
        with tempfile.TemporaryFile("w+", encoding="utf-8") as told:
            json.dump(names, told)
            told.seek(0)
            self.process = subprocess.Popen(  # noqa: S603  # this very Python
                [sys.executable, "-m", "pytest", *words],
                env={name: one for name, one in os.environ.items() if name != "PYTEST_ADDOPTS"},
                stdin=told,
                stdout=subprocess.PIPE,
                stderr=self.written,
                encoding="utf-8",
            )

    def ending_of(self, name: str) -> tuple[str, str]:
        """How a case ended, and what there is to say of it."""
        for line in self.process.stdout or () if name in self.left else ():
            told, outcome, text = json.loads(line)
            self.endings[told] = outcome, text
            self.left.discard(told)
            if told == name:
                break
        return self.endings.get(name) or ("failed", self.breakdown())

    def stop(self) -> None:
        """End it, at once where nobody waits for what is left.

        Raises:
            FailedThereError: it broke down after its last case.
        """
        with self.written, self.process:
            if self.left:
                self.process.kill()
            elif self.process.wait() not in {0, 1}:
                raise FailedThereError(self.breakdown())

    def breakdown(self) -> str:
        """What to say of the cases that it has not ended."""
        code = self.process.wait()
        self.written.seek(0)
        end = self.written.read()[-SHOWN:].decode(errors="replace")
        return f"{end}\nthe process of this contract has ended, with {code}, and said no more"


def _words(config: pytest.Config) -> Iterator[str]:
    """What pytest was told, but for who selects cases, shows them and shares them out."""
    yield from ("-o", "addopts=", "-p", "no:cacheprovider", "-p", "toolspan.testing.child")
    yield from ("--rootdir", str(config.rootpath))
    yield from ("-c", str(config.inipath)) if config.inipath else ()
    for word, name in {"--import-mode": "importmode", "--tb": "tbstyle"}.items():
        yield from (word, config.getoption(name))
    for word, name in {"-p": "plugins", "-o": "override_ini", "-W": "pythonwarnings"}.items():
        values = [one for one in config.getoption(name) or () if not one.startswith("cache_dir=")]
        yield from (part for value in values for part in (word, value))
