"""Adapters from outside our tree: by `register()`, by an entry point, and held to the contract.

The framework and the package with its adapter are under third_party/, built and installed for real.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import toolspan
from ground_truth import ADAPTERS
from toolspan import registry
from toolspan.adapters import LIST
from toolspan.hooks import PLACEMENTS, Adapter, Hook
from toolspan.testing import adapter_contract
from toolspan.toolcall import ToolCall

HERE = Path(__file__).parent / "third_party"
UV = os.environ.get("UV") or shutil.which("uv") or "uv"
TESTS = HERE / "acme_agents_toolspan" / "tests"

built = pytest.mark.skipif(
    not importlib.util.find_spec("mypy"), reason="built and installed once a run, where mypy is"
)


@pytest.fixture
def known(monkeypatch):
    """What is registered here is forgotten after the test."""
    registry.requirements()  # what entry points name stays
    monkeypatch.setattr(registry, "_REGISTERED", [*registry._REGISTERED])
    yield
    toolspan.uninstrument()
    PLACEMENTS.pop("metadata", None)


@pytest.fixture(scope="module")
def acme(tmp_path_factory):
    """A folder into which framework and adapter were installed."""
    folder = tmp_path_factory.mktemp("acme")
    for name in ("acme_agents", "acme_agents_toolspan"):
        copy = shutil.copytree(HERE / name, folder / "sources" / name)
        command = [UV, "pip", "install", "--no-deps", "--python", sys.executable]
        subprocess.run([*command, "--target", folder / "packages", copy], check=True)
    return folder / "packages"


def run(folder, *words, **environ):
    """Run Python where the packages of a folder are installed."""
    paths = [str(folder), str(TESTS), *sys.path]
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environ},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    return done.returncode, done.stdout + done.stderr


# -- an entry point ------------------------------------------------------------------------------

SEEN = """
import acme_agents, toolspan
toolspan.instrument()
with toolspan.testing.recorded_tools() as calls:
    acme_agents.Tool("add", lambda a, b: a + b).run({"a": 1, "b": 2}, "call-1")
print([(call.name, call.result, call.id) for call in calls], toolspan.status(), sep="\\n")
"""


@built
def test_an_installed_adapter_of_another_package_is_found_and_traced(acme):
    code, said = run(acme, "-c", f"import toolspan.testing{SEEN}")
    assert code == 0, said
    assert "[('add', 3, 'call-1')]" in said
    assert "acme-agents 1.4: 2 hooks placed" in said


@built
def test_it_is_switched_off_by_its_name_as_ours_are(acme):
    code, said = run(acme, "-c", f"import toolspan.testing{SEEN}", TOOLSPAN_DISABLED="acme-agents")
    assert code == 0, said
    assert said.startswith("[]\n")


@built
def test_one_that_cannot_be_loaded_is_named_in_a_line_and_stops_nothing(acme, tmp_path):
    broken = shutil.copytree(acme, tmp_path / "packages")
    (broken / "acme_agents_toolspan.py").write_text("raise RuntimeError('broken')")
    program = """
import logging; logging.basicConfig()
import toolspan; toolspan.instrument()
with toolspan.call("still"): pass
print(toolspan.stats()["still"].calls)
"""
    code, said = run(broken, "-c", program)
    assert code == 0, said
    assert said.startswith("1\n")
    assert said.count("acme_agents_toolspan:ADAPTER: no Adapter there") == 1
    assert "Traceback" not in said


@built
def test_one_with_versions_that_are_none_is_named_in_a_line_and_stops_nothing(acme, tmp_path):
    broken = shutil.copytree(acme, tmp_path / "packages")
    source = broken / "acme_agents_toolspan.py"
    source.write_text(source.read_text().replace('versions="', 'versions="newest '))
    program = """
import logging; logging.basicConfig()
import toolspan; toolspan.instrument()
print(toolspan.status().active, [one for one in toolspan.status().failures])
"""
    code, said = run(broken, "-c", program)
    assert code == 0, said
    assert said.startswith("True []\n")
    assert said.count("leaves out the adapter acme_agents_toolspan:ADAPTER: Invalid spec") == 1


NAMELESS = """
import acme_agents, packaging, toolspan.testing
toolspan.instrument()
with toolspan.testing.recorded_tools() as calls:
    acme_agents.Tool("add", lambda a, b: a + b).run({"a": 1, "b": 2}, "call-1")
