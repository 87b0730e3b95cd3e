"""Whoever else traces the same tool calls: framework x neighbour, each beside us in children.

    python tests/neighbours.py                                   write the table into docs/neighbours.md
    python tests/neighbours.py langchain OpenInference before    what one child sees, as JSON

A framework joins with one entry in NEIGHBOURS, and until then its row says that nobody has looked;
its program is that of the ground truth.
"""

from __future__ import annotations

import contextvars
import importlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import toolspan
from ground_truth import (
    ADAPTERS,
    FRAMEWORKS,
    PROGRAMS,
    RAN,
    SITUATIONS,
    act,
    calls_of,
    cannot,
    differences,
    file_of,
    tool_spans,
)
from toolspan import containment
from toolspan.settings import Settings

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "neighbours.md"
MARKERS = "<!-- neighbours -->", "<!-- /neighbours -->"
#: When the cells were last looked at one by one.
MEASURED = "2026-11-21"
ORDERS = ("before", "after")
#: What each neighbour is seen to do without us; Logfire traces Claude's client only.
ALONE = {"claude-agent-sdk": ("sync", "streaming", "raising")}
#: Each run of Claude's command line takes a second: what runs in this process, in its own, in a
#: sub-agent and in another server, and what is refused and broken off.
CLAUDE = (
    *("sync", "streaming", "parallel", "raising", "unknown tool", "cancelled"),
    *("approval refused", "agent as a tool", "MCP tools"),
)
SOME = {"claude-agent-sdk": CLAUDE}


class Neighbour(NamedTuple):
    """Who brings it, and what enables it."""

    distribution: str
    #: module:class of an instrumentor, `logfire` or `logfire:` and a method, or a function below.
    enable: str
    #: Whether it has tool spans of its own, that say so.
    tools: bool = True
    #: What the page says of its cell, where that is not the usual.
    says: str = ""


def official(framework, name, **more):
    module = framework.replace("-", "_")
    return Neighbour(
        f"opentelemetry-instrumentation-genai-{framework}",
        f"opentelemetry.instrumentation.genai.{module}:{name}",
        **more,
    )


def openinference(framework, name, **more):
    module = framework.replace("-", "_")
    return Neighbour(
        f"openinference-instrumentation-{framework}",
        f"openinference.instrumentation.{module}:{name}",
        **more,
    )


def openllmetry(framework, name, **more):
    module = framework.replace("-", "_")
    return Neighbour(
        f"opentelemetry-instrumentation-{framework}",
        f"opentelemetry.instrumentation.{module}:{name}",
        **more,
    )


