"""`toolspan doctor` and `status()`: twelve faults, each planted for real, and its healthy twin.

Each program runs in a process of its own under the doctor. What a fault does is shown first, by
what arrives at an OTLP receiver; then the doctor says so in one line, with what to do about it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points, version
from pathlib import Path
from types import SimpleNamespace

import pytest

import toolspan
from ground_truth import ADAPTERS
from receiver import Receiver
from test_zero_code import PROGRAM, instrument_command, needs_distro
from toolspan.findings import VARIABLES, WRAPT, findings
from toolspan.status import Status

ROOT = Path(__file__).resolve().parent.parent
UV = os.environ.get("UV") or shutil.which("uv")
DOCTOR = [sys.executable, "-c", "import sys; from toolspan.cli import main; sys.exit(main())"]
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
#: No framework: what they import takes seconds, and most faults have nothing to do with them.
NONE = ",".join(dict.fromkeys(adapter.name for adapter in ADAPTERS))

CALLING = """
import toolspan

@toolspan.tool
def add(a, b):
    return a + b
"""
CONFIGURED = f"{CALLING}\ntoolspan.configure()\nadd(1, 2)\n"
INSTRUMENTED = f"{CALLING}\ntoolspan.instrument()\n"
PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
"""


def doctor(*arguments, path=(), timeout=90, **variables):
    """Its exit code, what it says is wrong, and its other lines; nothing of ours is set besides."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TOOLSPAN_"))}
    kept["PYTHONPATH"] = os.pathsep.join([*map(str, path), *sys.path])
    done = subprocess.run(
        [*DOCTOR, "doctor", *map(str, arguments)],
        env={**kept, "OTEL_METRICS_EXPORTER": "none", **variables},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    lines = done.stdout.splitlines()
    wrong = [line.removeprefix("wrong: ") for line in lines if line.startswith("wrong: ")]
    facts = [line for line in lines if not line.startswith("wrong: ")]
    assert (done.returncode, "nothing is wrong" in facts) == ((1, False) if wrong else (0, True)), (
        done.stdout + done.stderr
    )
    return SimpleNamespace(wrong=wrong, facts=facts, errors=done.stderr)


def program(source, *arguments, **settings):
    """What the doctor says of a program."""
    return doctor("--", sys.executable, "-c", source, *arguments, **settings)


def sent(source, **variables):
    """What the doctor says of a program, and the spans that left it."""
    with Receiver() as receiver:
        told = program(source, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **variables)
        return told.wrong, [span.name for span in receiver.spans()]


# -- 1: a framework that moved a function ----------------------------------------------------------

#: What the tests change in a copy of a real framework: file, text, and what stands there instead.
MOVED = {
    "langchain": (
        "langchain_core",
        "tools/base.py",
        "    def run(",
        "    def run_moved(",
        "langchain_core.tools.base:BaseTool.run",
    ),
    "mcp": (
        "mcp",
        "client/session.py",
        "    async def call_tool(",
        "    async def call_tool_moved(",
        "mcp.client.session:ClientSession.call_tool",
    ),
}


def only(name):
    return ",".join(sorted(set(NONE.split(",")) - {name}))


@pytest.mark.parametrize("name", MOVED)
def test_a_framework_that_moved_a_function_is_named_with_the_function(tmp_path, name):
    package, file, before, after, function = MOVED[name]
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not in this environment")
    shutil.copytree(Path(found.origin).parent, tmp_path / package)
    source = tmp_path / package / file
    text = source.read_text(encoding="utf-8")
    assert text.count(before) >= 1
    source.write_text(text.replace(before, after), encoding="utf-8")
    with Receiver() as receiver:
        setting = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "TOOLSPAN_DISABLED": only(name)}
        moved = doctor(path=[tmp_path], **setting)
        healthy = doctor(**setting)
    (adapter,) = [
        one for one in ADAPTERS if one.name == name and one.is_tested(version(one.distribution))
    ]
    assert moved.wrong == [
        (
            f"{name} {version(adapter.distribution)} has no {function}: some of its calls pass unseen; "
            f"install it anew (pip install --force-reinstall {adapter.distribution})"
        )
    ]
    assert healthy.wrong == []


ACME = """
import toolspan
from toolspan.hooks import Adapter, Hook
from toolspan.toolcall import ToolCall
import sys

