"""What a user gets: built as it is published, installed where nothing else is, sources away.

Once a run: where mypy is, because a user's type checker is one of those who read the package.
"""

from __future__ import annotations

import email
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("mypy"), reason="built and installed once a run, where mypy is"
)

ROOT = Path(__file__).resolve().parent.parent
UV = os.environ.get("UV") or shutil.which("uv") or "uv"
PINS = ROOT / "tests" / "environments" / "new.txt"
PYTHON = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")

SMOKE = """
import json
from importlib.metadata import distribution
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import toolspan

for entry in distribution("toolspan").entry_points:
    if entry.group != "pytest11":  # pytest is not here, and need not be
        entry.load()
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
toolspan.instrument(tracer_provider=provider)


@toolspan.tool
def add(first: int, second: int) -> int:
    return first + second


answer = add(1, 2)
spans = [span.name for span in exporter.get_finished_spans()]
print(json.dumps([answer, spans, toolspan.__file__]))
"""

TYPED = """
from typing import assert_type

import toolspan


@toolspan.tool
def add(first: int, second: int) -> int:
    return first + second


@toolspan.tool(name="fetch", agent="reader")
async def fetch(url: str) -> bytes:
    return url.encode()


async def main() -> None:
    assert_type(add(1, second=2), int)
    assert_type(await fetch("a"), bytes)
    with toolspan.call("search", {"query": "x"}) as call:
        call.result = ["found"]
    with toolspan.run("nightly", agent="reader"):
        add(1, 2)
"""

WRONGLY_TYPED = """
import toolspan


@toolspan.tool
def add(first: int, second: int) -> int:
    return first + second


add("1", 2)
text: str = add(1, 2)
"""


def execute(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(words, cwd=cwd, env=kept, capture_output=True, text=True, check=False)


def executed(*command: object, cwd: Path) -> str:
    done = execute(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The sdist, and the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("dist")
    executed(UV, "build", "--python", sys.executable, "--out-dir", folder, ROOT, cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return SimpleNamespace(sdist=sdist, wheel=wheel)


@pytest.fixture(scope="session")
def installed(built, tmp_path_factory):
    """The interpreter of an environment that holds toolspan, what it needs, and nothing else."""
    home = tmp_path_factory.mktemp("empty") / "environment"
    python = home.joinpath(*PYTHON)
    executed(UV, "venv", "--python", sys.executable, home, cwd=home.parent)
    pins = ("--constraints", PINS)
    executed(UV, "pip", "install", "--python", python, *pins, built.wheel, cwd=home.parent)
    return python


@pytest.fixture(scope="session")
def wheel(built):
    """What the wheel says of itself."""
    with zipfile.ZipFile(built.wheel) as archive:
        names = archive.namelist()
        (folder,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        entries = ConfigParser()
        entries.read_string(archive.read(f"{folder}/entry_points.txt").decode())
        metadata = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
        licence = archive.read(f"{folder}/licenses/LICENSE")
    return SimpleNamespace(names=names, entries=entries, metadata=metadata, licence=licence)


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    assert "toolspan/py.typed" in wheel.names
    assert {name.split("/")[0].partition("-")[0] for name in wheel.names} == {"toolspan"}
    sources = {
        f"toolspan/{path.relative_to(ROOT / 'src/toolspan').as_posix()}" for path in _files()
    }
    assert {name for name in wheel.names if ".dist-info/" not in name} == sources


def _files():
    everything = (ROOT / "src" / "toolspan").rglob("*")
    return [path for path in everything if path.is_file() and "__pycache__" not in path.parts]


def test_the_wheel_says_its_licence_and_carries_it(wheel):
    assert wheel.metadata["License-Expression"] == "Apache-2.0"
    assert wheel.licence == (ROOT / "LICENSE").read_bytes()
    assert b"Version 2.0, January 2004" in wheel.licence


def test_the_wheel_names_the_pythons_it_is_for(wheel):
    assert wheel.metadata["Requires-Python"] == ">=3.10"
    prefix = "Programming Language :: Python :: 3."
    classifiers = wheel.metadata.get_all("Classifier")
    minors = {one.removeprefix(prefix) for one in classifiers if one.startswith(prefix)}
    assert minors == {"10", "11", "12", "13", "14"}


def test_opentelemetry_finds_exactly_one_instrumentor(wheel):
    assert list(wheel.entries["opentelemetry_instrumentor"]) == ["toolspan"]
    assert list(wheel.entries["console_scripts"]) == ["toolspan"]
    assert list(wheel.entries["pytest11"]) == ["toolspan"]


def test_the_sdist_holds_what_one_needs_to_test_it(built):
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    beside = {f"tests/{file.name}" for file in (ROOT / "tests").glob("*.py")}
    pins = {f"tests/environments/{file.name}" for file in PINS.parent.glob("*.txt")}
    others = {".ci/run", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"}
    run = {f"collector-config/{file.name}" for file in (ROOT / "collector-config").glob("*.yaml")}
    assert names >= beside | pins | others | run | {"docker-compose.yml"}


def test_the_wheel_traces_a_call_in_an_empty_environment(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLSPAN_STATE_DIR", str(tmp_path))
    answer, spans, file = json.loads(executed(installed, "-I", "-c", SMOKE, cwd=tmp_path))
    assert (answer, spans) == (3, ["execute_tool add"])
    assert Path(file).is_relative_to(installed.parent.parent)


def test_the_command_starts_in_an_empty_environment(installed, tmp_path):
    script = installed.with_name(f"toolspan{installed.suffix}")
    assert executed(script, "--version", cwd=tmp_path).startswith("toolspan ")


def check_types(program: str, installed: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "program.py"
    file.write_text(program, encoding="utf-8")
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", installed)
    return execute(*mypy, file, cwd=folder)


def test_a_type_checker_sees_through_what_toolspan_decorates(installed, tmp_path):
    done = check_types(TYPED, installed, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_type_checker_still_finds_a_users_mistakes(installed, tmp_path):
    done = check_types(WRONGLY_TYPED, installed, tmp_path)
    assert done.stdout.count("error:") == 2, done.stdout + done.stderr
    assert "[arg-type]" in done.stdout
    assert "[assignment]" in done.stdout