OPENLIT = Neighbour("openlit", "openlit")
_UNNAMED = {"tools": False, "says": "one span, which alone names no tool"}
THEIR_OWN = "the framework's: it has none that names a tool"
BESIDE_OURS = "two spans, counted once"
POINTS_TO = "has no `instrument_...()` for it: its documentation points to {}'s"
#: Who traces by themselves, whoever else does: MCP 2, FastMCP and Google ADK.
ALWAYS = {"mcp-python-sdk", "fastmcp", "gcp.vertex.agent"}
VENDORS = ("native", "official", "OpenInference", "OpenLLMetry", "OpenLIT", "Logfire")
#: Framework -> neighbour -> who brings it, or why there is none.
NEIGHBOURS = {
    "langchain": {
        "native": Neighbour("langsmith", "langsmith", says=f"LangSmith's: {BESIDE_OURS}"),
        "official": official("langchain", "LangChainInstrumentor"),
        "OpenInference": openinference("langchain", "LangChainInstrumentor"),
        "OpenLLMetry": openllmetry("langchain", "LangchainInstrumentor"),
        "OpenLIT": OPENLIT,
        "Logfire": "has none of its own: it takes LangSmith's",
    },
    "openai-agents": {
        "native": "a format of its own, no OpenTelemetry",
        "official": official("openai-agents", "OpenAIAgentsInstrumentor"),
        "OpenInference": openinference("openai-agents", "OpenAIAgentsInstrumentor"),
        "OpenLLMetry": openllmetry("openai-agents", "OpenAIAgentsInstrumentor"),
        "OpenLIT": OPENLIT,
        "Logfire": Neighbour("logfire", "logfire:instrument_openai_agents"),
    },
    "pydantic-ai": {
        "native": Neighbour("pydantic-ai-slim", "native"),
        "official": "has none",
        "OpenInference": Neighbour("openinference-instrumentation-pydantic-ai", "rewritten"),
        "OpenLLMetry": "has none",
        "OpenLIT": "stays out: it asks for the distribution `pydantic-ai`, not `pydantic-ai-slim`",
        "Logfire": Neighbour("logfire", "logfire:instrument_pydantic_ai"),
    },
    "smolagents": {
        "native": "has none",
        "official": official("smolagents", "SmolagentsInstrumentor", tools=False),
        "OpenInference": openinference("smolagents", "SmolagentsInstrumentor"),
        "OpenLLMetry": "has none",
        "OpenLIT": OPENLIT,
        "Logfire": POINTS_TO.format("OpenInference"),
    },
    "mcp-1": {
        "native": "has none",
        "official": "has none",
        "OpenInference": openinference("mcp", "MCPInstrumentor", tools=False),
        "OpenLLMetry": openllmetry("mcp", "McpInstrumentor"),
        "OpenLIT": OPENLIT._replace(
            tools=False, says="one span a side; the client's is its own, which alone names no tool"
        ),
        "Logfire": Neighbour("logfire", "logfire:instrument_mcp"),
    },
    "mcp-2": {
        "native": Neighbour("mcp", "always"),
        "official": "has none",
        "OpenInference": openinference("mcp", "MCPInstrumentor", tools=False),
        "OpenLLMetry": "cannot be enabled: it patches a module that MCP 2 does not have",
        "OpenLIT": OPENLIT._replace(tools=False),
        "Logfire": "does nothing: it leaves MCP 2 to its own telemetry",
    },
    "llamaindex": {
        "native": Neighbour("llama-index-observability-otel", "registered", **_UNNAMED),
        "official": official("llama-index", "LlamaIndexInstrumentor"),
        "OpenInference": openinference("llama-index", "LlamaIndexInstrumentor"),
        "OpenLLMetry": openllmetry("llamaindex", "LlamaIndexInstrumentor", **_UNNAMED),
        "OpenLIT": OPENLIT._replace(tools=False),
        "Logfire": POINTS_TO.format("OpenLLMetry"),
    },
    "crewai": {
        "native": "has a provider of its own, which sends to CrewAI only",
        "official": "has none",
        "OpenInference": openinference("crewai", "CrewAIInstrumentor"),
        "OpenLLMetry": openllmetry("crewai", "CrewAIInstrumentor", tools=False),
        "OpenLIT": OPENLIT._replace(
            tools=False, says="one span: ours, but for tools of a class of their own"
        ),
        "Logfire": POINTS_TO.format("OpenInference"),
    },
    "google-adk": {
        "native": Neighbour("google-adk", "always"),
        "official": "has none: google-genai's sees functions that its client calls; ADK calls its own",
        "OpenInference": openinference("google-adk", "GoogleADKInstrumentor"),
        "OpenLLMetry": "has none",
        "OpenLIT": OPENLIT._replace(tools=False, says=THEIR_OWN),
        "Logfire": Neighbour("logfire", "logfire", tools=False, says=THEIR_OWN),
    },
    "fastmcp": {
        "native": Neighbour("fastmcp-slim", "always"),
        "official": "has none",
        "OpenInference": openinference("mcp", "MCPInstrumentor", tools=False, says=THEIR_OWN),
        "OpenLLMetry": "cannot be enabled: it patches a module that MCP 2 does not have",
        "OpenLIT": OPENLIT._replace(tools=False, says=THEIR_OWN),
        "Logfire": Neighbour("logfire", "logfire", tools=False, says=THEIR_OWN),
    },
    "claude-agent-sdk": {
        "native": "has none; that of MCP 2, which runs the tools of this process, is muted",
        "official": "has none",
        "OpenInference": openinference(
            "claude-agent-sdk", "ClaudeAgentSDKInstrumentor", says=BESIDE_OURS
        ),
        "OpenLLMetry": "has none",
        "OpenLIT": OPENLIT._replace(says=BESIDE_OURS),
        "Logfire": Neighbour("logfire", "logfire:instrument_claude_agent_sdk", says=BESIDE_OURS),
    },
}
#: Two that double each other: we add no third span, and count once.
PAIRS = {
    "openai-agents": ("official+Logfire", "Logfire+official"),
    "llamaindex": ("official+OpenInference", "OpenLLMetry+official", "official+native"),
    "mcp-1": ("OpenLLMetry+Logfire", "Logfire+OpenLLMetry"),
    "smolagents": ("OpenInference+OpenLIT", "OpenLIT+OpenInference"),
}


