"""The real Collector, Jaeger and Prometheus, started on free ports with collector-config's files.

    with Stack(folder) as stack:                    # or Stack(folder, "gateway", OTELCOL_FLUSH="1s")
        Sender(stack.collector).send(request(...))  # or any program, with stack.collector.http
        stack.jaeger.spans(trace_id)
        stack.prometheus.ask("toolspan_spans_calls_total")

The programs come from `python tests/binaries/build.py`. Where they are missing, tests of them are
skipped and say so, unless the variable CI is set: there they fail. They run in one environment.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import pytest

sys.path.insert(0, str(Path(__file__).parent / "binaries"))

from build import BINARIES

CONFIG = Path(__file__).resolve().parent.parent / "collector-config"
VARIANTS = {
    "default": ("parts.yaml", "default.yaml"),
    "agent": ("parts.yaml", "agent.yaml"),
    "gateway": ("parts.yaml", "default.yaml", "gateway.yaml"),
}
#: Waits that suit a test; everything else is as a user has it.
QUICK = {"OTELCOL_FLUSH": "1s", "OTELCOL_DECISION_WAIT": "4s", "OTELCOL_ROOT_WAIT": "1s"}
MISSING = [binary.name for binary in BINARIES.values() if not binary.path.exists()]
OPENER = build_opener(ProxyHandler({}))
PORTS = random.SystemRandom()  # the tests' own seed is the same in every environment


#: The mark of what needs one run only, in whichever environment.
once = pytest.mark.skipif(
    importlib.util.find_spec("check_jsonschema") is None,
    reason="run once, in the environment `collector`",
)


def needs_binaries():
    """The marks of a module that cannot be without the real programs."""
    missing = f"{', '.join(MISSING)}: not built; python tests/binaries/build.py"
    return [once, pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=missing)]


def get(url, timeout=30):
    """The body of a GET, without any proxy.

    Raises:
        OSError: nobody answers; `HTTPError` of it: the answer is a refusal.
    """
    with OPENER.open(Request(url), timeout=timeout) as answer:
        return answer.read()


def until(ask, seconds, pause=0.1):
    """What `ask` answers, as soon as that is true; else its last answer, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(pause)
    return answer


def free_ports(count):
    """Ports of the loopback that nobody listens on, nor gets by chance while a server is down."""
    found = []
    with contextlib.ExitStack() as sockets:
        while len(found) < count:
            one = sockets.enter_context(socket.socket())
            port = PORTS.randrange(20_000, 32_000)  # below those that the system hands out
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
    return found


