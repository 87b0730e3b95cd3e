"""Statistics of every tool: counted at the source, read here, published as metrics."""

from __future__ import annotations

from toolspan.statistics.sketch import Sketch
from toolspan.statistics.tally import Tally
from toolspan.statistics.tool_statistics import ToolStatistics

__all__ = ["Sketch", "Tally", "ToolStatistics"]
