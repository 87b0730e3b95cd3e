"""The life of one traced call, and of one run: written once, for every framework."""

from toolspan.lifecycle.actor import wrapper_for
from toolspan.lifecycle.call import LiveCall, Merged, begin_call, current_call
from toolspan.lifecycle.drivers import direct_driver, driver_for
from toolspan.lifecycle.run import LiveRun, begin_run, plain_attributes
from toolspan.lifecycle.tracing import (
    TRACING,
    UNTRACED,
    Listener,
    drain,
    undecided,
    wanted_context,
)

__all__ = [
    "TRACING",
    "UNTRACED",
    "Listener",
    "LiveCall",
    "LiveRun",
    "Merged",
    "begin_call",
    "begin_run",
    "current_call",
    "direct_driver",
    "drain",
    "driver_for",
    "plain_attributes",
    "undecided",
    "wanted_context",
    "wrapper_for",
]
