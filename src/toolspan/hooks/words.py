"""The closed vocabulary of adapters: each word says where a call passes and how to read it.

A path is `"package.module:Class.method"`, `"package.module:function"` or, of one object alone,
`"package.module:object.method"`; a tuple of paths names alternatives between versions, of which the
first that exists is taken. All functions that a word holds are pure: they read, hand over
references, and call nothing of the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from toolspan.toolcall import AttributeValue, Outcome, ToolCall

Path = str | tuple[str, ...]
Refused = tuple[ToolCall, Outcome]


class Invocation:
    """One call of a hooked function: its instance, and its arguments by name."""

    __slots__ = ("_parameters", "args", "instance", "kwargs")

    def __init__(
        self,
        instance: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        parameters: Mapping[str, int],
    ) -> None:
        self.instance = instance
        self.args = args
        self.kwargs = kwargs
        self._parameters = parameters

    def get(self, name: str, default: Any = None) -> Any:
        """The argument called `name`, however it was passed."""
        if name in self.kwargs:
            return self.kwargs[name]
        index = self._parameters.get(name)
        return default if index is None or index >= len(self.args) else self.args[index]

    def by_name(self, names: Iterable[str]) -> dict[str, Any]:
        """All arguments by name; the positional ones are called `names`, in this order."""
        return {**dict(zip(names, self.args, strict=False)), **self.kwargs}

    def replacing(self, name: str, value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of this call with `name` replaced, passed as it was passed."""
        index = self._parameters.get(name)
        if name not in self.kwargs and index is not None and index < len(self.args):
            return (*self.args[:index], value, *self.args[index + 1 :]), dict(self.kwargs)
        return self.args, {**self.kwargs, name: value}


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a framework's entry point knows of the run that begins there."""

    name: str
    agent: str | None = None
    conversation: str | None = None
    workflow: str | None = None
    attributes: Mapping[str, AttributeValue] | None = None
    #: Whether this run takes up an earlier one of the same conversation: it is linked.
    resumes: bool = False


def plain_outcome(value: Any) -> Outcome:
    """What the hooked function returned is the tool's own value."""
    return Outcome(value)


def _nothing(_invocation: Invocation) -> None:
    return None


def _always(_invocation: Invocation) -> bool:
    return True


def _no_special(_error: BaseException) -> Outcome | None:
    return None


@dataclass(frozen=True, slots=True)
class Hook:
    """A span around the call of the function at `path`."""

    path: Path
    read: Callable[[Invocation], ToolCall | None]
    outcome: Callable[[Any], Outcome] = plain_outcome
    #: What an exception of the framework means; None: it is an error.
    raised: Callable[[BaseException], Outcome | None] = _no_special
    #: Inner functions (sync or async): at the first of them, adopt or open.
    decide: tuple[str, ...] = ()
    #: before: at its call, for the body runs inside; after: when it has returned; beside: before,
    #: and only where a neighbour was seen, for the body may run elsewhere too.
    deciding: Literal["before", "after", "beside"] = "after"
    #: Modules that bound the same function by `from x import f`.
    also: tuple[str, ...] = ()
    #: This layer may lie inside another framework's call of the same tool, and enriches it.
    inside: bool = False
    #: The other framework may have put a prefix before the tool's name, which ends in this.
    prefix: str | None = None
    #: The call's id is a key: of the events that announced it, and of its body in another task.
    keyed: bool = False
    #: In the class that the path names and in every class below it, present and later: each that
    #: has a function of its own is a layer; inside one another, by `super()`, they are one call.
    subclasses: bool = False
    #: What the function returns is the tool's own value, whatever it is.
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain", self.outcome is plain_outcome)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A span for a call that the framework decides not to run, as is seen at `path`."""

    path: Path
    read: Callable[[Invocation, Any], Refused | list[Refused] | None]
    #: before: at its call; after: given its value; raised: given its exception.
    when: Literal["before", "after", "raised"] = "after"
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Witness:
    """No span: the function at `path` sees what the hooked one around it does not."""

    path: Path
    read: Callable[[Invocation, Any], Outcome | None]
    #: before: at its call; after: given its value; raised: given its exception.
    when: Literal["before", "after", "raised"] = "after"
    #: Only the calls of this word: in memory, MCP's client and server pass through one function.
    of: Hook | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """No span, no call: at `path` it is seen that a call waits for a person.

    A neighbour that has opened a span for it already is told that nothing ran. One user so far, but
    five neighbours, who would have each such call counted twice.
    """

    path: Path
    #: Given the function's value: the call that waits, if one does.
    read: Callable[[Invocation, Any], ToolCall | None]


