"""`@tool`: whatever is decorated works and looks as without us, and each call is one span."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import itertools
import multiprocessing
import operator
import pickle
import types
import typing
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

import toolspan
from toolspan import containment, tool
from toolspan.settings import Settings

# -- one of each kind ------------------------------------------------------------------------


def add(a: int, b: int = 2, *rest: int, scale: float = 1.0, **more: int) -> float:
    """Add numbers."""
    return (a + b + sum(rest) + sum(more.values())) * scale


def double(number: int) -> int:
    """Double a number."""
    return 2 * number


async def fetch(url: str, *, retries: int = 3) -> str:
    """Fetch a page."""
    await asyncio.sleep(0)
    return f"{url} x{retries}"


def count(upto: int) -> typing.Iterator[int]:
    """Count."""
    yield from range(upto)


async def stream(upto: int) -> typing.AsyncIterator[int]:
    """Count slowly."""
    for number in range(upto):
        await asyncio.sleep(0)
        yield number


class Doubler:
    """Double a number."""

    def __init__(self, factor: int = 2) -> None:
        self.factor = factor

    def __call__(self, number: int) -> int:
        return self.factor * number


class AsyncDoubler:
    """Double a number, later."""

    async def __call__(self, number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number


def through(function):
    """A sync decorator, as many libraries have them."""

    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)

    return inner


class Shelf:
    """Every kind of method, decorated above and below."""

    def __init__(self, name: str = "shelf") -> None:
        self.name = name

    def __eq__(self, other) -> bool:
        return type(other) is Shelf and other.name == self.name

    __hash__ = None

    @tool
    def find(self, title: str) -> str:
        """Find a book."""
        return f"{self.name}: {title}"

    @tool
    async def borrow(self, title: str) -> str:
        """Borrow a book."""
        await asyncio.sleep(0)
        return f"{self.name} lends {title}"

    @tool
    @classmethod
    def opened_above(cls, title: str) -> str:
        """Open."""
        return f"{cls.__name__} {title}"

    @classmethod
    @tool
    def opened_below(cls, title: str) -> str:
        """Open."""
        return f"{cls.__name__} {title}"

    @tool
    @staticmethod
    def sorted_above(title: str) -> str:
        """Sort."""
        return title.lower()

    @staticmethod
    @tool
    def sorted_below(title: str) -> str:
        """Sort."""
        return title.lower()

    @tool
    def pages(self, title: str) -> typing.Iterator[str]:
        """Turn the pages."""
        yield self.name
        yield title

    @tool
    async def leaves(self, title: str) -> typing.AsyncIterator[str]:
        """Turn the leaves."""
        yield self.name
        yield title

    def plain(self, title: str) -> str:
        """Nothing decorates this one."""
        return f"{self.name}: {title}"

    @property
    @tool
    def size(self) -> int:
        """How big it is."""
        return 3


SHELF = Shelf()
T = {"title": "Emma"}


async def _consume(awaitable):
    if inspect.isasyncgen(awaitable):
        return [item async for item in awaitable]
    return await awaitable


def value_of(result):
    """What a caller of any kind of function finally has."""
    if inspect.isawaitable(result) or inspect.isasyncgen(result):
        return asyncio.run(_consume(result))
    return list(result) if inspect.isgenerator(result) else result


KINDS = {
    "function": (tool(add), (1,), {"b": 3}, 4.0, "add", {"a": 1, "b": 3}),
    "rest of the arguments": (
        tool(add),
        (1, 2, 3, 4),
        {"scale": 2.0, "x": 5},
        30.0,
        "add",
        {"a": 1, "b": 2, "rest": (3, 4), "scale": 2.0, "x": 5},
    ),
    "async": (tool(fetch), ("u",), {"retries": 1}, "u x1", "fetch", {"url": "u", "retries": 1}),
    "generator": (tool(count), (3,), {}, [0, 1, 2], "count", {"upto": 3}),
    "async generator": (tool(stream), (2,), {}, [0, 1], "stream", {"upto": 2}),
    "lambda": (tool(name="same")(lambda x: x), (7,), {}, 7, "same", {"x": 7}),
    "method": (SHELF.find, ("Emma",), {}, "shelf: Emma", "find", T),
    "method by keyword": (SHELF.find, (), T, "shelf: Emma", "find", T),
    "method of the class": (Shelf.find, (SHELF, "Emma"), {}, "shelf: Emma", "find", T),
    "async method": (SHELF.borrow, ("Emma",), {}, "shelf lends Emma", "borrow", T),
    "generator method": (SHELF.pages, ("Emma",), {}, ["shelf", "Emma"], "pages", T),
    "async generator method": (SHELF.leaves, ("Emma",), {}, ["shelf", "Emma"], "leaves", T),
    "classmethod below": (Shelf.opened_above, ("Emma",), {}, "Shelf Emma", "opened_above", T),
    "classmethod above": (Shelf.opened_below, ("Emma",), {}, "Shelf Emma", "opened_below", T),
    "of an instance": (SHELF.opened_below, ("Emma",), {}, "Shelf Emma", "opened_below", T),
    "staticmethod below": (Shelf.sorted_above, ("Emma",), {}, "emma", "sorted_above", T),
    "staticmethod above": (SHELF.sorted_below, ("Emma",), {}, "emma", "sorted_below", T),
    "a property's function": (operator.attrgetter("size"), (SHELF,), {}, 3, "size", {}),
    "bound method": (tool(SHELF.plain), ("Emma",), {}, "shelf: Emma", "plain", T),
    "partial": (tool(functools.partial(add, 1)), (5,), {}, 6.0, "add", {"b": 5}),
    "async partial": (tool(functools.partial(fetch, "u")), (), {}, "u x3", "fetch", {}),
    "callable object": (tool(Doubler()), (4,), {}, 8, "Doubler", {"number": 4}),
    "async callable object": (tool(AsyncDoubler()), (4,), {}, 8, "AsyncDoubler", {"number": 4}),
    "builtin": (tool(len), ([1, 2],), {}, 2, "len", {"obj": [1, 2]}),
    "class": (tool(Doubler), (5,), {}, None, "Doubler", {"factor": 5}),
    "sync around async": (tool(through(fetch)), ("u",), {}, "u x3", "fetch", {"url": "u"}),
    "around ours": (through(tool(fetch)), ("u",), {}, "u x3", "fetch", {"url": "u"}),
    "decorated twice": (tool(tool(add)), (1,), {}, 3.0, "add", {"a": 1}),
    "async decorated twice": (tool(tool(fetch)), ("u",), {}, "u x3", "fetch", {"url": "u"}),
    "generator decorated twice": (tool(tool(count)), (2,), {}, [0, 1], "count", {"upto": 2}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_callable_works_and_is_one_span(traced, kind):
    function, args, kwargs, expected, name, arguments = KINDS[kind]
    told = []
    with toolspan.on_call(finished=lambda call, *_: told.append(call.arguments)) as listener:
        value = value_of(function(*args, **kwargs))
        assert listener.wait()
    assert value == expected or (expected is None and type(value) is Doubler)
    (span,) = traced.spans
    assert span.name == f"execute_tool {name}"
    assert span.attributes["toolspan.outcome"] == "ok"
    assert told == [arguments]


def test_the_options_stand_on_the_span(traced):
    @tool(name="look_up", agent="clerk", capture=True)
    def search(query: str) -> str:
        """Look something up."""
        return query.upper()

    assert search("emma") == "EMMA"
    (span,) = traced.spans
    assert span.name == "execute_tool look_up"
    assert span.attributes["gen_ai.agent.name"] == "clerk"
    assert span.attributes["gen_ai.tool.description"] == "Look something up."
    assert span.attributes["gen_ai.tool.type"] == "function"
    assert span.attributes["gen_ai.tool.call.arguments"] == '{"query":"emma"}'
    assert "EMMA" in span.attributes["gen_ai.tool.call.result"]


def test_content_is_off_by_default_and_capture_false_keeps_it_off(trace_with):
    from toolspan.settings import Settings

    traced = trace_with(settings=Settings(capture=True))
    tool(capture=False)(add)(41)
    tool(capture=None)(add)(42)
    silent, loud = traced.spans
    assert "gen_ai.tool.call.arguments" not in silent.attributes
    assert loud.attributes["gen_ai.tool.call.arguments"] == '{"a":42}'


# -- it looks as it did ----------------------------------------------------------------------

LOOKS = {
    "signature": inspect.signature,
    "name": lambda f: getattr(f, "__name__", None),
    "qualname": lambda f: getattr(f, "__qualname__", None),
    "module": lambda f: f.__module__,
    "doc": lambda f: f.__doc__,
    "getdoc": inspect.getdoc,
    "annotations": lambda f: getattr(f, "__annotations__", None),
    "defaults": lambda f: getattr(f, "__defaults__", None),
    "keyword defaults": lambda f: getattr(f, "__kwdefaults__", None),
    "code": lambda f: getattr(f, "__code__", None),
    "own attributes": lambda f: dict(vars(f)) if hasattr(f, "__dict__") else None,
    "hints": lambda f: typing.get_type_hints(f) if inspect.isfunction(f) else None,
    "coroutine function": inspect.iscoroutinefunction,
    "generator function": inspect.isgeneratorfunction,
    "async generator function": inspect.isasyncgenfunction,
    "function": inspect.isfunction,
    "method": inspect.ismethod,
    "class": inspect.isclass,
    "callable": callable,
    "FunctionType": lambda f: isinstance(f, types.FunctionType),
    "its own type": lambda f: f.__class__,
    "hash": lambda f: hash(f) if f.__class__.__hash__ and not inspect.ismethod(f) else None,
    "source": lambda f: inspect.getsource(f) if inspect.isfunction(f) else None,
}
UNDECORATED = {
    "function": add,
    "async": fetch,
    "generator": count,
    "async generator": stream,
    "bound method": SHELF.plain,
    "partial": functools.partial(add, 1),
    "callable object": Doubler(),
    "async callable object": AsyncDoubler(),
    "builtin": len,
    "sync around async": through(fetch),
}
if hasattr(inspect, "markcoroutinefunction"):
    UNDECORATED["marked as a coroutine function"] = inspect.markcoroutinefunction(through(fetch))


@pytest.mark.parametrize("kind", UNDECORATED)
def test_what_is_decorated_looks_as_without_us(kind):
    original = UNDECORATED[kind]
    decorated = tool(original)
    assert decorated is not original
    assert decorated == original
    seen = {look: read(decorated) for look, read in LOOKS.items()}
    assert seen == {look: read(original) for look, read in LOOKS.items()}


@pytest.mark.parametrize("method", ["find", "borrow", "opened_above", "opened_below", "pages"])
def test_a_decorated_method_is_bound_as_without_us(method):
    bound = getattr(SHELF, method)
    assert inspect.ismethod(bound)
    assert bound.__self__ is (Shelf if method.startswith("opened") else SHELF)
    assert list(inspect.signature(bound).parameters) == ["title"]
    assert bound == getattr(SHELF, method)


def test_an_async_method_is_known_as_one():
    assert inspect.iscoroutinefunction(SHELF.borrow)
    assert inspect.isgeneratorfunction(SHELF.pages)
    assert inspect.isasyncgenfunction(SHELF.leaves)
    assert not inspect.iscoroutinefunction(SHELF.find)


def test_what_is_set_on_a_function_is_seen_through_ours():
    def marked():
        """Marked by the host."""

    marked.before = "set before"
    decorated = tool(marked)
    decorated.after = "set after"
    assert (decorated.before, marked.after) == ("set before", "set after")
    assert vars(decorated) == vars(marked)
    around = functools.wraps(decorated)(lambda: None)
    assert (around.before, around.after) == ("set before", "set after")
    assert inspect.unwrap(around) is marked


# -- copy, deepcopy, pickle ------------------------------------------------------------------


@tool
def in_place(number: int) -> int:
    """Stands in its module under its own name."""
    return number + 1


@tool
async def in_place_async(number: int) -> int:
    """The same, async."""
    return number + 1


elsewhere = tool(add)
of_partial = tool(name="one_more")(functools.partial(add, 1, 0))
of_object = tool(name="doubler", agent="clerk")(Doubler(3))
of_builtin = tool(len)
of_method = tool(Shelf("kept").plain)


def _copies(thing):
    return [copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))]


@pytest.mark.parametrize("function", [in_place, in_place_async, Shelf.find, Shelf.sorted_below])
def test_a_copy_of_a_function_is_the_function(function):
    assert all(twin == function for twin in _copies(function))
    assert all(hash(twin) == hash(function) for twin in _copies(function))


@pytest.mark.parametrize(
    ("thing", "argument", "value", "name"),
    [
        (elsewhere, 1, 3.0, "add"),
        (of_partial, 3, 4.0, "one_more"),
        (of_object, 4, 12, "doubler"),
        (of_builtin, "abc", 3, "len"),
        (of_method, "Emma", "kept: Emma", "plain"),
        (SHELF.find, "Emma", "shelf: Emma", "find"),
        (Shelf("other").find, "Emma", "other: Emma", "find"),
        (Shelf.opened_above, "Emma", "Shelf Emma", "opened_above"),
        (Shelf.opened_below, "Emma", "Shelf Emma", "opened_below"),
        (Shelf.sorted_above, "Emma", "emma", "sorted_above"),
    ],
)
def test_every_copy_works_and_is_traced(traced, thing, argument, value, name):
    for twin in _copies(thing):
        assert type(twin) is type(thing)
        assert twin(argument) == value
    assert [span.name for span in traced.spans] == [f"execute_tool {name}"] * 3


def test_a_copy_shares_with_its_original_what_it_shares_without_us():
    original, inner = Doubler([3]), []
    shallow, deep = copy.copy(tool(original)), copy.deepcopy(tool(original))
    assert shallow.factor is original.factor
    assert deep.factor == original.factor
    assert deep.factor is not original.factor
    memo = copy.deepcopy({"a": tool(original), "b": original, "c": inner})
    assert memo["a"].factor is memo["b"].factor
    assert copy.deepcopy(Shelf("other").find).__self__ == Shelf("other")


def test_what_cannot_be_pickled_without_us_cannot_be_with_us():
    def local(number):
        return number

    kinds = []
    for function in (local, tool(local)):
        with pytest.raises((AttributeError, pickle.PicklingError)) as raised:
            pickle.dumps(function)
        kinds.append(raised.type)
    assert kinds[0] is kinds[1]


def test_a_tool_inside_an_object_is_copied_with_it(traced):
    agent = {"tools": [in_place, of_object], "shelf": Shelf("inner")}
    for twin in _copies(agent):
        assert twin["tools"][0](1) == 2
        assert twin["tools"][1](1) == 3
        assert twin["shelf"].find("Emma") == "inner: Emma"
    assert len(traced.spans) == 9


def test_a_tool_goes_to_another_process_and_back():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(operator.length_hint, [[1]]) == [1]
        assert pool.map(of_object, [5]) == [15]


# -- errors and warnings ---------------------------------------------------------------------


def same_error(function, *args, **kwargs):
    with pytest.raises(TypeError) as raised:
        function(*args, **kwargs)
    return str(raised.value)


@pytest.mark.parametrize("kind", ["function", "async", "generator", "async generator"])
@pytest.mark.parametrize("wrong", [((), {}), ((1,), {"unknown_": 1, "upto": 1}), ((1, 2, 3), {})])
def test_wrong_arguments_raise_at_the_call_as_without_us(traced, kind, wrong):
    original, (args, kwargs) = UNDECORATED[kind], wrong
    if kind == "function" and args:
        args, kwargs = (), {"b": 1}
    assert same_error(tool(original), *args, **kwargs) == same_error(original, *args, **kwargs)
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == "error"
    assert span.attributes["error.type"] == "TypeError"


class Broken(Exception):
    """What a tool raises."""


def fail(error):
    raise error


async def fail_later(error):
    await asyncio.sleep(0)
    raise error


def fail_after_one(error):
    yield 1
    raise error


async def fail_streaming(error):
    yield 1
    raise error


@pytest.mark.parametrize("function", [fail, fail_later, fail_after_one, fail_streaming])
def test_the_very_exception_arrives_with_its_traceback(traced, function):
    seen = {}
    for label, candidate in (("plain", function), ("ours", tool(function))):
        error = Broken("secret")
        with pytest.raises(Broken) as raised:
            value_of(candidate(error))
        assert raised.value is error
        assert (error.__cause__, error.__context__) == (None, None)
        names = [frame.name for frame in inspect.trace() or raised.traceback]
        seen[label] = names[-1], raised.traceback[-1].lineno
    assert seen["plain"] == seen["ours"]
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == "error"
    assert span.attributes["error.type"].endswith("test_tool_decorator.Broken")
    assert "secret" not in str(span.to_json())


def _unawaited(function, *args):
    """The warnings about a coroutine that nobody awaits."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coroutine = function(*args)
        del coroutine
        gc.collect()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("function", [fetch, through(fetch)], ids=["async", "sync around async"])
