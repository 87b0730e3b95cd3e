"""The sketch: an OTLP base-2 exponential histogram of durations, small enough for every tool.

Bucket i of scale s holds the seconds in (2^(i/2^s), 2^((i+1)/2^s)]; scale 6 gives quantiles
within 0.55 %. Source: OpenTelemetry metrics data model, ExponentialHistogram.
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left
from itertools import accumulate
from math import log2
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SCALE: Final = 6
#: Counters of a full window: a factor of 4e9 between the fastest and the slowest call.
WINDOW: Final = 2_048
#: OTLP's usual bound on the buckets of one exported point.
POINT_BUCKETS: Final = 160
_OCTAVE: Final = 1 << SCALE
_NARROW: Final = 1 << 32
_SECOND: Final = 1_000_000_000
# Inside, a bucket's place is OTLP's index + _ORIGIN: not negative for whole nanoseconds.
_ORIGIN: Final = 2_048
_BITS: Final = 63
_ROUNDING: Final = 1e-9
# Far more than the error of log2: what it moves across a bound is moved back by _UPPER.
_SHIFT: Final = _ORIGIN - _OCTAVE * log2(_SECOND) - _ROUNDING


def _bounds() -> list[int]:
    """Place -> the longest whole nanoseconds in its bucket, up to 2^63, without rounding."""
    precision = 256
    root = 2 << precision
    for _ in range(SCALE):
        root = math.isqrt(root << precision)
    powers = [_SECOND << precision]
    for _ in range(_OCTAVE - 1):
        powers.append(powers[-1] * root >> precision)
    octaves = range(-(_ORIGIN // _OCTAVE), _BITS - _SECOND.bit_length() + 1)
    return [power << _ORIGIN >> _ORIGIN + precision - n for n in octaves for power in powers][1:]


_UPPER: Final = _bounds()


def _place(nanoseconds: int) -> int:
    """The place of any duration; the last one takes what is longer than 2^63."""
    return min(bisect_left(_UPPER, nanoseconds), len(_UPPER) - 1)


class Sketch:
    """Durations in nanoseconds, counted in buckets; mergeable, at most 8 kB of counters.

    A range wider than the window halves the resolution (`scale` says so), as often as needed.
    Not locked: whoever shares one holds a lock around `add`.
    """

    __slots__ = (
        *("_ceiling", "_counts", "_first", "_floor", "_least", "_lowered"),
        *("max", "total", "zeros"),
    )

    def __init__(self) -> None:
        self._counts = array("I")
        self._first = self._lowered = 0
        # What lies in the window is longer than _floor and at most _ceiling nanoseconds.
        self._floor = self._ceiling = 0
        self._least: float = math.inf
        #: The longest duration and the sum of all, in nanoseconds.
        self.max = self.total = 0
        #: Durations of zero, and below it: a clock that was set back.
        self.zeros = 0

    def add(self, nanoseconds: int) -> None:
        """Count one duration."""
        self.extend([nanoseconds])

    def extend(self, durations: list[int]) -> None:
        """Count many durations at once; the list is sorted by it."""
        if not durations:
            return
        durations.sort()
        least, most = durations[0], durations[-1]
        if least < 1:
            self._extend_with_zeros(durations)
            return
        self.total += sum(durations)
        if least < self._least:  # noqa: PLR1730  # min() would be a call
            self._least = least
        if most > self.max:  # noqa: PLR1730
            self.max = most
        if least <= self._floor or most > self._ceiling:
            self._make_room(least, most)
        if self._lowered or most > _UPPER[-1]:
            for nanoseconds in durations:
                self._count(_place(nanoseconds) >> self._lowered)
        else:
            self._count_quickly(durations)

    def _count_quickly(self, durations: list[int]) -> None:
        counts, first, upper, octave, shift = self._counts, self._first, _UPPER, _OCTAVE, _SHIFT
        longest = 0  # in the bucket of the one before: neighbours often lie in the same
        for nanoseconds in durations:
            if nanoseconds > longest:
                place = int(log2(nanoseconds) * octave + shift)
                if nanoseconds > upper[place]:
                    place += 1
                longest = upper[place]
            try:
                counts[place - first] += 1
            except OverflowError:
                self._count(place)
                counts = self._counts

    def _extend_with_zeros(self, durations: list[int]) -> None:
        longer = [nanoseconds for nanoseconds in durations if nanoseconds > 0]
        self.zeros += len(durations) - len(longer)
        if longer:
            self.extend(longer)

    def _count(self, index: int) -> None:
        try:
            self._counts[index - self._first] += 1
        except OverflowError:  # 2^32 times in one bucket
            self._counts = array("Q", self._counts)
            self._counts[index - self._first] += 1

    def _make_room(self, least: int, most: int) -> None:
        low, high = _place(least) >> self._lowered, _place(most) >> self._lowered
        first, end = low & -_OCTAVE, (high | _OCTAVE - 1) + 1
        if self._counts:
            first = min(first, self._first)
            end = max(end, self._first + len(self._counts))
        if end - first > WINDOW:
            self._fill({low: 0, high: 0, **self._cells()}, self._lowered)
        else:
            self._widen(first, end)

    def _widen(self, first: int, end: int) -> None:
        """Lay the window from bucket `first` to before `end`, around all that it holds."""
        before = self._first - first if self._counts else 0
        counts = array(self._counts.typecode, [0]) * (end - first)
        counts[before : before + len(self._counts)] = self._counts
        self._counts, self._first = counts, first
        self._floor, self._ceiling = self._longest(first - 1), self._longest(end - 1)

    @property
    def count(self) -> int:
        """How many durations were added."""
        return sum(self._counts) + self.zeros

    @property
    def min(self) -> int:
        """The shortest duration in nanoseconds, 0 when there is none."""
        return 0 if self.zeros or math.isinf(self._least) else int(self._least)

    @property
    def mean(self) -> float:
        """The mean duration in nanoseconds, NaN when there is none."""
        return self.total / self.count if self.count else math.nan

    @property
    def scale(self) -> int:
        """OTLP's scale: 2^scale buckets for each doubling."""
        return SCALE - self._lowered

    @property
    def error(self) -> float:
        """The bound of a quantile's relative error: 0.0055 at scale 6."""
        base = math.pow(2, math.pow(2, -self.scale))
        return (base - 1) / (base + 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the counters: 8,192 when the window is full, twice that when widened."""
        return len(self._counts) * self._counts.itemsize

    def quantile(self, q: float) -> float:
        """The nearest-rank quantile in nanoseconds, NaN when nothing was added.

        Raises:
            ValueError: `q` is not between 0 and 1.
        """
        if type(q) not in (int, float) or not 0 <= q <= 1:
            raise ValueError(f"a quantile lies between 0 and 1, not at {q!r}")
        if not (count := self.count):
            return math.nan
        rank = max(math.ceil(q * count - _ROUNDING), 1)
        if rank == 1 or rank <= self.zeros:
            return float(self.min)
        if rank == count:
            return float(self.max)
        cells = self._cells()
        reached = zip(cells, accumulate(cells.values()), strict=True)
        index = next(index for index, number in reached if number >= rank - self.zeros)
        low, high = self._bound(index), self._bound(index + 1)
        return min(max(2 * low * high / (low + high), self.min), self.max)

    def merge(self, other: Sketch) -> None:
        """Count everything that `other` holds here too."""
        if self._counts:
            lowered = max(self._lowered, other._lowered)
            cells = _coarser(self._cells(), lowered - self._lowered)
            for index, number in _coarser(other._cells(), lowered - other._lowered).items():
                cells[index] = cells.get(index, 0) + number
            self._fill(cells, lowered)
        else:
            self._counts = other._counts[:]
            self._first, self._lowered = other._first, other._lowered
            self._floor, self._ceiling = other._floor, other._ceiling
        self._least = min(self._least, other._least)
        self.max = max(self.max, other.max)
        self.total += other.total
        self.zeros += other.zeros

    def __add__(self, other: Sketch) -> Sketch:
        both = self.copy()
        both.merge(other)
        return both

    def since(self, earlier: Sketch) -> Sketch:
        """What was added after `earlier`, a copy of this sketch, was made.

        The shortest and the longest are then known to the bucket only.
        """
        late = Sketch()
        cells = self._cells()
        for index, number in _coarser(earlier._cells(), self._lowered - earlier._lowered).items():
            cells[index] -= number
        late._fill(cells, self._lowered)
        late.total = self.total - earlier.total
        late.zeros = self.zeros - earlier.zeros
        if held := late._cells():
            late._least = max(math.floor(late._bound(min(held))), self._least)
            late.max = min(math.ceil(late._bound(max(held) + 1)), self.max)
        return late

    def copy(self) -> Sketch:
        """An independent sketch with the same contents."""
        twin = Sketch()
        twin.merge(self)
        return twin

    def buckets(self, limit: int = POINT_BUCKETS) -> tuple[int, int, list[int]]:
        """OTLP's scale, offset and counts, with neighbours merged until `limit` suffice."""
        cells, lowered = self._cells(), self._lowered
        while cells and max(cells) - min(cells) >= limit:
            cells = _coarser(cells, 1)
            lowered += 1
        if not cells:
            return SCALE - lowered, 0, []
        counts = [cells.get(index, 0) for index in range(min(cells), max(cells) + 1)]
        return SCALE - lowered, min(cells) - (_ORIGIN >> lowered), counts

    def to_dict(self) -> dict[str, Any]:
        """JSON-able contents; nanoseconds, and OTLP's indices."""
        scale, offset, counts = self.buckets(WINDOW)
        return {
            "scale": scale,
            "offset": offset,
            "counts": counts,
            "zeros": self.zeros,
            "total": self.total,
            "min": None if math.isinf(self._least) else self._least,
            "max": self.max,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Sketch:
        """The sketch that `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: `data` is something else.
        """
        sketch = cls()
        lowered = SCALE - int(data["scale"])
        if _ORIGIN % (1 << lowered):
            raise ValueError(f"no sketch has the scale {data['scale']!r}")
        first = int(data["offset"]) + (_ORIGIN >> lowered)
        cells = {first + i: int(n) for i, n in enumerate(data["counts"]) if n}
        sketch._fill(cells, lowered)
        sketch.zeros, sketch.total = int(data["zeros"]), int(data["total"])
        sketch.max = int(data["max"])
        sketch._least = math.inf if data["min"] is None else int(data["min"])
        return sketch

    def _cells(self) -> dict[int, int]:
        """Index and number of every bucket that holds something, in order."""
        return {self._first + i: number for i, number in enumerate(self._counts) if number}

    def _bound(self, index: int) -> float:
        """The lower bound of the bucket at `index`, in nanoseconds."""
        return math.pow(2, ((index << self._lowered) - _ORIGIN) / _OCTAVE) * _SECOND

    def _fill(self, cells: dict[int, int], lowered: int) -> None:
        """Lay the window around `cells`, in whole doublings while they fit."""
        while cells and max(cells) - min(cells) >= WINDOW:
            cells = _coarser(cells, 1)
            lowered += 1
        low, high = min(cells, default=0), max(cells, default=-1)
        first = low & -_OCTAVE
        size = (high | _OCTAVE - 1) + 1 - first
        if size > WINDOW:
            first, size = low, WINDOW
        wide = max(cells.values(), default=0) >= _NARROW
        self._counts = array("Q" if wide else self._counts.typecode, [0]) * size
        self._first, self._lowered = first, lowered
        for index, number in cells.items():
            self._counts[index - first] = number
        self._floor = self._longest(first - 1)
        self._ceiling = self._longest(first + size - 1)

    def _longest(self, index: int) -> int:
        """The upper bound of a bucket in whole nanoseconds; the last one has none."""
        place = (index + 1 << self._lowered) - 1
        return _UPPER[max(place, 0)] if place < len(_UPPER) - 1 else sys.maxsize


def _coarser(cells: dict[int, int], halvings: int) -> dict[int, int]:
    """The same numbers in buckets that are 2^halvings times as wide in the exponent."""
    merged: dict[int, int] = {}
    for index, number in cells.items():
        merged[index >> halvings] = merged.get(index >> halvings, 0) + number
    return merged
