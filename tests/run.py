#!/usr/bin/env python3
"""Run the tests as users meet toolspan: its built wheel, in every environment of ours.

    python tests/run.py                            everything; the last line adds it all up
    python tests/run.py --only new -k statistics   one environment; what is not ours goes to pytest
    python tests/run.py --source                   the files of this checkout, not a wheel of them

An environment is one file in `tests/environments`. Its head names the Python and, where that is so,
the only files that it runs (`# Tests`) and the environment that its tests talk to (`# Peer`); the
rest pins every package. What is made from it lives in the user's cache folder (`XDG_CACHE_HOME`, else
`~/.cache`, there `toolspan`), never in the checkout, and may be deleted at any time. Any Python
from 3.10 starts this, without a package; uv and a Python that is missing are fetched.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toolspan"
FILES = sorted(ROOT.glob("tests/environments/*.txt"))
UV = "uv==0.13.8"
BIN, EXE = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
SECOND_TRIES = 6
NO_TESTS = 5  # how pytest ends when a selection is empty


@dataclass(frozen=True)
class Environment:
    """One Python with every package pinned."""

    name: str
    version: str
    requirements: Path
    home: Path
    #: The only files that it runs; empty: all.
    tests: tuple[str, ...] = ()
    #: Whose Python its tests start beside their own.
    peer: str | None = None
    #: A script that makes what its tests start besides.
    needs: str | None = None

    @property
    def python(self) -> Path:
        """Its interpreter, there once it is set up."""
        return self.home / BIN / f"python{EXE}"


@dataclass(frozen=True)
class Counts:
    """What one run of pytest came to, or several together."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped
        )

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def main() -> int:
    """Set up, run pytest in each environment, add up; the last line says what came of it."""
    options, for_pytest = arguments()
    if options.find:
        print(found := find_python(options.find) or f"Python {options.find} is not here")
        return not Path(found).exists()
    # In the background of a shell Ctrl-C is ignored, and so by all that is started from here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        try:
            total = run(options, for_pytest, Path(folder))
        except subprocess.CalledProcessError as error:
            print(f"set-up failed: {error}")
            total = Counts(failed=1)
        if options.tables:
            write_tables(Path(folder))
    print(total)
    return bool(total.failed or not total.passed)


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """Read what was typed: our options, and the rest for pytest."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    names = [file.stem for file in FILES]
    parser.add_argument("--only", action="append", choices=names, help="only this environment")
    parser.add_argument("--source", action="store_true", help="test src, not a wheel of it")
    parser.add_argument("--jobs", type=int, default=2, help="environments at a time (2)")
    parser.add_argument("--tables", action="store_true", help="then write docs/versions.md anew")
    parser.add_argument("--find", metavar="VERSION", help="say where that Python is, and end")
    return parser.parse_known_args()


def run(options: argparse.Namespace, for_pytest: list[str], folder: Path) -> Counts:
    """Set up the chosen environments and their peers, and run pytest in the chosen ones.

    One that cannot be made has failed, and the others are run.

    Raises:
        subprocess.CalledProcessError: the wheel could not be made.
    """
    uv = find_uv()
    toolspan = ("--editable", ROOT) if options.source else ("--reinstall", build(uv, folder))
    everywhere = {file.stem: read(file, source=options.source) for file in FILES}
    chosen = [everywhere[name] for name in everywhere if name in (options.only or everywhere)]
    chosen.sort(key=lambda one: bool(one.tests))  # who runs everything takes longest: not last
    needed = {one.name for one in chosen} | {one.peer for one in chosen}

    made: set[str] = set()

    def run_in(one: Environment, words: Sequence[str], time: str = "first") -> Counts:
        if one.name not in made:
            return Counts(failed=1)
        selected = selection(one, words)
        if selected is None:
            return Counts()
        environ = surroundings(one, everywhere.get(one.peer or ""), uv)
        return run_pytest(one, selected, environ, folder / f"{one.name}-{time}.xml")

    with ThreadPoolExecutor(options.jobs) as threads:
        list(threads.map(prepare, {one.needs for one in chosen if one.needs}))
        set_ups = [one for name, one in everywhere.items() if name in needed]
        done = threads.map(lambda one: is_set_up(one, uv, toolspan), set_ups)
        made |= {one.name for one, well in zip(set_ups, done, strict=True) if well}
        counts = list(threads.map(lambda one: run_in(one, for_pytest), chosen))
    if not for_pytest:
        alone = functools.partial(run_in, words=["--last-failed", "-v"], time="again")
        counts = [once_more(one, first, alone) for one, first in zip(chosen, counts, strict=True)]
    for one, count in zip(chosen, counts, strict=True):
        print(f"{one.name}, Python {one.version}: {count}")
    return sum(counts, Counts())


def once_more(
    environment: Environment, first: Counts, run_alone: Callable[[Environment], Counts]
) -> Counts:
    """A few failures get one try on the idle machine, told by name: deadlines suffer from company.

    What fails again has failed.
    """
    if not 0 < first.failed <= SECOND_TRIES:
        return first
    print(f"{environment.name}: {first.failed} failed in company and are run once more, alone:")
    second = run_alone(environment)
    passed = min(second.passed, first.failed)
    return Counts(first.passed + passed, max(first.failed - passed, second.failed), first.skipped)


def read(file: Path, *, source: bool) -> Environment:
    """Read an environment; each checkout has its own folder for it, and `--source` another."""
    text = file.read_text(encoding="utf-8")
    head = dict(line.split(maxsplit=2)[1:] for line in text.partition("\n\n")[0].splitlines())
    tests = tuple(head.get("Tests", "").split())
    key = hashlib.sha256(f"{text}\0{ROOT}\0{source}".encode()).hexdigest()[:12]
    home = CACHE / f"{file.stem}-{key}"
    return Environment(
        file.stem, head["Python"], file, home, tests, head.get("Peer"), head.get("Needs")
    )


def selection(environment: Environment, words: Sequence[str]) -> list[str] | None:
    """Say what pytest is told there: no file but its own; None: it has none of those asked for."""
    asked = {word: word.partition("::")[0] for word in words if not word.startswith("-")}
    files = [word for word, file in asked.items() if file.endswith(".py")]
    own = [word for word in files if asked[word] in environment.tests]
    if not environment.tests:
        return list(words)
    if files and not own:
        return None
    return [*(word for word in words if word not in files), *(own or environment.tests)]


def find_python(version: str) -> str | None:
    """Find that Python on this machine: this one, one on the path, one that pyenv holds."""
    return next((python for python in _pythons(version) if _is(python, version)), None)


def _pythons(version: str) -> Iterator[str]:
    yield sys.executable
    for place in os.get_exec_path():
        yield str(Path(place, f"python{version}{EXE}"))
    kept = [Path(sys.base_prefix).parent]  # pyenv and asdf keep them side by side
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True)
        kept.append(Path(root.stdout.strip(), "versions"))
    for folder in kept:
        yield from map(str, folder.glob(f"{version}.*/bin/python"))


def _is(python: str, version: str) -> bool:
    """Ask it: on the path may stand a shim for a Python that is switched off."""
    question = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.stdout.strip() == version


def find_uv() -> str:
    """Find uv, else install it into the cache folder."""
    present = shutil.which("uv")
    if present and not subprocess.run([present, "-V"], capture_output=True, check=False).returncode:
        return present
    home = CACHE / UV.replace("==", "-")
    uv = home / BIN / f"uv{EXE}"
    if not uv.exists():
        execute(sys.executable, "-m", "venv", home)
        execute(home / BIN / f"python{EXE}", "-m", "pip", "install", UV)
    return str(uv)


def build(uv: str, folder: Path) -> Path:
    """Build the wheel of this checkout."""
    execute(uv, "build", "--wheel", "-p", sys.executable, "--out-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


def prepare(script: str) -> None:
    """Let a script make what tests start; where it cannot, they are skipped, or fail with CI set."""
    run_and_tell(script, [sys.executable, ROOT / script], os.environ)


def set_up(environment: Environment, uv: str, toolspan: Sequence[str | Path]) -> None:
    """Make the environment where it is missing, and put this toolspan into it."""
    if not environment.python.exists():
        found = find_python(environment.version)
        if not found:
            print(f"Python {environment.version} is not on this machine; uv is asked to fetch it")
        python = [found] if found else [environment.version, "--managed-python"]
        execute(uv, "venv", "--allow-existing", environment.home, "--python", *python)
    install = (uv, "pip", "install", "--python", environment.python)
    execute(*install, "--requirements", environment.requirements)
    execute(*install, "--no-deps", *toolspan)
    execute(uv, "pip", "check", "--python", environment.python)


def is_set_up(environment: Environment, uv: str, toolspan: Sequence[str | Path]) -> bool:
    """Set it up; say by name what cannot be, for the others are run all the same."""
    try:
        set_up(environment, uv, toolspan)
    except subprocess.CalledProcessError as error:
        print(f"{environment.name} cannot be set up: {error}", flush=True)
        return False
    return True


def write_tables(reports: Path) -> None:
    """Write what follows from the adapters and from pytest's reports, where all packages are."""
    new = read(ROOT / "tests" / "environments" / "new.txt", source=False)
    if new.python.exists():
        execute(new.python, ROOT / "tests" / "tables.py", reports)


