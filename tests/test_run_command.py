"""`toolspan run`, with programs that know nothing of it, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import toolspan
from receiver import Receiver
from toolspan.cli.run import BOOTSTRAP

HOME = str(Path(toolspan.__file__).parent.parent)
#: `toolspan` as a command, also where it is not installed.
TOOLSPAN = [sys.executable, "-c", "import sys; from toolspan.cli import main; sys.exit(main())"]

TELLING = """
import json, os, sys
chained = sys.modules.get("sitecustomize")
print(json.dumps({
    "argv": sys.argv[1:],
    "pid": os.getpid(),
    "executable": sys.executable,
    "path": sys.path,
    "environment": {k: v for k, v in os.environ.items() if k.startswith(("PYTHON", "OTEL_"))},
    "sitecustomize": getattr(chained, "__file__", None),
    "effect": getattr(sys, "effect_of_sitecustomize", None),
    "traced": sorted(name for name in sys.modules if name.partition(".")[0] == "toolspan")[:1],
}))
sys.exit(7)
"""

CALLING = """
import sys
from langchain_core.tools import tool

@tool
def add(a: int, b: int) -> int:
    "Add."
    return a + b

print(add.invoke({"a": 2, "b": 3}), *sys.argv[1:])
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(TELLING)
    return path


