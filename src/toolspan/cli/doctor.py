"""`toolspan doctor`: what is wrong here, in a program, or on the way to the backend."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from toolspan.cli.patient import METRICS
from toolspan.cli.run import executable, hint
from toolspan.cli.tree import printable
from toolspan.findings import Finding, left_out
from toolspan.status import REPORTS, ExportStatus, FrameworkStatus, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from toolspan.export.trial import Trial

WRONG: Final = 1
#: Seconds for every framework of this environment to be imported.
PATIENCE_SECONDS: Final = 120

_DESCRIPTION = """\
Find out what is wrong, and what to do about it: one line for each fault.

  toolspan doctor

examines this environment: a process of its own calls toolspan.configure(), imports every supported
framework that is installed here, and is asked which hooks found their place; then one test span is
sent where spans would go.

  toolspan doctor -- python agent.py
  toolspan doctor -- toolspan run -- python agent.py
  toolspan doctor -- opentelemetry-instrument python agent.py

runs a program as it is, without switching anything on in it, and tells when it has ended what was
so inside: provider, sampler, span processors, hooks, neighbours, and what became of the spans. Type
after -- what you type else. A server is examined until you press Ctrl-C.

  toolspan doctor --export

sends one span named `toolspan doctor`, with the attribute toolspan.test=true, where configure()
and `toolspan run` would send spans from here: by the same OTEL_EXPORTER_OTLP_* variables,
certificates and proxies. One line says where it went, in how long, and which trace to look for;
or what is wrong, and what to do about it. It takes ten seconds at most, and shows neither headers
nor passwords.
"""
#: The current folder is the user's: what lies there is not to be imported for a framework.
_PATIENT: Final = (
    "import sys; sys.path[:] = filter(None, sys.path); "
    "from toolspan.cli.patient import main; main()"
)


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `doctor` to the commands."""
    parser = commands.add_parser(
        "doctor",
        help="say what is wrong, and what to do about it",
        usage="toolspan doctor [--json] [--export | -- COMMAND [ARGUMENT ...]]",
        description=_DESCRIPTION,
        epilog="The exit code is 0 where nothing is wrong, else 1; 2 for a command that is none.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--export", action="store_true", help="only send one marked test span")
    parser.add_argument("--json", action="store_true", help="print facts and findings as JSON")
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(execute=execute, usage_error=parser.error)


@dataclass(slots=True)
class Examination:
    """What was found: the facts of each process (None: it left none), and what is wrong."""

    processes: dict[int, Status | None]
    findings: list[Finding]
    #: The answer to the test span, and how the program ended.
    notes: list[str]


def execute(options: argparse.Namespace) -> int:
    """Examine what was asked for: 0, or 1 when something is wrong."""
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if command and options.export:
        options.usage_error("--export runs no program")
    if options.export and not options.json:
        trial = _try_export()
        print(printable(_told(trial)))
        return 0 if trial.ok else WRONG
    if command:
        found = _program(_found(command, options), options)
    else:
        found = Examination({}, [], []) if options.export else _environment()
        _check_export(found)
    _print_json(found) if options.json else _print(found)
    return WRONG if found.findings else 0


# -- what is examined ------------------------------------------------------------------------------


