"""An unmodified program, under opentelemetry-instrument and under `toolspan run`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from receiver import Receiver

PROGRAM = Path(__file__).parent / "programs" / "zero_code_agent.py"
needs_distro = pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.distro") is None,
    reason="opentelemetry-distro is not in this environment",
)
INSTRUMENT = (sys.executable, "-m", "opentelemetry.instrumentation.auto_instrumentation")


def instrument_command() -> str:
    return str(Path(sys.executable).with_name("opentelemetry-instrument"))


def execute(*command, counter, program=PROGRAM, **variables):
    """Run `command` around the program; its output and what the tools counted."""
    environ = {
        **os.environ,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "unmodified",
        **variables,
    }
    done = subprocess.run(
        [*command, sys.executable, str(program), str(counter)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    counted = counter.read_text().split() if counter.exists() else []
    return done, counted


def test_the_program_does_not_know_us():
    assert "toolspan" not in PROGRAM.read_text()


@needs_distro
def test_opentelemetry_instrument_gives_one_span_for_each_call(tmp_path):
    with Receiver() as receiver:
        done, counted = execute(
            instrument_command(),
            counter=tmp_path / "counter",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        )
        spans = receiver.wait(2, 20)
    assert done.stdout == '3\n"canary-7391"\n', done.stderr
    assert counted == ["add", "fail"]
    assert [span.name for span in spans] == ["execute_tool add", "execute_tool fail"]
    assert [span.attributes["toolspan.outcome"] for span in spans] == ["ok", "error"]
    assert {span.scope for span in spans} == {"toolspan"}
    assert {span.resource["service.name"] for span in spans} == {"unmodified"}
    assert b"canary-7391" not in receiver.raw


@needs_distro
def test_the_disabled_entry_point_gives_none_of_our_spans(tmp_path):
    with Receiver() as receiver:
        done, counted = execute(
            instrument_command(),
            counter=tmp_path / "counter",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="toolspan",
        )
        assert done.returncode == 0, done.stderr
        assert counted == ["add", "fail"]
        assert receiver.spans() == []


@needs_distro
def test_a_framework_imported_before_us_is_hooked_too(tmp_path):
    """A sitecustomize of the user's own imports the framework before any instrumentor runs."""
    early = tmp_path / "early"
    early.mkdir()
    program = tmp_path / "early_agent.py"
    program.write_text(
        "import langchain_core.tools\n"
        "from opentelemetry.instrumentation.auto_instrumentation import initialize\n"
        "initialize()\n" + PROGRAM.read_text()
    )
    with Receiver() as receiver:
        done, counted = execute(
            counter=tmp_path / "counter",
            program=program,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_TRACES_EXPORTER="otlp",
        )
        spans = receiver.wait(2, 20)
    assert done.returncode == 0, done.stderr
    assert len(spans) == len(counted) == 2


def test_toolspan_run_gives_one_span_for_each_call(tmp_path):
    with Receiver() as receiver:
        done, counted = execute(
            *(sys.executable, "-m", "toolspan", "run", "--"),
            counter=tmp_path / "counter",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        )
        spans = receiver.wait(2, 20)
    assert done.returncode == 0, done.stderr
    assert counted == ["add", "fail"]
    assert [span.attributes["toolspan.outcome"] for span in spans] == ["ok", "error"]
    assert b"canary-7391" not in receiver.raw


@needs_distro
def test_without_a_provider_one_line_says_what_to_do(tmp_path):
    """opentelemetry-instrument without a distribution: the entry points run, no provider is set."""
    done, counted = execute(
        instrument_command(),
        counter=tmp_path / "counter",
        OTEL_PYTHON_DISTRO="none_such",
        OTEL_PYTHON_CONFIGURATOR="none_such",
    )
    assert counted == ["add", "fail"]
    lines = [line for line in done.stderr.splitlines() if "toolspan" in line]
    assert len(lines) == 1, done.stderr
    assert "configure()" in lines[0]
    assert "opentelemetry-distro" in lines[0]


def our_entry_point():
    points = entry_points(group="opentelemetry_instrumentor")
    ours = [point for point in points if point.value.startswith("toolspan")]
    if not ours:
        pytest.skip("not installed: its sources are on the path")
    (entry,) = ours
    return entry


def test_there_is_one_entry_point_that_needs_no_framework():
    entry = our_entry_point()
    assert entry.name == "toolspan"
    assert list(entry.load()().instrumentation_dependencies()) == []


@pytest.mark.parametrize(
    "command",
    [
        pytest.param((instrument_command(),), marks=needs_distro, id="opentelemetry-instrument"),
        pytest.param((sys.executable, "-m", "toolspan", "run", "--"), id="toolspan run"),
    ],
)
def test_the_statistics_are_attached_both_ways(command, tmp_path):
    with Receiver() as receiver:
        done, counted = execute(
            *command,
            counter=tmp_path / "counter",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_METRICS_EXPORTER="otlp",
            OTEL_TRACES_SAMPLER="always_off",
        )
        assert counted == ["add", "fail"], done.stderr
        assert receiver.spans() == []
        last = {metric.name: metric for metric in receiver.metrics()}
    told = {
        (point.attributes["gen_ai.tool.name"], point.attributes["toolspan.outcome"]): point.value
        for point in last["toolspan.calls"].points
    }
    assert told == {("add", "ok"): 1, ("fail", "error"): 1}
    assert sum(point.count for point in last["gen_ai.execute_tool.duration"].points) == 2


LATER = """
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

class Later(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return ()

    def _instrument(self, **options):
        print("the later one ran")

    def _uninstrument(self, **options):
        pass
"""


@needs_distro
def test_a_broken_framework_module_stops_no_later_instrumentor(tmp_path):
    """The broken module raises whatever is asked of it, as a half-initialised one does."""
    our_entry_point()
    broken, after = tmp_path / "broken", tmp_path / "after"
    (info := after / "later-1.dist-info").mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: later\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[opentelemetry_instrumentor]\nzz = later:Later\n")
    (after / "later.py").write_text(LATER)
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import sys, types\n"
        "class Broken(types.ModuleType):\n"
        "    def __getattr__(self, name): raise RuntimeError(name)\n"
        "for name in ('langchain_core.tools.base', 'mcp.client.session'):\n"
        "    sys.modules[name] = Broken(name)\n"
    )
    program = tmp_path / "after.py"
    program.write_text(
        f"import sys; sys.path.append({str(after)!r})\n"  # behind us: loaded after us
        "from opentelemetry.instrumentation.auto_instrumentation._load import _load_instrumentors\n"
        "from opentelemetry.instrumentation.distro import DefaultDistro\n"
        "import toolspan\n"
        "_load_instrumentors(DefaultDistro())\n"
        "print(toolspan.status().active, *toolspan.status().failures)\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": f"{broken}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout.splitlines()
    assert said[:1] == ["the later one ran"], done.stderr
    assert said[1].startswith("True ")
    assert "RuntimeError" in said[1]