@dataclass(frozen=True, slots=True)
class Carrier:
    """No span: the function at `path` knows of the calls below it what their hook does not."""

    path: Path
    #: The calls to come: each gives its id, agent and conversation to the first one below that has
    #: its name and arguments, where both have them.
    read: Callable[[Invocation], Iterable[ToolCall]]
    #: around: below this function; before: below the one that another word of the kind is around,
    #: and that calls this one in between to find out the agent.
    when: Literal["around", "before"] = "around"
    also: tuple[str, ...] = ()
    #: What the function's answer means where it let none of these calls, known by their ids, begin.
    #: One user so far: a program's code that is handed the tool shows in nothing else what it does.
    unrun: Callable[[Any], Outcome] | None = None


@dataclass(frozen=True, slots=True)
class Began:
    """An event: a call began, and is open until the end of the same key."""

    key: str
    call: ToolCall
    #: The key of the call inside which this one began.
    within: str | None = None
    #: It runs in this process: its span is that of the keyed hook, which takes what is known here.
    hooked: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """An event: the call of this key is over, or was refused."""

    key: str
    outcome: Outcome
    #: When, in nanoseconds since 1970; 0: now.
    at: int = 0


@dataclass(frozen=True, slots=True)
class Events:
    """A span for each call whose beginning and end are told by what the generator at `path` gives.

    For what runs in another process, and is seen in a stream of messages only.
    """

    path: Path
    #: What one thing that it gives tells of calls.
    read: Callable[[Invocation, Any], Iterable[Began | Ended]]


@dataclass(frozen=True, slots=True)
class Body:
    """No span: the coroutine function at `path` runs the body of a keyed call, in another task.

    The call is current there, and a server that is called for it there is this very call.
    """

    path: Path
    #: The key of the call, or None: nobody's body.
    key: Callable[[Invocation], str | None]


@dataclass(frozen=True, slots=True)
class KeepContext:
    """What is submitted to an executor of the class at `path` runs in its submitter's context."""

    path: Path


@dataclass(frozen=True, slots=True)
class Enrich:
    """The context manager at `path` yields the framework's own span: the undecided call adopts it.

    While content is off its owner is handed a span that drops texts, and the manager, which must
    let exceptions pass, hears of none: it would write them on the span.
    """

    path: Path
    when: Callable[[Invocation], bool]
    also: tuple[str, ...] = ()
    #: The owner's attributes that are content, among those given as `attributes=` too.
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mute:
    """The function at `path` does nothing for the call that is already ours.

    A context manager gives an inert span instead: what the framework writes on it goes to ours,
    texts excepted.
    """

    path: Path
    when: Callable[[Invocation], bool] = _always
    #: What the framework says of the call as it makes its span; the name of another tool among it:
    #: that is another call's.
    attributes: Callable[[Invocation], Mapping[str, AttributeValue] | None] = _nothing
    #: The framework's attributes that are content: where content may leave, ours say it.
    texts: tuple[str, ...] = ()
    #: Where it is of no call of ours, begun before that or of several together, it is inert too.
    beside: bool = False
    #: The function runs, with such an inert span current: a neighbour around it writes there, too.
    runs: bool = False


@dataclass(frozen=True, slots=True)
class Propagate:
    """Trace context goes into the message that the function at `path` sends for our call."""

    path: Path
    #: Gets the call and the trace context; gives the arguments to send instead, or None.
    inject: Callable[
        [Invocation, Mapping[str, str]], tuple[tuple[Any, ...], Mapping[str, Any]] | None
    ]


@dataclass(frozen=True, slots=True)
class Run:
    """A span around the agent's entry point at `path`, unless somebody else's run is there."""

    path: Path
    read: Callable[[Invocation], RunFacts | None]
    raised: Callable[[BaseException], Outcome | None] = _no_special
    decide: tuple[str, ...] = ()
    #: Beside neighbours, at which of their calls: some may pass before the agent is shown to them.
    deciding_at: Callable[[Invocation], bool] = _always
    also: tuple[str, ...] = ()
    #: The function gives an async context manager: the run lasts as long as that is entered.
    manager: bool = False


WordOfAdapter = (
    Hook
    | Refusal
    | Witness
    | Pending
    | Carrier
    | Events
    | Body
    | KeepContext
    | Enrich
    | Mute
    | Propagate
    | Run
)


@dataclass(frozen=True, slots=True)
class Adapter:
    """One framework: its name, the distribution that is tested, and its words."""

    name: str
    distribution: str
    #: The tested range, as a version specifier; outside it everything that fits is still placed.
    versions: str
    words: tuple[WordOfAdapter, ...]
    #: How the framework is called in prose.
    title: str = ""
    #: What of it becomes a span, in prose.
    traces: str = ""

    def is_tested(self, version: str | None) -> bool:
        """Whether `version` of the distribution is in the tested range."""
        from packaging.specifiers import SpecifierSet  # noqa: PLC0415  # not every process asks

        if version is None:
            return False
        try:
            return SpecifierSet(self.versions).contains(version, prereleases=True)
        except ValueError:  # a version of somebody's own, to an older packaging
            return False
