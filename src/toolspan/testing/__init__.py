"""For users' own tests: `recorded_tools`, a context manager and a pytest fixture; the contract."""

from __future__ import annotations

import pkgutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider

from toolspan.hooks import Adapter
from toolspan.instrumentor import instrument, register, uninstrument
from toolspan.lifecycle import TRACING, Listener, drain
from toolspan.registry import adapter_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolspan.testing.contract import AdapterContract, Program
    from toolspan.testing.tracing import Traced, Tracings
    from toolspan.toolcall import Outcome, ToolCall


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call as it happened; arguments and result are the tool's own objects."""

    name: str
    arguments: Any
    result: Any
    #: `ok`, `error`, `denied`, ...: the same words as on the span.
    outcome: str
    error_type: str | None
    agent: str | None
    id: str | None
    #: Seconds.
    duration: float


class RecordedCalls(list[RecordedCall], Listener):
    """The finished calls in the order of their ends."""

    @property
    def names(self) -> list[str]:
        """The tools' names, in the order of their ends."""
        return [call.name for call in self]

    def started(self, call: ToolCall) -> None:
        """Nothing: a call is recorded when it ends."""

    def finished(self, call: ToolCall, outcome: Outcome, duration: int) -> None:
        """Record the call."""
        self.append(
            RecordedCall(
                name=call.name,
                arguments=call.arguments,
                result=outcome.result,
                outcome=outcome.word,
                error_type=outcome.type,
                agent=call.agent,
                id=call.id,
                duration=duration / 1e9,
            )
        )


@contextmanager
def recorded_tools() -> Iterator[RecordedCalls]:
    """Record every tool call of the block, instrumenting for as long as it lasts.

    >>> import toolspan
    >>> add = toolspan.tool(lambda a, b: a + b, name="add")
    >>> with recorded_tools() as calls:
    ...     add(1, 2)
    3
    >>> calls[0].name, calls[0].result, calls[0].outcome
    ('add', 3, 'ok')
    """
    calls = RecordedCalls()
    mine = not TRACING.active
    if mine:  # where no provider is set, none is missed: the calls are what is wanted
        unset = isinstance(trace.get_tracer_provider(), ProxyTracerProvider)
        instrument(tracer_provider=NoOpTracerProvider() if unset else None)
    TRACING.listeners = (*TRACING.listeners, calls)
    try:
        yield calls
    finally:
        drain()
        TRACING.listeners = tuple(one for one in TRACING.listeners if one is not calls)
        if mine:
            uninstrument()


def adapter_contract(adapter: str, program: Program | str) -> type[AdapterContract]:
    """Make a class of tests: what an adapter owes its host, each sentence tried with real calls.

    `adapter` is its place, `package.module:NAME`; `program` is a module that calls real tools of
    the framework, or its name, by which no other contract's process imports it:
    `toolspan.testing.contract.Program` says what must be in it. A test module of pytest that has
    `TestAcme = adapter_contract("acme_toolspan:ADAPTER", "acme_program")` runs them.

    Raises:
        ImportError: no adapter is there, or its framework is not installed.
        TypeError: something of what `Program` says is not in `program`.
    """
    from toolspan.testing import contract  # noqa: PLC0415  # pytest loads this room everywhere

    found = _adapter_at(adapter)
    later = contract.Named(program) if isinstance(program, str) else contract.whole(program)
    if adapter_for(found.name) is not found:
        register(found)
    if adapter_for(found.name) is not found:
        raise ImportError(f"adapter_contract({adapter!r}): {found.distribution} is not installed")
    facts = {"where": adapter, "adapter": found, "program": later}
    return type("AdapterContract", (contract.AdapterContract,), facts)


def _adapter_at(place: str) -> Adapter:
    try:
        found = pkgutil.resolve_name(place)
    except AttributeError:
        found = None
    if type(found) is not Adapter:
        raise ImportError(f"adapter_contract({place!r}): no adapter is there")
    return found


try:
    import pytest
except ImportError:  # only the fixtures need it
    pass
else:

    @pytest.fixture(name="recorded_tools")
    def _recorded_tools() -> Iterator[RecordedCalls]:
        """Every tool call of the test."""
        with recorded_tools() as calls:
            yield calls

    def pytest_pycollect_makeitem(
        collector: pytest.Module | pytest.Class, name: str, obj: object
    ) -> pytest.Collector | None:
        """The contract of an adapter has a process of its own."""
        contract = sys.modules.get("toolspan.testing.contract")
        if (
            not contract
            or not isinstance(obj, type)
            or not issubclass(obj, contract.AdapterContract)
        ):
            return None
        from toolspan.testing import alone  # noqa: PLC0415  # as above

        return alone.cases(collector, name, obj)

    @pytest.fixture(name="toolspan_tracings")
    def _toolspan_tracings() -> Iterator[Tracings[Traced]]:
        """Instrument as often as the test likes, into memory; `adapter_contract` needs it."""
        from toolspan.testing.tracing import Traced, tracings  # noqa: PLC0415  # as above

        with tracings(Traced) as made:
            yield made
