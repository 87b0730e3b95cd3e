"""`toolspan demo`: a real agent over the files of a folder, its calls as a tree and a table."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_SERVICE_NAME,
)
from opentelemetry.sdk.trace import TracerProvider

import toolspan
from toolspan.cli.run import traced_environment
from toolspan.cli.tree import CallTree, printable
from toolspan.export.target import Wishes, read_target

FLUSH_SECONDS: Final = 5
MISSING_EXTRA: Final = 2
SERVICE: Final = "toolspan-demo"

_DESCRIPTION = """\
Run a real LangGraph agent (its model plays from a script) and a real MCP server over the files of
FOLDER, and show each tool call as it happens, then the statistics of each tool. No key, no
network, nothing else running; the files are only read.

With OTEL_EXPORTER_OTLP_ENDPOINT set, agent and server send their spans there as well.
TOOLSPAN_DISABLED=langchain,mcp shows the same agent without instrumentation: nothing is seen.
"""
_NEXT_STEP = (
    "To see this in Jaeger (docker run -p 16686:16686 -p 4318:4318 jaegertracing/jaeger): "
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 toolspan demo, "
    "then http://localhost:16686"
)


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `demo` to the commands."""
    parser = commands.add_parser(
        "demo",
        help="watch a real agent's tool calls, with nothing else running",
        description=_DESCRIPTION,
        epilog='Needs the extra: pip install "toolspan[demo]"',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=_folder,
        default=Path.cwd(),
        help="what the agent looks at (default: the current folder)",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the demonstration: 0, or 1 when not every span was sent, or 2 without the extra."""
    try:
        from toolspan.cli.demonstration.agent import ask  # noqa: PLC0415  # needs the extra
    except ImportError as error:
        reason = printable(str(error))
        print(f'toolspan demo needs: pip install "toolspan[demo]" ({reason})', file=sys.stderr)
        return MISSING_EXTRA
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal can draw lines
    endpoint = os.environ.get(OTEL_EXPORTER_OTLP_ENDPOINT)
    tree = CallTree(sys.stdout)
    server_environment = _traced_to(tree) if endpoint else _traced_here(tree)
    asyncio.run(ask(options.folder, server_environment))
    if tree.empty:
        print("No span: nothing here is instrumented.")
    print(f"\n{toolspan.stats()}\n")
    return _sent() if endpoint else _told_where_to_go_next()


def _traced_to(tree: CallTree) -> dict[str, str]:
    """Trace this process and its server by the quick start."""
    toolspan.configure(service_name=os.environ.get(OTEL_SERVICE_NAME) or SERVICE)
    _show(tree, trace.get_tracer_provider())
    return {**traced_environment(os.environ), OTEL_SERVICE_NAME: f"{SERVICE}-files"}


def _traced_here(tree: CallTree) -> dict[str, str]:
    """Trace this process alone, for nobody but the tree and the table."""
    provider = TracerProvider()
    toolspan.instrument(tracer_provider=provider)
    _show(tree, provider)
    return dict(os.environ)


def _show(tree: CallTree, provider: trace.TracerProvider) -> None:
    if isinstance(provider, TracerProvider):
        provider.add_span_processor(tree)


def _told_where_to_go_next() -> int:
    print(_NEXT_STEP)
    return 0


def _sent() -> int:
    """Say where the spans went; 1 when not all of them did."""
    flushed = toolspan.flush(FLUSH_SECONDS)
    place = printable(read_target("traces", Wishes()).place)
    told = [f"{flushed.sent} spans of this process sent to {place}", flushed.note]
    told += [f"{number} dropped ({reason})" for reason, number in flushed.dropped.items()]
    print("; ".join(filter(None, told)))
    return 0 if flushed.complete else 1


def _folder(text: str) -> Path:
    folder = Path(text).resolve()
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{printable(text)} is not a folder")
    return folder
