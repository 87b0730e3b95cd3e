"""One exporter of ours: its tries, why they failed, and the end of all tries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from toolspan.containment import contained, say_once
from toolspan.export.reasons import HOPELESS, SHUTDOWN, is_elsewhere, listen, overhear
from toolspan.export.remedies import remedy

if TYPE_CHECKING:
    import enum
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

    from toolspan.export.target import Target

    Exporter = SpanExporter | MetricExporter

E = TypeVar("E", bound="Exporter")


class Line(Generic[E]):
    """The way to one target through one exporter, which `make` builds."""

    def __init__(self, target: Target, make: Callable[[Target], E]) -> None:
        self.target = target
        self._make = make
        self._heard: str | None = None
        self._failed: str | None = None
        self._leaving = self._closed = False
        self._exporter: E | None = make(target)
        overhear()

    @property
    def exporter(self) -> E:
        """The exporter, built again in a forked child that sends something."""
        if self._exporter is None:
            self._exporter = self._make(self.target)
        return self._exporter

    @property
    def trouble(self) -> str | None:
        """What went wrong with the present try, else with the last export; None: nothing."""
        return self._heard or self._failed

    def send(self, export: Callable[[E], enum.Enum]) -> str | None:
        """Run one export; None when it arrived, else why not, in a word or two."""
        if self._closed:
            return self._failed or SHUTDOWN
        listen(self._hear)
        try:
            answer = contained(export)(self.exporter)
        finally:
            listen(None)
        taken = answer is not None and answer.name == "SUCCESS"
        arrived = taken and not is_elsewhere(self._heard)
        self._failed = None if arrived else self._heard or "failed"
        self._heard = None
        if self._failed and self._failed != SHUTDOWN:
            self._say(self._failed)
        return self._failed

    def leave(self) -> None:
        """The process wants to exit: from here on nobody waits for somebody who is not there."""
        self._leaving = True
        if self._heard in HOPELESS:
            self.close()

    def close(self) -> None:
        """End the try that runs now, and every later one."""
        if not self._closed:
            self._closed = True
            self.exporter.shutdown()

    def renew(self) -> None:
        """In a forked child: leave the parent's connection to the parent, but never close it."""
        self._inherited, self._exporter = self._exporter, None
        self._heard = self._failed = None

    def _hear(self, reason: str) -> None:
        self._heard = reason
        if self._leaving and reason in HOPELESS:
            self.close()

    def _say(self, reason: str) -> None:
        """One line for each place and reason; who cannot be reached can be reached by no signal."""
        target = self.target
        answered = reason.startswith("status")
        what = target.signal if answered else "telemetry"
        say_once(
            f"export {what} {target.place} {reason}",
            "toolspan: %s did not reach %s (%s); %s",
            what,
            target.place,
            reason,
            remedy(target, reason),
        )