def execute(*command: str | Path) -> None:
    """Run one command of the set-up; what it wrote is shown when it fails.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = subprocess.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout, end="", flush=True)
    done.check_returncode()


def surroundings(environment: Environment, peer: Environment | None, uv: str) -> Mapping[str, str]:
    """Clear away what the user's shell would tell OpenTelemetry; tell tests where things are."""
    foreign = ("OTEL_", "TOOLSPAN_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join([str(environment.python.parent), *os.get_exec_path()])
    beside = {"TOOLSPAN_PEER_PYTHON": str(peer.python)} if peer else {}
    return kept | beside | {"PATH": path, "UV": uv}


def run_pytest(
    environment: Environment, arguments: Sequence[str], environ: Mapping[str, str], report: Path
) -> Counts:
    """Run pytest in one environment; each line it writes appears under that name."""
    command: list[str | Path] = [environment.python, "-m", "pytest", f"--junitxml={report}"]
    command += ["-o", f"cache_dir={environment.home / 'pytest'}", *arguments]
    return count(report, run_and_tell(environment.name, command, environ))


def run_and_tell(name: str, command: Sequence[str | Path], environ: Mapping[str, str]) -> int:
    """Run a command; each line it writes appears under `name`. Returns its exit code."""
    with subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as running:
        for line in running.stdout or ():
            print(f"{name} | {line}", end="", flush=True)
    return running.returncode


def count(report: Path, status: int) -> Counts:
    """Count from pytest's own report; a run that ended badly has failed, whatever it wrote."""
    if status == NO_TESTS:
        return Counts()
    if not report.exists():
        return Counts(failed=1)
    ends = [{part.tag for part in case} for case in ET.parse(report).iter("testcase")]
    failed = sum(bool(end & {"failure", "error"}) for end in ends)
    skipped = sum("skipped" in end for end in ends)
    passed = len(ends) - failed - skipped
    return Counts(passed, max(failed, int(status != 0)), skipped)


if __name__ == "__main__":
    sys.exit(main())