def _environment() -> Examination:
    """What a program that imports every framework finds here."""
    with tempfile.TemporaryDirectory(prefix="toolspan-") as folder:
        environ = {**os.environ, REPORTS: folder, METRICS: "none"}
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(  # noqa: S603  # a program of ours
                [sys.executable, "-c", _PATIENT],
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        processes = _reports(folder)
    findings = [finding for status in processes.values() for finding in _wrong_here(status)]
    return Examination(processes, [*findings, *left_out(os.environ)], [])


def _wrong_here(status: Status | None) -> Iterable[Finding]:
    if status is None:
        yield Finding(
            "importing the frameworks of this environment ended the process, or took too long",
            "name those that work in TOOLSPAN_DISABLED to find the one that does it",
        )
        return
    yield from status.findings
    yield from (_not_importable(one) for one in status.frameworks if one.waiting)


def _not_importable(one: FrameworkStatus) -> Finding:
    return Finding(
        f"{one.name} {one.version} is installed and cannot be imported",
        f"import it by hand to see why, or install it anew (pip install {one.distribution})",
    )


def _check_export(found: Examination) -> None:
    """Send the test span, unless it is known already that none is sent."""
    known = list(found.processes.values())
    if known and not any(status and status.export for status in known):
        return
    trial = _try_export()
    if trial.ok:
        found.notes.append(_told(trial))
    else:
        found.findings.append(Finding(f"export to {trial.place}: {trial.line}", trial.remedy))


def _try_export() -> Trial:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own log would stand beside our one line
    from toolspan.export.trial import check_export  # noqa: PLC0415  # loads the exporters

    return check_export()


def _told(trial: Trial) -> str:
    return f"export {'ok' if trial.ok else 'failed'}: {trial}"


def _found(command: Sequence[str], options: argparse.Namespace) -> list[str]:
    program = executable(command[0])
    if program is None:
        options.usage_error(f"{command[0]}: no such command{hint(command[0])}")
    return [str(program), *command[1:]]


def _program(command: list[str], options: argparse.Namespace) -> Examination:
    """Run a program as it is, and read what its processes told at their end."""
    with tempfile.TemporaryDirectory(prefix="toolspan-") as folder:
        try:
            code = _run(command, {**os.environ, REPORTS: folder}, quiet=options.json)
        except OSError as error:
            options.usage_error(f"{command[0]}: {error.strerror}")
        processes = _reports(folder)
    notes = [f"{Path(command[0]).name} ended with {code}"] if code else []
    return Examination(processes, _wrong(processes) if processes else [_not_loaded()], notes)


def _run(command: list[str], environ: dict[str, str], *, quiet: bool) -> int:
    """Run `command` until it ends; Ctrl-C is meant for it, and not for us."""
    sys.stdout.flush()
    output = sys.stderr if quiet else None  # where JSON is wanted, standard output is for JSON
    with subprocess.Popen(command, env=environ, stdout=output) as process:  # noqa: S603  # the user's
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def _not_loaded() -> Finding:
    for finding in left_out(os.environ):
        return finding
    return Finding(
        "toolspan was not switched on in this program, which never loaded it",
        "put `toolspan run --` before the command, or call toolspan.configure() in it",
    )


# -- what was told ---------------------------------------------------------------------------------


def _reports(folder: str) -> dict[int, Status | None]:
    files = sorted((int(file.stem), file) for file in Path(folder).glob("*.json"))
    return {pid: _status(file.read_text(encoding="utf-8")) for pid, file in files}


def _status(text: str) -> Status | None:
    """The facts that a process left; None where it could not."""
    if not text:
        return None
    facts: dict[str, Any] = json.loads(text)
    facts["frameworks"] = tuple(FrameworkStatus(**one) for one in facts["frameworks"])
    facts["export"] = facts["export"] and ExportStatus(**facts["export"])
    return Status(**facts)


def _wrong(processes: dict[int, Status | None]) -> list[Finding]:
    """What is wrong in any of them, each fault once."""
    every = (finding for status in processes.values() for finding in _wrong_in(status))
    return list(dict.fromkeys(every))


def _wrong_in(status: Status | None) -> Iterable[Finding]:
    if status is not None:
        return status.findings
    return [
        Finding(
            "a process ended without its exit handlers (a signal, os._exit): its last spans are "
            "lost, and what was so in it is not known",
            "let it end by itself, or call toolspan.flush(2) before its end",
        )
    ]


def _print(found: Examination) -> None:
    for pid, status in found.processes.items():
        if len(found.processes) > 1:
            print(f"process {pid}")
        for line in status.facts() if status else ():
            print(printable(line))
    for line in found.notes:
        print(printable(line))
    for finding in found.findings:
        print(printable(f"wrong: {finding}"))
    if not found.findings:
        print("nothing is wrong")


def _print_json(found: Examination) -> None:
    told = {
        "processes": {pid: status and asdict(status) for pid, status in found.processes.items()},
        "findings": [asdict(one) for one in found.findings],
        "notes": found.notes,
    }
    print(json.dumps(told, indent=2))
