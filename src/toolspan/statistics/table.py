"""The statistics as a table, for a terminal and for a notebook."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from toolspan.statistics.sketch import SCALE
from toolspan.toolcall import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from toolspan.statistics.tally import Tally

_EMPTY: Final = "no tool calls yet"
_HEADER: Final = (
    *("tool", "agent", "side", "calls", "ok", "failed", "denied", "stopped"),
    *("p50", "p95", "p99", "max", "in flight", "last error", "flags"),
)
_LEFT: Final = frozenset({"tool", "agent", "side", "last error", "flags"})
_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_THREE_DIGITS: Final = 999.5
_HOUR: Final = 3_600.0
_ROUNDING: Final = 1e-6


class Thresholds(NamedTuple):
    """Where the table raises its flags."""

    #: Mean duration in seconds above which a tool is slow.
    slow: float
    #: Success rate below which a tool is failing.
    failing: float


def as_text(rows: Sequence[Tally], thresholds: Thresholds) -> str:
    """The table for a terminal; names hold no control characters."""
    if not rows:
        return _EMPTY
    header, lines = _grid(rows, thresholds)
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    aligned = [_aligned(line, header, widths) for line in (header, *lines)]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([aligned[0], rule, *aligned[1:], *_notes(rows, thresholds)])


def as_html(rows: Sequence[Tally], thresholds: Thresholds) -> str:
    """The table for a notebook; every text is escaped."""
    from html import escape  # noqa: PLC0415  # two modules that a traced program can do without

    if not rows:
        return f"<p>{_EMPTY}</p>"
    header, lines = _grid(rows, thresholds)
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in _notes(rows, thresholds))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def _grid(
    rows: Sequence[Tally], thresholds: Thresholds
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Header and lines, without the columns that would be empty."""
    lines = [_line(row, thresholds) for row in rows]
    shown = [i for i, name in enumerate(_HEADER) if any(line[i] for line in lines)]
    return [_HEADER[i] for i in shown], [[line[i] for i in shown] for line in lines]


def _line(row: Tally, thresholds: Thresholds) -> tuple[str, ...]:
    about = "~" if row.sketch.scale < SCALE else ""
    stopped = row.outcomes.get("cancelled", 0) + row.outcomes.get("interrupted", 0)
    return (
        clean(row.tool),
        clean(row.agent) if row.agent is not None else "",
        row.side if row.side == "server" else "",
        f"{row.calls:,}{'*' if row.foreign else ''}",
        percent(row.success_rate),
        f"{row.failures:,}",
        f"{row.outcomes.get('denied', 0):,}",
        f"{stopped:,}",
        *(f"{about}{duration(row.latency(q))}" for q in (0.5, 0.95, 0.99)),
        duration(row.max),
        f"{row.in_flight} ({duration(row.oldest)})" if row.in_flight else "0",
        clean(row.last_error) if row.last_error is not None else "",
        " ".join(flags(row, thresholds)),
    )


def flags(row: Tally, thresholds: Thresholds) -> Iterator[str]:
    """`slow` and `failing`, as far as they hold; an unknown mean or rate raises none."""
    if row.mean > thresholds.slow:
        yield "SLOW"
    if row.success_rate < thresholds.failing:
        yield "FAILING"


def _notes(rows: Sequence[Tally], thresholds: Thresholds) -> Iterator[str]:
    raised = {flag for row in rows for flag in flags(row, thresholds)}
    if "SLOW" in raised:
        yield f"SLOW: the mean is over {duration(thresholds.slow)}"
    if "FAILING" in raised:
        yield f"FAILING: under {percent(thresholds.failing)} ok"
    if any(row.foreign for row in rows):
        yield "* some known only from other libraries' spans, of which a sampler may hide a part"
    worst = max((row.sketch for row in rows), key=lambda sketch: sketch.error)
    if worst.scale < SCALE:
        error = f"{100 * worst.error:.2g} %"
        yield f"~ durations too far apart for full resolution: quantiles within {error}"


def duration(seconds: float) -> str:
    """Seconds in three digits and the unit that fits, a dash for NaN."""
    if math.isnan(seconds):
        return "-"
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:,.1f} h"
    for size, unit in _UNITS:
        if seconds >= size * _THREE_DIGITS / 1000:
            return f"{_three(seconds / size)} {unit}"
    return f"{seconds / 1e-6:.2g} µs"


def _three(number: float) -> str:
    return f"{number:.0f}" if number >= _THREE_DIGITS / 10 else f"{number:.3g}"


def percent(share: float) -> str:
    """A share as a percentage, rounded down: 100 % means all of them; a dash for NaN."""
    return "-" if math.isnan(share) else f"{math.floor(1000 * share + _ROUNDING) / 10:g} %"


def _aligned(line: Sequence[str], header: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.ljust(width) if name in _LEFT else cell.rjust(width)
        for cell, name, width in zip(line, header, widths, strict=True)
    )
    return "  ".join(cells).rstrip()
