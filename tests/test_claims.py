"""What the README, the extras and the docstrings claim is what is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

import pins
import tables

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OTHER_EXTRAS = {"demo"}  # those that are no framework's

FOOTPRINT = """
import json, sys
import opentelemetry.sdk.trace, opentelemetry.instrumentation.instrumentor, wrapt
before = set(sys.modules)
import toolspan; toolspan.instrument()
print(json.dumps(sorted(set(sys.modules) - before)))
"""
NEVER_LOADED = {
    *("langchain", "langchain_core", "langgraph", "mcp", "pydantic", "pydantic_ai", "numpy"),
    *("grpc", "google", "requests", "httpx", "starlette", "anyio", "opentelemetry.exporter"),
}

# What every system has is loaded first; then this one loses what only it has.
ELSEWHERE = """
import asyncio, os, pkgutil, importlib, signal, subprocess, sys
import opentelemetry.instrumentation.instrumentor, opentelemetry.sdk.metrics
import opentelemetry.sdk.trace, pytest, wrapt
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("fork", "register_at_fork", "getuid", "killpg", "O_NOFOLLOW"):
    vars(os).pop(name, None)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "alarm", "setitimer"):
    vars(signal).pop(name, None)
import toolspan
for module in pkgutil.iter_modules(toolspan.__path__):
    if module.name != "__main__":  # that one is a program
        importlib.import_module(f"toolspan.{module.name}")
toolspan.instrument()
add = toolspan.tool(lambda a, b: a + b)
print(add(1, 2), dict(toolspan.containment.failures))
"""


def adapters():
    return tables.ADAPTERS


def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def in_a_child(program: str, state: Path) -> str:
    command = [sys.executable, "-W", "error", "-c", program]
    environ = os.environ | {"TOOLSPAN_STATE_DIR": str(state)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_toolspan_that_is_tested_is_the_installed_one():
    import toolspan

    try:
        installed = distribution("toolspan").locate_file("toolspan/__init__.py")
    except PackageNotFoundError:
        pytest.skip("not installed: its sources are on the path")
    editable = ROOT / "src" / "toolspan" / "__init__.py"
    assert Path(toolspan.__file__) == (installed if installed.exists() else editable)


def test_an_extra_installs_exactly_the_versions_that_its_adapter_was_tested_with():
    wanted = {one.name: [f"{one.distribution}{pins.tested(one.name)}"] for one in adapters()}
    assert {name: EXTRAS[name] for name in EXTRAS if name not in OTHER_EXTRAS} == wanted


def test_no_extra_has_a_name_that_makes_the_loader_skip_us():
    assert not {"instruments", "instruments-any"} & EXTRAS.keys()


def test_the_readme_has_one_row_for_each_adapter():
    """Between the two markers: a table whose rows hold name, distribution and versions as code."""
    _, begin, rest = readme().partition("<!-- frameworks -->")
    block, end, _ = rest.partition("<!-- /frameworks -->")
    assert begin, "README.md needs a line <!-- frameworks -->"
    assert end, "README.md needs a line <!-- /frameworks --> after it"
    head, rule, *rows = [line for line in block.splitlines() if line.startswith("|")]
    assert set(rule) <= set("|-: "), f"a table begins with its head: {head}"
    cells = [{cell.strip() for cell in row.split("|")} for row in rows]
    assert len(cells) == len(adapters())
    for one in adapters():
        facts = {f"`{one.name}`", f"`{one.distribution}`", f"`{one.versions}`"}
        assert any(facts <= row for row in cells), f"no row with {sorted(facts)}"


def test_what_repeats_the_adapters_and_the_programs_is_what_they_say():
    """`python tests/tables.py` writes it."""
    wrong = [file for file, text in tables.pages().items() if file.read_text("utf-8") != text]
    assert wrong == []


def test_each_framework_stands_in_the_table_of_versions_as_it_is_pinned_newest_and_oldest():
    """`python tests/run.py --tables` writes it, and names what cannot be installed."""
    told = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in tables.VERSIONS.read_text("utf-8").splitlines()
        if line.startswith("|")
    ][2:]
    pinned = {(c.name, c.version, c.python, c.telemetry, c.environment) for c in tables.cells()}
    assert [row for row in told if row[:5] not in pinned] == []
    passed = [row for row in told if re.match(r"\d+ passed", row[5]) and "failed" not in row[5]]
    assert {row[0] for row in passed} == {one.name for one in adapters()}
    assert [row for row in told if row not in passed and row[5] != "cannot be installed"] == []


REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_contract.TestOpenaiAgents" name="test_a"/>
<testcase classname="tests.test_ground_truth" name="test_b[openai-agents plain-sync]"/>
<testcase classname="tests.test_ground_truth" name="test_c[sync-openai-agents plain]"><skipped/></testcase>
<testcase classname="tests.test_ground_truth" name="test_d[langchain plain-openai]"><failure/></testcase>
<testcase classname="tests.test_mcp" name="test_e"><error/></testcase>
</testsuite></testsuites>"""
AGAIN = """<testsuites><testsuite>
<testcase classname="tests.test_mcp" name="test_e"/>
</testsuite></testsuites>"""