hook = Hook(tuple(sys.argv[1:]), lambda call: ToolCall(name=call.get("name")))
toolspan.register(Adapter(name="acme", distribution="acme", versions=">=1,<2", words=(hook,)))
toolspan.configure()
import acme
"""


def test_a_module_that_is_gone_is_named_and_the_version_that_was_tested(tmp_path):
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "__init__.py").write_text("from acme import runner\n")
    (tmp_path / "acme" / "runner.py").write_text("def run_tool(name): pass\n")
    (tmp_path / "acme-3.dist-info").mkdir()
    (tmp_path / "acme-3.dist-info" / "METADATA").write_text("Name: acme\nVersion: 3\n")
    moved = program(ACME, "acme.agent:run_tool", path=[tmp_path])
    assert moved.wrong == [
        (
            "acme 3 has no acme.agent:run_tool: no call of it is seen; install a tested version: "
            "pip install 'acme>=1,<2'"
        )
    ]
    known = program(ACME, "acme.agent:run_tool", "acme.runner:run_tool", path=[tmp_path])
    assert known.wrong == []
    assert "acme 3 (untested version): 1 hooks placed" in known.facts


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        ("raise ValueError('broken')", "acme 1 is installed and cannot be imported; "),
        ("import os; os._exit(3)", "importing the frameworks of this environment ended the"),
        ("", None),
    ],
)
def test_a_framework_that_is_broken_is_said_and_breaks_nothing_but_its_own_process(
    tmp_path, effect, said
):
    """Another package's adapter names it: ours are whole in every environment."""
    (tmp_path / "acme.py").write_text(f"{effect}\ndef run_tool(name): pass\n")
    (tmp_path / "acme_adapter.py").write_text(
        "from toolspan.hooks import Adapter, Hook\n"
        "hook = Hook('acme:run_tool', lambda call: None)\n"
        "ADAPTER = Adapter(name='acme', distribution='acme', versions='>=1', words=(hook,))\n"
    )
    known = tmp_path / "acme-1.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Name: acme\nVersion: 1\n")
    (known / "entry_points.txt").write_text("[toolspan_adapter]\nacme = acme_adapter:ADAPTER\n")
    with Receiver() as receiver:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "TOOLSPAN_DISABLED": NONE}
        told = doctor(path=[tmp_path], **endpoint)
    assert len(told.wrong) == (said is not None)
    assert all(line.startswith(said) for line in told.wrong)


# -- 2: no provider --------------------------------------------------------------------------------


def test_that_no_provider_is_set_is_said_and_where_one_comes_from():
    without = program(f"{INSTRUMENTED}\nadd(1, 2)\n")
    assert without.wrong == [
        (
            "no tracer provider is set: calls are counted and give no spans; call "
            "toolspan.configure(), or set a provider; with opentelemetry-instrument install "
            "opentelemetry-distro"
        )
    ]
    setting = (
        "provider = TracerProvider()\n"
        "provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))\n"
        "trace.set_tracer_provider(provider)\nadd(1, 2)\n"
    )
    assert sent(INSTRUMENTED + PROVIDER + setting) == ([], ["execute_tool add"])


# -- 3 and 4: the exporter -------------------------------------------------------------------------

NOBODY = (
    "refused; nobody listens there: start a Collector, or name another endpoint "
    "(endpoint= or OTEL_EXPORTER_OTLP_ENDPOINT)"
)
HTTP_THERE = (
    "HTTP is spoken there, not gRPC; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or name the "
    "port of gRPC (by default 4317)"
)
GRPC_THERE = (
    "gRPC is spoken there; set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or name the port of "
    "http/protobuf (by default 4318)"
)


def within(wrong, reason):
    """The one line of a program whose span was dropped, as the test span's would be told."""
    what, _, remedy = reason.partition("; ")
    place = r"http://127.0.0.1:\d+ \([a-z/]+\)"
    (line,) = wrong
    return re.fullmatch(
        rf"spans did not reach {place}: 1 dropped \({re.escape(what)}\); {re.escape(remedy)}", line
    )


def test_an_endpoint_where_nobody_listens_is_said_of_the_environment_and_of_a_program():
    with Receiver("refuse") as receiver:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "TOOLSPAN_DISABLED": NONE}
        here, there = doctor(**endpoint), program(CONFIGURED, **endpoint)
        assert here.wrong == [f"export to {receiver.url} (http/protobuf): {NOBODY}"]
        assert within(there.wrong, NOBODY)
        receiver.listen()
        assert doctor(**endpoint).wrong == program(CONFIGURED, **endpoint).wrong == []
        assert [span.name for span in receiver.spans()] == ["toolspan doctor", "execute_tool add"]


