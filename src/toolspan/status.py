"""What is hooked, found and missing in this process, as facts."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from toolspan import containment, quickstart
from toolspan.hooks import PLACEMENTS
from toolspan.instrumentor import INSTALLATION
from toolspan.lifecycle import TRACING, drain
from toolspan.neighbours import DOUBLED, SEEN
from toolspan.registry import adapter_for, requirements
from toolspan.settings import CAPTURE
from toolspan.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolspan.findings import Finding
    from toolspan.hooks import Adapter

#: The folder where `toolspan doctor` looks for the last facts of each process that it examines.
REPORTS: Final = "TOOLSPAN_DOCTOR"
#: The variables whose values are shown: no secret stands in these.
_SHOWN: Final = frozenset(
    {
        CAPTURE,
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_EXPORTER",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
        "TOOLSPAN_DISABLED",
        "TOOLSPAN_SAMPLE",
    }
)
#: Whose scopes are no framework's own.
_VENDORS: Final = ("opentelemetry.", "openinference.", "openlit.", "logfire.")


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
    #: Why no hook is wanted in it; "" = they are.
    off: str = ""
    distribution: str = ""
    tested_versions: str = ""

    def __str__(self) -> str:
        note = "" if self.tested else " (untested version)"
        gone = f", missing: {', '.join(self.missing)}" if self.missing else ""
        placed = "not imported yet" if self.waiting else f"{len(self.placed)} hooks placed"
        placed = f"not hooked ({self.off})" if self.off else placed
        return f"{self.name} {self.version}{note}: {placed}{gone}"


@dataclass(frozen=True, slots=True)
class ExportStatus:
    """The spans that `configure()` sends: ended = sent + kept + dropped (reason -> spans)."""

    place: str
    ended: int
    sent: int
    kept: int
    dropped: dict[str, int]
    #: What went wrong with the last export, and what can be done about it; "" = nothing.
    trouble: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        drops = [f"{number} dropped ({reason})" for reason, number in self.dropped.items()]
        counts = [f"{self.ended} ended", f"{self.sent} sent", f"{self.kept} kept", *drops]
        return f"export to {self.place}: {', '.join(counts)}"


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
    wrapt: str = ""
    #: The kinds of the provider's span processors; None where they cannot be known.
    processors: tuple[str, ...] | None = None
    #: Whether ours is among them, as soon as a call has needed it.
    watched: bool = True
    sampler: str = ""
    #: The scopes of other tracers, and of frameworks' own telemetry, whose spans were seen.
    neighbours: tuple[str, ...] = ()
    #: Those of them that traced the same call beside one another.
    doubled: tuple[tuple[str, ...], ...] = ()
    #: None where `configure()` sends no spans.
    export: ExportStatus | None = None
    #: The variables that are set; "" stands for a value that may be a secret.
    variables: dict[str, str] = field(default_factory=dict)
    #: Whether this is a child of which Python was not told: the threads of its parent are missing.
    forked: bool = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong here, each with its remedy; empty where all is well."""
        from toolspan.findings import findings  # noqa: PLC0415  # not every process asks

        return findings(self)

    def __str__(self) -> str:
        return "\n".join((*self.facts(), *(f"wrong: {one}" for one in self.findings)))

    def facts(self) -> Iterator[str]:
        """One line for each thing that is here; nothing about what is not."""
        yield f"toolspan is {'on' if self.active else 'off'}, OpenTelemetry {self.opentelemetry}"
        yield f"tracer provider: {self.provider}"
        if self.sampler:
            yield f"sampler: {self.sampler}"
        if self.processors:
            yield f"span processors: {', '.join(self.processors)}"
        yield from map(str, self.frameworks)
        vendors = [scope for scope in self.neighbours if scope.startswith(_VENDORS)]
        native = [scope for scope in self.neighbours if scope not in vendors]
        if vendors:
            yield f"neighbours: {', '.join(vendors)}"
        if native:
            yield f"frameworks' own telemetry: {', '.join(native)}"
        spans = ", ".join(f"{number} {what}" for what, number in self.spans.items())
        yield f"spans: {spans or 'none yet'}"
        if self.export:
            yield str(self.export)
        if self.variables:
            named = (f"{name}={value}" if value else name for name, value in self.variables.items())
            yield f"variables: {', '.join(named)}"
        yield from (f"contained: {kind} ({times} times)" for kind, times in self.failures.items())


