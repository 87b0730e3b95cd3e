"""What tools write down themselves, situation by situation, for their spans to be compared with.

    python tests/programs/langchain_program.py        what one framework did in each situation

The table of all frameworks in README.md is written by tests/tables.py.

A framework joins with a program under programs/, named after its adapter: FRAMEWORK, SITUATIONS
(name -> a function of the calls that its model is to ask for) and GAPS (name -> the reason why a
situation is not there or its spans cannot be right, read in the framework's source); if it likes,
CALLS (situations that look different there), MODES (context managers, such as the framework's own
telemetry, in which all of it holds too), WATCHED (of a gap that cannot be acted, what the name of a
parameter or an attribute would be like that fills it, and where none is), NEEDS (name -> a package without which it cannot run) and
YOUNGER (name -> a package that the framework's older versions are without, and why that is a gap).
"""

from __future__ import annotations

import ast
import asyncio
import functools
import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import toolspan
from toolspan.adapters import LIST
from toolspan.registry import load
from toolspan.settings import Settings

TESTS = Path(__file__).parent
MARKERS = "<!-- ground truth -->", "<!-- /ground truth -->"
#: The outcomes of a call whose tool never ran.
REFUSED = {"denied", "invalid_arguments", "unknown_tool"}
#: The outcomes whose `error.type` is what the tool's body raised.
RAISED = {"error", "tool_error"}
EXECUTE, RUNS = "execute_tool", ("invoke_agent", "invoke_workflow")
#: How others mark the span of a tool, and how the agents are called that their spans are named after.
TOOL_MARKS = {
    "gen_ai.operation.name": EXECUTE,
    "openinference.span.kind": "TOOL",
    "traceloop.span.kind": "tool",
    "mcp.method.name": "tools/call",
    "rpc.method": "tools/call",
}
AGENTS = {"helper", "writer", "researcher", "coder"}


# -- what the tools write down -------------------------------------------------------------------


@dataclass
class Execution:
    """One run of a tool's body, as the body itself saw it."""

    name: str
    arguments: dict[str, Any]
    #: Of the span that was current in it; None: it ran where no span of ours can be.
    span_id: int | None
    raised: str | None = None


#: Each execution of a tool's body, in the order of their beginnings.
RAN: list[Execution] = []


def note(name, arguments=None):
    """Write down that a tool's body runs, and the span that is current there."""
    span_id = trace.get_current_span().get_span_context().span_id
    RAN.append(Execution(name, arguments, span_id))
    return RAN[-1]


def noted(function):
    """Write down every execution of a tool's body, its arguments and what it raised."""
    signature = inspect.signature(function)

    def begin(args, kwargs):
        return note(function.__name__, dict(signature.bind(*args, **kwargs).arguments))

    @functools.wraps(function)
    def run(*args, **kwargs):
        execution = begin(args, kwargs)
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            execution.raised = type_name(error)
            raise

    @functools.wraps(function)
    async def run_async(*args, **kwargs):
        execution = begin(args, kwargs)
        try:
            return await function(*args, **kwargs)
        except BaseException as error:
            execution.raised = type_name(error)
            raise

    return run_async if inspect.iscoroutinefunction(function) else run


def type_name(error):
    """How `error.type` names an exception's type."""
    named = type(error)
    bare = named.__module__ == "builtins"
    return named.__qualname__ if bare else f"{named.__module__}.{named.__qualname__}"


@noted
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@noted
async def add_async(a: int, b: int) -> int:
    """Add two numbers, later."""
    await asyncio.sleep(0)
    return a + b


@noted
def boom(reason: str) -> str:
    """Fail."""
    raise ValueError(reason)


@noted
async def nap() -> str:
    """Sleep for longer than anybody waits."""
    await asyncio.sleep(60)
    return "slept"


# -- the situations ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A call that a situation brings about, and what its span must say."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    outcome: str = "ok"
    id: str | None = None
    agent: str | None = None
    #: The agents and tools around it, the outermost first.
    path: tuple[str, ...] = ()
    #: Which run of the agent it belongs to, and which turn of its model asks for it.
    run: int = 0
    turn: int = 0
    #: The span's `error.type`, where that is not what the tool raised.
    type: str | None = None

    @property
    def key(self):
        """What tells calls apart."""
        return self.name, written(self.arguments)


def written(arguments):
    return json.dumps(arguments, sort_keys=True)


def asked(name, arguments=None, outcome="ok", number=1, **more):
    """A call that the model of the agent `helper` asks for."""
    where = {"agent": "helper", "path": ("helper",), "id": f"call-{number}"}
    return Call(name, arguments or {}, outcome, **{**where, **more})


