"""`toolspan doctor`: what is wrong between this machine and its backend, in one line."""

from __future__ import annotations

import argparse
import os
from typing import Any

import toolspan
from toolspan.cli.tree import printable

_DESCRIPTION = """\
Find out why nothing arrives.

  toolspan doctor --export
  OTEL_EXPORTER_OTLP_ENDPOINT=https://collector:4318 toolspan doctor --export

sends one span named `toolspan doctor`, with the attribute toolspan.test=true, where configure()
and `toolspan run` would send spans from here: by the same OTEL_EXPORTER_OTLP_* variables,
certificates and proxies. One line says where it went, in how long, and which trace to look for;
or what is wrong, and what to do about it. It takes ten seconds at most, and shows neither headers
nor passwords.
"""
_TODAY = "To send a test span and hear what becomes of it: toolspan doctor --export"


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `doctor` to the commands."""
    parser = commands.add_parser(
        "doctor",
        help="say in one line why nothing arrives",
        description=_DESCRIPTION,
        epilog="The exit code is 0, or 1 when the span was not accepted.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--export", action="store_true", help="send one marked test span")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Check what is asked for: 0, or 1 when something is wrong."""
    if not options.export:
        print(f"{_TODAY}\n\n{toolspan.status()}")
        return 0
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own log would stand beside our one line
    from toolspan.export.trial import check_export  # noqa: PLC0415  # loads the exporters

    finding = check_export()
    print(printable(f"export {'ok' if finding.ok else 'failed'}: {finding}"))
    return 0 if finding.ok else 1
