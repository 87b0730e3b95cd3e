"""What every test gets: loud containment, spans in memory, and the conventions watching."""

from __future__ import annotations

import gc
import logging
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from toolspan import containment
from toolspan.lifecycle import drain
from toolspan.testing import pytest_pycollect_makeitem, tracing  # noqa: F401  # not installed too

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS))  # programs and parts beside the tests

from conventions.check import Checker  # noqa: E402
from trees import tree_of  # noqa: E402


class Traced(tracing.Traced):
    """Instrumentation for one test, into memory."""

    def tree(self) -> str:
        """The spans as text, ids and times left out."""
        return tree_of(self.spans)

    def told(self, *names: str):
        """What the tools' spans say of these, behind the tools' names."""
        wanted = ("gen_ai.tool.name", *names)
        return [tuple(map(span.attributes.get, wanted)) for span in self.tools]

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


@pytest.fixture
def nothing_ran():
    """What tools write down of their executions begins anew."""
    from ground_truth import RAN  # it loads all adapters

    RAN.clear()


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
    with tracing.tracings(Traced) as made:
        yield made
    for span in (span for traced in made.started for span in traced.spans):
        if span.instrumentation_scope.name == "toolspan":
            violations = CHECKER.check(span)
            assert not violations, violations


@pytest.fixture
def toolspan_tracings(trace_with):
    """What the contract of adapters instruments with: its spans are looked at as all others."""
    return trace_with


@pytest.fixture
def traced(trace_with) -> Traced:
    """Instrumentation with nothing set."""
    return trace_with()