class After(str):
    """Why there is a gap where the neighbour was enabled after us, and none before."""

    __slots__ = ()


_OK_LAST = "it sets the status OK as it ends the span, which the SDK lets stand over ERROR"
_NOT_TOLD = "its own context manager hears of the cancellation after us and calls it an error"
_ERROR_LAST = "it sets error.type again as it ends the span"
_TWO_WAYS = "it has a span for the way in, and one more for the `call` that this one calls"
_DROPPED = "as it ends the span of what was broken off, it calls that an error"
_NO_TOOL = "its spans name no tool, and a client's call has two"
_BETWEEN = "its own span of the MCP request, which names no tool, stands between the two sides"
_THROUGH_MCP = (
    *("sync", "async", "parallel", "raising", "soft error", "cancelled", "timed out"),
    *("MCP tools", "200 calls at once"),
)
_APART = (
    "its spans are made by hooks that the command line calls beside the tool, never current, and "
    "may end before the call's end is told: they stand beside ours (and are not counted)"
)
_AFTERWARDS = (
    "its spans are made afterwards in a thread of its own, never current: they stand beside ours "
    "(and are not counted)"
)
#: (framework, neighbour) -> situation -> what cannot be right, read in the neighbour's source.
GAPS = {
    ("langchain", "native"): dict.fromkeys(
        (
            *("sync", "async", "streaming", "parallel", "raising", "soft error"),
            *("invalid arguments", "approval granted later", "retry", "agent as a tool"),
            *("direct call", "MCP tools", "200 calls at once"),
        ),
        _AFTERWARDS,
    ),
    ("langchain", "official"): {
        "cancelled": "its callback for the end calls a cancellation an error, and comes after us",
    },
    ("langchain", "OpenInference"): {"soft error": _OK_LAST},
    ("langchain", "OpenLIT"): {
        "soft error": _OK_LAST,
        "retry": f"of an exception without a message {_OK_LAST}",
        "agent as a tool": "its callbacks give the inner calls the outer tool as parent, not the "
        "inner agent",
        "direct call": "it makes up a call id, and an attribute cannot be taken off again",
    },
    ("openai-agents", "official"): {
        "raising": f"{_ERROR_LAST}: `_OTHER`",
        "soft error": f"{_ERROR_LAST}: `_OTHER`",
        "retry": f"{_ERROR_LAST}: `_OTHER`",
    },
    ("openai-agents", "OpenInference"): {"timed out": _OK_LAST},
    ("openai-agents", "OpenLLMetry"): {
        "timed out": _OK_LAST,
        "agent as a tool": "it gives every agent's span its trace's workflow as parent, not the tool",
    },
    ("openai-agents", "OpenLIT"): {
        "raising": f"{_ERROR_LAST}: a sentence",
        "soft error": f"{_ERROR_LAST}: a sentence",
        "retry": f"{_ERROR_LAST}: a sentence",
        "timed out": _OK_LAST,
        "approval refused": "in 0.20 what a person decided comes before the agent's own span",
        "approval granted later": "in 0.20 what a person decided comes before the agent's own span",
        "MCP tools": "it marks the listing of a server's tools as a tool (it is not counted)",
    },
    ("openai-agents", "Logfire"): {"cancelled": _NOT_TOLD},
    ("pydantic-ai", "Logfire"): {
        "cancelled": "with content on: its span calls every exception that is recorded on it an error",
    },
    ("mcp-1", "OpenLIT"): dict.fromkeys(
        ("sync", "async", "parallel", "raising"),
        "around the two sides, and between the server's and the body, stand its spans of other "
        "functions, which name no tool",
    ),
    ("mcp-2", "OpenLIT"): dict.fromkeys(("sync", "async", "parallel", "raising"), _NO_TOOL),
    ("mcp-1", "Logfire"): dict.fromkeys(
        ("sync", "async", "parallel", "raising"),
        "on the server's side its span names no tool, and stands beside ours",
    ),
    ("smolagents", "OpenLIT"): {
        **dict.fromkeys(
            (
                "sync",
                "streaming",
                "parallel",
                "agent as a tool",
                "direct call",
                "200 calls at once",
            ),
            "it makes up a call id and writes it as it ends the span",
        ),
        **dict.fromkeys(("raising", "retry"), f"{_ERROR_LAST}: that of the framework's own error"),
    },
    ("llamaindex", "native"): {
        "soft error": f"{_OK_LAST}; {_TWO_WAYS}, which is current in the body",
        "cancelled": _DROPPED,
        "approval granted later": _DROPPED,
        "direct call": f"{_TWO_WAYS}, which is current in the body",
    },
    ("llamaindex", "official"): {
        "direct call": "it has a span for the `call` that `__call__` calls, below ours",
    },
    ("llamaindex", "OpenInference"): {
        "soft error": _TWO_WAYS,
        "cancelled": _DROPPED,
        "approval granted later": _DROPPED,
        "direct call": _TWO_WAYS,
    },
    ("llamaindex", "OpenLLMetry"): {
        "soft error": f"{_TWO_WAYS}, which is current in the body",
        "cancelled": "it never ends the span of a run that is broken off",
        "agent as a tool": "its span of an agent below a tool is marked as any step's",
        "direct call": f"{_TWO_WAYS}, which is current in the body",
    },
    ("llamaindex", "OpenLIT"): {"MCP tools": _BETWEEN},
    ("crewai", "OpenInference"): {"soft error": _OK_LAST},
    ("crewai", "OpenLIT"): {"MCP tools": _BETWEEN},
    ("smolagents", "OpenInference"): {
        "cancelled": "it never ends a run's span that a KeyboardInterrupt leaves",
    },
    ("google-adk", "OpenInference"): {
        "retry": After(f"enabled after us: of an answer made of an exception {_OK_LAST}"),
        "approval refused": After("enabled after us: it calls every refused call an error"),
    },
    ("google-adk", "OpenLIT"): {"MCP tools": _BETWEEN},
    ("fastmcp", "OpenLIT"): dict.fromkeys(_THROUGH_MCP, _BETWEEN),
    ("claude-agent-sdk", "OpenInference"): dict.fromkeys(CLAUDE, _APART),
    ("claude-agent-sdk", "OpenLIT"): dict.fromkeys(CLAUDE, _APART),
    ("claude-agent-sdk", "Logfire"): {
        "streaming": f"{_APART}; it traces `ClaudeSDKClient` alone, not `query()`",
    },
}