def test_http_behind_the_port_of_grpc_is_said_of_the_environment_and_of_a_program():
    with Receiver() as receiver:
        setting = {"TOOLSPAN_DISABLED": NONE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        wrong = {**setting, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        assert doctor(**wrong).wrong == [f"export to {receiver.url} (grpc): {HTTP_THERE}"]
        assert within(program(CONFIGURED, **wrong).wrong, HTTP_THERE)
        right = {**setting, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{receiver.grpc_target}"}
        assert doctor(**right).wrong == program(CONFIGURED, **right).wrong == []
        assert [span.name for span in receiver.spans()] == ["toolspan doctor", "execute_tool add"]


def test_grpc_behind_the_port_of_http_is_said():
    with Receiver() as receiver:
        there = f"http://{receiver.grpc_target}"
        told = doctor(TOOLSPAN_DISABLED=NONE, OTEL_EXPORTER_OTLP_ENDPOINT=there)
    assert told.wrong == [f"export to {there} (http/protobuf): {GRPC_THERE}"]


# -- 6: the sampler --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "argument", "said"),
    [
        ("always_off", "", "AlwaysOffSampler"),
        ("parentbased_always_off", "", "ParentBased{root:AlwaysOffSampler}"),
        ("parentbased_traceidratio", "0", "ParentBased{root:TraceIdRatioBased{0.0}}"),
    ],
)
def test_a_sampler_that_records_nothing_is_said(sampler, argument, said):
    variables = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    line = f"the sampler {said} records nothing; unset OTEL_TRACES_SAMPLER={sampler}"
    assert sent(CONFIGURED, **variables) == ([line], [])
    healthy = {**variables, "OTEL_TRACES_SAMPLER": sampler.replace("off", "on")}
    healthy["OTEL_TRACES_SAMPLER_ARG"] = "1"
    assert sent(CONFIGURED, **healthy) == ([], ["execute_tool add"])


@pytest.mark.parametrize("sampler", ["OFF", "ON"])
def test_a_sampler_of_the_programs_own_that_records_nothing_is_said(sampler):
    source = (
        f"provider = TracerProvider(sampler=sampling.ALWAYS_{sampler})\n"
        "provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))\n"
        "trace.set_tracer_provider(provider)\nadd(1, 2)\n"
    )
    line = (
        "the sampler AlwaysOffSampler records nothing; give the tracer provider, or "
        "configure(sample=...), another one"
    )
    off = sampler == "OFF"
    told = ([line], []) if off else ([], ["execute_tool add"])
    assert sent(INSTRUMENTED + PROVIDER + source) == told


@pytest.mark.parametrize(("shares", "off"), [("*=0", True), ("*=0,add=1", False), ("x=0", False)])
def test_shares_that_leave_no_tool_are_said(shares, off):
    wrong, spans = sent(CONFIGURED, TOOLSPAN_SAMPLE=shares)
    assert (len(wrong), len(spans)) == ((1, 0) if off else (0, 1))


# -- 7: the content variable -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            CAPTURE,
            "SPANS_ONLY",
            (
                f"{CAPTURE}=SPANS_ONLY is not known, so arguments and results are left out; set it to "
                "SPAN_ONLY, or to NO_CONTENT"
            ),
        ),
        (
            CAPTURE.replace("GENAI", "GEN_AI"),
            "SPAN_ONLY",
            f"nobody reads the variable {CAPTURE.replace('GENAI', 'GEN_AI')}; write {CAPTURE}",
        ),
    ],
)
def test_a_content_variable_that_is_misspelt_is_said(name, value, said):
    with Receiver() as receiver:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        assert program(CONFIGURED, **endpoint, **{name: value}).wrong == [said]
        assert program(CONFIGURED, **endpoint, **{CAPTURE: "SPAN_ONLY"}).wrong == []
        wrong, right = receiver.spans()
    assert "gen_ai.tool.call.arguments" not in wrong.attributes
    assert json.loads(right.attributes["gen_ai.tool.call.arguments"]) == {"a": 1, "b": 2}


def test_a_misspelt_variable_of_toolspan_is_said_and_its_value_is_not():
    told = program(f"{CALLING}\ntoolspan.configure()\n", TOOLSPAN_REDCAT="blue-owl")
    assert told.wrong == ["nobody reads the variable TOOLSPAN_REDCAT; write TOOLSPAN_REDACT"]
    assert "blue-owl" not in "".join(told.facts)
    assert program(f"{CALLING}\ntoolspan.configure()\n", TOOLSPAN_REDACT="blue-owl").wrong == []