(one,) = [one for one in toolspan.status().frameworks if one.name == "acme-agents"]
print(packaging.__version__, len(calls), one, sep="; ")
"""


@built
def test_a_framework_with_a_version_that_is_none_is_hooked_as_untested(acme, tmp_path):
    odd = shutil.copytree(acme, tmp_path / "packages")
    command = [UV, "pip", "install", "--no-deps", "--python", sys.executable]
    subprocess.run([*command, "--target", odd, "packaging==24.2"], check=True)
    (metadata,) = odd.glob("acme_agents-*/METADATA")
    metadata.write_text(metadata.read_text().replace("Version: 1.4", "Version: 1.4-our_own_build"))
    code, said = run(odd, "-c", NAMELESS)
    line = "24.2; 1; acme-agents 1.4-our_own_build (untested version): 2 hooks placed"
    assert (code, said.splitlines()[0]) == (0, line)


@built
def test_the_contract_holds_for_an_adapter_that_another_package_brings(acme):
    code, said = run(acme, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS)
    assert code == 0, said
    assert int(re.search(r"(\d+) passed", said)[1]) > 100
    assert "skipped" not in said


@built
@pytest.mark.parametrize(
    ("right", "wrong", "failing"),
    [
        ("id=invocation", "description=str(invocation.args[0]), id=invocation", "hostile_value"),
        ("Tool.run_async", "Tool.run_later", "every_hook_is_placed"),
        ('error="error", exception=answer.error', "", "an_exception_is_the_same"),
        ("name=tool.name", "name=str(invocation.args[0])[-20:]", "a_secret"),
    ],
    ids=["it reads a value", "a hook is gone", "a failure is ok", "it leaks"],
)
def test_the_contract_fails_for_an_adapter_that_breaks_it(acme, tmp_path, right, wrong, failing):
    broken = shutil.copytree(acme, tmp_path / "packages")
    source = broken / "acme_agents_toolspan.py"
    text = source.read_text()
    assert right in text
    source.write_text(text.replace(right, wrong))
    code, said = run(broken, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "-k", failing, TESTS)
    assert code == 1, said
    assert re.search(rf"FAILED .*{failing}", said), said[-2000:]


# -- register() ----------------------------------------------------------------------------------


def adapter(**facts):
    """An adapter of somebody for what surely is installed: the function that reads a version."""
    read = facts.pop("read", lambda call: ToolCall(name=call.get("distribution_name")))
    words = (Hook("importlib.metadata:version", read),)
    common = {"name": "metadata", "distribution": "packaging", "versions": ">=1", "words": words}
    return Adapter(**{**common, **facts})


def calls_of(traced):
    import importlib.metadata

    before = len(traced.tools)
    importlib.metadata.version("packaging")
    return [span.attributes["gen_ai.tool.name"] for span in traced.tools[before:]]


def test_what_is_registered_before_or_after_is_placed_and_taken_out(trace_with, known):
    traced = trace_with()
    assert calls_of(traced) == []
    toolspan.register(adapter())
    assert calls_of(traced) == ["packaging"]
    traced = trace_with()
    assert calls_of(traced) == ["packaging"]
    toolspan.uninstrument()
    assert calls_of(traced) == []


def test_a_notebooks_second_run_replaces_what_the_first_registered(traced, known):
    toolspan.register(adapter())
    toolspan.register(adapter(read=lambda _call: ToolCall(name="second")))
    assert calls_of(traced) == ["second"]


def test_what_is_not_installed_is_known_and_placed_nowhere(traced, known):
    toolspan.register(adapter(distribution="not-installed-anywhere"))
    assert calls_of(traced) == []
    with pytest.raises(toolspan.FrameworkNotFoundError, match="not-installed-anywhere"):
        toolspan.instrument("metadata")


def test_of_one_name_the_tested_one_is_taken_be_it_ours_or_anothers(known):
    ours = ADAPTERS[0]
    if registry.adapter_for(ours.name) is not ours:
        pytest.skip(f"{ours.distribution} is in another environment")
    toolspan.register(replace(ours, words=()))
    assert registry.adapter_for(ours.name) is ours


@pytest.mark.parametrize(
    "wrong", [None, "toolspan", Adapter, object()], ids=lambda one: str(one)[:8]
)
def test_what_is_no_adapter_is_refused_clearly(wrong):
    with pytest.raises(TypeError, match=r"toolspan\.register\(\) takes a toolspan\.hooks\.Adapter"):
        toolspan.register(wrong)


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"name": None}, TypeError),
        ({"distribution": 7}, TypeError),
        ({"versions": "newest"}, ValueError),
        ({"words": None}, TypeError),
        ({"words": Hook("importlib.metadata:version", ToolCall)}, TypeError),
        ({"words": ("importlib.metadata:version",)}, TypeError),
        ({"words": (Hook("importlib.metadata.version", ToolCall),)}, ValueError),
        ({"words": (Hook((), ToolCall),)}, ValueError),
        ({"words": (Hook(None, ToolCall),)}, ValueError),
    ],
    ids=str,
)
def test_an_adapter_that_cannot_be_placed_is_refused_and_stops_no_other(
    trace_with, known, facts, error
):
    toolspan.register(adapter())
    with pytest.raises(error):
        toolspan.register(adapter(**facts))
    assert calls_of(trace_with()) == ["packaging"]
    assert "metadata" in str(toolspan.status())


def test_the_contract_of_what_is_not_installed_says_so(known, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ABSENT", adapter(distribution="absent"))
    with pytest.raises(ImportError, match="absent is not installed"):
        adapter_contract(f"{__name__}:ABSENT", WHOLE)


@pytest.mark.parametrize("where", [f"{__name__}:NOWHERE", __name__, "nowhere:ADAPTER"])
def test_the_contract_of_what_is_no_adapter_says_so(where):
    with pytest.raises(ImportError):
        adapter_contract(where, WHOLE)


def test_the_contract_with_half_a_program_says_what_is_not_there(known, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ABSENT", adapter())
    half = SimpleNamespace(**{**vars(WHOLE), "__name__": "half"})
    del half.raising, half.DOORS
    with pytest.raises(TypeError, match=r"its program has no DOORS, raising\Z"):
        adapter_contract(f"{__name__}:ABSENT", half)


#: Calls no tool at all, and gives nothing to copy.
NOTHING = """
DOORS = {"injected": lambda value: value, "async": lambda value: value}
OBJECTS = {}

