"""Below a neighbour that patched the same function before us: neither sees that the other is there."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import pytest
import wrapt
from opentelemetry import trace

import toolspan
from toolspan.hooks import PLACEMENTS, Adapter, Hook, Mute, Pending, Placement
from toolspan.lifecycle import wrapper_for
from toolspan.neighbours import DOUBLED
from toolspan.toolcall import ToolCall


class Tool:
    """A framework's one function that runs a tool, and one that asks a person first."""

    def run(self, name):
        current = trace.get_current_span()
        return name, current.get_span_context().span_id

    def ask(self, name):
        return name


def read(given, *_):
    return ToolCall(given.get("name"))


ADAPTER = Adapter(
    name="host",
    distribution="host",
    versions=">=1",
    words=(Hook("host:Tool.run", read), Pending("host:Tool.ask", read)),
)


@pytest.fixture
def host(traced, monkeypatch):
    """The framework, and what a neighbour does to it."""
    module = types.ModuleType("host")
    module.Tool = type("Tool", (), dict(vars(Tool)))
    monkeypatch.setitem(sys.modules, "host", module)
    module.placement = Placement(ADAPTER, wrapper_for)
    module.original = vars(module.Tool)["run"]
    yield module
    module.placement.remove()


def patch(host, traced, name="run"):
    """As a neighbour patches a function: with wrapt, and a span of its own."""
    tracer = traced.tracer("openinference.instrumentation.host")

    def traced_call(wrapped, _instance, args, kwargs):
        marks = {"openinference.span.kind": "TOOL", "tool.name": args[0]}
        with tracer.start_as_current_span("Tool", attributes=marks):
            return wrapped(*args, **kwargs)

    traced_call.__module__ = "openinference.instrumentation.host"
    wrapt.wrap_function_wrapper(host, f"Tool.{name}", traced_call)
    return vars(host.Tool)[name]


def test_its_span_is_the_one_and_says_how_the_call_ended(host, traced):
    patch(host, traced)
    host.placement.place()
    _, inside = host.Tool().run("add")
    (span,) = traced.spans
    assert span.instrumentation_scope.name == "openinference.instrumentation.host"
    assert span.context.span_id == inside
    assert span.attributes["toolspan.outcome"] == "ok"
    assert span.attributes["gen_ai.tool.name"] == "add"


def test_what_it_made_is_not_changed_and_stands_there_again(host, traced):
    theirs = patch(host, traced)
    host.placement.place()
    assert vars(host.Tool)["run"] is not theirs
    assert theirs.__wrapped__ is host.original
    host.placement.remove()
    assert vars(host.Tool)["run"] is theirs
    host.placement.place()
    host.Tool().run("add")
    assert traced.outcomes == ["ok"]


def test_when_it_goes_first_ours_stays_and_is_taken_out_to_the_last(host, traced):
    patch(host, traced)
    host.placement.place()
    host.Tool.run = vars(host.Tool)["run"].__wrapped__  # as OpenTelemetry's `unwrap` does
    host.Tool().run("add")
    assert [span.instrumentation_scope.name for span in traced.spans] == ["toolspan"]
    host.placement.remove()
    assert vars(host.Tool)["run"] is host.original


def test_a_wrapper_of_anybody_else_stays_inside_ours(host, traced):
    seen = []

    def wrapper(wrapped, _instance, args, kwargs):
        seen.append(trace.get_current_span().get_span_context().span_id)
        return wrapped(*args, **kwargs)

    wrapt.wrap_function_wrapper(host, "Tool.run", wrapper)
    host.placement.place()
    host.Tool().run("add")
    assert seen == [traced.tools[0].context.span_id]


def test_what_waits_for_a_person_has_a_span_only_where_a_neighbour_has_one(host, traced):
    host.placement.place()
    host.Tool().ask("add")
    assert traced.spans == []
    host.placement.remove()
    host.placement.place()
    patch(host, traced, "ask")  # after us: its span is around what we see
    host.Tool().run("add")  # the first call finds the provider
    traced.exporter.clear()
    host.Tool().ask("add")
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == "interrupted"
    assert span.attributes["gen_ai.tool.name"] == "add"


@pytest.mark.parametrize("hooked", [True, False])
def test_a_span_made_apart_is_counted_only_where_nobody_of_ours_saw_the_call(
    host, traced, monkeypatch, hooked
):
    DOUBLED.clear()
    if hooked:
        host.placement.place()
        monkeypatch.setitem(PLACEMENTS, "claude-agent-sdk", host.placement)
    toolspan.stats().reset()
    marks = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "add"}
    tracer = traced.tracer("logfire.claude_agent_sdk")
    tracer.start_span("execute_tool add", attributes=marks).end()
    tracer.start_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}).end()
    assert [row.calls for row in toolspan.stats().rows()] == ([] if hooked else [1])
    both = ("logfire.claude_agent_sdk", "toolspan")
    assert toolspan.status().doubled == ((both,) if hooked else ())
    DOUBLED.clear()


def test_what_writes_at_the_end_runs_and_says_no_error_and_no_text(host, traced):
    def write(self):
        span = trace.get_current_span()
        span.set_attributes({"host.said": 1, "host.text": "secret"})
        span.set_status(trace.StatusCode.OK)
        return "written"

    host.Tool.write = write
    host.Tool.run = lambda self, name: self.write()
    quiet = Mute("host:Tool.write", lambda _: True, texts=("host.text",), runs=True)
    words = (*ADAPTER.words, quiet)
    placement = Placement(replace(ADAPTER, words=words), wrapper_for)
    placement.place()
    assert host.Tool().run("add") == "written"
    placement.remove()
    (span,) = traced.spans
    assert span.attributes["host.said"] == 1
    assert "host.text" not in span.attributes
    assert span.status.status_code is trace.StatusCode.UNSET