def test_the_variables_that_the_doctor_knows_are_those_of_the_documentation():
    rows = re.findall(
        r"^\| `(TOOLSPAN_\w+)`", (ROOT / "docs" / "variables.md").read_text(), re.MULTILINE
    )
    assert set(VARIABLES) == set(rows)


# -- 8: processors ---------------------------------------------------------------------------------


def test_a_provider_without_a_processor_is_said():
    bare = "provider = TracerProvider()\ntrace.set_tracer_provider(provider)\n"
    full = "provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))\n"
    line = (
        "the tracer provider has no span processor: spans end and go nowhere; "
        "provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))"
    )
    source = INSTRUMENTED + PROVIDER + bare
    assert sent(f"{source}\nadd(1, 2)\n") == ([line], [])
    assert sent(f"{source}{full}\nadd(1, 2)\n") == ([], ["execute_tool add"])


def test_an_exporter_that_is_switched_off_is_said():
    line = "OTEL_TRACES_EXPORTER=none: no span leaves the process; unset it"
    assert sent(CONFIGURED, OTEL_TRACES_EXPORTER="none") == ([line], [])
    assert doctor(OTEL_TRACES_EXPORTER="none", TOOLSPAN_DISABLED=NONE).wrong == [line]
    assert sent(CONFIGURED, OTEL_TRACES_EXPORTER="otlp") == ([], ["execute_tool add"])


OF_OTHERS = """
class Theirs(trace.TracerProvider):
    "A provider that takes no processors, around one that has some."
    inner = TracerProvider()
    inner.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    def get_tracer(self, *args, **kwargs):
        return self.inner.get_tracer(*args, **kwargs)

trace.set_tracer_provider({provider})
add(1, 2)
"""


@pytest.mark.parametrize("provider", ["Theirs()", "Theirs.inner"])
def test_a_provider_that_does_not_take_our_processor_is_said(provider):
    line = (
        "__main__.Theirs has no processor of toolspan's: spans that others make of the same calls "
        "are not seen; use the SDK's TracerProvider, or switch the others off"
    )
    wrong, spans = sent(INSTRUMENTED + PROVIDER + OF_OTHERS.format(provider=provider))
    assert wrong == ([line] if provider == "Theirs()" else [])
    assert spans == ["execute_tool add"]


# -- 9: fork without restart -----------------------------------------------------------------------

FORKING = f"""{CALLING}
import ctypes, os, sys, time
toolspan.configure()
fork = os.fork if sys.argv[1] == "python" else ctypes.PyDLL(None).fork
add(1, 2)
toolspan.flush(2)
name, until = "parent", time.monotonic() + (3 if sys.argv[1] == "c" else 30)
for name in ("child", "grandchild"):
    if fork():
        os.wait()
        name = {{"child": "parent", "grandchild": "child"}}[name]
        break
    toolspan.tool(add, name=name)(1, 2)
while name == "grandchild" and time.monotonic() < until and not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
print(name, [str(one) for one in toolspan.status().findings], flush=True)
os._exit(0)
"""
EVERYBODY = {"add", "child", "grandchild"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("by", ["c", "python"])
def test_a_child_in_which_nothing_was_started_again_is_said(tmp_path, by):
    def arrived():
        spans = {span.name.partition(" ")[2] for span in receiver.spans()}
        points = [point for metric in receiver.metrics() for point in metric.points]
        return spans, {point.attributes["gen_ai.tool.name"] for point in points}

    def watch():
        while not over.wait(0.05):
            if arrived() == (EVERYBODY, EVERYBODY):
                (tmp_path / "all").touch()

    soon = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRIC_EXPORT_INTERVAL": "200"}
    over = threading.Event()
    with Receiver() as receiver, ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_METRICS_EXPORTER": "otlp"}
        told = program(FORKING, by, tmp_path / "all", **soon, **endpoint)
        over.set()
        watching.result()
        seen = arrived()
    said = [
        (
            "this process was forked past Python, which restarts nothing then: no metrics are "
            "sent, and after a second such fork no spans; uWSGI: set py-call-uwsgi-fork-hooks or "
            "lazy-apps; elsewhere import and configure after the fork"
        )
    ]
    by_python = by == "python"
    assert seen == ((EVERYBODY, EVERYBODY) if by_python else ({"add", "child"}, {"add"}))
    of_children = str([] if by_python else said)
    assert told.facts[:3] == [f"grandchild {of_children}", f"child {of_children}", "parent []"]


# -- 10: old wrapt ---------------------------------------------------------------------------------


def test_the_range_of_wrapt_is_the_one_that_is_published():
    assert f'"wrapt{WRAPT}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.skipif(
    not importlib.util.find_spec("mypy") or UV is None, reason="installed once a run, where mypy is"
)
def test_an_old_wrapt_is_said(tmp_path):
    target = ("--target", tmp_path / "old", "--python", sys.executable)
    command = [UV, "pip", "install", "--no-deps", *target, "wrapt==1.16.0"]
    subprocess.run(list(map(str, command)), capture_output=True, check=True)
    source = f"{CALLING}\ntoolspan.configure()\nimport wrapt\nprint(wrapt.__version__)\n"
    old, new = program(source, path=[tmp_path / "old"]), program(source)
    assert (old.facts[0], new.facts[0]) == ("1.16.0", version("wrapt"))
    assert old.wrong == [
        "wrapt 1.16.0 is not a version that toolspan works with; pip install 'wrapt>=1.17,<3'"
    ]
    assert new.wrong == []