def start(*command, path=(), silent=True, **variables):
    """A child process with a clean environment; `silent`: nothing is exported from it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PYTHON"))}
    clean["PYTHONPATH"] = os.pathsep.join([HOME, *map(str, path)])
    clean |= {"OTEL_SDK_DISABLED": "true"} if silent else {}
    return subprocess.run(
        [*map(str, command)],
        env=clean | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run(*arguments, **settings):
    return start(*TOOLSPAN, "run", *arguments, **settings)


def test_a_program_that_does_not_know_us_is_traced_under_the_name_and_endpoint_of_the_options(
    tmp_path,
):
    program = tmp_path / "program.py"
    program.write_text(CALLING)
    assert "toolspan" not in CALLING
    with Receiver() as receiver:
        options = ["--service-name", "shop", "--endpoint", receiver.url, "--capture-content"]
        done = run(*options, "--", "python", program, silent=False)
        [span] = receiver.wait()
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr
    assert (span.name, span.resource["service.name"]) == ("execute_tool add", "shop")
    assert json.loads(span.attributes["gen_ai.tool.call.arguments"]) == {"a": 2, "b": 3}


def test_without_the_option_no_content_is_captured(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(CALLING)
    with Receiver() as receiver:
        done = run("--endpoint", receiver.url, "--", "python", program, silent=False)
        [span] = receiver.wait()
    assert done.returncode == 0, done.stderr
    assert "gen_ai.tool.call.arguments" not in span.attributes


def test_the_protocol_is_what_the_option_says(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(CALLING)
    with Receiver() as receiver:
        endpoint = f"http://{receiver.grpc_target}"
        options = ["--protocol", "grpc", "--endpoint", endpoint]
        done = run(*options, "--", "python", program, silent=False)
        [span] = receiver.wait()
    assert done.returncode == 0, done.stderr
    assert span.name == "execute_tool add"


def test_the_program_sees_what_it_sees_without_us_and_its_exit_code_is_ours(program):
    alone = start(sys.executable, program, "a", "--", "--help", "")
    under = run("--", "python", program, "a", "--", "--help", "")
    assert under.returncode == alone.returncode == 7
    seen, expected = json.loads(under.stdout), json.loads(alone.stdout)
    assert seen.pop("traced") == ["toolspan"]
    assert expected.pop("traced") == []
    assert seen.pop("sitecustomize") != expected.pop("sitecustomize")
    assert seen.pop("pid") != expected.pop("pid")
    assert seen == expected
    assert seen["argv"] == ["a", "--", "--help", ""]


def test_a_python_path_that_was_not_set_is_not_set_in_the_program(tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    folder = "Scripts" if os.name == "nt" else "bin"
    interpreter = environment / folder / "python"
    begin = f"import sys; sys.path.insert(0, {HOME!r}); sys.argv[1:] = sys.argv[1:]"
    main = "from toolspan.cli import main; sys.exit(main())"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    program = "import os; print(os.environ.get('PYTHONPATH'))"
    done = subprocess.run(
        [sys.executable, "-c", f"{begin}; {main}", "run", "--", interpreter, "-c", program],
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "None\n")
    assert done.stderr == f"toolspan is not installed for {interpreter}: nothing is traced\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot replace a process")
def test_the_program_takes_the_place_of_the_command(program):
    with subprocess.Popen(
        [*TOOLSPAN, "run", "--", "python", program],
        env=os.environ | {"PYTHONPATH": HOME, "OTEL_SDK_DISABLED": "true"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        answer, _ = process.communicate(timeout=60)
    assert json.loads(answer)["pid"] == process.pid


def test_python_is_the_interpreter_that_has_us_whatever_the_path_says(program):
    done = run("--", "python", program, PATH="")
    assert Path(json.loads(done.stdout)["executable"]).samefile(sys.executable)


def test_the_sitecustomize_of_the_environment_runs_in_our_place(tmp_path, program):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text(
        "import sys, os\n"
        "sys.effect_of_sitecustomize = [__name__, os.environ['PYTHONPATH'].split(os.pathsep)]\n"
    )
    done = run("--", "python", program, path=[theirs])
    told = json.loads(done.stdout)
    assert told["sitecustomize"] == str(theirs / "sitecustomize.py")
    assert told["effect"] == ["sitecustomize", [HOME, str(theirs)]]
    assert BOOTSTRAP not in told["path"]
    assert told["traced"] == ["toolspan"]


def test_a_sitecustomize_that_raises_is_reported_as_ever_and_the_program_is_traced(
    tmp_path, program
):
    (tmp_path / "sitecustomize.py").write_text("raise LookupError('theirs')\n")
    alone = start(sys.executable, program, path=[tmp_path])
    under = run("--", "python", program, path=[tmp_path])
    assert under.returncode == alone.returncode == 7
    assert under.stderr == 2 * alone.stderr  # once in the command itself, once in the program
    assert "LookupError: theirs" in under.stderr
    assert json.loads(under.stdout)["traced"] == ["toolspan"]


def test_a_library_of_ours_that_is_broken_does_not_stop_the_program(tmp_path, program):
    (tmp_path / "wrapt.py").write_text("raise ValueError('broken installation')\n")
    traced = os.environ | {
        "PYTHONPATH": os.pathsep.join([BOOTSTRAP, str(tmp_path), HOME]),
        "OTEL_SDK_DISABLED": "true",
    }
    done = subprocess.run(
        [sys.executable, program],
        env=traced,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 7
    assert json.loads(done.stdout)["argv"] == []
    assert "ValueError: broken installation" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--"], ["--service-name", "x"]])
def test_no_command_is_wrong_usage(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: toolspan run [options] -- COMMAND [ARGUMENT ...]\n")
    assert "which program?" in done.stderr


def test_a_command_that_is_not_there_gets_one_line_and_127():
    done = run("--", "no-such-command")
    assert done.returncode == 127
    assert done.stderr == "toolspan run: no-such-command: no such command\n"


def test_a_program_without_its_interpreter_is_told_the_command(tmp_path):
    done = run("--", tmp_path / "agent.py")
    assert done.returncode == 127
    assert f"did you mean: toolspan run -- python {tmp_path / 'agent.py'}" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="execution bits are of POSIX")
def test_a_command_that_cannot_be_executed_gets_one_line_and_126(tmp_path):
    command = tmp_path / "command"
    command.write_bytes(b"\0 no format that a kernel knows")
    command.chmod(0o755)
    done = run("--", command)
    assert done.returncode == 126
    assert done.stderr == f"toolspan run: {command}: Exec format error\n"


def test_the_help_teaches_by_example_and_the_version_is_told():
    assert "toolspan run -- python agent.py" in run("--help").stdout
    everything = start(*TOOLSPAN, "--help").stdout
    assert "toolspan demo" in everything
    assert "toolspan run" in everything
    assert start(*TOOLSPAN, "--version").stdout.startswith("toolspan ")
    assert start(*TOOLSPAN).returncode == 2
