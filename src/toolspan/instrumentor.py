"""Turn instrumentation on and off."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, trace
from opentelemetry.trace import ProxyTracerProvider

from toolspan import semconv
from toolspan.containment import LOGGER, contained, forget_said
from toolspan.hooks import PLACEMENTS, Placement
from toolspan.lifecycle import TRACING, drain, undecided, wrapper_for
from toolspan.neighbours import Watch
from toolspan.registry import LOCK, adapter_for, enlist, requirements
from toolspan.settings import Settings, read_settings, sdk_is_disabled
from toolspan.statistics import ToolStatistics
from toolspan.statistics.metrics import DurationHistogram, observe
from toolspan.toolcall import clean, type_name
from toolspan.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from toolspan.hooks import Adapter


class FrameworkNotFoundError(ImportError):
    """A framework that was named explicitly is not installed, or no hook of it could be placed."""


class _Made:
    """What was made once for each provider: by identity, for Logfire's have no hash."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make
        self._made: list[tuple[weakref.ref[Any], Any]] = []

    def of(self, provider: Any) -> Any:
        """What was made for `provider`, or is now."""
        self._made = [(known, made) for known, made in self._made if known() is not None]
        for known, made in self._made:
            if known() is provider:
                return made
        self._made.append((weakref.ref(provider), self._make(provider)))
        return self._made[-1][1]

    def __contains__(self, provider: object) -> bool:
        return any(known() is provider and made for known, made in self._made)


class Installation:
    """What is in place in this process; there is one."""

    def __init__(self) -> None:
        self.statistics: Final = ToolStatistics()
        self.statistics.enabled = False
        self._histograms = _Made(self._histogram)
        self._watch: Final = Watch(undecided, self.statistics, _is_hooked)
        self._watched = _Made(self._add_watch)
        self._meter_provider: MeterProvider | None = None
        ToolStatistics.before_reading.append(drain)

    def start(
        self,
        names: tuple[str, ...],
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        settings: Settings,
    ) -> None:
        """Place the adapters and bind the providers that are there."""
        forget_said()
        TRACING.settings = settings
        TRACING.provider = tracer_provider
        TRACING.tracer = None
        TRACING.on_provider = self.watch
        self.statistics.enabled = True
        TRACING.listeners = (self.statistics, *self._users_listeners())
        self._meter_provider = meter_provider
        self._publish()
        TRACING.active = True
        if not isinstance(tracer_provider or trace.get_tracer_provider(), ProxyTracerProvider):
            TRACING.bind()
        with LOCK:
            for adapter in _chosen(names, settings.disabled):
                self.want(adapter)
        for placement in [*PLACEMENTS.values()]:
            if placement.wanted:  # also of before: what somebody's patch swept away comes back
                placement.settle()

    def want(self, adapter: Adapter) -> Placement:
        """The placement of an adapter, to be placed; one that it replaces is taken out."""
        placement = PLACEMENTS.get(adapter.name)
        if placement is not None and placement.adapter is not adapter:
            placement.remove()
            placement = None
        if placement is None:
            placement = PLACEMENTS[adapter.name] = Placement(adapter, wrapper_for)
        placement.wanted = True
        return placement

    def watch(self, provider: Any) -> None:
        """The first call found `provider`: watch it, and look for a meter provider again."""
        self._add_processor(provider)
        self._publish()

    @contained
    def _add_processor(self, provider: Any) -> None:
        """Put our processor on a provider, once: an SDK's cannot be taken off again."""
        self._watched.of(provider)

    def _add_watch(self, provider: Any) -> bool:
        add = getattr(provider, "add_span_processor", None)
        if add is not None:
            add(self._watch)
        return add is not None

    def watches(self, provider: Any) -> bool:
        """Whether our processor was put on `provider`."""
        return provider in self._watched

    @contained
    def _publish(self) -> None:
        """Counts on the meter provider; durations too, where it is an application's own."""
        provider = self._meter_provider or metrics.get_meter_provider()
        if type(provider).__module__.startswith("opentelemetry.metrics"):
            return  # the API's stand-in: asked again when the first call finds a provider
        mine = self._histograms.of(provider)
        if TRACING.settings.duration_metric and mine not in TRACING.listeners:
            TRACING.listeners = (*TRACING.listeners, mine)

    def _histogram(self, provider: Any) -> DurationHistogram:
        meter = provider.get_meter(semconv.SCOPE, version_of("toolspan"), semconv.SCHEMA_URL)
        observe(self.statistics, meter)
        return DurationHistogram(meter)

    def _users_listeners(self) -> list[Any]:
        mine = (ToolStatistics, DurationHistogram)
        return [one for one in TRACING.listeners if not isinstance(one, mine)]

    def stop(self) -> None:
        """Take out what can be taken out, and silence the rest."""
        TRACING.active = False
        for placement in [*PLACEMENTS.values()]:
            placement.remove()
        self.statistics.enabled = False
        TRACING.listeners = tuple(self._users_listeners())
        TRACING.tracer = TRACING.provider = None


