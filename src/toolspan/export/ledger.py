"""What became of every span that ended: ended = sent + kept + dropped, at any moment."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toolspan.export.reasons import SHUTDOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUE_FULL = "queue full"


@dataclass(frozen=True, slots=True)
class Counts:
    """Spans since the pipeline began in this process; `kept` ones are on their way."""

    ended: int = 0
    sent: int = 0
    kept: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)


class Ledger:
    """The books of one pipeline; `room` is how many spans may wait at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._closed = False
        self.renew()

    def renew(self) -> None:
        """Begin at zero, as a forked child does: its parent's spans are its parent's."""
        # Reentrant: a garbage collector that ends a span may run inside.
        self._lock = threading.RLock()
        self._ended = self._sent = 0
        self._admitted = self._taken = self._settled = 0
        self._dropped: Counter[str] = Counter()
        self._told = Counts()

    def admit(self) -> str | None:
        """A span ended; None when it may wait to be sent, else why it is dropped."""
        with self._lock:
            self._ended += 1
            if not self._closed and self._admitted - self._taken < self.room:
                self._admitted += 1
                return None
            reason = SHUTDOWN if self._closed else QUEUE_FULL
            self._dropped[reason] += 1
            return reason

    def take(self, count: int) -> None:
        """`count` waiting spans are handed to the exporter."""
        with self._lock:
            self._taken += count

    def settle(self, count: int, reason: str | None) -> None:
        """`count` spans arrived (None), or were lost for `reason`."""
        with self._lock:
            if self._closed:
                return  # counted as lost already
            self._settled += count
            if reason is None:
                self._sent += count
            else:
                self._dropped[reason] += count

    def close(self) -> None:
        """No span arrives from here on: what is still on its way counts as lost."""
        with self._lock:
            if kept := self._admitted - self._settled:
                self.settle(kept, SHUTDOWN)
            self._closed = True

    def mark(self) -> int:
        """How many spans were admitted so far: for `passed`."""
        with self._lock:
            return self._admitted

    def passed(self, mark: int) -> bool:
        """Whether the fate of the first `mark` spans is known: they go first in, first out."""
        with self._lock:
            return self._settled >= mark

    def counts(self) -> Counts:
        """The books, as they stand."""
        with self._lock:
            kept = self._admitted - self._settled
            return Counts(self._ended, self._sent, kept, dict(self._dropped))

    def news(self) -> Counts:
        """What was settled since the last call: each span is told of once."""
        with self._lock:
            before, now = self._told, self.counts()
            self._told = now
        dropped = Counter(now.dropped) - Counter(before.dropped)
        return Counts(now.ended - before.ended, now.sent - before.sent, now.kept, dict(dropped))
