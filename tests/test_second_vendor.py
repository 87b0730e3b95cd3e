"""A second vendor beside the first: each call has a span of both, and the doctor says so."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from importlib.metadata import version

import pytest

from test_doctor_findings import doctor

#: Each vendor's package; its module is the scope of its spans.
VENDORS = {
    "opentelemetry-instrumentation-genai-langchain": "LangChainInstrumentor",
    "openinference-instrumentation-langchain": "LangChainInstrumentor",
    "opentelemetry-instrumentation-langchain": "LangchainInstrumentor",
}
PROGRAM = """
import importlib, json, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import toolspan

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
toolspan.instrument(tracer_provider=provider)
for package, name in json.loads(sys.argv[1]).items():
    vendor = getattr(importlib.import_module(package.replace("-", ".")), name)()
    vendor.instrument(tracer_provider=provider)
    assert vendor.is_instrumented_by_opentelemetry

from langchain_core.tools import tool

@tool
def add(a: int, b: int) -> int:
    "Add."
    return a + b

add.invoke({"a": 1, "b": 2})
print(sorted(span.instrumentation_scope.name for span in exporter.get_finished_spans()))
"""

#: They are installed together or not at all.
__test__ = importlib.util.find_spec("openinference") is not None


def beside(*packages):
    """What the doctor says where these are on, and the scopes of the spans of one call."""
    chosen = json.dumps({package: VENDORS[package] for package in packages})
    told = doctor("--", sys.executable, "-c", PROGRAM, chosen)
    return told, told.facts[0]


def scopes(*packages):
    return sorted(package.replace("-", ".") for package in packages)


@pytest.mark.parametrize("pair", list(itertools.combinations(VENDORS, 2)), ids=" and ".join)
def test_two_vendors_that_double_each_other_are_named_and_the_switch_of_either(pair):
    told, spans = beside(*pair)
    assert spans == str(scopes(*pair))  # what the fault does: two spans of one call, none of ours
    both = scopes(*pair)
    first, second = (scope.replace(".", "-") for scope in both)
    assert told.wrong == [
        (
            f"{both[0]} and {both[1]} each make a span of the same call; switch one off: do not "
            f"instrument() by {first} (or uninstall it), or do not instrument() by {second} (or "
            "uninstall it)"
        )
    ]
    assert f"neighbours: {', '.join(both)}" in told.facts
    assert version(first)
    assert version(second)


@pytest.mark.parametrize("package", VENDORS)
def test_one_vendor_beside_us_is_a_fact_and_no_fault(package):
    told, spans = beside(package)
    assert spans == str(scopes(package))
    assert told.wrong == []
    assert f"neighbours: {scopes(package)[0]}" in told.facts
    assert "spans: 0 opened, 1 adopted, 0 merged" in told.facts


def test_of_no_vendor_nothing_is_said():
    told, spans = beside()
    assert spans == "['toolspan']"
    assert told.wrong == []
    assert not [line for line in told.facts if line.startswith("neighbours")]