ONE_AND_TWO = {"a": 1, "b": 2}
SITUATIONS = {
    "sync": (asked("add", ONE_AND_TWO),),
    "async": (asked("add_async", ONE_AND_TWO),),
    "streaming": (asked("add", ONE_AND_TWO),),
    "parallel": tuple(asked("add_async", {"a": n, "b": 1}, number=n) for n in range(4)),
    "raising": (asked("boom", {"reason": "broken"}, "error"),),
    "soft error": (asked("complain", {"reason": "no such city"}, "tool_error"),),
    "unknown tool": (asked("delete", {"everything": True}, "unknown_tool"),),
    "invalid arguments": (asked("add", {"a": "one"}, "invalid_arguments"),),
    "cancelled": (asked("nap", outcome="cancelled"),),
    "timed out": (asked("nap", outcome="timeout"),),
    "approval refused": (asked("add", ONE_AND_TWO, "denied", run=1),),
    "approval granted later": (asked("add", ONE_AND_TWO, run=1),),
    "retry": tuple(
        asked("flaky", outcome=word, number=n, turn=n)
        for n, word in enumerate(("error", "error", "ok"))
    ),
    "agent as a tool": (
        asked("research", {"topic": "sums"}),
        Call(
            "add", ONE_AND_TWO, "ok", "inner-1", "researcher", ("helper", "research", "researcher")
        ),
    ),
    "direct call": (Call("add", ONE_AND_TWO),),
    "MCP tools": (asked("add", ONE_AND_TWO),),
    "200 calls at once": tuple(
        asked("add", {"a": n, "b": 1}, number=n, run=n // 25) for n in range(200)
    ),
}


def asked_by_a_client():
    """The same of a client alone: no agent, no ids; of what a tool raised it is told that it failed."""
    return {
        name: tuple(
            replace(
                call,
                id=None,
                agent=None,
                path=(),
                outcome="tool_error" if call.outcome == "error" else call.outcome,
                type="tool_error" if call.outcome in {"error", "tool_error"} else None,
            )
            for call in calls
        )
        for name, calls in SITUATIONS.items()
    }


def calls_of(program, situation):
    """The calls that a situation brings about in one framework."""
    return getattr(program, "CALLS", {}).get(situation, SITUATIONS[situation])


def act(program, situation):
    """Bring a situation about; the tools write down what ran."""
    RAN.clear()
    calls = calls_of(program, situation)
    program.SITUATIONS[situation]([call for call in calls if call.agent in {"helper", None}])


def cannot(program, situation):
    """Why a situation cannot be brought about here, if so."""
    if situation not in program.SITUATIONS:
        return program.GAPS[situation]
    needed = getattr(program, "NEEDS", {}).get(situation)
    if needed and not importlib.util.find_spec(needed):
        return f"{needed} is in another environment"
    return too_old(getattr(program, "YOUNGER", {})).get(situation)


def turns(calls):
    """What the model says: the calls of each turn; a call that is tried again is asked for once."""
    said = defaultdict(dict)
    for call in calls:
        said[call.turn].setdefault(call.id, call)
    return [list(said[turn].values()) for turn in sorted(said)]


def in_threads(run, calls):
    """Let every run of the agent have its calls, eight at once."""
    runs = [[call for call in calls if call.run == n] for n in sorted({c.run for c in calls})]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(run, runs))


def finished(coroutine):
    """Run a coroutine to its end; a loop would treat some exceptions as its own.

    Nor is it shown the value: asyncio of Python 3.11 asks what a task gave for its `repr`.
    """
    ends = []

    async def shielded():
        try:
            ends.append((await coroutine, None))
        except BaseException as error:  # noqa: BLE001  # raised again where no loop is
            ends.append((None, error))

    asyncio.run(shielded())
    ((value, error),) = ends
    if error is not None:
        raise error
    return value


async def cancelled(coroutine):
    """Cancel what runs as soon as a tool does."""
    task = asyncio.ensure_future(coroutine)
    while not RAN and not task.done():
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# -- what the spans must say ---------------------------------------------------------------------


def tool_spans(spans):
    """The spans of tool calls; those of an MCP server are the other side of the same call."""
    return [span for span in spans if is_tool(span.attributes) and span.kind != SpanKind.SERVER]


def is_tool(said):
    """Whether a span's attributes are those of a tool, by our names or anybody's."""
    named = "gen_ai.tool.name" in said and said.get("gen_ai.operation.name") in {None, EXECUTE}
    marked = any(said.get(key) == is_ for key, is_ in TOOL_MARKS.items())
    return named or marked or said.get("logfire.msg", "").startswith("Function: ")