class Server:
    """One of the programs: started, stopped, killed, started again, with the same addresses."""

    def __init__(self, name, arguments, health, folder, **environ):
        self.command = [str(BINARIES[name].path), *map(str, arguments)]
        self.health = health
        self.log = folder / f"{name}.log"
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder), **environ}
        self.process = None
        self.since = 0.0  # it is ready

    def start(self, seconds=20):
        """Start it, and wait until it says that it is ready; returns the seconds that took."""
        begin = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=CONFIG,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(lambda: self.ready() or self.process.poll() is not None, seconds, 0.05)
        if self.process.poll() is not None or not self.ready():
            self.kill()
            raise AssertionError(f"not ready in {seconds} s:\n{self.written()[-4000:]}")
        self.since = time.monotonic()
        return self.since - begin

    def ready(self):
        with contextlib.suppress(OSError):
            return get(self.health, timeout=2) is not None
        return False

    def written(self):
        """What it wrote so far."""
        return self.log.read_text(errors="replace")

    def complaints(self):
        """The lines of warnings and errors that it wrote."""
        found = ("\twarn\t", "\terror\t", "Error:", "level=WARN", "level=ERROR")
        return [line for line in self.written().splitlines() if any(map(line.__contains__, found))]

    def kill(self):
        """SIGKILL: no word of goodbye."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM, and its exit code."""
        if self.process is None:
            return None
        # A Collector says that it is ready a moment before it listens to signals.
        time.sleep(max(self.since + 0.3 - time.monotonic(), 0))
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class Collector(Server):
    """A Collector with the files of one variant, and further ones; `environ` as users set it."""

    def __init__(self, folder, variant="default", *more, **environ):
        grpc, http, health, prometheus, own = free_ports(5)
        self.grpc = f"127.0.0.1:{grpc}"
        self.http = f"http://127.0.0.1:{http}"
        self.scraped = f"127.0.0.1:{prometheus}"
        self.own = f"127.0.0.1:{own}"
        super().__init__(
            "collector",
            [f"--config={file}" for file in (*VARIANTS[variant], *more)],
            f"http://127.0.0.1:{health}/",
            folder,
            **{
                "OTELCOL_GRPC": self.grpc,
                "OTELCOL_HTTP": f"127.0.0.1:{http}",
                "OTELCOL_HEALTH": f"127.0.0.1:{health}",
                "OTELCOL_PROM": self.scraped,
                "OTELCOL_SELF_PORT": str(own),
                "OTELCOL_QUEUE_DIR": str(folder / "queue"),
                **QUICK,
                **environ,
            },
        )

    def validate(self):
        """What `validate` says of the same files: (exit code, its words)."""
        program, *files = self.command
        done = subprocess.run(
            [program, "validate", *files],
            cwd=CONFIG,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def metrics(self):
        """Its own metrics: name with labels -> value."""
        lines = get(f"http://{self.own}/metrics").decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    def total(self, name):
        """The sum of one of its own metrics over all labels."""
        return sum(value for key, value in self.metrics().items() if key.split("{")[0] == name)


class Jaeger(Server):
    """Jaeger with badger in `folder`, and what its query API says."""

    def __init__(self, folder, prometheus="http://127.0.0.1:9", **environ):
        otlp, http, grpc, health, own = free_ports(5)
        self.otlp = f"127.0.0.1:{otlp}"
        self.http = f"http://127.0.0.1:{http}"
        self.own = f"127.0.0.1:{own}"
        super().__init__(
            "jaeger",
            ["--config=jaeger.yaml"],
            f"http://127.0.0.1:{health}/status",
            folder,
            **{
                "JAEGER_OTLP_GRPC": self.otlp,
                "JAEGER_HTTP": f"127.0.0.1:{http}",
                "JAEGER_GRPC": f"127.0.0.1:{grpc}",
                "JAEGER_HEALTH": f"127.0.0.1:{health}",
                "JAEGER_SELF_PORT": str(own),
                "JAEGER_DATA": str(folder / "badger"),
                "PROMETHEUS_URL": prometheus,
                **environ,
            },
        )

    def ask(self, path, **query):
        """The decoded answer of its API; None where it says 404."""
        try:
            return json.loads(get(f"{self.http}/api/{path}?{urlencode(query, doseq=True)}"))
        except HTTPError as error:
            if error.code == 404:
                return None
            raise

    def spans(self, trace_id):
        """Every span of one trace, as in its OTLP answer; [] where the trace is unknown."""
        answer = self.ask(f"v3/traces/{trace_id}")
        return list(flat(answer)) if answer else []

    def everything(self, service):
        """Every span of every trace of the last hour in which that service has a part."""
        now = datetime.now(timezone.utc)
        query = {
            "query.service_name": service,
            "query.start_time_min": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
            "query.start_time_max": f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
            "query.num_traces": 10_000,
        }
        answer = self.ask("v3/traces", **query)
        return list(flat(answer)) if answer else []

    def traces(self, service, **query):
        """The traces that a search finds, in Jaeger's own form; `tags` a dict."""
        if "tags" in query:
            query["tags"] = json.dumps(query["tags"])
        return self.ask("traces", service=service, limit=1000, **query)["data"]

    def monitor(self, what, service, **query):
        """Labels and last value of each line of the Monitor tab: `what` calls, errors, latencies."""
        answer = self.ask(
            f"metrics/{what}",
            **{
                "service": service,
                "groupByOperation": "true",
                "lookback": 300_000,
                "step": 5_000,
                "ratePer": 600_000,
                **query,
            },
        )
        for metric in answer.get("metrics") or ():
            labels = {label["name"]: label["value"] for label in metric["labels"]}
            yield labels, metric["metricPoints"][-1]["gaugeValue"]["doubleValue"]


def flat(answer):
    """Every span of an OTLP answer, its attributes plain, with its resource and scope."""
    for resource in answer["result"]["resourceSpans"]:
        place = {"resource": plain(resource["resource"].get("attributes", ()))}
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                attributes = plain(span.get("attributes", ()))
                attributes.pop("@jaeger@warnings", None)  # a remark of Jaeger's own
                yield span | place | {"attributes": attributes, "scope": scope.get("scope", {})}


def plain(attributes):
    """OTLP JSON attributes -> a dict of Python values."""
    return {pair["key"]: _value(pair["value"]) for pair in attributes}


def _value(value):
    ((kind, content),) = value.items()
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [_value(one) for one in content.get("values", ())]
    return content


class Prometheus(Server):
    """Prometheus with the file of collector-config, and targets of the test's own beside it."""

    def __init__(self, folder, *, every="1s"):
        (port,) = free_ports(1)
        self.http = f"http://127.0.0.1:{port}"
        self.every = every
        self.folder = folder
        (folder / "prometheus.yml").symlink_to(CONFIG / "prometheus.yml")
        super().__init__(
            "prometheus",
            [
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage,created-timestamp-zero-ingestion",
            ],
            f"{self.http}/-/ready",
            folder,
        )

    def scrape(self, **targets):
        """Write targets.yml, job -> address, as the one in collector-config."""
        pace = {"__scrape_interval__": self.every, "__scrape_timeout__": self.every}
        entries = [
            {"targets": [address], "labels": {"job": job, **pace}}
            for job, address in targets.items()
        ]
        (self.folder / "targets.yml").write_text(json.dumps(entries))

    def ask(self, expression):
        """[(labels, value)] of an instant query; a native histogram's value is its dict."""
        question = urlencode({"query": expression})
        answer = json.loads(get(f"{self.http}/api/v1/query?{question}"))
        return [(one["metric"], _sample(one)) for one in answer["data"]["result"]]

    def by(self, label, expression):
        """One label's value -> the number, of an instant query."""
        return {labels.get(label, ""): value for labels, value in self.ask(expression)}


def _sample(one):
    return float(one["value"][1]) if "value" in one else one["histogram"][1]


class Stack:
    """Collector, Jaeger and Prometheus together, as the README of collector-config has them."""

    def __init__(self, folder, variant="default", *more, every="1s", **environ):
        self.prometheus = Prometheus(folder, every=every)
        self.jaeger = Jaeger(folder, self.prometheus.http)
        self.collector = Collector(
            folder, variant, *more, JAEGER_OTLP_GRPC=self.jaeger.otlp, **environ
        )
        self.prometheus.scrape(
            toolspan=self.collector.scraped, otelcol=self.collector.own, jaeger=self.jaeger.own
        )

    def __enter__(self):
        with contextlib.ExitStack() as started:
            for server in (self.jaeger, self.prometheus, self.collector):
                started.enter_context(server)
            self._started = started.pop_all()
        return self

    def __exit__(self, *error):
        return self._started.__exit__(*error)
