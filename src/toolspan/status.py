"""What is hooked, found and missing in this process, as facts."""

from __future__ import annotations

from dataclasses import dataclass, field

from opentelemetry import trace

from toolspan import containment
from toolspan.hooks import PLACEMENTS
from toolspan.lifecycle import TRACING, drain
from toolspan.versions import version_of


@dataclass(frozen=True, slots=True)
class FrameworkStatus:
    """One framework: its version here, and which hooks are in place."""

    name: str
    version: str
    tested: bool
    placed: tuple[str, ...]
    missing: tuple[str, ...]
    #: Whether nothing of it is imported yet: its hooks are placed when it is.
    waiting: bool = False

    def __str__(self) -> str:
        note = "" if self.tested else " (untested version)"
        gone = f", missing: {', '.join(self.missing)}" if self.missing else ""
        placed = "not imported yet" if self.waiting else f"{len(self.placed)} hooks placed"
        return f"{self.name} {self.version}{note}: {placed}{gone}"


@dataclass(frozen=True, slots=True)
class Status:
    """The facts that `status()` found; `str()` of it is meant to be read."""

    active: bool
    provider: str
    opentelemetry: str
    frameworks: tuple[FrameworkStatus, ...] = ()
    #: Spans that were opened and adopted, and inner layers that were merged into their call.
    spans: dict[str, int] = field(default_factory=dict)
    #: Errors of ours that were contained: place and type -> times.
    failures: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        spans = ", ".join(f"{number} {what}" for what, number in self.spans.items()) or "none yet"
        lines = [
            f"toolspan is {'on' if self.active else 'off'}, OpenTelemetry {self.opentelemetry}",
            f"tracer provider: {self.provider}",
            *map(str, self.frameworks),
            f"spans: {spans}",
            *(f"contained: {kind} ({times} times)" for kind, times in self.failures.items()),
        ]
        return "\n".join(lines)


def status() -> Status:
    """What is hooked in this process, and what came of it; silent about what is not installed.

    >>> import toolspan
    >>> toolspan.uninstrument()
    >>> print(status())  # doctest: +ELLIPSIS
    toolspan is off, OpenTelemetry ...
    """
    drain()
    provider = TRACING.provider or trace.get_tracer_provider()
    return Status(
        active=TRACING.active,
        provider=f"{type(provider).__module__}.{type(provider).__qualname__}",
        opentelemetry=version_of("opentelemetry-api") or "not found",
        frameworks=tuple(_frameworks()),
        spans=dict(TRACING.counts),
        failures=dict(containment.failures),
    )


def _frameworks() -> list[FrameworkStatus]:
    found = []
    for placement in PLACEMENTS.values():
        adapter = placement.adapter
        here = version_of(adapter.distribution)
        if here is None:
            continue
        placed = tuple(seat.path for seat in placement.seats)
        missing = tuple(placement.missing)
        waiting = placement.wanted and not (placed or missing)
        tested = adapter.is_tested(here)
        found.append(FrameworkStatus(adapter.name, here, tested, placed, missing, waiting))
    return found
