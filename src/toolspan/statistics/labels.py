"""The names under which calls are counted: cleaned, and bounded in number."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Literal

from toolspan import semconv
from toolspan.toolcall import clean

if TYPE_CHECKING:
    from toolspan.toolcall import AttributeValue, Kind

Side = Literal["client", "server"]
Key = tuple[str, str | None, Side]
SIDES: Final[dict[Kind, Side]] = {"internal": "client", "client": "client", "server": "server"}
#: The name that all further tools, or a tool's further agents, share.
OTHER: Final = "_other"
LIMIT: Final = 1_000


class Labels:
    """At most `limit` keys (tool, agent, side), and one more for a tool with too many agents."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._keys: set[Key] = set()
        self._tools: set[str] = set()
        self._lock = threading.RLock()

    def bound(self, tool: object, agent: object, side: Side) -> Key:
        """The key to count under: the names themselves, while there is room."""
        name = clean(tool)
        key = (name, None if agent is None else clean(agent), side)
        with self._lock:
            if key in self._keys:
                return key
            if len(self._keys) < self.limit:
                self._keys.add(key)
                self._tools.add(name)
                return key
            return (name, OTHER, side) if name in self._tools else (OTHER, None, side)


def attributes_of(key: Key) -> dict[str, AttributeValue]:
    """A key as attributes of a metric's point; the side is told where it is the server's."""
    tool, agent, side = key
    attributes: dict[str, AttributeValue] = {semconv.TOOL_NAME: tool}
    if agent is not None:
        attributes[semconv.AGENT_NAME] = agent
    if side == "server":
        attributes[semconv.SIDE] = side
    return attributes


def duration_attributes(key: Key) -> dict[str, AttributeValue]:
    """The same on the metric of the conventions, which asks for the operation."""
    return {semconv.OPERATION: semconv.EXECUTE_TOOL, **attributes_of(key)}
