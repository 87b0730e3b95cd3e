"""What a model wrote as the arguments of a call: JSON, mostly."""

from __future__ import annotations

import json
from typing import Any, Final

_PARSED: Final = 100_000  # characters; what is longer stays the text that it is


def arguments(given: Any) -> Any:
    """As values, by which an MCP client below is known to make the same call."""
    if type(given) is not str or len(given) > _PARSED:
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        return given