# -- what the children do ------------------------------------------------------------------------


#: What waits for spans that are made in other threads.
WAITS = []


class Seen:
    """Where the spans and measurements of one child go."""

    def __init__(self):
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader({Histogram: AggregationTemporality.DELTA})

    @property
    def processor(self):
        return SimpleSpanProcessor(self.exporter)

    def set_providers(self):
        provider = TracerProvider()
        provider.add_span_processor(self.processor)
        trace.set_tracer_provider(provider)
        metrics.set_meter_provider(MeterProvider([self.reader]))


def enable(framework, neighbour, seen):
    how = NEIGHBOURS[framework][neighbour].enable
    module, _, name = how.partition(":")
    if module == "logfire":
        logfire = configured_logfire(seen)
        _ = name and getattr(logfire, name)()
    elif name:
        instrumentor = getattr(importlib.import_module(module), name)()
        instrumentor.instrument()
        assert instrumentor.is_instrumented_by_opentelemetry
    else:
        ways = openlit, native, rewritten, registered, langsmith
        {"always": bool, **{way.__name__: way for way in ways}}[how]()


def configured_logfire(seen):
    import logfire

    logfire.configure(
        send_to_logfire=False,
        console=False,
        additional_span_processors=[seen.processor],
        metrics=logfire.MetricsOptions(additional_readers=[seen.reader]),
    )
    return logfire


def openlit():
    import openlit

    openlit.init(pricing_json=str(TESTS / "environments" / "no-prices.json"))  # else it asks GitHub


