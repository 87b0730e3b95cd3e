"""The live call tree: agent and tool spans, printed while they run."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import StatusCode

from toolspan import semconv
from toolspan.containment import contained
from toolspan.statistics.table import duration
from toolspan.toolcall import FAILURES

if TYPE_CHECKING:
    from typing import TextIO

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

_SHOWN: Final = frozenset({semconv.EXECUTE_TOOL, semconv.INVOKE_AGENT, semconv.INVOKE_WORKFLOW})
_GREEN, _RED, _YELLOW = 32, 31, 33
_ERASE_LINE: Final = "\r\x1b[K"


@dataclass(slots=True, eq=False)
class _Row:
    """One span in the tree; `above` is the nearest one that is shown, too."""

    name: str
    above: _Row | None
    running: list[_Row] = field(default_factory=list)
    ended: list[_Row] = field(default_factory=list)
    parallel: bool = False
    closed: bool = False
    #: What is known at the end: duration, outcome and remarks.
    facts: str = ""


class CallTree(SpanProcessor):
    """Prints a root when it starts, each call below it with all its own when it ends.

    On a terminal the calls that run now stand in a last line of their own.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._colour = self._live and not os.environ.get("NO_COLOR")
        self._rows: dict[int, _Row | None] = {}
        self._lock = threading.RLock()
        self.empty = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """Note where the span belongs."""
        self._place(span)

    @contained
    def _place(self, span: Span) -> None:
        with self._lock:
            above = self._rows.get(span.parent.span_id) if span.parent else None
            if (span.attributes or {}).get(semconv.OPERATION) in _SHOWN:
                above = self._begin(_Row(printable(span.name), above))
            self._rows[span.context.span_id] = above

    @contained
    def on_end(self, span: ReadableSpan) -> None:
        """Print the span's row, as soon as the rows that stand before it are known."""
        with self._lock:
            row = self._rows.pop(span.context.span_id, None)
            if row is not None and (span.attributes or {}).get(semconv.OPERATION) in _SHOWN:
                self._end(row, span)

    def _begin(self, row: _Row) -> _Row:
        self.empty = False
        if row.above is None:
            self._print([row.name])
        else:
            row.parallel = bool(row.above.running)
            for sibling in row.above.running:
                sibling.parallel = True
            row.above.running.append(row)
        self._show_running(row.above)
        return row

    def _end(self, row: _Row, span: ReadableSpan) -> None:
        row.closed = True
        row.facts = self._facts(row, span)
        above = row.above
        if above is None:
            self._print([f"└─ {'whole run':<28}{row.facts}"])
            return
        above.running.remove(row)
        if above.above is None or above.closed:
            self._print(_lines(row, "├─ ", "│  "))
        else:
            above.ended.append(row)
        self._show_running(above)

    def _facts(self, row: _Row, span: ReadableSpan) -> str:
        attributes = span.attributes or {}
        word = str(attributes.get(semconv.OUTCOME) or _word(span))
        remarks = [
            str(attributes.get(semconv.ERROR_TYPE) or ""),
            "via MCP" if semconv.MCP_METHOD in attributes else "",
            "in parallel" if row.parallel else "",
        ]
        time = duration(((span.end_time or 0) - (span.start_time or 0)) / 1e9)
        told = printable(", ".join(filter(None, remarks)))
        return f"{time:>9}  {self._painted(f'{printable(word):<12}', word)}{told}".rstrip()

    def _painted(self, text: str, word: str) -> str:
        if not self._colour:
            return text
        colour = _GREEN if word == "ok" else _RED if word in FAILURES else _YELLOW
        return f"\x1b[{colour}m{text}\x1b[0m"

    def _print(self, lines: list[str]) -> None:
        erase = _ERASE_LINE if self._live else ""
        self._out.write("".join(f"{erase}{line}\n" for line in lines))
        self._out.flush()

    def _show_running(self, above: _Row | None) -> None:
        if self._live and above is not None and above.running:
            names = ", ".join(row.name for row in above.running)
            width = shutil.get_terminal_size().columns - 1
            self._out.write(f"{_ERASE_LINE}{f'│  ... {names}'[:width]}")
            self._out.flush()


def printable(text: str) -> str:
    """`text` with everything that a terminal could obey written as an escape sequence."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _lines(row: _Row, first: str, others: str) -> list[str]:
    name = f"{first}{row.name}"
    below = [
        line
        for number, child in enumerate(row.ended, 1)
        for line in _lines(
            child,
            f"{others}{'└─ ' if number == len(row.ended) else '├─ '}",
            f"{others}{'   ' if number == len(row.ended) else '│  '}",
        )
    ]
    return [f"{name:<31}{row.facts}", *below]


def _word(span: ReadableSpan) -> str:
    return "error" if span.status.status_code is StatusCode.ERROR else "ok"
