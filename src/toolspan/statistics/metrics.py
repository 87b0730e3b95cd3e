"""What ToolStatistics publishes on a meter of the application.

Source: OpenTelemetry GenAI conventions, metric `gen_ai.execute_tool.duration`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.metrics import Observation
from opentelemetry.trace import set_span_in_context

from toolspan import semconv
from toolspan.statistics.labels import LIMIT, SIDES, Labels, attributes_of, duration_attributes
from toolspan.toolcall import REFUSALS, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.metrics import CallbackOptions, Meter

    from toolspan.statistics.labels import Key
    from toolspan.statistics.tally import Tally
    from toolspan.statistics.tool_statistics import ToolStatistics
    from toolspan.toolcall import AttributeValue, Kind, Outcome, ToolCall

#: Scopes (beginnings) that record `gen_ai.execute_tool.duration` for their own spans.
OFFICIAL_SCOPES: Final = ("opentelemetry.instrumentation.genai.", "opentelemetry.util.genai.")
DURATION_DESCRIPTION: Final = "The duration of a single tool execution."
#: Seconds, from 1 ms to 300 s.
BOUNDARIES: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 300.0),
)
_OTHER_ERROR: Final = "_OTHER"
_CALL: Final = "{call}"
_NOWHERE: Final = Context()


def _place_of(call: ToolCall) -> Context:
    """Where an exemplar points: at the call's own span, wherever and whenever its end is told."""
    return _NOWHERE if call.span is None else set_span_in_context(call.span, _NOWHERE)


def observe(statistics: ToolStatistics, meter: Meter) -> None:
    """Publish counts, calls in flight and the oldest one's age (seconds), read at each collection.

    An SDK's instruments stay for good: twice on one provider is once, and they are silent while
    `statistics` is not enabled.
    """

    def rows() -> Iterable[Tally]:
        return statistics.rows() if statistics.enabled else ()

    def calls(_: CallbackOptions) -> Iterator[Observation]:
        for row in rows():
            for word, number in row.outcomes.items():
                yield Observation(number, {**attributes_of(row.key), semconv.OUTCOME: word})

    def in_flight(_: CallbackOptions) -> Iterator[Observation]:
        for row in rows():
            yield Observation(row.in_flight, attributes_of(row.key))

    def oldest(_: CallbackOptions) -> Iterator[Observation]:
        for row in rows():
            yield Observation(row.oldest, attributes_of(row.key))

    meter.create_observable_counter(
        semconv.CALLS_METRIC, [calls], _CALL, "Tool calls that ended, by outcome."
    )
    meter.create_observable_up_down_counter(
        semconv.IN_FLIGHT_METRIC, [in_flight], _CALL, "Tool calls that run now."
    )
    meter.create_observable_gauge(
        semconv.OLDEST_METRIC, [oldest], "s", "Age of the oldest tool call that runs now."
    )


class DurationHistogram:
    """`gen_ai.execute_tool.duration` on an application's own meter: one record for each call.

    No record for a call that never ran, nor for one whose span belongs to an instrumentation
    that records this metric itself. Names are bounded as in `ToolStatistics`.
    """

    def __init__(self, meter: Meter, limit: int = LIMIT) -> None:
        self._histogram = meter.create_histogram(
            semconv.DURATION_METRIC,
            "s",
            DURATION_DESCRIPTION,
            explicit_bucket_boundaries_advisory=BOUNDARIES,
        )
        self._labels = Labels(limit)
        self._series: dict[tuple[Key, str | None], dict[str, AttributeValue]] = {}
        #: Tool -> agent and kind of its last call that went well, and its series.
        self._latest: dict[str, tuple[str | None, Kind, dict[str, AttributeValue]]] = {}

    def started(self, call: ToolCall) -> None:
        """Nothing is known yet."""

    def finished(self, call: ToolCall, outcome: Outcome, duration: int) -> None:
        """Record the `duration` nanoseconds of a call that ran."""
        if outcome.error in REFUSALS:
            return
        if call.owner is not None and call.owner.startswith(OFFICIAL_SCOPES):
            return
        if outcome.error is None:
            self.returned(call, outcome.result, outcome.size, duration)
            return
        error = clean(outcome.type or outcome.error) if outcome.failed else None
        self._histogram.record(duration / 1e9, self._attributes(call, error), _place_of(call))

    def returned(self, call: ToolCall, _value: object, _size: int | None, duration: int) -> None:
        """Record the `duration` nanoseconds of a call that went well."""
        # Only exact text is looked up: the hash() of a host's own type is the host's code.
        latest = self._latest.get(call.name) if type(call.name) is str else None
        if latest is not None and latest[0] is call.agent and latest[1] is call.kind:
            attributes = latest[2]
        else:
            attributes = self._attributes(call, None)
        self._histogram.record(duration / 1e9, attributes, _place_of(call))

    def _attributes(self, call: ToolCall, error: str | None) -> dict[str, AttributeValue]:
        key = self._labels.bound(call.name, call.agent, SIDES[call.kind])
        attributes = self._series.get((key, error)) or self._named(key, error)
        if error is None and key[0] is call.name and key[1] is call.agent:  # clean, not `_other`
            self._latest[key[0]] = key[1], call.kind, attributes
        return attributes

    def _named(self, key: Key, error: str | None) -> dict[str, AttributeValue]:
        if error is not None and len(self._series) >= self._labels.limit:
            error = _OTHER_ERROR
        attributes = duration_attributes(key)
        if error is not None:
            attributes[semconv.ERROR_TYPE] = error
        return self._series.setdefault((key, error), attributes)
