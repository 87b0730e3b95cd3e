"""The quick start: providers and a pipeline where a program has none, then `instrument()`.

The room `export` is loaded in functions: a program with a pipeline of its own never needs it.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import EllipsisType, MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, trace
from opentelemetry.trace import ProxyTracerProvider

from toolspan import instrumentor
from toolspan.containment import LOGGER, contained
from toolspan.foreign import translated
from toolspan.lifecycle import drain
from toolspan.settings import Settings, read_settings, sdk_is_disabled

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace import ReadableSpan

    from toolspan.export.pipeline import Flushed, Pipeline

    Redactor = Callable[[tuple[str, ...], object, str], object]

FLUSH_SECONDS: Final = 2.0
#: The arguments that only a provider built here can heed.
_OF_METRICS: Final[tuple[str, ...]] = ("service_name", "endpoint", "protocol", "headers")
_OF_TRACES: Final = (*_OF_METRICS, "sample")


@dataclass(frozen=True, slots=True)
class QuickStart:
    """What `configure` found and did.

    `traces`, `metrics`: whether that provider is toolspan's; False: the program's own was kept.
    `ignored`: the arguments that had no effect, because a provider was there already.
    """

    traces: bool
    metrics: bool
    ignored: tuple[str, ...] = ()


@dataclass(slots=True)
class _Process:
    """What the quick start did in this process; there is one."""

    given: dict[str, Any] | None = None
    settings: Settings | None = None
    pipeline: Pipeline | None = None
    traces: bool = False
    metrics: bool = False


_PROCESS: Final = _Process()
_LOCK: Final = threading.RLock()


def configure(
    service_name: str | None = None,
    *,
    endpoint: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    capture_content: bool | None = None,
    redact: str | Iterable[str] | Redactor | None = None,
    sample: float | Mapping[str, float] | None = None,
    value_limit: int | EllipsisType | None = ...,
    instrument: bool = True,
) -> QuickStart | None:
    """Send the tool calls of this program over OTLP: providers where it has none, then hooks.

    An argument wins over its `OTEL_*` or `TOOLSPAN_*` variable (docs/variables.md). A provider
    that is there already is kept, and one log line names the arguments that had no effect on it.
    Twice is once. Nothing is raised: a wrong argument gets a line, and counts as not given.

    Args:
        service_name: The name under which this program appears.
        endpoint: An OTLP base address; default http://localhost:4318, for gRPC port 4317.
        protocol: "http/protobuf" (the default) or "grpc".
        headers: Sent with every request, to sign in for example.
        capture_content: Whether arguments and results are written on spans; off by default.
        redact: Names of keys whose values are never written, or a function of a value's path,
            the value and the tool's name that gives what to write instead.
        sample: The share of all traces, or of the calls of each tool: {"search": 0.1, "*": 1.0}.
        value_limit: Bytes of UTF-8 that one written value may have; None = no cap.
        instrument: Whether to place the hooks as well.

    Returns:
        What was built; None with `OTEL_SDK_DISABLED=true`, where nothing is.

    >>> import toolspan
    >>> start = toolspan.configure(service_name="librarian", sample={"search": 0.1, "*": 1.0})
    >>> start.traces
    True
    """
    if sdk_is_disabled():
        return None
    arguments = {
        "service_name": service_name,
        "endpoint": endpoint,
        "protocol": protocol,
        "headers": headers,
        "sample": sample,
        "capture_content": capture_content,
        "redact": redact,
        "value_limit": value_limit,
    }
    with _LOCK:
        start = _configure(arguments)
        if instrument:
            instrumentor.instrument(settings=_PROCESS.settings)
    return start


def flush(timeout: float = FLUSH_SECONDS) -> Flushed:
    """Send what waits, for at most `timeout` seconds, and tell what became of it.

    For serverless functions, before the freeze, and for forked children that end by `os._exit`.
    Counted by the pipeline of `configure()` itself; of a pipeline that is not toolspan's nothing
    is known, and the note says so.

    >>> import toolspan
    >>> start = toolspan.configure(service_name="librarian")
    >>> toolspan.record("read_file", started=1_700_000_000, duration=2.5)
    >>> flushed = toolspan.flush(2)
    >>> flushed.sent, flushed.complete
    (1, True)
    """
    from toolspan.export.pipeline import Flushed  # noqa: PLC0415

    drain()
    if _PROCESS.pipeline is None:
        return Flushed(note=_whose())
    report = _PROCESS.pipeline.flush(_seconds(timeout))
    return report if _PROCESS.traces else replace(report, complete=False, note=_whose())


def pipeline() -> Pipeline | None:
    """What `configure()` built for the spans of this process; None where they go another way."""
    return _PROCESS.pipeline if _PROCESS.traces else None


@contained
def _configure(arguments: Mapping[str, object]) -> QuickStart:
    given = _checked(arguments)
    again = _PROCESS.given is not None
    _PROCESS.settings = _with(_PROCESS.settings or read_settings(), given)
    if not again:
        _PROCESS.given = given
        _build(given, _PROCESS.settings)
    return QuickStart(_PROCESS.traces, _PROCESS.metrics, _ignored(given, again=again))


def _build(given: dict[str, Any], settings: Settings) -> None:
    """Build what is missing; the pipeline ends with the process, within its own deadline."""
    _PROCESS.traces = isinstance(trace.get_tracer_provider(), ProxyTracerProvider)
    _PROCESS.metrics = type(metrics.get_meter_provider()).__name__ == "_ProxyMeterProvider"
    if not (_PROCESS.traces or _PROCESS.metrics):
        return
    from toolspan.export import providers  # noqa: PLC0415
    from toolspan.export.pipeline import build  # noqa: PLC0415
    from toolspan.export.target import Wishes  # noqa: PLC0415

    wishes = Wishes(given.get("endpoint"), given.get("protocol"), given.get("headers"))
    pipeline = build(
        wishes,
        traces=_PROCESS.traces,
        metrics=_PROCESS.metrics,
        around=_with_sketches,
        words=_in_the_standards_words,
    )
    resource = providers.resource(given.get("service_name"))
    if _PROCESS.traces:
        sampler = providers.sampler(_ratio(given.get("sample")), settings.sample)
        provider = providers.tracer_provider(resource, sampler, pipeline.processor)
        trace.set_tracer_provider(provider)
    if _PROCESS.metrics:
        # The sketches hold the durations: recording each one as well would be for nothing.
        _PROCESS.settings = replace(settings, duration_metric=False)
        metrics.set_meter_provider(providers.meter_provider(resource, pipeline.reader))
    _PROCESS.pipeline = pipeline
    atexit.register(pipeline.shutdown)


def _in_the_standards_words(span: ReadableSpan) -> ReadableSpan:
    return translated(span, _PROCESS.settings or Settings()) or span


def _with_sketches(exporter: MetricExporter) -> MetricExporter:
    # The metrics half of the SDK is loaded by those who export metrics only.
    from toolspan.statistics.exporter import SketchExporter  # noqa: PLC0415

    return SketchExporter(exporter, instrumentor.stats())


def _with(settings: Settings, given: dict[str, Any]) -> Settings:
    """The settings of the variables, or of the call before, with what this call gives."""
    changes: dict[str, Any] = {}
    if "capture_content" in given:
        changes["capture"] = given["capture_content"]
    if "value_limit" in given:
        changes["value_limit"] = given["value_limit"]
    if "sample" in given:
        changes["sample"] = _shares(given["sample"])
    if "redact" in given:
        keys, changes["redactor"] = given["redact"]
        changes["redact"] = tuple(dict.fromkeys((*settings.redact, *keys)))
    return replace(settings, **changes)


def _ratio(sample: float | dict[str, float] | None) -> float | None:
    return sample if isinstance(sample, float) else None


def _shares(sample: float | dict[str, float]) -> Mapping[str, float]:
    return MappingProxyType(sample if isinstance(sample, dict) else {})


def _ignored(given: dict[str, Any], *, again: bool) -> tuple[str, ...]:
    """The arguments without effect on a provider that is there, with one line that names them."""
    mine = {"tracer provider": _PROCESS.traces, "meter provider": _PROCESS.metrics}
    theirs = [what for what, is_mine in mine.items() if not is_mine]
    lost = [name for name in _OF_METRICS if name in given and theirs]
    if "sample" in given and not _PROCESS.traces:
        lost.append("sample")
    if again:
        first = _PROCESS.given or {}
        lost = [name for name in _OF_TRACES if name in given and given[name] != first.get(name)]
    if lost:
        why = "it was called before" if again else f"the program has its own {_and(theirs)}"
        LOGGER.warning("toolspan.configure: %s; no effect there: %s", why, ", ".join(lost))
    return tuple(lost)


def _and(words: list[str]) -> str:
    return " and ".join(words)


def _whose() -> str:
    if isinstance(provider := trace.get_tracer_provider(), ProxyTracerProvider):
        return "no tracer provider is set, nothing is sent: call toolspan.configure()"
    kind = type(provider)
    return (
        f"the pipeline of {kind.__module__}.{kind.__qualname__} is not toolspan's: "
        "what it sent is not known here; call its own force_flush()"
    )


def _seconds(timeout: float) -> float:
    if type(timeout) in {int, float} and 0 <= timeout <= threading.TIMEOUT_MAX:
        return timeout
    LOGGER.warning("flush: the timeout is no number of seconds; allowed: 0 and more. Using 2")
    return FLUSH_SECONDS


def _checked(arguments: Mapping[str, object]) -> dict[str, Any]:
    """The arguments that were given, in their plain form; a line for each wrong one, without it."""
    given = {}
    for name, value in arguments.items():
        if value is ... or (value is None and name != "value_limit"):
            continue
        check, allowed = _RULES[name]
        try:
            given[name] = check(value)
        except (TypeError, ValueError):
            LOGGER.warning("toolspan.configure: %s is not usable; allowed: %s", name, allowed)
    return given


def _text(value: object) -> str:
    if type(value) is str and value.strip():
        return value.strip()
    raise TypeError


def _switch(value: object) -> bool:
    if type(value) is bool:
        return value
    raise TypeError


def _headers(value: object) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {_text(key): _text(text) for key, text in value.items()}
    raise TypeError


def _redaction(value: object) -> tuple[tuple[str, ...], Redactor | None]:
    if callable(value):
        return (), value
    words = (value,) if type(value) is str else value
    if isinstance(words, Iterable):
        return tuple(_text(word).lower() for word in words), None
    raise TypeError


def _share(value: object) -> float:
    if isinstance(value, int | float) and 0 <= value <= 1:
        return float(value)
    raise TypeError


def _sample(value: object) -> float | dict[str, float]:
    if isinstance(value, Mapping):
        return {_text(tool): _share(share) for tool, share in value.items()}
    return _share(value)


def _limit(value: object) -> int | None:
    if value is None or (type(value) is int and value > 0):
        return value
    raise TypeError


_SHARES: Final = 'a number from 0 to 1, or one for each tool: {"search": 0.1, "*": 1.0}'
#: Of each argument: its plain form (or TypeError), and what the line about a wrong one allows.
_RULES: Final[Mapping[str, tuple[Callable[[object], object], str]]] = {
    "service_name": (_text, "a text"),
    "endpoint": (_text, "http://host:port or https://host:port"),
    "protocol": (_text, "http/protobuf, grpc"),
    "headers": (_headers, "a mapping of text to text"),
    "sample": (_sample, _SHARES),
    "capture_content": (_switch, "True, False"),
    "redact": (_redaction, "names of keys, or a function of path, value and tool name"),
    "value_limit": (_limit, "a number of bytes above 0, or None"),
}