# -- 11 and 12: switched off -----------------------------------------------------------------------

LEFT_OUT = (
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names {}: opentelemetry-instrument leaves toolspan out; "
    "take it out of that list (toolspan run and configure() do not heed it)"
)
DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


@needs_distro
@pytest.mark.skipif(
    not [one for one in entry_points(group="opentelemetry_instrumentor") if one.name == "toolspan"],
    reason="toolspan is not installed here",
)
@pytest.mark.parametrize("names", ["requests, toolspan", "*", "requests"])
def test_an_entry_point_that_is_disabled_is_said(tmp_path, names):
    command = (instrument_command(), sys.executable, PROGRAM, tmp_path / "counter")
    with Receiver() as receiver:
        told = doctor(
            "--",
            *command,
            **{DISABLED: names},
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_LOGS_EXPORTER="none",
        )
        spans = [span.name for span in receiver.spans()]
    if names == "requests":
        assert (told.wrong, spans) == ([], ["execute_tool add", "execute_tool fail"])
    else:
        assert (told.wrong, spans) == ([LEFT_OUT.format(names.split()[-1])], [])


def test_an_entry_point_that_is_disabled_is_said_of_the_environment_alone():
    with Receiver() as receiver:
        setting = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "TOOLSPAN_DISABLED": NONE}
        assert doctor(**{DISABLED: "toolspan"}, **setting).wrong == [LEFT_OUT.format("toolspan")]
        assert doctor(**{DISABLED: "toolspans"}, **setting).wrong == []
        # A program that switches toolspan on itself does not heed it.
        assert program(CONFIGURED, **{DISABLED: "toolspan"}, **setting).wrong == []


def test_that_opentelemetry_is_disabled_is_said_and_nothing_that_follows_from_it():
    line = "OTEL_SDK_DISABLED=true: nothing is hooked, counted or sent; unset it"
    assert sent(CONFIGURED, OTEL_SDK_DISABLED="true") == ([line], [])
    assert doctor(OTEL_SDK_DISABLED="true").wrong == [line]
    assert sent(CONFIGURED, OTEL_SDK_DISABLED="false") == ([], ["execute_tool add"])


# -- nothing is wrong, and nothing is there --------------------------------------------------------


