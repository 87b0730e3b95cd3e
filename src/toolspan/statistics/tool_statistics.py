"""ToolStatistics: exact counts and close quantiles of every tool, whatever the sampler does."""

from __future__ import annotations

import math
import os
import time
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Final

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind

from toolspan import foreign
from toolspan.containment import contained, say_once
from toolspan.statistics.labels import LIMIT, SIDES, Labels
from toolspan.statistics.table import Thresholds, as_html, as_text
from toolspan.statistics.tally import TOGETHER, Tally
from toolspan.toolcall import Outcome, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from toolspan.statistics.labels import Key
    from toolspan.toolcall import Kind, ToolCall

VERSION: Final = 1
#: Spans known to be the inside of a call already told of, that have not ended yet.
_INNER_LIMIT: Final = 1_000
#: Tools that the message of a KeyError names.
_NAMED: Final = 10


class ToolStatistics(SpanProcessor):
    """Counts and durations of every tool call of this process; a forked child starts at zero.

    Calls that pass a hook are told by the core and never sampled; tool spans of others are
    counted as they end. A mapping from a tool's name to its `Tally`, merged over agents. At most
    `limit` tools, agents and sides together have a row of their own, the rest is `_other`.
    The table flags a tool whose mean is over `slow` seconds or whose success rate is under
    `failing`.

    >>> statistics = ToolStatistics(slow=0.5)
    >>> print(statistics)
    no tool calls yet
    """

    #: Called before every reading, so that ends which were put off are in it.
    before_reading: ClassVar[list[Callable[[], None]]] = []

    def __init__(self, *, slow: float = 1.0, failing: float = 0.9, limit: int = LIMIT) -> None:
        self.slow = _number("slow", slow, 1.0)
        self.failing = _number("failing", failing, 0.9, most=1)
        self._enabled = True
        self._limit = limit
        self._restart(set())
        _LIVING.add(self)

    def _restart(self, running: set[ToolCall]) -> None:
        #: Nanoseconds since 1970 from which everything is counted.
        self.since = time.time_ns()
        self._labels = Labels(self._limit)
        self._tallies: dict[Key, Tally] = {}
        #: Tool -> the tally that its last call was counted under.
        self._latest: dict[str, Tally] = {}
        self._open = running
        #: Told by the core when a call that passed a hook is about to run.
        self.started: Callable[[ToolCall], None] = running.add
        self._inner: set[int] = set()

    @property
    def enabled(self) -> bool:
        """False while nothing is instrumented: nothing is counted, nothing published."""
        return self._enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        self._enabled = on
        if not on:
            self._open.clear()  # nobody will tell of their ends

    def reset(self) -> None:
        """Count from zero again; calls in flight stay in flight."""
        self._restart(self._open)

    def returned(self, call: ToolCall, _value: object, size: int | None, duration: int) -> None:
        """A call that passed a hook went well, after `duration` nanoseconds."""
        self._open.discard(call)
        if not self._enabled:
            return
        name = call.name
        # Only exact text is looked up: the hash() of a host's own type is the host's code.
        tally = self._latest.get(name) if type(name) is str else None
        if tally is None or tally.agent is not call.agent or tally.kind is not call.kind:
            tally = self._tally(name, call.agent, call.kind)
        durations = tally.durations
        try:
            durations.append(duration)
        except OverflowError:  # below zero, or of centuries
            self._record(tally, call, Outcome(size=size), duration)
            return
        if size is not None:
            tally.sizes.append(size)
        if len(durations) >= TOGETHER:
            tally.settle()

    def finished(self, call: ToolCall, outcome: Outcome, duration: int) -> None:
        """A call that passed a hook ended after `duration` nanoseconds."""
        if outcome.error is None and call.attempt == 1:
            self.returned(call, outcome.result, outcome.size, duration)
            return
        self._open.discard(call)
        if self._enabled:
            tally = self._tally(call.name, call.agent, call.kind)
            self._record(tally, call, outcome, duration)

    def _record(self, tally: Tally, call: ToolCall, outcome: Outcome, duration: int) -> None:
        tally.record(
            outcome.error or "ok",
            duration,
            outcome.type,
            call.started,
            size=outcome.size,
            attempt=call.attempt,
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Remember a span that is the inside of a call already told of."""
        if span.kind is SpanKind.CLIENT and self._enabled:
            self._note_inner(span, parent_context)

    @contained
    def _note_inner(self, span: Span, context: Context | None) -> None:
        if len(self._inner) < _INNER_LIMIT and foreign.is_same_call(span, context):
            self._inner.add(span.get_span_context().span_id)

    def on_end(self, span: ReadableSpan) -> None:
        """Count the tool span of somebody else, of a call that passed no hook."""
        if self._enabled and (known := foreign.marks_of(span)) is not None:
            self._count(span, known)

    @contained
    def _count(self, span: ReadableSpan, known: Mapping[str, Any]) -> None:
        context = span.get_span_context()
        if context is not None and context.span_id in self._inner:
            self._inner.discard(context.span_id)
        elif (seen := foreign.read_span(span, known)) is not None:
            tally = self._tally(seen.tool, seen.agent, seen.kind)
            tally.record(seen.word, seen.duration, seen.error, seen.started, foreign=1)

    def _tally(self, name: object, agent: object, kind: Kind) -> Tally:
        key = self._labels.bound(name, agent, SIDES[kind])
        tally = self._keyed(key)
        if key[0] is name and key[1] is agent:  # clean text, and not `_other`
            tally.agent, tally.kind = key[1], kind
            self._latest[key[0]] = tally
        return tally

    def _keyed(self, key: Key) -> Tally:
        return self._tallies.get(key) or self._tallies.setdefault(key, Tally(*key))

    def rows(self) -> list[Tally]:
        """A copy of every tally: one for each tool, agent and side, the busiest first."""
        for prepare in self.before_reading:
            contained(prepare)()
        running = [
            (self._tally(call.name, call.agent, call.kind).key, call.started)
            for call in self._open.copy()
        ]
        rows = {key: tally.copy() for key, tally in self._tallies.copy().items()}
        now = time.time_ns()
        for key, started in running:
            row = rows.setdefault(key, Tally(*key))
            row.in_flight += 1
            row.oldest = max(row.oldest, (now - started) / 1e9)
        return sorted(rows.values(), key=lambda row: (-row.calls, row.tool, row.agent or ""))

    def __getitem__(self, key: str | tuple[str | None, ...]) -> Tally:
        """The tally of `tool`; of `tool, agent`; of `tool, agent, "server"`.

        Without a side, the calls made here; where there are none, the calls served here.

        Raises:
            KeyError: nothing was counted under it.
        """
        tool, *rest = (key,) if isinstance(key, str) else key
        found = [row for row in self.rows() if row.tool == clean(tool)]
        if rest:
            found = [row for row in found if row.agent == rest[0]]
        sides = rest[1:] or ["client" if any(row.side == "client" for row in found) else "server"]
        found = [row for row in found if row.side in sides]
        if not found:
            raise KeyError(f"nothing was counted under {key!r}; known: {self._known()}")
        total = Tally(found[0].tool, found[0].agent if rest else None, found[0].side)
        for row in found:
            total.merge(row)
        return total

    def _known(self) -> str:
        names = [repr(name) for name in self]
        more = len(names) - _NAMED
        return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(row.tool for row in self.rows()))

    def __contains__(self, tool: object) -> bool:
        return any(row.tool == tool for row in self.rows())

    def __len__(self) -> int:
        return len({row.tool for row in self.rows()})

    def __add__(self, other: ToolStatistics) -> ToolStatistics:
        if not isinstance(other, ToolStatistics):
            return NotImplemented
        both = ToolStatistics(slow=self.slow, failing=self.failing, limit=self._limit)
        both.since = min(self.since, other.since)
        for row in (*self.rows(), *other.rows()):
            both._keyed(both._labels.bound(*row.key)).merge(row)
        return both

    def to_dict(self) -> dict[str, Any]:
        """Everything counted, JSON-able, to be merged or kept elsewhere."""
        rows = [row.to_dict() for row in self.rows()]
        return {"version": VERSION, "since": self.since, "tools": rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **options: Any) -> ToolStatistics:
        """The statistics that `to_dict` wrote; `options` are those of the constructor.

        Raises:
            ValueError: another version wrote it, or it is something else.
        """
        statistics = cls(**options)
        try:
            if data["version"] != VERSION:
                raise ValueError(f"version {data['version']!r} is unknown; allowed: {VERSION}")
            statistics.since = int(data["since"])
            for row in map(Tally.from_dict, data["tools"]):
                statistics._keyed(statistics._labels.bound(*row.key)).merge(row)
        except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
            raise ValueError("this is not what ToolStatistics.to_dict() writes") from error
        return statistics

    def __str__(self) -> str:
        return as_text(self.rows(), Thresholds(self.slow, self.failing))

    def _repr_html_(self) -> str:
        return as_html(self.rows(), Thresholds(self.slow, self.failing))

    def __repr__(self) -> str:
        return f"<ToolStatistics: {len(self)} tools>"


def _number(option: str, given: Any, default: float, most: float = math.inf) -> float:
    """`given`; one line, and the default, for what is no number from 0 to `most`."""
    if type(given) in (int, float) and 0 <= given <= most:
        return float(given)
    limit = "a number from 0" if math.isinf(most) else f"a share from 0 to {most:g}"
    say_once(option, "ToolStatistics(%s=...) takes %s; %g is used", option, limit, default)
    return default


_LIVING: Final[weakref.WeakSet[ToolStatistics]] = weakref.WeakSet()


def _forked() -> None:
    """Zero, and locks that nobody holds: those of the parent's threads never open here."""
    for statistics in list(_LIVING):
        statistics._restart(set())  # noqa: SLF001  # one of us


if (_register := getattr(os, "register_at_fork", None)) is not None:
    _register(after_in_child=_forked)