def test_a_coroutine_never_awaited_warns_once_with_the_tools_name(traced, function):
    expected = ["coroutine 'fetch' was never awaited"]
    assert _unawaited(function, "u") == expected
    assert _unawaited(tool(function), "u") == expected
    assert _unawaited(tool(tool(function)), "u") == expected
    assert toolspan.stats().rows() == [] or toolspan.stats()["fetch"].in_flight == 0
    assert all(span.end_time for span in traced.spans)


def test_a_coroutine_never_awaited_in_a_cycle_warns_once(traced):
    async def hold(box):
        return box

    for function in (hold, tool(hold), tool(tool(hold))):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            box = []
            box.append(function(box))
            del box
            gc.collect()
        assert [str(one.message).rpartition(".")[2] for one in caught] == [
            "hold' was never awaited"
        ]
    assert traced.spans == []


def test_closing_a_coroutine_that_never_ran_warns_nothing(traced):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tool(fetch)("u").close()
        gc.collect()
    assert traced.spans == []


def test_a_sync_function_that_made_a_coroutine_ends_even_when_nobody_awaits_it(traced):
    with contextlib.suppress(RuntimeWarning), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tool(through(fetch))("u")
        gc.collect()
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == "cancelled"
    assert toolspan.stats()["fetch"].in_flight == 0