def differences(calls, spans):
    """Say where spans tell otherwise than the situation's calls and what the tools wrote down."""
    tools = tool_spans(spans)
    found = [
        *mismatch("execution", [c for c in calls if c.outcome not in REFUSED], RAN, key_of_run)
    ]
    found += mismatch("span", calls, tools, key_of_span)
    if found:
        return found
    pairs = list(pairs_of(calls, tools))
    for call, execution, span in pairs:
        wanted, shown = expected(call, execution), said(span, execution, spans)
        found += [
            f"{call.name}: {fact} is {shown[fact]!r}, not {wanted[fact]!r}"
            for fact in wanted
            if wanted[fact] != shown[fact]
        ]
    return found + traces([(call, span) for call, _, span in pairs], spans)


def mismatch(what, calls, others, key):
    wanted, there = Counter(call.key for call in calls), Counter(map(key, others))
    yield from (f"no {what} of {name}{given}" for name, given in (wanted - there).elements())
    yield from (f"an extra {what} of {name}{given}" for name, given in (there - wanted).elements())


def key_of_run(execution):
    return execution.name, written(execution.arguments)


def key_of_span(span):
    arguments = span.attributes.get("gen_ai.tool.call.arguments", "null")
    with suppress(ValueError):  # others may write what is no JSON
        arguments = written(json.loads(arguments))
    return span.attributes.get("gen_ai.tool.name", span.name), arguments


def pairs_of(calls, tools):
    """Each call with its execution and its span; alike ones in the order of their beginnings."""
    ran, shown = defaultdict(list), defaultdict(list)
    for execution in RAN:
        ran[key_of_run(execution)].append(execution)
    for span in sorted(tools, key=lambda span: span.start_time):
        shown[key_of_span(span)].append(span)
    for call in calls:
        execution = None if call.outcome in REFUSED else ran[call.key].pop(0)
        yield call, execution, shown[call.key].pop(0)


def expected(call, execution):
    facts = {"outcome": call.outcome, "id": call.id, "agent": call.agent, "path": call.path}
    if execution is not None and execution.span_id is not None:
        facts["current in the body"] = True
    if call.outcome in RAISED and execution.raised is not None:
        facts["error.type"] = call.type or execution.raised
    failed = call.outcome not in {"ok", "denied", "cancelled", "interrupted"}
    return {**facts, "status": "ERROR" if failed else "UNSET", "has error.type": failed}


def said(span, execution, spans):
    attributes, by_id = span.attributes, {s.context.span_id: s for s in spans}
    return {
        "outcome": attributes.get("toolspan.outcome"),
        "id": attributes.get("gen_ai.tool.call.id"),
        "agent": attributes.get("gen_ai.agent.name"),
        "path": path_of(span, by_id),
        "current in the body": execution is not None and is_in(execution.span_id, span, by_id),
        "error.type": attributes.get("error.type"),
        "has error.type": "error.type" in attributes,
        "status": span.status.status_code.name.replace("OK", "UNSET"),  # others may say OK
    }


def path_of(span, by_id):
    """The names of the agents and tools around a span, the outermost first.

    Others may say one agent with several spans, one in the other.
    """
    names = ()
    for one in around_of(span, by_id):
        found = name_of(one), bool(tool_spans([one]))
        if found not in names[:1] or not is_of_others(one):
            names = found, *names
    return tuple(name for name, _ in names)


def around_of(span, by_id):
    """The spans of agents and tools around a span, the innermost first."""
    while span.parent is not None and span.parent.span_id in by_id:
        span = by_id[span.parent.span_id]
        if is_a_run(span) or name_of(span) is not None:
            yield span


def name_of(span):
    """The tool or agent that a span stands for, if any."""
    if tool_spans([span]):
        return span.attributes.get("gen_ai.tool.name", span.name)
    agent = span.attributes.get("gen_ai.agent.name")
    if not is_of_others(span):
        return agent if is_a_run(span) else None
    words = f"{agent} {span.name} {span.attributes.get('logfire.msg')}"
    return next((word for word in re.split(r"[ .']", words) if word in AGENTS), None)


def is_a_run(span):
    """Whether it is a run of ours; a workflow's has no agent, and is around its calls all the same."""
    return not is_of_others(span) and span.attributes.get("gen_ai.operation.name") in RUNS


def is_of_others(span):
    return span.instrumentation_scope.name != "toolspan"


def is_in(span_id, span, by_id):
    """Whether that is the call's span, or that of the MCP server which runs the body for it."""
    here = by_id.get(span_id)
    if here is not None and here.kind == SpanKind.SERVER and here.parent is not None:
        span_id = here.parent.span_id
    return span_id == span.context.span_id


