"""toolspan: one tool call, one span, whoever ran it."""

from toolspan.api import call, record, run, tool, untraced
from toolspan.dispatching import CallError, dispatch
from toolspan.instrumentor import (
    FrameworkNotFoundError,
    instrument,
    register,
    stats,
    uninstrument,
)
from toolspan.listening import on_call
from toolspan.quickstart import configure, flush
from toolspan.statistics import ToolStatistics
from toolspan.status import status

__all__ = [
    "CallError",
    "FrameworkNotFoundError",
    "ToolStatistics",
    "call",
    "configure",
    "dispatch",
    "flush",
    "instrument",
    "on_call",
    "record",
    "register",
    "run",
    "stats",
    "status",
    "tool",
    "uninstrument",
    "untraced",
]