def test_a_function_that_works_before_its_coroutine_is_one_span_with_both(traced):
    tracer = traced.tracer()

    async def later():
        with tracer.start_as_current_span("in the coroutine"):
            await asyncio.sleep(0.02)
        return 1

    @tool
    def first(_number):
        with tracer.start_as_current_span("in the function"):
            pass
        return later()

    async def main():
        coroutine = first(1)
        with tracer.start_as_current_span("meanwhile"):
            pass
        return await coroutine

    assert asyncio.run(main()) == 1
    (span,) = traced.tools
    parents = {one.name: one.parent and one.parent.span_id for one in traced.spans}
    assert parents["in the function"] == parents["in the coroutine"] == span.context.span_id
    assert parents["meanwhile"] is None
    assert span.end_time - span.start_time >= 20_000_000


# -- on and off ------------------------------------------------------------------------------


def test_a_decorated_function_is_quiet_until_instrumented(trace_with):
    function = tool(add)
    assert function(1) == 3.0
    traced = trace_with()
    assert function(1) == 3.0
    toolspan.uninstrument()
    assert function(1) == 3.0
    assert len(traced.spans) == 1


def test_a_notebook_that_runs_its_cells_again_doubles_nothing(trace_with):
    tools = pytest.importorskip("langchain_core.tools")
    BaseTool, StructuredTool = tools.BaseTool, tools.StructuredTool

    original = BaseTool.__dict__["run"], BaseTool.__dict__["arun"]
    traced = trace_with()
    for _ in range(3):
        toolspan.instrument(tracer_provider=traced.provider)
        function = tool(tool(double))
        framed = StructuredTool.from_function(function)
    assert function(1) == 2
    assert framed.invoke({"number": 4}) == 8
    assert len(traced.tools) == 2
    assert toolspan.stats()["double"].calls == 2
    toolspan.uninstrument()
    assert (BaseTool.__dict__["run"], BaseTool.__dict__["arun"]) == original
    assert function(1) == 2
    assert len(traced.tools) == 2


