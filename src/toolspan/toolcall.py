"""What a tool call is: plain values that every room reads and none decorates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from opentelemetry.trace import Span

AttributeValue = str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int]
Kind = Literal["internal", "client", "server"]
Word = Literal[
    "ok",
    "error",
    "tool_error",
    "invalid_arguments",
    "unknown_tool",
    "denied",
    "interrupted",
    "cancelled",
    "timeout",
    "abandoned",
]

#: The words whose span has status ERROR and an `error.type`.
FAILURES: Final[frozenset[str]] = frozenset(
    {"error", "tool_error", "invalid_arguments", "unknown_tool", "timeout", "abandoned"}
)
#: The words of a call whose tool never ran: counted, not measured.
REFUSALS: Final[frozenset[str]] = frozenset({"invalid_arguments", "unknown_tool", "denied"})
WORDS: Final[tuple[Word, ...]] = Word.__args__  # type: ignore[attr-defined]  # the one list
#: Characters of a tool's or an agent's name that are kept.
NAME_LIMIT: Final = 128


def type_name(named: type) -> str:
    """`module.qualname` of a type, builtins bare, without running code of its metaclass."""
    module = _MODULE(named)
    name = _QUALNAME(named)
    return name if module == "builtins" or type(module) is not str else f"{module}.{name}"


def is_a(value: object, name: str) -> bool:
    """Whether a class of that name is among the value's: asked of the types, never of the value."""
    return any(_NAME(kind) == name for kind in _BASES(type(value)))


def clean(text: object, limit: int = NAME_LIMIT) -> str:
    """Text that is safe in a name: no control characters, no lone surrogates, cut at `limit`."""
    if type(text) is not str:
        return clean(type_name(type(text)), limit)
    if len(text) <= limit and text.isprintable():
        return text
    head = text[:limit].encode("utf-8", "replace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in head)


_MODULE: Final[Callable[[type], object]] = type.__dict__["__module__"].__get__
_NAME: Final[Callable[[type], str]] = type.__dict__["__name__"].__get__
_BASES: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
_QUALNAME: Final[Callable[[type], str]] = type.__dict__["__qualname__"].__get__


@dataclass(slots=True, eq=False)
class ToolCall:
    """One call of a tool, as known before it runs.

    `arguments` and `definition` are references to the host's own objects: nothing here copies,
    renders or compares them. `started` (nanoseconds since 1970) and `attempt` are filled in by
    the core, `agent` and `conversation` too where a run around the call knows them.
    """

    name: str
    arguments: object = None
    description: str | None = None
    id: str | None = None
    type: str = "function"
    agent: str | None = None
    conversation: str | None = None
    kind: Kind = "internal"
    #: Further attributes that the adapter knows at the start (`mcp.*`, network keys).
    attributes: Mapping[str, AttributeValue] | None = None
    #: The names of the parameters, where the definition shows them: part of its fingerprint.
    parameters: tuple[str, ...] = ()
    #: Overrides the switch for content: True or False for this call alone.
    capture: bool | None = None
    #: Which try of this call id this is, from 1.
    attempt: int = 1
    #: Seconds that the call waited for approval or a slot before its tool ran.
    wait: float | None = None
    started: int = 0
    #: Which well-known tools this one is like (docs/attributes.md), filled in by the core.
    family: str | None = None
    #: Scope name of whoever owns the adopted span; None while the span is ours.
    owner: str | None = None
    #: Trace context that arrived with the call (MCP `params._meta`): the parent of a server's span.
    carrier: Mapping[str, str] | None = None
    #: The host's functions that may run: what `@tool` was told of one of them holds here.
    functions: tuple[object, ...] = ()
    #: Its span, ours or adopted, filled in by the core; None while there is none.
    span: Span | None = field(default=None, repr=False)
    #: Bytes of UTF-8 that its arguments took on the span, filled in by the core.
    written: int = field(default=0, repr=False)
    #: What its spans have in common with those of the tool's other calls (spans.py), where whoever
    #: makes the call remembers it.
    known: Any = field(default=None, repr=False)


@dataclass(slots=True, eq=False)
class Outcome:
    """How a call ended: the tool's own value, or why there is none.

    `message` is content and leaves the process only where content may. `type` is the span's
    `error.type`; without one the core takes the exception's type, else the word itself.
    """

    result: object = None
    error: Word | None = None
    message: str | None = None
    type: str | None = None
    exception: BaseException | None = None
    #: Further attributes known only at the end.
    attributes: Mapping[str, AttributeValue] | None = None
    #: False when the consumer stopped a stream before its end.
    complete: bool | None = None
    #: The result as the tool has it, where `result` is the text that was made of it for the model:
    #: numbers are read from it (docs/attributes.md), and it is never written.
    structured: object = None
    #: Tries inside this one span, set by policies of our own.
    attempts: int | None = None
    #: True when the value came from a cache and no tool ran.
    cached: bool = False
    #: `len()` of the result where it is text or bytes, filled in by the core.
    size: int | None = None

    @property
    def word(self) -> Word:
        """The outcome in one word, `ok` when nothing went wrong."""
        return self.error or "ok"

    @property
    def failed(self) -> bool:
        """Whether the span's status is ERROR."""
        return self.error in FAILURES
