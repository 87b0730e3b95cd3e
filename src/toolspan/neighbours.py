"""Who else traces this very call? Their span is adopted, and ours is not opened.

Whom we know, and how they mark their spans: vendors.py.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import get_current_span

from toolspan import semconv, vendors
from toolspan.containment import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span

#: The neighbours whose spans have been seen in this process: without any, nobody is looked for.
SEEN: Final[set[str]] = set()
#: A neighbour's open tool span -> that of another neighbour, of the same call, right around it.
_AROUND: Final[dict[int, Span]] = {}
_MOST: Final = 1_000
#: The last tool span that a neighbour began here: that of another may be current in its place.
_BEGUN: Final[ContextVar[Span | None]] = ContextVar("toolspan_begun", default=None)
#: The scopes that traced one call together, each by a span of its own: that cannot be stopped.
DOUBLED: Final[set[tuple[str, ...]]] = set()


class Undecided(Protocol):
    """A call or a run that may still adopt the span of somebody else."""

    def notice(self, span: Span) -> None:
        """Take note of a neighbour's span that began inside."""


class Watch(SpanProcessor):
    """Our one processor on a provider: our own spans pass it untouched.

    It shows each neighbour's span, as it starts, to the undecided call or run around it. It reads
    the current context and not the parent that the span was given: callback-based vendors pass
    parents of their own. What others traced goes to the statistics.
    """

    def __init__(
        self,
        undecided: Callable[[], Undecided | None],
        others: SpanProcessor,
        is_hooked: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._undecided = undecided
        self._others = others
        self._is_hooked = is_hooked
        #: Our tracer's scope once it was seen: compared by identity, for every span passes here.
        self._ours: object = self

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Tell the undecided call around somebody else's span, if there is one."""
        if span.instrumentation_scope is not self._ours and not self._is_ours(span):  # type: ignore[attr-defined]  # the SDK's span
            _tell(self._undecided, span, scope_of(span))
            self._others.on_start(span, parent_context)  # type: ignore[arg-type]  # the SDK's span

    def on_end(self, span: ReadableSpan) -> None:
        """Let somebody else's span be counted, where it is a tool's."""
        if span.instrumentation_scope is not self._ours and not self._is_ours(span):
            if _AROUND:
                _AROUND.pop(_id_of(span), None)
            if not self._stands_beside_ours(span):
                self._others.on_end(span)

    def _stands_beside_ours(self, span: ReadableSpan) -> bool:
        """Whether it is of a call that our layers saw and that could not adopt it."""
        scope = scope_of(span)
        framework = vendors.APART.get(scope)
        if framework is None or not self._is_hooked(framework):
            return False
        if vendors.is_tool(span, scope, span.attributes or {}):
            DOUBLED.add((scope, semconv.SCOPE))
        return True

    def _is_ours(self, span: Any) -> bool:
        if scope_of(span) != semconv.SCOPE:
            return False
        self._ours = span.instrumentation_scope
        return True


@contained
def _tell(undecided: Callable[[], Undecided | None], span: Span, scope: str) -> None:
    if scope.startswith(vendors.SCOPES):
        SEEN.add(scope)
        _note(span, scope)
        waiting = undecided()
        if waiting is not None:
            waiting.notice(span)


def _note(span: Span, scope: str) -> None:
    """Two neighbours may trace one call, each with a span of its own."""
    known = _attributes_of(span)
    if len(_AROUND) >= _MOST or not vendors.is_tool(span, scope, known):
        return
    around = get_current_span()
    if scope != scope_of(around) and is_tool_span_of(around, vendors.tool_of(span, scope, known)):
        _AROUND[_id_of(span)] = around
    else:
        _BEGUN.set(span)


def others_around(span: Span, tool: str | None = None) -> tuple[Span, ...]:
    """The spans that further neighbours have of the same call, the innermost first.

    Of a call of `tool` also one that is not current.
    """
    outer = _AROUND.get(_id_of(span)) if _AROUND else None
    if outer is None and tool is not None:
        outer = begun_here(tool)
    if outer is None or scope_of(outer) == scope_of(span):
        return ()
    return (outer, *others_around(outer))


def begun_here(tool: str) -> Span | None:
    """The last tool span that a neighbour began here, where it is of this tool and of no call."""
    span = _BEGUN.get()
    if span is None or not is_tool_span_of(span, tool) or semconv.OUTCOME in _attributes_of(span):
        return None
    return span


def _id_of(span: Any) -> int:
    context = span.get_span_context()
    return context.span_id if context is not None else 0


def scope_of(span: Span | ReadableSpan) -> str:
    """The instrumentation scope's name of an SDK span, else nothing."""
    scope: Any = getattr(span, "instrumentation_scope", None)
    return scope.name if scope is not None else ""


def note_doubles(spans: tuple[Span, ...]) -> None:
    """Remember who traced the same call beside one another, for `status()`."""
    scopes = tuple(sorted({scope_of(span) for span in spans}))
    if len(scopes) > 1:
        DOUBLED.add(scopes)


def makes_current(span: Span) -> bool:
    """Whether a span's owner makes it current: if we did so too, that would outlast the call."""
    return scope_of(span).startswith(vendors.CURRENT)


def never_ends(span: Span) -> bool:
    """Whether its call is over, and the span's owner has heard of no end."""
    return scope_of(span).startswith(vendors.TOLD) and span.is_recording()


def is_tool_span_of(span: Span, tool: str) -> bool:
    """Whether a recording span is a known neighbour's span of a call of `tool`."""
    scope = scope_of(span)
    if not scope.startswith(vendors.SCOPES) or not span.is_recording():
        return False
    known = _attributes_of(span)
    return vendors.is_tool(span, scope, known) and vendors.tool_of(span, scope, known) == tool


def is_run_span(span: Span) -> bool:
    """Whether a recording span is an agent's or a workflow's, ours or anybody's."""
    return span.is_recording() and vendors.is_run(span, scope_of(span), _attributes_of(span))


def names_no_agent(span: Span) -> bool:
    """Whether a neighbour has a span for an agent's run, and does not say whose."""
    known = _attributes_of(span)
    return scope_of(span).startswith(vendors.NAMELESS) and semconv.AGENT_NAME not in known


def _attributes_of(span: Span) -> Mapping[str, Any]:
    return getattr(span, "attributes", None) or {}
