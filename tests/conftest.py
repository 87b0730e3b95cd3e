"""What every test gets: loud containment, spans in memory, and the conventions watching."""

from __future__ import annotations

import gc
import logging
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import toolspan
from toolspan import containment
from toolspan.lifecycle import drain

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS))  # programs and parts beside the tests

from conventions.check import Checker  # noqa: E402
from trees import tree_of  # noqa: E402


class Traced:
    """Instrumentation for one test, into memory."""

    def __init__(self, **options) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(**options)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def spans(self) -> list:
        """Every ended span, in the order of their starts."""
        drain()
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)

    @property
    def tools(self) -> list:
        """The ended spans of tool calls."""
        return [span for span in self.spans if span.attributes.get("gen_ai.tool.name")]

    @property
    def outcomes(self) -> list[str]:
        return [span.attributes.get("toolspan.outcome") for span in self.tools]

    def tree(self) -> str:
        """The spans as text, ids and times left out."""
        return tree_of(self.spans)

    def named(self, name: str):
        """The one span of that name."""
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def tracer(self, scope: str = "test"):
        return self.provider.get_tracer(scope)


#: Run once, in the environment `collector`, however many others there are.
if find_spec("check_jsonschema") is None:
    collect_ignore = ["test_backends.py", "test_binaries.py", "test_collector.py"]
    collect_ignore += ["test_collector_faults.py", "test_compose.py", "test_end_to_end.py"]

CHECKER = Checker()


@pytest.fixture(autouse=True, scope="session")
def _fixed_gaps():
    """A declared gap whose case came up without it is fixed, and must be taken out."""
    yield
    assert CHECKER.close() == []


@pytest.fixture(autouse=True)
def _loud_containment(request):
    """Whatever toolspan contained during a test fails it, unless the test is about that."""
    seen = []
    containment.witnesses.append(lambda place, error: seen.append((place, error)))
    yield
    drain()
    containment.witnesses.clear()
    if seen and request.node.get_closest_marker("contains") is None:
        raise AssertionError(f"contained in {seen[0][0]}") from seen[0][1]


@pytest.fixture(autouse=True)
def _quiet_context(caplog):
    """No test leaves a context that could not be detached."""
    caplog.set_level(logging.ERROR, logger="opentelemetry.context")
    gc.freeze()  # what is there before the test is not looked through after it
    yield
    gc.collect()
    gc.unfreeze()
    failures = [r for r in caplog.get_records("call") if r.name == "opentelemetry.context"]
    assert not failures, failures


@pytest.fixture(autouse=True, scope="session")
def _state_directory(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("TOOLSPAN_STATE_DIR", str(tmp_path_factory.mktemp("state")))
    yield
    patch.undo()


@pytest.fixture
def trace_with():
    """Instrument with a provider of one's own: `traced = trace_with(settings=..., sampler=...)`."""
    started = []

    def start(*names, settings=None, meter_provider=None, **options) -> Traced:
        traced = Traced(**options)
        toolspan.stats().reset()
        toolspan.instrument(
            *names,
            tracer_provider=traced.provider,
            meter_provider=meter_provider,
            settings=settings,
        )
        started.append(traced)
        return traced

    yield start
    drain()
    toolspan.uninstrument()
    for traced in started:
        for span in traced.spans:
            if span.instrumentation_scope.name == "toolspan":
                violations = CHECKER.check(span)
                assert not violations, violations
        traced.provider.shutdown()


@pytest.fixture
def traced(trace_with) -> Traced:
    """Instrumentation with nothing set."""
    return trace_with()
