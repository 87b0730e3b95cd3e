"""`toolspan run -- COMMAND`: an unmodified program, traced by the quick-start pipeline."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_SERVICE_NAME,
)

from toolspan.settings import CAPTURE

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Holds the sitecustomize.py that Python imports before the program's own first line.
BOOTSTRAP: Final = str(Path(__file__).parent.resolve() / "bootstrap")
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127

_DESCRIPTION = """\
Run a program with toolspan switched on in it. The program is not changed: before its first line
runs, `toolspan.configure()` has set up the quick-start pipeline, so that every tool call of a
supported agent framework becomes one span, sent over OTLP.

  toolspan run -- python agent.py
  toolspan run --service-name shop --endpoint http://localhost:4318 -- python -m agent --fast

`python` and `python3` are the interpreter that toolspan is installed in; any other COMMAND is
looked up in PATH, then beside that interpreter. Processes that the program starts itself are not
traced. The options set the standard variables, which work here just as well.
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `run` to the commands."""
    parser = commands.add_parser(
        "run",
        help="run a program, unchanged, with its tool calls traced",
        usage="toolspan run [options] -- COMMAND [ARGUMENT ...]",
        description=_DESCRIPTION,
        epilog="The exit code is the program's; 127 when there is no such command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(execute=execute, usage_error=parser.error)


def _add_options(parser: argparse.ArgumentParser) -> None:
    def add(flag: str, variable: str, explanation: str, **rest: Any) -> None:
        parser.add_argument(flag, dest=variable, help=f"{explanation} ({variable})", **rest)

    add("--service-name", OTEL_SERVICE_NAME, "what your backend calls it", metavar="NAME")
    add("--endpoint", OTEL_EXPORTER_OTLP_ENDPOINT, "where the spans go", metavar="URL")
    add(
        "--protocol",
        OTEL_EXPORTER_OTLP_PROTOCOL,
        "how they go there",
        choices=("http/protobuf", "grpc"),
    )
    add(
        "--capture-content",
        CAPTURE,
        "put arguments and results on the spans, which are left out otherwise",
        action="store_const",
        const="SPAN_ONLY",
    )


def execute(options: argparse.Namespace) -> int:
    """Become the command, traced; return only when it cannot be started (or on Windows)."""
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        options.usage_error("which program? For example: toolspan run -- python agent.py")
    program = executable(command[0])
    if program is None:
        return _refuse(f"{command[0]}: no such command{hint(command[0])}", NOT_FOUND)
    chosen = {name: value for name, value in vars(options).items() if name.startswith("OTEL_")}
    environment = traced_environment(os.environ)
    environment.update({name: value for name, value in chosen.items() if value is not None})
    return _become([program, *command[1:]], environment)


def traced_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` such that the next Python interpreter started with it calls `configure()`."""
    paths = [BOOTSTRAP, *filter(None, [environ.get("PYTHONPATH")])]
    return {**environ, "PYTHONPATH": os.pathsep.join(paths)}


def executable(command: str) -> str | None:
    """What is started for `command`; None without one."""
    # Another interpreter than this one would not find toolspan, and run untraced.
    if command in {"python", "python3"}:
        return sys.executable
    beside = str(Path(sys.executable).parent)  # of an environment that is not activated
    return shutil.which(command) or shutil.which(command, path=beside)


def hint(command: str) -> str:
    """What was probably meant by a command that is not there."""
    return f" (did you mean: toolspan run -- python {command})" if command.endswith(".py") else ""


def _become(command: list[str], environment: dict[str, str]) -> int:
    if os.name == "nt":  # Windows starts a second process and lets the first one end at once
        return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606  # the user's own command
    except OSError as error:
        return _refuse(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE)


def _refuse(reason: str, code: int) -> int:
    print(f"toolspan run: {reason}", file=sys.stderr)
    return code
