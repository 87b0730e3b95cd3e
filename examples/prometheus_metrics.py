"""Calls, outcomes and calls in flight of each tool, scraped by Prometheus from this process.

    pip install toolspan opentelemetry-exporter-prometheus
    python prometheus_metrics.py

It serves http://127.0.0.1:PORT/metrics, scrapes itself once while a tool runs and once when all is
over, and prints what a Prometheus server would have read.
"""

from __future__ import annotations

import threading
import urllib.request
from contextlib import suppress

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import start_http_server

import toolspan


@toolspan.tool
def search(query):
    return f"three pages about {query}"


@toolspan.tool
def divide(a, b):
    return a / b


asked, allowed = threading.Event(), threading.Event()


@toolspan.tool
def ask_a_human(question):
    asked.set()
    allowed.wait(60)
    return f"{question} Yes."


def scrape(port):
    """The lines about tools, as they stand on the page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return [line for line in lines if "toolspan_calls" in line and not line.startswith("#")]


def expect(lines, metric, value, **labels):
    """Fail unless the page has that value."""
    parts = [f'{key}="{text}"' for key, text in labels.items()]
    found = [line for line in lines if line.startswith(metric) and all(p in line for p in parts)]
    assert [float(line.split()[-1]) for line in found] == [value], (metric, labels, found)


def main():
    meters = MeterProvider([PrometheusMetricReader(scope_info_enabled=False)])
    toolspan.instrument(tracer_provider=TracerProvider(), meter_provider=meters)
    server, _ = start_http_server(0, addr="127.0.0.1")  # a free port; yours would be 9464

    for topic in ("whales", "tides", "maps"):
        search(topic)
    with suppress(ZeroDivisionError):
        divide(1, 0)
    waiting = threading.Thread(target=ask_a_human, args=("May I?",))
    waiting.start()
    asked.wait(60)

    lines = scrape(server.server_port)
    print("while ask_a_human waits for its answer:", *lines, sep="\n  ")
    tool, outcome = "gen_ai_tool_name", "toolspan_outcome"
    expect(lines, "toolspan_calls_total", 3, **{tool: "search", outcome: "ok"})
    expect(lines, "toolspan_calls_total", 1, **{tool: "divide", outcome: "error"})
    expect(lines, "toolspan_calls_in_flight", 1, **{tool: "ask_a_human"})

    allowed.set()
    waiting.join()
    lines = scrape(server.server_port)
    print("when it has got it:", *lines, sep="\n  ")
    expect(lines, "toolspan_calls_in_flight", 0, **{tool: "ask_a_human"})
    expect(lines, "toolspan_calls_total", 1, **{tool: "ask_a_human", outcome: "ok"})
    server.shutdown()
    server.server_close()
    meters.shutdown()


if __name__ == "__main__":
    main()
