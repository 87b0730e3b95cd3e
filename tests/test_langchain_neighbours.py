"""Others who trace LangChain too: one tool span for each call, whoever was enabled first.

Each neighbour runs in children of its own, since no two of them can be taken out again in any
order. This file is the test, and with arguments the program that the children run.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: Name -> distribution, module and class of the instrumentor, and whether it ends a cancelled call.
NEIGHBOURS = {
    "official": (
        "opentelemetry-instrumentation-genai-langchain",
        "opentelemetry.instrumentation.genai.langchain",
        "LangChainInstrumentor",
        True,
    ),
    "OpenInference": (
        "openinference-instrumentation-langchain",
        "openinference.instrumentation.langchain",
        "LangChainInstrumentor",
        False,
    ),
    "OpenLLMetry": (
        "opentelemetry-instrumentation-langchain",
        "opentelemetry.instrumentation.langchain",
        "LangchainInstrumentor",
        False,
    ),
}
#: What happens in each situation: the executions of tools, and the outcomes with the refusals.
SITUATIONS = {
    "direct": (["add"], ["ok"]),
    "async": (["add_async"], ["ok"]),
    "raising": (["boom"], ["error"]),
    "handled": (["complain"], ["tool_error"]),
    "nested": (["twice", "add"], ["ok", "ok"]),
    "recursive": (["factorial"] * 3, ["ok"] * 3),
    "agent": (["add"], ["ok", "unknown_tool", "invalid_arguments"]),
    "async agent": (["add_async"], ["ok"]),
    "parallel": (["add"] * 4, ["ok"] * 4),
    "async parallel": (["add"] * 4, ["ok"] * 4),
    "sub-agent": (["research", "add"], ["ok", "ok"]),
    "decorated": (["add"], ["ok"]),
    "interrupted": (["ask", "ask"], ["interrupted", "ok"]),
    "cancelled": (["nap"], ["cancelled"]),
    "direct again": (["add"], ["ok"]),
}
TOOL_MARKS = (
    ("gen_ai.operation.name", "execute_tool"),
    ("openinference.span.kind", "TOOL"),
    ("traceloop.span.kind", "tool"),
)
AGENTS = ("agent", "async agent", "parallel", "async parallel", "sub-agent")

both_orders = pytest.mark.parametrize("order", ["ours first", "theirs first"])


#: They are installed together or not at all: a program that has them would be traced by all of them.
__test__ = importlib.util.find_spec("openinference") is not None


@pytest.fixture(params=NEIGHBOURS)
def neighbour(request):
    return request.param


@cache
def child(neighbour, order):
    """A child that ran every situation beside one neighbour."""
    return subprocess.run(
        [sys.executable, __file__, neighbour, order],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def told(neighbour, order):
    """What it saw in each situation: alone, where theirs is first, and with ours."""
    done = child(neighbour, order)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def tool_spans(seen):
    return [s for s in seen["spans"] if any(s["said"].get(key) == is_ for key, is_ in TOOL_MARKS)]


def test_the_neighbour_alone_has_tool_spans_of_its_own(neighbour):
    seen = told(neighbour, "theirs first")["alone"]
    assert {name for name in seen if not tool_spans(seen[name])} == (
        set() if NEIGHBOURS[neighbour][3] else {"cancelled"}
    )
    said = [key for name in seen for span in seen[name]["spans"] for key in span["said"]]
    assert not [key for key in said if key.startswith("toolspan")]


@both_orders
def test_beside_a_neighbour_each_call_is_one_span_that_says_how_it_ended(neighbour, order):
    seen = told(neighbour, order)["with us"]
    outcomes = {
        name: sorted(span["said"].get("toolspan.outcome", "-") for span in tool_spans(one))
        for name, one in seen.items()
    }
    assert outcomes == {name: sorted(words) for name, (_, words) in SITUATIONS.items()}
    assert {name: one["contained"] for name, one in seen.items() if one["contained"]} == {}
    for one in seen.values():
        for span in tool_spans(one):
            assert {"toolspan.tool.fingerprint", "gen_ai.tool.name"} - set(span["said"]) == set()


@both_orders
def test_beside_a_neighbour_each_body_runs_once_and_inside_its_span(neighbour, order):
    seen = told(neighbour, order)["with us"]
    ran = {name: sorted(tool for tool, _ in one["ran"]) for name, one in seen.items()}
    assert ran == {name: sorted(tools) for name, (tools, _) in SITUATIONS.items()}
    for one in seen.values():
        ids = [span_id for _, span_id in one["ran"]]
        assert len(set(ids)) == len(ids)
        assert set(ids) <= {span["id"] for span in tool_spans(one)}


@both_orders
def test_beside_a_neighbour_each_call_is_counted_once(neighbour, order):
    seen = told(neighbour, order)["with us"]
    counted = {name: Counter(one["counted"]) for name, one in seen.items()}
    assert counted == {name: Counter(words) for name, (_, words) in SITUATIONS.items()}
    assert {one["foreign"] for one in seen.values()} == {0}


@both_orders
def test_beside_a_neighbour_an_applications_meter_provider_has_each_execution_once(
    neighbour, order
):
    seen = told(neighbour, order)["with us"]
    measured = {name: Counter(one["measured"]) for name, one in seen.items()}
    executed = {name: Counter(tools) for name, (tools, _) in SITUATIONS.items()}
    if neighbour == "official":  # it measures the call whose arguments did not fit, too
        executed["agent"]["add"] += 1
    assert measured == executed


def test_the_official_neighbour_alone_measures_for_itself():
    seen = told("official", "theirs first")["alone"]
    assert seen["direct"]["measured"] == {"add": 1}


@both_orders
def test_beside_a_neighbours_run_there_is_no_second_and_all_is_one_trace(neighbour, order):
    seen = told(neighbour, order)["with us"]
    for spans in (seen[name]["spans"] for name in AGENTS):
        ours = [span["name"] for span in spans if span["scope"] == "toolspan"]
        assert [name for name in ours if name.startswith("invoke_agent")] == []
        assert len({span["trace"] for span in spans}) == 1
        assert len([span for span in spans if span["parent"] is None]) == 1


@both_orders
def test_nothing_that_was_before_is_around_the_next_call(neighbour, order):
    for seen in told(neighbour, order).values():
        (span,) = seen["direct again"]["spans"]
        assert span["parent"] is None


@both_orders
def test_the_spans_of_a_neighbour_get_the_call_id_and_the_agent(neighbour, order):
    seen = told(neighbour, order)["with us"]["async agent"]
    (span,) = tool_spans(seen)
    assert span["said"]["gen_ai.tool.call.id"] == "call-1"
    assert span["said"]["gen_ai.agent.name"] == "helper"


@pytest.mark.parametrize("pair", ["OpenInference+OpenLLMetry", "OpenLLMetry+OpenInference"])
def test_two_neighbours_double_each_other_and_we_add_nothing_and_count_once(pair):
    seen = told(pair, "theirs first")
    for name, (_, outcomes) in SITUATIONS.items():
        doubled, ours = seen["alone"][name], seen["with us"][name]
        assert Counter(ours["counted"]) == Counter(outcomes), name
        assert (ours["foreign"], ours["contained"]) == (0, []), name
        scopes = {span["scope"] for span in tool_spans(ours)}
        if name != "agent":  # two of its three calls are refused, which neither of them tells of
            assert "toolspan" not in scopes, name
            assert len(tool_spans(ours)) >= len(tool_spans(doubled)), name
    assert (
        len(tool_spans(seen["alone"]["direct"])) == len(tool_spans(seen["with us"]["direct"])) == 2
    )


# -- the program of the children -----------------------------------------------------------------


def situations(program):
    """Each situation as a function."""
    hello, two = program.HELLO, {"a": 1, "b": 2}

    def agent(*calls, tools, **options):
        return program.agent(*map(program.asks, calls), tools=tools, **options)

    def parallel():
        calls = [("add", {"a": n, "b": 1}, f"call-{n}") for n in range(4)]
        return program.agent(program.asks(*calls), tools=[program.add])

    async def cancel():
        call = asyncio.create_task(program.nap.ainvoke({}))
        while not program.RAN:
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    def interrupted():
        asking = program.remembering(
            program.asks(("ask", {"question": "?"}, "call-1")), tools=[program.ask]
        )
        where = program.thread(f"neighbours-{len(USED)}")
        USED.append(where)
        asking.invoke(hello, where)
        asking.invoke(program.Command(resume="!"), where)

    mixed = [("add", two, "call-1")], [("delete", {}, "call-2")], [("add", {"a": "x"}, "call-3")]
    complaining = program.complain.model_copy(update={"handle_tool_error": True})
    added, researched = ("add_async", two, "call-1"), ("research", {"topic": "x"}, "call-1")
    return {
        "direct": lambda: program.add.invoke(two),
        "async": lambda: asyncio.run(program.add_async.ainvoke(two)),
        "raising": lambda: program.boom.invoke({}),
        "handled": lambda: complaining.invoke({}),
        "nested": lambda: program.twice.invoke({"a": 1}),
        "recursive": lambda: program.factorial.invoke({"n": 3}),
        "agent": lambda: program.agent(
            *(program.asks(*calls) for calls in mixed), tools=[program.add]
        ).invoke(hello),
        "async agent": lambda: asyncio.run(agent(added, tools=[program.add_async]).ainvoke(hello)),
        "parallel": lambda: parallel().invoke(hello),
        "async parallel": lambda: asyncio.run(parallel().ainvoke(hello)),
        "sub-agent": lambda: agent(researched, tools=[program.research], name="outer").invoke(
            hello
        ),
        "decorated": lambda: decorated(program).invoke(two),
        "interrupted": interrupted,
        "cancelled": lambda: asyncio.run(cancel()),
        "direct again": lambda: program.add.invoke(two),
    }


USED = []


def decorated(program):
    import toolspan

    return program.StructuredTool.from_function(toolspan.tool(program.add.func))


def main(neighbour, order):
    """Run every situation and print what was seen, as JSON."""
    from opentelemetry.sdk.metrics import Histogram, MeterProvider
    from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    import toolspan
    from programs import langchain_program as program

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    reader = InMemoryMetricReader(preferred_temporality={Histogram: AggregationTemporality.DELTA})
    providers = {"tracer_provider": provider, "meter_provider": MeterProvider([reader])}
    seen = {}
    if order == "theirs first":
        enable(neighbour, providers)
        seen["alone"] = watched(program, exporter, reader)
        toolspan.instrument(**providers)
    else:
        toolspan.instrument(**providers)
        enable(neighbour, providers)
    seen["with us"] = watched(program, exporter, reader)
    print(json.dumps(seen))


def enable(neighbours, providers):
    for _, module, name, _ in map(NEIGHBOURS.get, neighbours.split("+")):
        instrumentor = getattr(importlib.import_module(module), name)()
        instrumentor.instrument(**providers)
        assert instrumentor.is_instrumented_by_opentelemetry


def measured(reader):
    """How often the duration of each tool was recorded since the last time, by whomever."""
    times = Counter()
    data = reader.get_metrics_data()
    resources = data.resource_metrics if data is not None else ()
    for scope in (scope for one in resources for scope in one.scope_metrics):
        for metric in scope.metrics:
            if metric.name == "gen_ai.execute_tool.duration":
                for point in metric.data.data_points:
                    times[point.attributes["gen_ai.tool.name"]] += point.count
    return times


def watched(program, exporter, reader):
    import toolspan
    from toolspan import containment

    seen, contained = {}, []
    containment.witnesses.append(lambda place, error: contained.append(f"{place}: {error!r}"))
    for name, run in situations(program).items():
        exporter.clear()
        program.RAN.clear()
        toolspan.stats().reset()
        contained.clear()
        try:
            run()
        except ValueError as error:
            assert name == "raising", (name, error)
        rows = toolspan.stats().rows()
        seen[name] = {
            "ran": [(tool, f"{span_id:016x}") for tool, span_id in program.RAN],
            "spans": [plain(span) for span in exporter.get_finished_spans()],
            "counted": sum((Counter(row.outcomes) for row in rows), Counter()),
            "measured": measured(reader),
            "foreign": sum(row.foreign for row in rows),
            "contained": list(contained),
        }
    return seen


def plain(span):
    """A span as JSON takes it."""
    return {
        "name": span.name,
        "scope": span.instrumentation_scope.name,
        "id": f"{span.context.span_id:016x}",
        "trace": f"{span.context.trace_id:032x}",
        "parent": span.parent and f"{span.parent.span_id:016x}",
        "said": {key: str(value) for key, value in span.attributes.items()},
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
