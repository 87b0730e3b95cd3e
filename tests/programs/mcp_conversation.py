"""An MCP client and its server as processes of their own, and what left them over sockets.

Both are programs that know nothing of their being traced, each started by `toolspan run`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import toolspan
from receiver import Receiver

PROGRAMS = Path(__file__).parent
CLIENT, SERVER = PROGRAMS / "mcp_client.py", PROGRAMS / "mcp_server.py"
HOME = Path(toolspan.__file__).parent.parent
#: Beside the interpreter's own packages toolspan is there already, in each environment its own.
SOURCES = {} if HOME.name == "site-packages" else {"PYTHONPATH": str(HOME)}
MAIN = "import sys; from toolspan.cli import main; sys.exit(main())"


@dataclass
class Conversation:
    """What the calls gave, which tools ran, and every span that arrived."""

    answers: list
    ran: list[str]
    spans: list
    raw: bytes

    def tools(self, kind, name=None):
        """The spans of tool calls, in the order of their starts."""
        found = [
            span
            for span in self.spans
            if span.kind == kind and "gen_ai.tool.name" in span.attributes
        ]
        named = [span for span in found if name in (None, span.attributes["gen_ai.tool.name"])]
        return sorted(named, key=lambda span: span.start)

    def pairs(self, name=None):
        """Each client's span with the one server's span below it."""
        below = {span.parent_id: span for span in self.tools("SERVER", name)}
        return [(client, below[client.span_id]) for client in self.tools("CLIENT", name)]


def converse(steps, mode, folder, *, server=sys.executable, **variables):
    """Let a client play `steps` with the server that the server's program is in this `mode`.

    `server` is the interpreter of the server, `variables` go into the environment of both.
    """
    with Receiver() as receiver:
        log = folder / "calls"
        log.touch()
        environment = environment_of(receiver, log) | variables
        with place_of(mode, server, environment) as place:
            steps = json.loads(json.dumps(steps).replace("$URL", place[0]))
            command = traced("asker", sys.executable, CLIENT, json.dumps(steps), *place)
            done = run(command, environment)
        assert done.returncode == 0, done.stderr
        answers = json.loads(done.stdout)
        return Conversation(answers, log.read_text().split(), receiver.spans(), receiver.raw)


def environment_of(receiver, log):
    """As a user sets it: where spans go, and nothing of how they are made."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PYTHON"))}
    return (
        clean
        | SOURCES
        | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "MCP_SERVER_CALLS": str(log),
        }
    )


def traced(service, python, *command):
    """The command that runs a program of an interpreter under `toolspan run`."""
    own = ["run", "--service-name", service, "--", "python"]
    return [python, "-c", MAIN, *own, *map(str, command)]


def run(command, environment, **options):
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False, **options
    )


@contextmanager
def place_of(mode, python, environment):
    """Where the client finds the server: the command that starts it, or a URL."""
    if mode != "http":
        yield traced("server", python, SERVER, mode)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = traced("server", python, SERVER, "http", port)
    log = Path(environment["MCP_SERVER_CALLS"]).with_name("server.log")
    with (
        log.open("w") as said,
        subprocess.Popen(command, env=environment, stdout=said, stderr=said) as process,
    ):
        try:
            wait_for(port, process)
            yield [f"http://127.0.0.1:{port}/mcp"]
        finally:
            process.send_signal(signal.SIGINT)  # as from a keyboard: it ends in order
            late = threading.Timer(30, process.kill)
            late.start()
            process.wait()
            late.cancel()


def wait_for(port, process):
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"the server does not listen: {process.poll()}")