def test_a_tool_that_calls_itself_is_a_span_each_time(traced):
    @tool
    def factorial(number):
        return 1 if number < 2 else number * factorial(number - 1)

    assert factorial(4) == 24
    spans = traced.spans
    assert len(spans) == 4
    for outer, inner in itertools.pairwise(spans):
        assert inner.parent.span_id == outer.context.span_id


def test_a_tool_that_calls_itself_with_the_same_arguments_is_a_span_each_time(traced):
    depth = []

    @tool
    def again(number):
        depth.append(number)
        return again(number) if len(depth) < 3 else number

    assert again(1) == 1
    assert len(traced.spans) == 3


def test_the_span_is_current_in_the_body_and_gone_after_it(traced):
    from opentelemetry import trace

    seen = []

    @tool
    def look():
        seen.append(trace.get_current_span().get_span_context().span_id)

    before = trace.get_current_span()
    look()
    assert trace.get_current_span() is before
    assert seen == [traced.spans[0].context.span_id]


class AllButThe(Sampler):
    """Drops the spans of one name, and writes down what it was shown of the others."""

    def __init__(self, dropped):
        self.dropped = dropped
        self.shown = []

    def should_sample(
        self, parent_context, trace_id, name, kind=None, attributes=None, *_
    ):  # the SDK's
        if name == self.dropped:
            return SamplingResult(Decision.DROP)
        self.shown.append(set(attributes))
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self):
        return "all but one"