def call(value): return value
def raising(error): raise error
def named(name): return "ok"
def schemas(): return '{"add": {}}'
"""
#: What is true of an adapter though no call passes it.
STILL_TRUE = {
    "test_a_hooked_function_looks_and_copies_as_before",
    "test_every_layer_goes_without_a_trace",
    "test_the_schemas_that_a_model_is_told_are_the_same_bytes",
}


@built
def test_a_program_that_calls_no_tool_fails_whatever_is_about_calls(acme, tmp_path):
    copied = shutil.copytree(acme, tmp_path / "packages")
    (copied / "nothing.py").write_text(NOTHING)
    (copied / "test_nothing.py").write_text(
        "import nothing\nfrom toolspan.testing import adapter_contract\n"
        "TestIt = adapter_contract('acme_agents_toolspan:ADAPTER', nothing)\n"
    )
    words = ("-m", "pytest", "-q", "-rp", "--tb=no", "-p", "no:cacheprovider", "test_nothing.py")
    code, said = run(copied, *words)
    assert code == 1, said
    assert set(re.findall(r"^PASSED .*::(\w+)", said, re.MULTILINE)) == STILL_TRUE


ABSENT = None
WHOLE = SimpleNamespace(DOORS={}, OBJECTS={}, call=1, raising=1, named=1, schemas=1)


# -- our own list --------------------------------------------------------------------------------


def test_the_list_says_of_each_adapter_what_it_says_itself():
    told = [(one.name, one.distribution) for one in LIST]
    assert told == [(one.name, one.distribution) for one in ADAPTERS]


def test_only_adapters_whose_framework_is_installed_are_loaded():
    program = "import sys, toolspan; toolspan.instrument(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = [one for one in LIST if f"toolspan.adapters.{one.file}" in done.stdout.split()]
    assert {one.name for one in loaded} == {one.name for one in LIST if here(one)}


def here(listed):
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return bool(distribution(listed.distribution))
    except PackageNotFoundError:
        return False
