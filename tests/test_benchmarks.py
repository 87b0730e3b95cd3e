"""What the benchmarks measure is what they say: one whole span for each call, or none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from toolspan import containment

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import cases  # noqa: E402
import instructions  # noqa: E402

TOOL = {
    "gen_ai.operation.name",
    "gen_ai.tool.name",
    "gen_ai.tool.type",
    "gen_ai.tool.description",
    "toolspan.tool.fingerprint",
    "toolspan.arguments.fingerprint",
    "toolspan.outcome",
}
TEXTS = TOOL | {"toolspan.arguments.size", "toolspan.result.size"}
CONTENT = {"gen_ai.tool.call.arguments", "gen_ai.tool.call.result"}
CUT = {"toolspan.arguments.truncated", "toolspan.result.truncated"}
#: case -> every attribute that applies to its call; None: it makes no span of ours
ATTRIBUTES = {
    "F": None,
    "bare OpenTelemetry, as two ints": TOOL,  # by hand, as the next
    "bare OpenTelemetry, as texts in a run": TEXTS
    | {"gen_ai.agent.name", "gen_ai.conversation.id"},
    "two ints": TOOL,
    "texts in and out": TEXTS,
    "texts in and out, in a run": TEXTS | {"gen_ai.agent.name", "gen_ai.conversation.id"},
    "100 kB argument": TEXTS,
    "a dict out, of no family": TEXTS,
    "a shell's dict out": TEXTS
    | {"toolspan.tool.family", "process.exit.code", "toolspan.detail.lines"}
    | {"toolspan.detail.bytes"},
    "recording histogram": TOOL,
    "content on, small": TEXTS | CONTENT,
    "content on, 100 kB in and out": TEXTS | CONTENT | CUT,
    "sampled out": None,
    "suppressed": None,
    "an exception, 10 frames": TOOL | {"error.type"},
    "the same exception, untraced": None,
    "statistics alone": None,
    "the same, telling nothing": None,
}


def test_every_case_says_what_its_calls_leave_behind():
    assert ATTRIBUTES.keys() == cases.CASES.keys()
    measured = {*instructions.LIMITS, *instructions.ADDED, *instructions.INSTRUCTIONS}
    assert measured < cases.CASES.keys()


@pytest.mark.parametrize("name", cases.CASES)
def test_a_case_makes_the_one_span_that_it_measures_with_all_its_attributes(name, monkeypatch):
    spans, providers = [], []

    def export(_self, batch):
        spans.extend(batch)
        return cases.SpanExportResult.SUCCESS

    def provider(**options):
        providers.append(made(**options))
        return providers[-1]

    made = cases.provider
    monkeypatch.setenv("TOOLSPAN_FINGERPRINT_KEY", "benchmark")
    monkeypatch.setattr(cases, "provider", provider)
    monkeypatch.setattr(cases.Nowhere, "export", export)
    before = dict(containment.failures)
    with cases.CASES[name]() as once:
        once()
    for one in providers:
        one.shutdown()
    ours = [set(span.attributes) for span in spans if "toolspan.outcome" in span.attributes]
    assert ours == ([] if ATTRIBUTES[name] is None else [ATTRIBUTES[name]])
    assert containment.failures == before


def test_the_command_lists_its_cases():
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "instructions.py", "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "two ints" in done.stdout.splitlines()