def test_a_sampler_is_shown_what_is_known_at_the_start_and_below_a_dropped_span_the_tool(
    trace_with,
):
    sampler = AllButThe("dropped")
    traced = trace_with(sampler=sampler)
    greet = tool(lambda name: f"hello {name}", name="greet")
    greet("emma")
    with traced.tracer().start_as_current_span("dropped"):
        greet("emma")
    whole, below = (dict(span.attributes) for span in traced.tools)
    assert whole == below  # what is recorded says everything, whoever decided
    assert sampler.shown[0] - sampler.shown[1] == {
        "toolspan.arguments.fingerprint",
        "toolspan.arguments.size",
    }
    assert sampler.shown[0] == set(whole) - {"toolspan.outcome", "toolspan.result.size"}


@pytest.mark.contains
def test_a_failure_of_our_own_while_writing_content_loses_no_span(trace_with, monkeypatch):
    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr("toolspan.spans.render", fail)
    traced = trace_with(settings=Settings(capture=True))
    assert tool(double)(21) == 42
    assert traced.outcomes == ["ok"]
    assert containment.failures["write_arguments: RuntimeError"] == 1


def test_threads_call_a_tool_without_getting_in_each_others_way(traced):
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(tool(in_place), range(200))) == list(range(1, 201))
    assert len(traced.spans) == 200
    assert all(span.parent is None for span in traced.spans)
    assert toolspan.stats()["in_place"].calls == 200