def native():
    from pydantic_ai import Agent

    Agent.instrument_all()


def rewritten():
    from openinference.instrumentation.pydantic_ai import OpenInferenceSpanProcessor

    trace.get_tracer_provider().add_span_processor(OpenInferenceSpanProcessor())
    native()


def langsmith():
    """Its mode for OpenTelemetry: nothing else is sent, and spans go to the global provider."""
    from langchain_core.tracers.langchain import wait_for_all_tracers
    from langsmith.utils import get_env_var

    os.environ.update(LANGSMITH_TRACING="true", LANGSMITH_TRACING_MODE="otel")
    os.environ.update(LANGSMITH_API_KEY="none", LANGSMITH_ENDPOINT="http://127.0.0.1:9")
    get_env_var.cache_clear()
    WAITS.append(wait_for_all_tracers)


def registered():
    from llama_index.observability.otel import LlamaIndexOpenTelemetry

    LlamaIndexOpenTelemetry(tracer_provider=trace.get_tracer_provider()).start_registering()


def main(framework, neighbours, order):
    """Let a framework act without us and with us; print what was seen, as one line of JSON."""
    seen, told = Seen(), {}
    program = importlib.import_module(program_of(framework))
    if "Logfire" not in neighbours:  # it brings its own
        seen.set_providers()
    if order == "after":
        toolspan.instrument(settings=Settings(capture=True))
    for neighbour in neighbours.split("+"):
        enable(framework, neighbour, seen)
    if order == "before":
        told["alone"] = watched(program, seen, ALONE.get(framework, ("sync", "raising")))
        toolspan.instrument(settings=Settings(capture=True))
    told["with us"] = watched(program, seen, SOME.get(framework, SITUATIONS))
    print(json.dumps(told))


def program_of(framework):
    """That of the ground truth; MCP without an agent has one of its own."""
    return "programs.mcp_calls" if framework in MCP else f"programs.{file_of(framework).stem}"


def watched(program, seen, situations):
    contained = []
    containment.witnesses.append(lambda place, error: contained.append(f"{place}: {error!r}"))
    told = {
        situation: told_of(program, situation, seen, contained)
        for situation in situations
        if not cannot(program, situation) and situation not in program.GAPS
    }
    containment.witnesses.pop()
    return told


def told_of(program, situation, seen, contained):
    contained.clear()
    seen.exporter.clear()
    seen.reader.get_metrics_data()
    toolspan.stats().reset()
    contextvars.Context().run(act, program, situation)  # what a neighbour leaves there ends there
    for wait in WAITS:
        wait()
    rows = [row for row in toolspan.stats().rows() if row.side != "server"]
    spans = seen.exporter.get_finished_spans()
    calls = getattr(program, "BESIDE", {}).get(situation) or calls_of(program, situation)
    asked = [span for span in spans if not waited(span, calls)]
    return {
        "wrong": [*differences(calls, asked), *sides(program, calls, spans)],
        "ran": len(RAN),
        "counted": +sum((Counter(row.outcomes) for row in rows), Counter()),
        "outcomes": Counter(call.outcome for call in calls),
        "open": [row.tool for row in rows if row.in_flight],
        "measured": measured(seen.reader),
        "contained": list(contained),
        "tools": [plain(span) for span in tool_spans(asked)],
        "doubled": toolspan.status().doubled,
    }


def sides(program, calls, spans):
    """Without an agent an MCP call has two spans, its client's and its server's."""
    found = [span for span in spans if "tools/call" in span.name]
    there = len({span.context.span_id for span in found + tool_spans(spans)})
    if program.FRAMEWORK in MCP and there != 2 * len(calls):
        yield f"{there} spans of both sides"


def waited(span, calls):
    """Whether it is a neighbour's span of a call that nobody ran, and says so."""
    others = span.instrumentation_scope.name != "toolspan"
    said = span.attributes.get("toolspan.outcome")
    return others and said == "interrupted" and said not in {call.outcome for call in calls}


