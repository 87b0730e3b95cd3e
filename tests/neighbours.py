"""Whoever else traces the same tool calls: framework x neighbour, each beside us in children.

    python tests/neighbours.py                                   write the table into docs/neighbours.md
    python tests/neighbours.py langchain OpenInference after     what one child sees, as JSON
"""

from __future__ import annotations

import contextvars
import importlib
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import ground_truth
import toolspan
from ground_truth import RAN, SITUATIONS, act, calls_of, cannot, differences, tool_spans
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from toolspan import containment
from toolspan.settings import Settings


class Neighbour(NamedTuple):
    """Who brings it, and what enables it."""

    distribution: str
    #: module:class of an instrumentor, or the name of a function below.
    enable: str


OFFICIAL, OI, TL = (
    "opentelemetry.instrumentation.genai",
    "openinference.instrumentation",
    "opentelemetry.instrumentation",
)
NEIGHBOURS = {
    "langchain": {
        "official": Neighbour("opentelemetry-instrumentation-genai-langchain", f"{OFFICIAL}.langchain:LangChainInstrumentor"),
        "OpenInference": Neighbour("openinference-instrumentation-langchain", f"{OI}.langchain:LangChainInstrumentor"),
        "OpenLLMetry": Neighbour("opentelemetry-instrumentation-langchain", f"{TL}.langchain:LangchainInstrumentor"),
        "OpenLIT": Neighbour("openlit", "openlit"),
    },
    "openai-agents": {
        "official": Neighbour("opentelemetry-instrumentation-genai-openai-agents", f"{OFFICIAL}.openai_agents:OpenAIAgentsInstrumentor"),
        "OpenInference": Neighbour("openinference-instrumentation-openai-agents", f"{OI}.openai_agents:OpenAIAgentsInstrumentor"),
        "OpenLLMetry": Neighbour("opentelemetry-instrumentation-openai-agents", f"{TL}.openai_agents:OpenAIAgentsInstrumentor"),
        "OpenLIT": Neighbour("openlit", "openlit"),
        "Logfire": Neighbour("logfire", "logfire:instrument_openai_agents"),
    },
    "pydantic-ai": {
        "native": Neighbour("pydantic-ai-slim", "native"),
        "OpenInference": Neighbour("openinference-instrumentation-pydantic-ai", "openinference_of_pydantic_ai"),
        "OpenLIT": Neighbour("openlit", "openlit"),
        "Logfire": Neighbour("logfire", "logfire:instrument_pydantic_ai"),
    },
    "smolagents": {
        "official": Neighbour("opentelemetry-instrumentation-genai-smolagents", f"{OFFICIAL}.smolagents:SmolagentsInstrumentor"),
        "OpenInference": Neighbour("openinference-instrumentation-smolagents", f"{OI}.smolagents:SmolagentsInstrumentor"),
        "OpenLIT": Neighbour("openlit", "openlit"),
    },
}


PRICES = Path(__file__).parent / "environments" / "no-prices.json"

class Seen:
    """Where spans and measurements of one child go."""

    def __init__(self):
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader({Histogram: AggregationTemporality.DELTA})

    def set_providers(self):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        trace.set_tracer_provider(provider)
        metrics.set_meter_provider(MeterProvider([self.reader]))


def enable(framework, neighbour, seen):
    how = NEIGHBOURS[framework][neighbour].enable
    if ":" not in how:
        return globals()[how](framework)
    module, name = how.split(":")
    if module == "logfire":
        return logfire(name, seen)
    instrumentor = getattr(importlib.import_module(module), name)()
    instrumentor.instrument()
    assert instrumentor.is_instrumented_by_opentelemetry


def logfire(name, seen):
    import logfire

    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[SimpleSpanProcessor(seen.exporter)],
                      metrics=logfire.MetricsOptions(additional_readers=[seen.reader]))
    getattr(logfire, name)()


def openlit(framework):
    import openlit
    openlit.init(pricing_json=str(PRICES))


def native(_framework):
    from pydantic_ai import Agent
    Agent.instrument_all()


def openinference_of_pydantic_ai(framework):
    from openinference.instrumentation.pydantic_ai import OpenInferenceSpanProcessor
    trace.get_tracer_provider().add_span_processor(OpenInferenceSpanProcessor())
    native(framework)


def watched(program, seen, situations=SITUATIONS):
    told, contained = {}, []
    containment.witnesses.append(lambda place, error: contained.append(f"{place}: {error!r}"))
    for situation in situations:
        if cannot(program, situation):
            continue
        contained.clear()
        seen.exporter.clear()
        toolspan.stats().reset()
        seen.reader.get_metrics_data()
        contextvars.Context().run(act, program, situation)  # what a neighbour leaves ends here
        rows = [row for row in toolspan.stats().rows() if row.side != "server"]
        ended = seen.exporter.get_finished_spans()
        spans = [span for span in ended if not waited(span)]
        told[situation] = {
            "wrong": differences(calls_of(program, situation), spans),
            "ran": len(RAN),
            "counted": +sum((Counter(row.outcomes) for row in rows), Counter()),
            "outcomes": Counter(c.outcome for c in calls_of(program, situation)),
            "open": [row.tool for row in rows if row.in_flight],
            "foreign": sum(row.foreign for row in rows),
            "contained": list(contained),
            "spans": [plain(span) for span in spans] if situation != "200 calls at once" else [],
        }
    containment.witnesses.pop()
    return told

def waited(span):
    """Whether it is a neighbour's span of a call that nobody ran, and says so."""
    return span.instrumentation_scope.name != "toolspan" and span.attributes.get("toolspan.outcome") == "interrupted"

def plain(span):
    return {
        "name": span.name, "kind": span.kind.name,
        "scope": span.instrumentation_scope.name,
        "id": f"{span.context.span_id:016x}",
        "trace": f"{span.context.trace_id:032x}",
        "parent": span.parent and f"{span.parent.span_id:016x}",
        "said": {key: str(value) for key, value in span.attributes.items()},
    }

def main(framework, neighbour, order):
    seen, told = Seen(), {}
    program = importlib.import_module(f"programs.{ground_truth.file_of(framework).stem}")
    if "Logfire" not in neighbour:
        seen.set_providers()
    if order == "before":
        enable(framework, neighbour, seen)
        told["alone"] = watched(program, seen)
        toolspan.instrument(settings=Settings(capture=True))
    else:
        toolspan.instrument(settings=Settings(capture=True))
        enable(framework, neighbour, seen)
    told["with us"] = watched(program, seen)
    print(json.dumps(told))

if __name__ == "__main__":
    main(*sys.argv[1:])
