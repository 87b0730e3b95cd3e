"""The command `toolspan`: one file per command, each of which adds its own parser."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Final

from toolspan.cli import demo, doctor, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: As shells say it: 128 and the number of SIGINT.
INTERRUPTED: Final = 130

_DESCRIPTION = """\
One tool call, one span: OpenTelemetry for the tool calls of AI agents.

  toolspan demo                     see a real agent's calls, with nothing else running
  toolspan run -- python agent.py   trace a program that you do not change
  toolspan doctor --export          find out why nothing arrives
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 success, 130 interrupted.

    Raises:
        SystemExit: argparse has printed its help, the version or what is wrong.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.execute
    try:
        status = command(options)
        print(end="", flush=True)  # here, where it is known what to do when nobody reads
    except BrokenPipeError:  # what reads our output has gone; Python would write to it once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        if _is_interruption(error):
            return INTERRUPTED
        raise
    return status


def _is_interruption(error: BaseException) -> bool:
    """Whether somebody pressed Ctrl-C; Python 3.10's asyncio lets a group of tasks say so."""
    within: Sequence[BaseException] = getattr(error, "exceptions", ())
    return isinstance(error, KeyboardInterrupt) or any(map(_is_interruption, within))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="toolspan",
        description=_DESCRIPTION,
        epilog="`toolspan COMMAND --help` explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"toolspan {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    demo.add_parser(commands)
    run.add_parser(commands)
    doctor.add_parser(commands)
    return parser


def _version() -> str:
    try:
        return metadata.version("toolspan")
    except metadata.PackageNotFoundError:
        return "(not installed: running from its sources)"