def _is_hooked(framework: str) -> bool:
    placement = PLACEMENTS.get(framework)
    return placement is not None and bool(placement.seats)


def _chosen(names: tuple[str, ...], disabled: frozenset[str]) -> list[Adapter]:
    """The adapters that are wanted and installed; of one name, the one for the version here."""
    known = requirements()
    for name in {*names, *disabled} - set(known):
        LOGGER.warning("toolspan knows no framework %r; allowed: %s", name, ", ".join(known))
    wanted = [name for name in names or known if name in known and name not in disabled]
    found = (adapter_for(name) for name in wanted)
    return [adapter for adapter in found if adapter is not None]


INSTALLATION: Final = Installation()


def instrument(
    *names: str,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    settings: Settings | None = None,
) -> None:
    """Trace every tool call of the named frameworks, or of all that are installed.

    Builds no provider: spans go to `tracer_provider`, else to the global one, also where it is
    set later. Works before and after a framework is imported; twice is once.

    Raises:
        FrameworkNotFoundError: a framework named here is not installed.

    >>> import toolspan
    >>> instrument()
    >>> toolspan.status().active
    True
    """
    names = tuple(filter(_is_name, names))
    _check(names)
    start_contained(
        names,
        _provider(tracer_provider, "tracer_provider", "get_tracer"),
        _provider(meter_provider, "meter_provider", "get_meter"),
        settings,
    )


def _is_name(name: object) -> bool:
    if type(name) is not str:
        known = ", ".join(map(repr, requirements()))
        LOGGER.warning("toolspan.instrument() takes names of frameworks; allowed: %s", known)
    return type(name) is str


def _provider(given: Any, option: str, method: str) -> Any:
    """`given`, where it looks like what `option` takes; else one line, and it counts as unset."""
    if given is not None and not callable(getattr(given, method, None)):
        kind = clean(type_name(type(given)))
        LOGGER.warning("toolspan.instrument(%s=...) takes a provider, not %s", option, kind)
        return None
    return given


def _check(names: tuple[str, ...]) -> None:
    for name, requirement in requirements().items():
        if name in names and adapter_for(name) is None:
            raise FrameworkNotFoundError(
                f"toolspan.instrument({name!r}): {name} is not installed; "
                f"pip install {requirement!r}"
            )


def register(adapter: Adapter) -> None:
    """Know an adapter that is not toolspan's own; where instrumentation is on, place it at once.

    One that was registered before for the same name and versions gives way to it. Where toolspan
    has an adapter of that name, the one whose tested range holds the installed version is taken.

    Raises:
        TypeError: it is no `toolspan.hooks.Adapter`, or what stands in it is of another kind.
        ValueError: its versions are no version specifier, or a path is no `module:name`.

    >>> import toolspan
    >>> from toolspan.hooks import Adapter, Hook
    >>> from toolspan.toolcall import ToolCall
    >>> read = lambda invocation: ToolCall(name=invocation.get("name"))
    >>> hook = Hook("acme.agent:run_tool", read)
    >>> register(Adapter(name="acme", distribution="acme", versions=">=1,<2", words=(hook,)))
    """
    with LOCK:
        enlist(adapter)
        placement = _wanted(adapter)
    if placement is not None:
        placement.settle()


@contained
def _wanted(adapter: Adapter) -> Placement | None:
    if not TRACING.active or adapter.name in TRACING.settings.disabled:
        return None
    return INSTALLATION.want(adapter) if adapter_for(adapter.name) is adapter else None


@contained
def start_contained(
    names: tuple[str, ...] = (),
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    settings: Settings | None = None,
) -> None:
    """Start; whatever fails in us ends here."""
    if sdk_is_disabled():
        LOGGER.info("OTEL_SDK_DISABLED is true: toolspan stays off")
        return
    requirements()  # loads what other packages name: never under the lock
    # What configure() was told stays true for an instrument() after it.
    known = TRACING.settings if TRACING.active else None
    INSTALLATION.start(names, tracer_provider, meter_provider, settings or known or read_settings())


@contained
def uninstrument() -> None:
    """Take out exactly our layers, also below somebody's later patch; then nothing is traced.

    >>> import toolspan
    >>> uninstrument()
    >>> toolspan.status().active
    False
    """
    INSTALLATION.stop()


def stats() -> ToolStatistics:
    """The statistics of this process: exact counts for each tool, quantiles within 0.55 %.

    >>> import toolspan
    >>> toolspan.instrument()
    >>> toolspan.record("weigh", started=1_700_000_000, duration=2.5)
    >>> stats()["weigh"].calls
    1
    """
    return INSTALLATION.statistics
