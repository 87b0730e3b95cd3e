"""Which tool calls get a recorded span: a share for each tool, decided where the span begins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import get_current_span

from toolspan.containment import LOGGER
from toolspan.semconv import TOOL_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind
    from opentelemetry.trace.span import TraceState
    from opentelemetry.util.types import Attributes

_NAME: Final = "OTEL_TRACES_SAMPLER"
_FIXED: Final[Mapping[str, sampling.Sampler]] = {
    "always_on": sampling.ALWAYS_ON,
    "always_off": sampling.ALWAYS_OFF,
    "parentbased_always_on": sampling.DEFAULT_ON,
    "parentbased_always_off": sampling.DEFAULT_OFF,
}
_BY_RATIO: Final = {
    "traceidratio": sampling.TraceIdRatioBased,
    "parentbased_traceidratio": sampling.ParentBasedTraceIdRatio,
}


class ToolSampler(sampling.Sampler):
    """Keeps `shares["search"]` of the spans of tool `search`; "*" stands for all other tools.

    The share is one of trace ids, as in `TraceIdRatioBased`: every service that samples this tool
    decides alike, and a trace keeps all its calls of a tool or none. Whatever is not a tool's span,
    and whether its trace is wanted at all, is for `delegate` to say. Below a span that was sampled
    out everything else is too, so that no trace has holes.
    """

    def __init__(self, shares: Mapping[str, float], delegate: sampling.Sampler) -> None:
        self._ratios = {name: sampling.TraceIdRatioBased(share) for name, share in shares.items()}
        self._delegate = delegate

    def should_sample(  # noqa: PLR0917  # the signature is the SDK's
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> sampling.SamplingResult:
        """The delegate's answer, unless the share of this tool, or the span above, says drop."""
        facts = (parent_context, trace_id, name, kind, attributes, links, trace_state)
        if _below_dropped(parent_context):
            return sampling.ALWAYS_OFF.should_sample(*facts)
        answer = self._delegate.should_sample(*facts)
        ratio = self._ratio(attributes)
        if ratio is None or answer.decision is sampling.Decision.DROP:
            return answer
        share = ratio.should_sample(*facts)
        return share if share.decision is sampling.Decision.DROP else answer

    def get_description(self) -> str:
        """What the SDK shows of this sampler."""
        shares = ",".join(f"{name}={ratio.rate:g}" for name, ratio in self._ratios.items())
        return f"ToolSampler{{{shares};{self._delegate.get_description()}}}"

    def _ratio(self, attributes: Attributes) -> sampling.TraceIdRatioBased | None:
        tool = attributes.get(TOOL_NAME) if attributes else None
        if type(tool) is not str:
            return None
        return self._ratios.get(tool) or self._ratios.get("*")


def _below_dropped(context: Context | None) -> bool:
    above = get_current_span(context).get_span_context()
    return above.is_valid and not above.is_remote and not above.trace_flags.sampled


def read_sampler(environ: Mapping[str, str] = os.environ) -> sampling.Sampler:
    """The sampler that `OTEL_TRACES_SAMPLER` and its `_ARG` name; a wrong name gets one line."""
    name = environ.get(_NAME, "").strip().lower() or "parentbased_always_on"
    if ratio := _BY_RATIO.get(name):
        return ratio(_share(environ.get(f"{_NAME}_ARG", "").strip()))
    if name not in _FIXED:
        known = ", ".join((*_FIXED, *_BY_RATIO))
        LOGGER.warning("%s=%r is not known; allowed: %s", _NAME, name, known)
    return _FIXED.get(name, sampling.DEFAULT_ON)


def _share(text: str) -> float:
    try:
        share = float(text or 1)
    except ValueError:
        share = -1
    if 0 <= share <= 1:
        return share
    LOGGER.warning("%s_ARG=%r is no share; allowed: a number from 0 to 1. Using 1", _NAME, text)
    return 1.0