def measured(reader):
    """How many durations of tools were recorded since the last time, by whomever."""
    data = reader.get_metrics_data()
    scopes = [
        scope for one in (data.resource_metrics if data else ()) for scope in one.scope_metrics
    ]
    found = [metric for scope in scopes for metric in scope.metrics]
    return sum(
        point.count
        for metric in found
        if metric.name == "gen_ai.execute_tool.duration"
        for point in metric.data.data_points
    )


def plain(span):
    said = {key: str(value) for key, value in span.attributes.items()}
    return {"scope": span.instrumentation_scope.name, "said": said}


def child(framework, neighbours, order):
    """What one child saw."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, framework, neighbours, order],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"')))


# -- the page ------------------------------------------------------------------------------------


def cells():
    """Every framework and neighbour of which there is something to see."""
    return [
        (framework, neighbour)
        for framework, row in NEIGHBOURS.items()
        for neighbour, one in row.items()
        if isinstance(one, Neighbour)
    ]


#: MCP without an agent: what a row is called, and its program.
MCP = {"mcp-1": "MCP SDK 1.x", "mcp-2": "MCP SDK 2.x"}


def is_here(framework, neighbours):
    """Whether this environment has them, and the framework in a version that is tested."""
    wanted = [NEIGHBOURS[framework][one].distribution for one in neighbours.split("+")]
    try:
        there = version(distribution_of(framework))
        return (
            is_version_of(framework, there) and is_tested(framework) and all(map(version, wanted))
        )
    except PackageNotFoundError:
        return False


def is_tested(framework):
    return framework in MCP or framework in PROGRAMS


def pins():
    """What each environment pins."""
    files = sorted(TESTS.glob("environments/neighbours*.txt"))
    found = r"^([\w.-]+)(?:\[.+\])?==(.+)$"
    return [dict(re.findall(found, file.read_text("utf-8"), re.MULTILINE)) for file in files]


def versions_of(framework, neighbour):
    """The versions that met: of the framework, and of the neighbour."""
    mine = distribution_of(framework)
    theirs = NEIGHBOURS[framework][neighbour].distribution
    both = [(one[mine], one[theirs]) for one in pins() if mine in one and theirs in one]
    return next((pair for pair in both if is_version_of(framework, pair[0])), None)


def distribution_of(framework):
    found = (one.distribution for one in ADAPTERS if one.name == framework.partition("-")[0])
    exact = (one.distribution for one in ADAPTERS if one.name == framework)
    return next(exact, None) or next(found)


def is_version_of(framework, found):
    """Whether a version of MCP is that of its row."""
    return framework not in MCP or found.partition(".")[0] == framework[-1]


def page():
    """Framework x neighbour as Markdown, and the reason of each gap."""
    rows = [["framework", *VENDORS], ["---"] * (len(VENDORS) + 1)]
    others = [one for one in FRAMEWORKS if one not in NEIGHBOURS and one != "mcp"]
    rows += [
        [title_of(framework), *(cell(framework, vendor) for vendor in VENDORS)]
        for framework in (*NEIGHBOURS, *others)
    ]
    lines = [
        f"Measured on {MEASURED}.",
        "",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    for (framework, neighbour), gaps in GAPS.items():
        together = {}
        for situation, reason in gaps.items():
            together.setdefault(reason, []).append(situation)
        title = f"{title_of(framework)} beside {neighbour}"
        lines += [f"- {title}, {', '.join(them)}: {why}" for why, them in together.items()]
    return "\n".join(lines)


def title_of(framework):
    return MCP.get(framework) or FRAMEWORKS[framework]


def cell(framework, neighbour):
    one = NEIGHBOURS.get(framework, {}).get(neighbour, "nobody has looked")
    if not isinstance(one, Neighbour):
        return one
    mine, theirs = versions_of(framework, neighbour)
    number = len(GAPS.get((framework, neighbour), ()))
    gaps = f"; {number} gap{'s'[: number > 1]}" if number else ""
    usual = "one span" if one.tools else "ours: it has none that names a tool"
    return f"{one.says or usual}{gaps} ({theirs} on {mine})"


def written():
    """The page with the table between its markers."""
    begin, end = MARKERS
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    return f"{before}{begin}\n{page()}\n{end}{rest.partition(end)[2]}"


if __name__ == "__main__":
    if sys.argv[1:]:
        main(*sys.argv[1:])
    else:
        PAGE.write_text(written(), encoding="utf-8")