def traces(pairs, spans):
    """One run is one trace with one root, and what one turn asks for are siblings."""
    runs, turns_, by_id = defaultdict(set), defaultdict(set), {s.context.span_id: s for s in spans}
    for call, span in pairs:
        run = call.run if call.path else id(call)
        runs[run].add(span.context.trace_id)
        around = next(around_of(span, by_id), None)
        turns_[run, call.turn, call.path].add(around and around.context.span_id)
    found = [f"run {run}: {len(ids)} traces" for run, ids in runs.items() if len(ids) != 1]
    found += [f"turn {turn}: {len(ids)} parents" for turn, ids in turns_.items() if len(ids) != 1]
    if len(set().union(*runs.values())) != len(runs):
        found.append("two runs in one trace")
    roots = Counter(span.context.trace_id for span in spans if span.parent is None)
    found += [f"a trace has {number} roots" for number in roots.values() if number != 1]
    return found + ["a trace has no root"] * (
        len({s.context.trace_id for s in spans}) != len(roots)
    )


# -- the frameworks ------------------------------------------------------------------------------


def file_of(framework):
    return TESTS / "programs" / f"{framework.replace('-', '_')}_program.py"


#: Every adapter of ours, whatever is installed here.
ADAPTERS = tuple(map(load, LIST))
#: Every framework that has a program, and how it is called, whichever of its adapters serves it.
FRAMEWORKS = {
    one.name: re.sub(r" \d.*", "", one.title) for one in ADAPTERS if file_of(one.name).exists()
}
#: A framework may be here in part: what else its program cannot do without.
WHOLE = {"fastmcp": "uncalled_for"}


def is_installed(framework):
    """Whether it is here and whole, in a version that its adapter was tested with."""
    if framework in WHOLE and not importlib.util.find_spec(WHOLE[framework]):
        return False
    return any(map(is_there, (one for one in ADAPTERS if one.name == framework)))


def is_there(adapter):
    try:
        return adapter.is_tested(version(adapter.distribution))
    except PackageNotFoundError:
        return False


#: The programs that can run here.
PROGRAMS = {one: f"programs.{file_of(one).stem}" for one in FRAMEWORKS if is_installed(one)}


def gaps_of(framework, declared="GAPS"):
    """The gaps that a program declares, read without importing its framework."""
    tree = ast.parse(file_of(framework).read_text(encoding="utf-8"))
    names = {ast.unparse(node.targets[0]): node.value for node in tree.body if is_plain(node)}
    return ast.literal_eval(names[declared]) if declared in names else {}


def names_of(place):
    """What something in a framework has: its attributes, fields and parameters.

    Raises:
        AttributeError, ImportError: it stands there no more.
    """
    thing = pkgutil.resolve_name(place)
    fields = {*getattr(thing, "model_fields", ())}
    return fields.union(dir(thing), inspect.signature(thing).parameters if callable(thing) else ())


def gaps_of_older(framework):
    """Those of the version that is here."""
    return too_old(gaps_of(framework, "YOUNGER"))


def too_old(declared):
    """Of situations that need a younger package, those without it, and why."""
    younger = declared.items()
    return {name: why for name, (young, why) in younger if not importlib.util.find_spec(young)}


def is_plain(node):
    return isinstance(node, ast.Assign) and len(node.targets) == 1


def table():
    """Framework x situation as Markdown, and the reason of each gap."""
    gaps = {name: gaps_of(name) for name in FRAMEWORKS}
    rows = [["situation", *FRAMEWORKS.values()], ["---"] * (len(FRAMEWORKS) + 1)]
    rows += [
        [situation, *("" if situation in gaps[name] else "ok" for name in FRAMEWORKS)]
        for situation in SITUATIONS
    ]
    lines = [f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in row)}|" for row in rows]
    reasons = [
        f"- {FRAMEWORKS[name]}, {situation}: {reason}"
        for name in FRAMEWORKS
        for situation, reason in gaps[name].items()
    ]
    reasons += [
        f"- {FRAMEWORKS[name]} without `{younger}`, {situation}: {reason}"
        for name in FRAMEWORKS
        for situation, (younger, reason) in gaps_of(name, "YOUNGER").items()
    ]
    return "\n".join([*lines, "", *reasons])


def instrumented():
    """Instrument into memory."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    toolspan.instrument(tracer_provider=provider, settings=Settings(capture=True))
    return exporter


def show(program, exporter=None):
    """Print what each situation came to: executions, refusals, spans, and what is wrong."""
    exporter = exporter or instrumented()
    print(f"{'situation':24}{'executions':>12}{'refusals':>10}{'spans':>7}")
    for situation in SITUATIONS:
        missing = cannot(program, situation)
        if missing:
            print(f"{situation:24}{'':29}  {missing}")
            continue
        exporter.clear()
        act(program, situation)
        spans, calls = exporter.get_finished_spans(), calls_of(program, situation)
        refusals = sum(call.outcome in REFUSED for call in calls)
        wrong = "; ".join(differences(calls, spans))
        print(f"{situation:24}{len(RAN):12}{refusals:10}{len(tool_spans(spans)):7}  {wrong}")
