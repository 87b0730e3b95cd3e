"""Spans as a tree of text: what a person would check by eye, the same in every run."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
SHOWN = (
    ("gen_ai.tool.call.id", "id"),
    ("gen_ai.agent.name", "agent"),
    ("gen_ai.conversation.id", "conversation"),
    ("toolspan.attempt", "attempt"),
    ("toolspan.outcome", ""),
    ("error.type", "error"),
)


def tree_of(spans) -> str:
    """One line a span, children below their parent, roots in the order of their starts."""
    ids = {span.context.span_id for span in spans}
    children = {}
    for span in sorted(spans, key=lambda span: (span.start_time, span.context.span_id)):
        parent = span.parent.span_id if span.parent and span.parent.span_id in ids else None
        children.setdefault(parent, []).append(span)
    lines = []

    def add(span, depth):
        lines.append("  " * depth + line_of(span))
        for child in children.get(span.context.span_id, ()):
            add(child, depth + 1)

    for root in children.get(None, ()):
        add(root, 0)
    return "\n".join(lines) + "\n"


def line_of(span) -> str:
    """Name, kind, status and the attributes that tell calls apart."""
    parts = [span.name]
    if span.kind.name != "INTERNAL":
        parts.append(span.kind.name)
    for key, label in SHOWN:
        value = span.attributes.get(key)
        if value is not None:
            parts.append(f"{label}={value}" if label else str(value))
    if span.status.status_code.name == "ERROR":
        parts.append("ERROR")
    if span.links:
        parts.append(f"links={len(span.links)}")
    if span.events:
        parts.append(f"events={len(span.events)}")
    return "  ".join(parts)


def compare_with_golden(name: str, tree: str) -> None:
    """Compare with the text under golden/; TOOLSPAN_UPDATE_GOLDEN=1 writes it anew."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("TOOLSPAN_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(tree)
    assert tree == path.read_text()
