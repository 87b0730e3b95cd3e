"""The numbers of one tool, for one agent and one side of the wire."""

from __future__ import annotations

import math
import threading
from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from toolspan.statistics.sketch import Sketch
from toolspan.toolcall import FAILURES, REFUSALS, clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolspan.statistics.labels import Key, Side
    from toolspan.toolcall import Kind, Word

_SECOND: Final = 1_000_000_000
_LONGEST: Final = (1 << 63) - 1
#: Durations that are counted together; until then they are 8 bytes each.
TOGETHER: Final = 48


@dataclass(slots=True, eq=False, repr=False)
class Tally:
    """What is known of the calls of one tool; times are in seconds, NaN where none is known.

    What a `ToolStatistics` hands out is a copy: it no longer changes.
    """

    tool: str
    agent: str | None = None
    side: Side = "client"
    #: Calls that were the first try of their call id.
    first_attempts: int = 0
    #: Calls known only from other libraries' spans: a sampler may have hidden some.
    foreign: int = 0
    #: Outcome -> calls.
    outcomes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    #: The durations in nanoseconds, of calls whose tool ran.
    sketch: Sketch = field(default_factory=Sketch)
    #: Results that are text or bytes: how many, their length together, the longest.
    results: int = 0
    results_size: int = 0
    largest_result: int = 0
    #: `error.type` of the last failure, and when its call began (nanoseconds since 1970).
    last_error: str | None = None
    last_error_at: int = 0
    #: Own calls that ran at the moment of reading, and the age of the oldest.
    in_flight: int = 0
    oldest: float = 0.0
    #: What is not counted yet: durations, and sizes of the results of calls that went well at
    #: the first try. They are appended without a lock, and counted together at half the price.
    durations: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    #: How many of these durations belong to calls that stand in `outcomes` already.
    told: int = 0
    #: The kind of the last call; two kinds are of the client's side.
    kind: Kind = "internal"
    # Reentrant: a signal handler may call a tool while its thread counts one.
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def record(
        self,
        word: Word,
        duration: int,
        error: str | None,
        started: int,
        *,
        size: int | None = None,
        attempt: int = 1,
        foreign: int = 0,
    ) -> None:
        """Count one call of `duration` nanoseconds; a refusal is counted and not measured."""
        with self._lock:
            self.outcomes[word] += 1
            self.foreign += foreign
            if attempt == 1:
                self.first_attempts += 1
            if word not in REFUSALS:
                self.durations.append(min(max(duration, 0), _LONGEST))
                self.told += 1
            if size is not None:
                self._measure([size])
            if word in FAILURES:
                self.last_error, self.last_error_at = clean(error or word), started
            if len(self.durations) >= TOGETHER:
                self.settle()

    def settle(self) -> None:
        """Count what was appended, while other threads may append more."""
        self._lock.acquire()  # `with` costs twice as much
        try:
            durations = self.durations[:].tolist()
            del self.durations[: len(durations)]
            sizes = self.sizes[:].tolist()
            del self.sizes[: len(sizes)]
            if durations:
                plain = len(durations) - self.told
                self.told = 0
                if plain:
                    self.outcomes["ok"] += plain
                    self.first_attempts += plain
                self.sketch.extend(durations)
            self._measure(sizes)
        finally:
            self._lock.release()

    def _measure(self, sizes: list[int]) -> None:
        if sizes:
            self.results += len(sizes)
            self.results_size += sum(sizes)
            if (largest := max(sizes)) > self.largest_result:
                self.largest_result = largest

    @property
    def key(self) -> Key:
        """Tool, agent and side: what tells one tally from another."""
        return self.tool, self.agent, self.side

    @property
    def calls(self) -> int:
        """Calls that ended, refusals among them."""
        return sum(self.outcomes.values())

    @property
    def failures(self) -> int:
        """Calls whose outcome is an error."""
        return sum(number for word, number in self.outcomes.items() if word in FAILURES)

    @property
    def failure_rate(self) -> float:
        """Failures over failures and successes; denied, interrupted and cancelled stand beside."""
        judged = self.failures + self.outcomes.get("ok", 0)
        return self.failures / judged if judged else math.nan

    @property
    def success_rate(self) -> float:
        """What the failure rate leaves."""
        return 1 - self.failure_rate

    def latency(self, q: float) -> float:
        """The quantile `q` of the durations, in seconds, within `sketch.error` of the true one.

        Raises:
            ValueError: `q` is not between 0 and 1.
        """
        return self.sketch.quantile(q) / _SECOND

    @property
    def mean(self) -> float:
        """The mean duration."""
        return self.sketch.mean / _SECOND

    @property
    def min(self) -> float:
        """The shortest duration."""
        return self.latency(0)

    @property
    def max(self) -> float:
        """The longest duration."""
        return self.latency(1)

    def merge(self, other: Tally) -> None:
        """Add what `other` counted, a copy that nobody writes to."""
        with self._lock:
            self.first_attempts += other.first_attempts
            self.foreign += other.foreign
            for word, number in other.outcomes.items():
                self.outcomes[word] += number
            self.sketch.merge(other.sketch)
            self.results += other.results
            self.results_size += other.results_size
            self.largest_result = max(self.largest_result, other.largest_result)
            if other.last_error is not None and other.last_error_at >= self.last_error_at:
                self.last_error, self.last_error_at = other.last_error, other.last_error_at
            self.in_flight += other.in_flight
            self.oldest = max(self.oldest, other.oldest)

    def copy(self) -> Tally:
        """An independent tally with the numbers of one moment."""
        twin = Tally(*self.key)
        with self._lock:
            self.settle()
            twin.merge(self)
        return twin

    def to_dict(self) -> dict[str, Any]:
        """JSON-able contents."""
        return {
            "tool": self.tool,
            "agent": self.agent,
            "side": self.side,
            "first_attempts": self.first_attempts,
            "foreign": self.foreign,
            "outcomes": dict(self.outcomes),
            "durations": self.sketch.to_dict(),
            "results": [self.results, self.results_size, self.largest_result],
            "last_error": [self.last_error, self.last_error_at],
            "in_flight": [self.in_flight, self.oldest],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Tally:
        """The tally that `to_dict` wrote.

        Raises:
            ArithmeticError, AttributeError, LookupError, TypeError, ValueError: it wrote no such.
        """
        tally = cls(data["tool"], data["agent"], "server" if data["side"] == "server" else "client")
        tally.first_attempts, tally.foreign = int(data["first_attempts"]), int(data["foreign"])
        tally.outcomes.update({clean(word): int(n) for word, n in data["outcomes"].items()})
        tally.sketch = Sketch.from_dict(data["durations"])
        tally.results, tally.results_size, tally.largest_result = map(int, data["results"])
        error, at = data["last_error"]
        tally.last_error, tally.last_error_at = None if error is None else clean(error), int(at)
        tally.in_flight, tally.oldest = int(data["in_flight"][0]), float(data["in_flight"][1])
        return tally

    def __repr__(self) -> str:
        return f"<Tally {self.tool!r}: {self.calls:,} calls, {self.failures:,} failed>"