def test_of_a_healthy_environment_nothing_is_said_but_what_is_there():
    with Receiver() as receiver:
        told = doctor(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    assert told.wrong == []
    installed = {one.name for one in ADAPTERS if is_installed(one.distribution)}
    listed = [line.partition(" ")[0] for line in told.facts if line.endswith("hooks placed")]
    assert sorted(listed) == sorted(installed)
    absent = {one.name for one in ADAPTERS} - installed
    assert not [line for line in told.facts if line.partition(" ")[0] in absent]
    assert not [line for line in told.facts if line.startswith(("neighbours", "frameworks'"))]


def is_installed(distribution):
    try:
        return bool(version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return False


def test_what_is_present_and_not_hooked_is_one_line():
    pytest.importorskip("langchain_core")
    told = program(f"import langchain_core.tools\n{CONFIGURED}", TOOLSPAN_DISABLED="langchain")
    here = version("langchain-core")
    line = f"langchain {here}: not hooked (TOOLSPAN_DISABLED names it)"
    assert [one for one in told.facts if one.startswith("langchain")] == [line]


def test_a_program_that_knows_nothing_of_us_is_told_how_to_switch_us_on():
    alone = program("print('hello')")
    assert alone.facts == ["hello"]
    assert alone.wrong == [
        (
            "toolspan was not switched on in this program, which never loaded it; put `toolspan run "
            "--` before the command, or call toolspan.configure() in it"
        )
    ]
    run = (sys.executable, "-m", "toolspan", "run", "--", sys.executable, "-c", "print('hello')")
    assert doctor("--", *run).wrong == []


def test_a_program_that_loads_us_and_forgets_to_switch_us_on_is_told_so():
    assert program(f"{CALLING}\nadd(1, 2)\n").wrong == [
        (
            "toolspan is off: no call is traced; call toolspan.configure(), or start the program by "
            "toolspan run"
        )
    ]
    ended = f"{CALLING}\ntoolspan.instrument(tracer_provider=TracerProvider())\nadd(1, 2)\n"
    assert program(f"{PROVIDER}{ended}\ntoolspan.uninstrument()\n").wrong == []


def test_a_process_that_ends_without_a_word_is_told_of():
    (line,) = program(f"{CONFIGURED}\nimport os; os._exit(0)\n").wrong
    assert line.startswith("a process ended without its exit handlers (a signal, os._exit)")


def test_a_process_that_dies_as_it_tells_is_told_of():
    dying = (
        "import json, os; json.dump = lambda _, file: (file.write('{'), file.flush(), os._exit(0))"
    )
    (line,) = program(f"{CONFIGURED}\n{dying}\n").wrong
    assert line.startswith("a process ended without its exit handlers (a signal, os._exit)")


def test_every_process_of_a_program_is_asked_and_the_same_fault_said_once():
    source = (
        "import os, subprocess, sys\n"
        "import toolspan\ntoolspan.instrument()\n"
        "if not sys.argv[1:]:\n"
        "    subprocess.run([sys.executable, '-c', os.environ['SOURCE'], 'inner'], check=True)\n"
    )
    told = program(source, SOURCE=source)
    assert len([line for line in told.facts if line.startswith("process ")]) == 2
    assert len(told.wrong) == 1


def test_the_status_in_a_program_says_the_same_as_the_doctor(capfd):
    told = program(f"{INSTRUMENTED}\nadd(1, 2)\nprint(toolspan.status())\n")
    inside = told.facts[: len(told.facts) // 2]
    assert told.facts == inside * 2
    assert len(told.wrong) == 2
    assert len(set(told.wrong)) == 1


# -- the command -----------------------------------------------------------------------------------


def run(*arguments, **options):
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [*DOCTOR, "doctor", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_as_json_the_facts_and_findings_stand_alone_on_standard_output():
    source = f"print('hello'); import toolspan; toolspan.instrument(){CALLING}\nadd(1, 2)\n"
    done = run("--json", "--", sys.executable, "-c", source)
    told = json.loads(done.stdout)
    ((_, facts),) = told["processes"].items()
    assert done.returncode == 1
    assert facts["provider"] == "opentelemetry.trace.ProxyTracerProvider"
    assert [one["line"].partition(":")[0] for one in told["findings"]] == [
        "no tracer provider is set"
    ]
    assert "hello" in done.stderr.splitlines()


def test_how_the_program_ended_is_a_fact():
    done = run("--", sys.executable, "-c", f"{CONFIGURED}\nraise SystemExit(7)\n")
    assert f"{Path(sys.executable).name} ended with 7" in done.stdout.splitlines()


@pytest.mark.parametrize("words", [["--", "no-such-command"], ["--export", "--", "python"]])
def test_what_cannot_be_run_is_wrong_usage(words):
    done = run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: toolspan doctor")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_a_server_is_examined_when_it_is_stopped_by_ctrl_c():
    source = (
        f"{CALLING}\nimport time\ntoolspan.instrument()\nprint('up', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen(
        [*DOCTOR, "doctor", "--", sys.executable, "-c", source],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        ending = threading.Timer(60, process.kill)
        ending.start()
        assert process.stdout.readline() == "up\n"
        time.sleep(0.2)  # the doctor is about to wait
        os.killpg(process.pid, signal.SIGINT)
        told = process.stdout.read()
        ending.cancel()
    assert "wrong: no tracer provider is set" in told
    assert process.returncode == 1


def test_findings_are_a_function_of_the_facts_alone():
    facts = Status(
        active=True, provider="opentelemetry.sdk.trace.TracerProvider", opentelemetry="1"
    )
    assert [str(one).partition(" ")[0] for one in findings(facts)] == ["wrapt"]
    assert toolspan.status().findings == findings(toolspan.status())