@pytest.mark.contains
@pytest.mark.parametrize("thing", [object(), 5, None.__class__, [1]])
def test_what_cannot_be_decorated_is_given_back(thing, caplog):
    caplog.set_level("WARNING", logger="toolspan")
    containment.forget_said()
    assert tool(thing) is thing or callable(thing)
    said = [record.getMessage() for record in caplog.records if record.name == "toolspan"]
    assert said == ([] if callable(thing) else [said[0]])
    assert all("@tool is for what can be called" in line for line in said)


def test_a_name_may_be_the_one_thing_that_the_decorator_is_given(traced):
    @tool("add_up", agent="clerk")
    def add_all(*numbers):
        return sum(numbers)

    assert add_all(1, 2) == 3
    (span,) = traced.tools
    assert (span.attributes["gen_ai.tool.name"], span.attributes["gen_ai.agent.name"]) == (
        "add_up",
        "clerk",
    )


@pytest.mark.parametrize("capture", ["no", "yes", 1, object()])
def test_content_stays_off_where_capture_is_neither_true_nor_false(trace_with, caplog, capture):
    traced = trace_with(settings=Settings(capture=True))
    caplog.set_level("WARNING", logger="toolspan")
    containment.forget_said()
    tool(capture=capture)(double)(21)
    with toolspan.call("search", {"q": "secret"}, capture=capture):
        pass
    for span in traced.tools:
        assert "gen_ai.tool.call.arguments" not in span.attributes
        assert "gen_ai.tool.call.result" not in span.attributes
    said = [record.getMessage() for record in caplog.records if record.name == "toolspan"]
    assert said == ["capture= is True, False or None; of another value content stays off"]