def test_the_table_of_versions_counts_the_cases_about_a_framework(tmp_path):
    (tmp_path / "one-first.xml").write_text(REPORT)
    (tmp_path / "two-again.xml").write_text(AGAIN)
    (tmp_path / "two-first.xml").write_text(REPORT)

    def counted(name, environment):
        return tables.result(tables.Cell(name, "1", "3.13", "1.45", environment), tmp_path)

    assert counted("openai-agents", "one") == "2 passed, 1 skipped"
    assert counted("langchain", "one") == counted("mcp", "one") == "1 failed"
    assert counted("smolagents", "one") is None
    assert counted("mcp", "two") == "1 passed"
    assert counted("mcp", "three") == "cannot be installed"


def test_the_readme_names_every_extra_and_no_other():
    named = re.findall(r"toolspan\[([\w, -]+)\]", readme())
    assert {name.strip() for names in named for name in names.split(",")} == EXTRAS.keys()


def test_the_readme_has_a_row_for_every_public_name():
    import toolspan

    public = [name for name in toolspan.__all__ if not name.startswith("__")]
    rows = "\n".join(line for line in readme().splitlines() if line.startswith("|"))
    assert not [name for name in public if not re.search(rf"`[^`|]*\b{name}\b[^`|]*`", rows)]


PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_the_programs_of_a_page_run_as_they_stand_there(page, tmp_path):
    text = (ROOT / page).read_text(encoding="utf-8")
    for program in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        in_a_child(program, tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_to_files_that_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_the_pages_that_there_must_be_are_linked_from_the_readme():
    pages = (
        "quickstart",
        "concepts",
        "variables",
        "attributes",
        "statistics",
        "privacy",
        "adapters",
    )
    assert [page for page in pages if f"](docs/{page}.md)" not in readme()] == []


def test_every_public_name_has_a_docstring_of_its_own():
    import toolspan

    public = {name: getattr(toolspan, name) for name in toolspan.__all__}
    plain = {name for name, value in public.items() if isinstance(value, str)}
    assert not [name for name in public.keys() - plain if not public[name].__doc__]


def test_ci_runs_the_test_command_of_the_readme():
    command = "tests/run.py"
    assert f"python3 {command}" in readme()
    assert f"exec python3 {command}" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_newest_entry_of_the_changelog_is_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == PROJECT["version"]


def test_the_oldest_opentelemetry_that_is_allowed_is_one_that_is_tested():
    pins = (ROOT / "tests" / "environments" / "old.txt").read_text(encoding="utf-8")
    tested = dict(line.split("==") for line in pins.splitlines() if "==" in line)
    floors = dict(
        re.split(">=|,", needed)[:2]
        for needed in PROJECT["dependencies"]
        if needed.startswith("opentelemetry-")
    )
    assert floors
    assert not [needed for needed in PROJECT["dependencies"] if re.match("opentel.*<", needed)]
    for name, floor in floors.items():
        assert re.match(rf"{re.escape(floor)}(\.0)*$", tested[name]), f"{name}: {tested[name]}"


def test_instrument_loads_no_framework_and_few_modules(tmp_path):
    loaded = json.loads(in_a_child(FOOTPRINT, tmp_path))
    assert "toolspan" in loaded
    assert not [name for name in loaded if NEVER_LOADED & {name, *_packages(name)}]
    assert len(loaded) <= 60, loaded


def _packages(module: str):
    parts = module.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


def test_nothing_that_only_this_system_has_is_needed(tmp_path):
    assert in_a_child(ELSEWHERE, tmp_path) == "3 {}\n"