def status() -> Status:
    """What is hooked in this process, and what came of it; silent about what is not installed.

    What is wrong comes last, one line each with what to do about it: `status().findings`.

    >>> import toolspan
    >>> toolspan.uninstrument()
    >>> print(status())  # doctest: +ELLIPSIS
    toolspan is off, OpenTelemetry ...
    """
    drain()
    provider = TRACING.provider or trace.get_tracer_provider()
    return Status(
        active=TRACING.active,
        provider=_kind(provider),
        opentelemetry=version_of("opentelemetry-api") or "not found",
        frameworks=tuple(_frameworks()),
        spans={word: getattr(TRACING, word) for word in ("opened", "adopted", "merged")},
        failures=dict(containment.failures),
        wrapt=version_of("wrapt") or "not found",
        processors=_processors(provider),
        watched=TRACING.tracer is None or INSTALLATION.watches(provider),
        sampler=_sampler(provider) or "",
        neighbours=tuple(sorted(SEEN)),
        doubled=tuple(sorted(DOUBLED)),
        export=_export(),
        variables=_variables(),
        forked=os.getpid() != _PROCESS.pid,
    )


class _Process:
    """Knows its own number, as long as Python is told of forks."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.pid = os.getpid()


_PROCESS: Final = _Process()


def _kind(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _processors(provider: object) -> tuple[str, ...] | None:
    """The SDK has no public way to ask, and its private one is only read, where it is there."""
    chain = getattr(provider, "__dict__", {}).get("_active_span_processor")
    found = getattr(chain, "__dict__", {}).get("_span_processors")
    return tuple(map(_kind, found)) if type(found) is tuple else None


@containment.contained
def _sampler(provider: object) -> str:
    """What the sampler says of itself: an answer to us alone, so what it raises ends here."""
    sampler: Any = getattr(provider, "__dict__", {}).get("sampler")
    text = sampler.get_description() if sampler is not None else ""
    if type(text) is not str:
        return _kind(sampler)
    root, *rest = text.split(",remoteParentSampled:")  # what a trace of ours begins with is enough
    return root + "}" * (root.count("{") - root.count("}")) if rest else text


def _frameworks() -> Iterator[FrameworkStatus]:
    for name in requirements():
        placement = PLACEMENTS.get(name)
        adapter = placement.adapter if placement else adapter_for(name)
        version = version_of(adapter.distribution) if adapter else None
        if adapter and version:
            yield _framework(adapter, version)


def _framework(adapter: Adapter, version: str) -> FrameworkStatus:
    placement = PLACEMENTS.get(adapter.name)
    wanted = placement is not None and placement.wanted
    placed = tuple(seat.path for seat in placement.seats) if placement and wanted else ()
    missing = tuple(placement.absent()) if placement and wanted else ()
    return FrameworkStatus(
        adapter.name,
        version,
        adapter.is_tested(version),
        placed,
        missing,
        waiting=wanted and not (placed or missing),
        off="" if wanted else _why_off(adapter.name),
        distribution=adapter.distribution,
        tested_versions=adapter.versions,
    )


def _why_off(name: str) -> str:
    if not TRACING.active:
        return "toolspan is off"
    disabled = name in TRACING.settings.disabled
    return "TOOLSPAN_DISABLED names it" if disabled else "instrument() was told of others"


def _export() -> ExportStatus | None:
    lane = pipeline.processor if (pipeline := quickstart.pipeline()) else None
    if lane is None:
        return None
    from toolspan.export.remedies import remedy  # noqa: PLC0415  # loaded with the pipeline

    counts, target = lane.ledger.counts(), lane.line.target
    trouble = lane.line.trouble or ""
    return ExportStatus(
        place=f"{target.place} ({target.protocol})",
        ended=counts.ended,
        sent=counts.sent,
        kept=counts.kept,
        dropped=dict(counts.dropped),
        trouble=trouble,
        remedy=remedy(target, trouble) if trouble else "",
    )


def _variables() -> dict[str, str]:
    named = (name for name in sorted(os.environ) if name.upper().startswith(("OTEL_", "TOOLSPAN_")))
    return {name: os.environ[name] if name in _SHOWN else "" for name in named if name != REPORTS}


@containment.contained
def _tell(folder: str) -> None:
    """Leave the facts as they are at the very end, after the last export, for the doctor."""
    import json  # noqa: PLC0415  # only a process that is examined needs it
    from dataclasses import asdict  # noqa: PLC0415

    report = _report(folder)
    with open(f"{report}.part", "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(asdict(status()), file)
    os.replace(f"{report}.part", report)  # noqa: PTH105  # a process may die as it writes


def _report(folder: str) -> str:
    return os.path.join(folder, f"{os.getpid()}.json")  # noqa: PTH118


@containment.contained
def _promise(folder: str) -> None:
    """An empty report stands for a process that ended without a word."""
    open(_report(folder), "a", encoding="utf-8").close()  # noqa: PTH123
    atexit.register(_tell, folder)  # the first registered runs last


if _folder := os.environ.get(REPORTS):
    _promise(_folder)
