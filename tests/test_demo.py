"""`toolspan demo`: what it shows is what its tools did, by their own log."""

from __future__ import annotations

import ast
import io
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_span_in_context

import toolspan
from receiver import Receiver
from toolspan.cli import demonstration
from toolspan.cli.demonstration import files
from toolspan.cli.tree import CallTree

HOME = str(Path(toolspan.__file__).parent.parent)
MAIN = "import sys; from toolspan.cli import main; sys.exit(main())"
#: What the script of the demonstration makes its tools do, in this order.
EXECUTED = ["count", "search", "read", "read", "read", "checksum"]
ROW = re.compile(r"├─ execute_tool (\w+) +([\d.]+) (µs|ms|s)  (\w+) *(.*)")

#: Python imports this before the program: each connection to an address is written down.
WITNESS = """
import os, sys
def witness(event, arguments):
    if event == "socket.connect" and type(arguments[1]) is tuple:
        with open(os.environ["CONNECTIONS"], "a") as log:
            log.write(f"{arguments[1]}\\n")
sys.addaudithook(witness)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    (place / "a.txt").write_text("the cat")
    (place / "b.md").write_text("the dog")
    (place / "c.py").write_text("x = 1")
    return place


def surroundings(log, *path, **variables):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TOOLSPAN_"))}
    clean |= {"PYTHONPATH": os.pathsep.join([HOME, *map(str, path)]), files.LOG: str(log)}
    return clean | {"PYTHONIOENCODING": "utf-8"} | variables


def demo(folder, log, *, main=MAIN, path=(), **variables):
    """The demonstration in a process of its own, and the names its tools wrote into `log`."""
    done = subprocess.run(
        [sys.executable, "-c", main, "demo", str(folder)],
        env=surroundings(log, *path, **variables),
        capture_output=True,
        encoding="utf-8",
        timeout=90,
        check=False,
    )
    return done, log.read_text().split() if log.exists() else []


def rows(output):
    """(tool, seconds, outcome, remarks) of each call in the tree."""
    units = {"µs": 1e-6, "ms": 1e-3, "s": 1}
    found = ROW.findall(output)
    return [(tool, float(n) * units[unit], word, rest) for tool, n, unit, word, rest in found]


@pytest.fixture(scope="module")
def shown(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("witness")
    (place / "sitecustomize.py").write_text(WITNESS)
    connections = place / "connections"
    done, executed = demo(folder, place / "log", path=[place], CONNECTIONS=str(connections))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout, executed, connections


def test_the_tree_has_one_row_for_each_time_a_tool_ran(shown):
    output, executed, _ = shown
    assert executed == EXECUTED
    assert Counter(tool for tool, *_ in rows(output)) == Counter(executed)


def test_the_agent_is_the_root_of_every_call(shown):
    lines = shown[0].splitlines()
    assert lines[0] == "invoke_agent librarian"
    assert all(line.startswith("├─ execute_tool ") for line in lines[1 : len(EXECUTED) + 1])
    assert re.match(r"└─ whole run +[\d.]+ s  ok$", lines[len(EXECUTED) + 1])


def test_the_two_calls_of_one_answer_are_siblings_in_parallel_and_no_others(shown):
    parallel = [tool for tool, _, _, rest in rows(shown[0]) if "in parallel" in rest]
    assert parallel == ["read", "read"]


def test_the_call_that_fails_says_so_with_its_error_type(shown):
    failed = [row for row in rows(shown[0]) if row[2] != "ok"]
    assert [row[0] for row in failed] == ["read"]
    assert failed[0][2] in {"error", "tool_error"}
    assert re.match(r"[\w.]+, via MCP$", failed[0][3])


def test_the_slow_call_takes_as_long_as_its_tool_and_the_run_as_long_as_its_calls(shown):
    seconds = {tool: seconds for tool, seconds, *_ in rows(shown[0])}
    whole = float(re.search(r"whole run +([\d.]+) s", shown[0])[1])
    assert max(seconds, key=seconds.get) == "checksum"
    assert 1.5 <= seconds["checksum"] <= whole


def test_calls_that_went_to_the_server_say_so(shown):
    via = {tool: "via MCP" in rest for tool, _, _, rest in rows(shown[0])}
    assert via == {"count": False, "search": True, "read": True, "checksum": True}


def test_the_table_counts_every_call_of_each_tool_and_flags_the_slow_and_the_failing(shown):
    output, executed, _ = shown
    table = output.partition("whole run")[2].splitlines()[2:]
    header, *lines = [re.split(r"  +", line.strip()) for line in table]
    cells = [dict(zip(header, line, strict=False)) for line in lines if line[0] in executed]
    assert {row["tool"]: int(row["calls"]) for row in cells} == Counter(executed)
    assert {row["tool"]: int(row["failed"]) for row in cells if row["failed"] != "0"} == {"read": 1}
    assert {row["agent"] for row in cells} == {"librarian"}
    flags = {line[0]: line[-1] for line in lines if line[-1] in {"SLOW", "FAILING"}}
    assert flags == {"checksum": "SLOW", "read": "FAILING"}


def test_the_last_line_names_the_way_to_jaeger(shown):
    last = shown[0].splitlines()[-1]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 toolspan demo" in last


def test_without_an_endpoint_no_connection_is_attempted(shown):
    assert not shown[2].exists()


def test_with_instrumentation_off_the_tools_run_and_nothing_is_seen(folder, tmp_path):
    done, executed = demo(folder, tmp_path / "log", TOOLSPAN_DISABLED="langchain,mcp")
    assert done.returncode == 0, done.stderr
    assert executed == EXECUTED
    assert rows(done.stdout) == []
    assert "librarian" not in done.stdout
    assert "no tool calls yet" in done.stdout
    assert not re.search(r"\b(count|search|read|checksum)\b", done.stdout)


def test_with_an_endpoint_agent_and_server_send_one_trace_there(folder, tmp_path):
    with Receiver() as receiver:
        done, executed = demo(folder, tmp_path / "log", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
        spans = receiver.wait(12)
    assert (done.returncode, done.stderr) == (0, "")
    assert Counter(tool for tool, *_ in rows(done.stdout)) == Counter(executed)
    calls = [span for span in spans if "gen_ai.tool.name" in span.attributes]
    of = {
        service: [span for span in calls if span.resource["service.name"] == service]
        for service in ("toolspan-demo", "toolspan-demo-files")
    }
    assert sorted(s.attributes["gen_ai.tool.name"] for s in of["toolspan-demo"]) == sorted(executed)
    served = {span.parent_id for span in of["toolspan-demo-files"]}
    asked = {s.span_id for s in of["toolspan-demo"] if s.attributes["gen_ai.tool.name"] != "count"}
    assert served == asked
    assert len({span.trace_id for span in calls}) == 1
    sent = [span for span in spans if span.resource["service.name"] == "toolspan-demo"]
    last = done.stdout.splitlines()[-1]
    assert last == f"{len(sent)} spans of this process sent to {receiver.url}"


def test_an_endpoint_where_nobody_listens_is_told_and_the_rest_is_shown(folder, tmp_path):
    with Receiver("refuse") as receiver:
        done, executed = demo(folder, tmp_path / "log", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    assert done.returncode == 1
    assert Counter(tool for tool, *_ in rows(done.stdout)) == Counter(executed)
    assert done.stdout.splitlines()[-1].startswith("0 spans of this process sent to http://")


@pytest.mark.parametrize("missing", ["langchain", "langgraph", "mcp"])
def test_without_the_extra_one_line_says_what_to_install(folder, tmp_path, missing):
    without = f"import sys; sys.modules[{missing!r}] = None; {MAIN}"
    done, executed = demo(folder, tmp_path / "log", main=without)
    assert (done.returncode, done.stdout, executed) == (2, "", [])
    [line] = done.stderr.splitlines()
    assert 'pip install "toolspan[demo]"' in line


def test_a_folder_that_is_none_is_wrong_usage(tmp_path):
    done, _ = demo(tmp_path / "nowhere", tmp_path / "log")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("nowhere is not a folder")


@contextmanager
def started(folder, log):
    """The demonstration while it runs, with what it has printed until its first call ended."""
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "demo", str(folder)],
        env=surroundings(log),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        yield process, [process.stdout.readline(), process.stdout.readline()]


@pytest.mark.skipif(os.name == "nt", reason="signals to a group of processes are of POSIX")
def test_an_interruption_ends_it_without_a_traceback(folder, tmp_path):
    with started(folder, tmp_path / "log") as (process, printed):
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert "execute_tool count" in printed[1]
    assert (process.returncode, errors) == (130, "")
    assert "execute_tool checksum" not in output or "cancelled" in output


@pytest.mark.skipif(os.name == "nt", reason="Windows reports a closed pipe in other ways")
def test_a_reader_that_goes_away_ends_it_without_a_traceback(folder, tmp_path):
    with started(folder, tmp_path / "log") as (process, _):
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(30)
    assert process.returncode == 1
    assert "Traceback" not in errors


def test_the_script_reads_what_was_found_and_guesses_where_nothing_was():
    from langchain_core.messages import AIMessage, ToolMessage

    from toolspan.cli.demonstration.script import ScriptedModel

    def paths(found):
        answer = ToolMessage(found, tool_call_id="call_1_0", name="search")
        reply = ScriptedModel().invoke([AIMessage(""), AIMessage(""), answer])
        return [call["args"]["path"] for call in reply.tool_calls]

    assert paths("a.txt\nb.md\nc.py") == ["a.txt", "b.md"]
    assert paths("a.txt") == ["a.txt", "README.md"]
    assert paths("") == ["README.md", "README.md"]


def test_agent_server_and_script_import_nothing_of_ours_but_each_other():
    ours = set()
    for source in Path(demonstration.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", [])]
            module = getattr(node, "module", None)
            if (
                module == "toolspan"
                or "toolspan" in names
                or (module or "").startswith("toolspan.")
            ):
                ours.add(module)
            assert not [n for n in [*names, module or ""] if n.startswith("opentelemetry")]
    assert ours == {"toolspan.cli.demonstration", "toolspan.cli.demonstration.script"}


def test_the_tools_see_neither_hidden_nor_generated_nor_linked_files(tmp_path):
    for path in (".git/config", "venv/lib.py", "other/pyvenv.cfg", "other/lib.py", "sub/own.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / path).write_text("needle")
    (tmp_path / "link.py").symlink_to(tmp_path / "venv/lib.py")
    assert files.search(tmp_path, "needle") == str(Path("sub", "own.py"))
    assert files.count(tmp_path) == "1 in all: 1 .py"


def test_nothing_outside_of_the_folder_is_read(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.txt").symlink_to(tmp_path / "secret.txt")
    for path in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt", "."):
        with pytest.raises(FileNotFoundError):
            files.read(inside, path)


def test_files_are_read_and_counted_within_bounds(tmp_path):
    (tmp_path / "0 large").write_text("x" * 1_000_000)
    for number in range(2_100):
        (tmp_path / f"{number}.txt").touch()
    assert len(files.read(tmp_path, "0 large")) == 8_192
    assert files.count(tmp_path).startswith("2000 in all: ")


def drawn(out, draw):
    """What `draw(tracer)` leaves on `out`, from spans made by hand."""
    provider = TracerProvider()
    provider.add_span_processor(CallTree(out))
    draw(provider.get_tracer("by hand"))
    provider.shutdown()


def span(tracer, name, above=None, **attributes):
    attributes = {key.replace("__", "."): value for key, value in attributes.items()}
    attributes.setdefault("gen_ai.operation.name", name.partition(" ")[0])
    context = set_span_in_context(above) if above else None
    return tracer.start_span(name, context, attributes=attributes)


def test_a_call_inside_a_call_stands_below_it_also_with_a_foreign_span_between():
    out = io.StringIO()

    def draw(tracer):
        root = span(tracer, "invoke_agent a")
        outer = span(tracer, "execute_tool outer", root)
        between = span(tracer, "GET /", outer)
        inner = span(tracer, "execute_tool inner", between)
        for each in (inner, between, outer, root):
            each.end()

    drawn(out, draw)
    starts = [re.sub(r"(?<=\w)  .*", "", line) for line in out.getvalue().splitlines()]
    assert starts == [
        "invoke_agent a",
        "├─ execute_tool outer",
        "│  └─ execute_tool inner",
        "└─ whole run",
    ]


def test_a_call_is_printed_when_it_ends_not_when_the_run_does():
    out = io.StringIO()

    def draw(tracer):
        root = span(tracer, "invoke_agent a")
        assert out.getvalue() == "invoke_agent a\n"
        span(tracer, "execute_tool first", root).end()
        assert "execute_tool first" in out.getvalue()
        root.end()

    drawn(out, draw)


def test_what_a_terminal_could_obey_is_written_as_text():
    out = io.StringIO()
    evil = "\x1b[2J\n\u202e\x9b"

    def draw(tracer):
        root = span(tracer, "invoke_agent " + evil)
        tool = span(tracer, "execute_tool " + evil, root, error__type=evil)
        tool.set_attribute("toolspan.outcome", evil)
        tool.end()
        root.end()

    drawn(out, draw)
    assert out.getvalue().count("\n") == 3
    assert not set("\x1b\u202e\x9b") & set(out.getvalue())
    assert out.getvalue().count(r"\x1b[2J\n\u202e\x9b") == 4


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_stands_on_a_terminal_only_and_not_against_no_color(
    monkeypatch, variables, coloured
):
    import pty

    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        drawn(terminal, lambda tracer: span(tracer, "execute_tool t").end())
        output = os.read(ours, 10_000).decode()
    os.close(ours)
    assert ("\x1b[32mok" in output) is coloured

    plain = io.StringIO()
    drawn(plain, lambda tracer: span(tracer, "execute_tool t").end())
    assert "\x1b" not in plain.getvalue()
