"""What is wrong in the facts of `status()`, and what to do about it: a pure function of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolspan.settings import CAPTURE, CAPTURE_OFF, CAPTURE_ON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from toolspan.status import FrameworkStatus, Status

#: As pyproject.toml says it; a test compares.
WRAPT: Final = ">=1.17,<3"
#: What docs/variables.md lists besides `OTEL_*`; a test compares.
VARIABLES: Final = (
    "TOOLSPAN_DISABLED",
    "TOOLSPAN_DOCTOR",
    "TOOLSPAN_DURATION_METRIC",
    "TOOLSPAN_FINGERPRINT_KEY",
    "TOOLSPAN_REDACT",
    "TOOLSPAN_SAMPLE",
    "TOOLSPAN_SPAN_LIMIT",
    "TOOLSPAN_STATE_DIR",
    "TOOLSPAN_VALUE_LIMIT",
)
#: Two names that are that much alike are one name and a slip.
_ALIKE: Final = 0.85
_DISABLED: Final = "OTEL_SDK_DISABLED"
_LEFT_OUT: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_SAMPLER: Final = "OTEL_TRACES_SAMPLER"
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
#: How samplers that record nothing describe themselves, below the words of those around them.
_RECORDS_NOTHING: Final = ("AlwaysOffSampler", "TraceIdRatioBased{0}", "TraceIdRatioBased{0.0}")
_OF_TOOLS: Final = "ToolSampler{"
#: Processors that count or look, and export nothing.
_ONLY_LOOK: Final = {
    "toolspan.neighbours.Watch",
    "toolspan.statistics.tool_statistics.ToolStatistics",
}
#: Whose scopes are called as their packages are.
_INSTRUMENTATIONS: Final = ("opentelemetry.instrumentation.", "openinference.instrumentation.")
#: The beginning of a scope, and what stops whoever else it is.
_SWITCHES: Final = {
    "openlit.": "openlit.init(disabled_instrumentors=[...])",
    "logfire.": "leave out its logfire.instrument_...()",
    "langsmith": "set LANGSMITH_TRACING_MODE=langsmith",
    "pydantic-ai": "Agent.instrument_all(False)",
    "toolspan": "name the framework in TOOLSPAN_DISABLED",
    "mcp-python-sdk": "take OpenTelemetryMiddleware out of server.middleware",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: `line` says what is so, `remedy` what to do; `str()` is one line."""

    line: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.line}; {self.remedy}"


def findings(status: Status) -> tuple[Finding, ...]:
    """Every fault that these facts show, the gravest first; none where all is well."""
    checks = (
        _switch,
        _provider,
        _fork,
        _processors,
        _watch,
        _sampler,
        _frameworks,
        _doubles,
        _export,
        _content,
        _names,
        _wrapt,
    )
    return tuple(finding for check in checks for finding in check(status))


def left_out(variables: Mapping[str, str]) -> Iterator[Finding]:
    """Whether `opentelemetry-instrument` is told to leave toolspan out."""
    names = {name.strip() for name in variables.get(_LEFT_OUT, "").split(",")}
    if found := names & {"toolspan", "*"}:
        yield Finding(
            f"{_LEFT_OUT} names {found.pop()}: opentelemetry-instrument leaves toolspan out",
            "take it out of that list (toolspan run and configure() do not heed it)",
        )


def _switch(status: Status) -> Iterator[Finding]:
    if status.variables.get(_DISABLED, "").strip().lower() == "true":
        yield Finding(f"{_DISABLED}=true: nothing is hooked, counted or sent", "unset it")
    elif not status.active and not any(status.spans.values()):
        told = tuple(left_out(status.variables))
        yield from told or (
            Finding(
                "toolspan is off: no call is traced",
                "call toolspan.configure(), or start the program by toolspan run",
            ),
        )


def _provider(status: Status) -> Iterator[Finding]:
    if status.active and status.provider.startswith("opentelemetry.trace."):
        yield Finding(
            "no tracer provider is set: calls are counted and give no spans",
            "call toolspan.configure(), or set a provider; with opentelemetry-instrument install "
            "opentelemetry-distro",
        )


def _fork(status: Status) -> Iterator[Finding]:
    if status.active and status.forked:
        yield Finding(
            "this process was forked past Python, which restarts nothing then: no metrics are "
            "sent, and after a second such fork no spans",
            "uWSGI: set py-call-uwsgi-fork-hooks or lazy-apps; elsewhere import and configure "
            "after the fork",
        )


