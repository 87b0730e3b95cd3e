"""OpenAI's tools that are no functions, beside each vendor: its span of the call is adopted."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

VENDORS = (
    "opentelemetry.instrumentation.genai.openai_agents",
    "openinference.instrumentation.openai_agents",
    "opentelemetry.instrumentation.openai_agents",
)
PROGRAM = """
import importlib, json, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import toolspan
from test_openai_local import LOCAL, RAN, run, shell_call, ShellTool

_, module, order = sys.argv
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
vendor = importlib.import_module(module).OpenAIAgentsInstrumentor()
begin = [lambda: vendor.instrument(tracer_provider=provider),
         lambda: toolspan.instrument(tracer_provider=provider)]
for one in begin if order == "ours last" else reversed(begin):
    one()

async def fails(_request):
    raise ConnectionError("no")

LOCAL["fails"] = lambda: (shell_call(), ShellTool(executor=fails))
seen = {}
for kind, made in LOCAL.items():
    RAN.clear()
    exporter.clear()
    before = sum(row.calls for row in toolspan.stats().rows())
    run(*made())
    (told,) = [s for s in exporter.get_finished_spans() if s.attributes.get("toolspan.outcome")]
    assert all(one.span_id == told.context.span_id for one in RAN)
    assert sum(row.calls for row in toolspan.stats().rows()) == before + 1
    seen[kind] = told.attributes["toolspan.outcome"], told.instrumentation_scope.name
print(json.dumps(seen))
"""
#: What becomes of each call; the vendors are shown all of them but one.
OUTCOMES = dict.fromkeys(("grammar", "shell", "apply_patch", "computer_use_preview"), "ok")
OUTCOMES |= {"local_shell": "ok", "fails": "error"}


def is_here(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.skipif(not all(map(is_here, VENDORS)), reason="they are in another environment")
@pytest.mark.parametrize("order", ["ours first", "ours last"])
@pytest.mark.parametrize("module", VENDORS)
def test_beside_a_vendor_a_call_is_one_span_and_counted_once(module, order):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, module, order],  # this very Python
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scopes = {kind: "toolspan" if kind == "local_shell" else module for kind in OUTCOMES}
    told = {kind: [word, scopes[kind]] for kind, word in OUTCOMES.items()}
    assert json.loads(done.stdout) == told
