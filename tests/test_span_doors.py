"""What a framework's own tracer is given: its span is adopted without texts, one beside is muted."""

from __future__ import annotations

import copy
import inspect
import sys
import types

import pytest
from opentelemetry import context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.trace import NoOpTracer

from toolspan.hooks import Adapter, Enrich, Hook, Mute, Placement
from toolspan.lifecycle import wrapper_for
from toolspan.settings import Settings
from toolspan.toolcall import ToolCall

SECRET = "canary-31cc"


class Documented:
    """Where the words of a method come from that has none."""

    def run(self, name, error=None):
        """Run a tool."""


class Agent(Documented):
    """Traces each of its calls, and all of them together."""

    def run(self, name, error=None):
        with sys.modules["host"].tracer.start_as_current_span(f"execute_tool {name}") as span:
            span.set_attribute("host.version", 1)
            if error is not None:
                raise error
        return name

    def turn(self, names):
        with sys.modules["host"].tracer.start_as_current_span("execute_tool (all)"):
            pass
        return [self.run(name) for name in names]


def begins(start):
    return lambda given: given.args[0].startswith(start)


SPAN = "host:tracer.start_as_current_span"
ADAPTER = Adapter(
    name="host",
    distribution="host",
    versions=">=1",
    words=(
        Hook("host:Agent.run", lambda given: ToolCall(given.get("name")), decide=("host:never",)),
        Enrich(SPAN, begins("execute_tool ")),
        Mute(SPAN, begins("execute_tool (all)"), beside=True),
    ),
)


@pytest.fixture
def host(trace_with, monkeypatch):
    """A framework with a tracer of its own, hooked."""
    module = types.ModuleType("host")
    module.Agent, module.never = Agent, lambda: None
    monkeypatch.setitem(sys.modules, "host", module)
    placement = Placement(ADAPTER, wrapper_for)

    def start(tracer=None, **options):
        module.traced = trace_with(**options)
        module.tracer = tracer or module.traced.tracer("host")
        module.others = module.traced.tracer("others")
        placement.place()
        assert placement.missing == []
        return module

    yield start
    placement.remove()
    assert "start_as_current_span" not in vars(module.tracer)
    assert type(Agent.run) is types.FunctionType


def test_the_owners_span_is_the_calls_and_says_none_of_the_exceptions_texts(host):
    module, error = host(), ValueError(SECRET)
    with pytest.raises(ValueError, match=SECRET) as caught:
        Agent().run("add", error)
    assert caught.value is error
    (span,) = module.traced.spans
    assert (span.name, span.instrumentation_scope.name) == ("execute_tool add", "host")
    assert span.attributes["host.version"] == 1
    assert span.attributes["error.type"] == "ValueError"
    assert span.status.status_code.name == "ERROR"
    assert SECRET.encode() not in encode_spans([span]).SerializeToString()


def test_with_content_on_the_owner_says_what_it_says_without_us(host):
    module = host(settings=Settings(capture=True))
    with pytest.raises(ValueError, match=SECRET):
        Agent().run("add", ValueError(SECRET))
    (span,) = module.traced.spans
    assert [event.name for event in span.events] == ["exception"]


def test_a_span_beside_the_calls_is_muted_and_those_of_others_are_not(host):
    module = host()
    assert Agent().turn(["add", "sub"]) == ["add", "sub"]
    with module.others.start_as_current_span("execute_tool (all)"):
        pass
    names = ["execute_tool add", "execute_tool sub", "execute_tool (all)"]
    assert [span.name for span in module.traced.spans] == names


def test_where_its_tracer_gives_nothing_the_span_is_ours_and_the_context_is_restored(host):
    module = host(NoOpTracer())
    before = context.get_current()
    Agent().run("add")
    (span,) = module.traced.spans
    assert span.instrumentation_scope.name == "toolspan"
    assert context.get_current() == before


def test_a_method_without_words_has_those_of_the_class_above(host):
    before = inspect.getdoc(Agent.run), inspect.getdoc(Agent().run)
    host()
    assert type(vars(Agent)["run"]) is not types.FunctionType
    assert (inspect.getdoc(Agent.run), inspect.getdoc(Agent().run)) == before
    assert before == ("Run a tool.", "Run a tool.")
    assert Agent.run(Agent(), "add") == "add"


def test_a_copy_of_a_hooked_tracer_is_a_tracer_without_a_layer(host):
    module = host(NoOpTracer())
    twin = copy.deepcopy(module.tracer)
    with twin.start_as_current_span("execute_tool (all)") as span:
        assert not span.is_recording()
    assert twin.start_as_current_span.__self__ is twin