def _processors(status: Status) -> Iterator[Finding]:
    if status.processors is None or set(status.processors) - _ONLY_LOOK:
        return
    if (value := status.variables.get(_EXPORTER, "")).strip().lower() == "none":
        yield Finding(f"{_EXPORTER}={value}: no span leaves the process", "unset it")
    elif status.active and not status.provider.startswith("opentelemetry.trace."):
        yield Finding(
            "the tracer provider has no span processor: spans end and go nowhere",
            "provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))",
        )


def _watch(status: Status) -> Iterator[Finding]:
    if status.active and not status.watched:
        yield Finding(
            f"{status.provider} has no processor of toolspan's: spans that others make of the "
            "same calls are not seen",
            "use the SDK's TracerProvider, or switch the others off",
        )


def _sampler(status: Status) -> Iterator[Finding]:
    if not _records_nothing(status.sampler):
        return
    value = status.variables.get(_SAMPLER, "always_on")
    in_code = "give the tracer provider, or configure(sample=...), another one"
    yield Finding(
        f"the sampler {status.sampler} records nothing",
        in_code if "always_on" in value.lower() else f"unset {_SAMPLER}={value}",
    )


def _records_nothing(sampler: str) -> bool:
    if sampler.startswith(_OF_TOOLS):
        shares, _, sampler = sampler.removeprefix(_OF_TOOLS).partition(";")
        if all(share.endswith("=0") for share in shares.split(",")) and "*=0" in shares:
            return True
    return sampler.removeprefix("ParentBased{root:").startswith(_RECORDS_NOTHING)


def _frameworks(status: Status) -> Iterator[Finding]:
    for one in status.frameworks:
        if one.missing:
            effect = "some of its calls pass unseen" if one.placed else "no call of it is seen"
            yield Finding(
                f"{one.name} {one.version} has no {', '.join(one.missing)}: {effect}", _version(one)
            )


def _version(one: FrameworkStatus) -> str:
    if one.tested:
        return f"install it anew (pip install --force-reinstall {one.distribution})"
    return f"install a tested version: pip install '{one.distribution}{one.tested_versions}'"


def _doubles(status: Status) -> Iterator[Finding]:
    for scopes in status.doubled:
        yield Finding(
            f"{' and '.join(scopes)} each make a span of the same call",
            "switch one off: " + ", or ".join(map(_switch_of, scopes)),
        )


def _switch_of(scope: str) -> str:
    if scope.startswith(_INSTRUMENTATIONS):
        package = scope.removesuffix(".instrumentation").replace(".", "-").replace("_", "-")
        return f"do not instrument() by {package} (or uninstall it)"
    found = (how for start, how in _SWITCHES.items() if scope.startswith(start))
    return next(found, f"switch off the telemetry of {scope} itself")


def _export(status: Status) -> Iterator[Finding]:
    export = status.export
    if export is None or not (export.dropped or (export.kept and export.trouble)):
        return
    lost = [f"{number} dropped ({reason})" for reason, number in export.dropped.items()]
    lost += [f"{export.kept} wait ({export.trouble})"] if export.kept else []
    slow = "see why they leave so slowly, or raise OTEL_BSP_MAX_QUEUE_SIZE"
    yield Finding(f"spans did not reach {export.place}: {', '.join(lost)}", export.remedy or slow)


def _content(status: Status) -> Iterator[Finding]:
    value = status.variables.get(CAPTURE, "")
    if value.strip().lower() not in CAPTURE_ON | CAPTURE_OFF:
        yield Finding(
            f"{CAPTURE}={value} is not known, so arguments and results are left out",
            "set it to SPAN_ONLY, or to NO_CONTENT",
        )


def _names(status: Status) -> Iterator[Finding]:
    from difflib import get_close_matches  # noqa: PLC0415  # not every process asks

    known = (CAPTURE, *VARIABLES)
    for name in status.variables:
        meant = get_close_matches(name.upper(), known, 1, _ALIKE)
        if name not in known and meant and meant[0] not in status.variables:
            yield Finding(f"nobody reads the variable {name}", f"write {meant[0]}")


def _wrapt(status: Status) -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415  # not every process asks

    if not SpecifierSet(WRAPT).contains(status.wrapt, prereleases=True):
        yield Finding(
            f"wrapt {status.wrapt} is not a version that toolspan works with",
            f"pip install 'wrapt{WRAPT}'",
        )
