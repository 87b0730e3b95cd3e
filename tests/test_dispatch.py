"""`dispatch`: a model's tool call, in whatever form it came, run and traced; a refusal as a value."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from opentelemetry.trace import StatusCode

import toolspan
from toolspan import CallError, dispatch, tool
from toolspan.settings import Settings

ARGUMENTS = {"query": "emma", "limit": 2}


def search(query: str, limit: int = 5) -> list[str]:
    """Search the shelves.

    All of them.
    """
    return [query] * limit


async def search_later(query: str, limit: int = 5) -> list[str]:
    """Search the shelves, later."""
    await asyncio.sleep(0)
    return [query] * limit


class Failure(Exception):
    """What a tool raises."""


def fail(**_arguments):
    raise Failure("secret")


async def fail_later(**_arguments):
    await asyncio.sleep(0)
    raise Failure("secret")


TOOLS = {
    "search": search,
    "search_later": search_later,
    "fail": fail,
    "fail_later": fail_later,
}


def as_object(value):
    """Attributes instead of keys, as the providers' own classes have them."""
    if type(value) is not dict:
        return value
    parts = {k: v if k in {"input", "args"} else as_object(v) for k, v in value.items()}
    return SimpleNamespace(**parts)


TEXT = json.dumps(ARGUMENTS)


def forms(name):
    """One call in the forms of the providers; JSON text where they use it."""
    return {
        "OpenAI chat": (
            {"id": "call_1", "type": "function", "function": {"name": name, "arguments": TEXT}},
            "call_1",
        ),
        "OpenAI responses": (
            {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_1",
                "name": name,
                "arguments": TEXT,
                "status": "completed",
            },
            "call_1",
        ),
        "Anthropic": (
            {"type": "tool_use", "id": "toolu_1", "name": name, "input": ARGUMENTS},
            "toolu_1",
        ),
        "LangChain": (
            {"type": "tool_call", "id": "call_1", "name": name, "args": ARGUMENTS},
            "call_1",
        ),
        "plain": ({"name": name, "arguments": ARGUMENTS}, None),
        "plain, other words": ({"tool": name, "parameters": ARGUMENTS}, None),
    }


WRITTEN = {
    "dict": lambda call: call,
    "object": as_object,
    "text": json.dumps,
    "bytes": lambda call: json.dumps(call).encode(),
}


@pytest.mark.parametrize("name", ["search", "search_later"])
@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("form", forms("search"))
def test_a_call_in_any_form_is_run_and_is_one_span(traced, form, written, name):
    call, id_ = forms(name)[form]
    if written == "object" and form.startswith("plain"):
        call = {**call, **{k: TEXT for k in ("arguments", "parameters") if k in call}}
    value = dispatch(TOOLS, WRITTEN[written](call))
    if name == "search_later":
        value = asyncio.run(value)
    assert value == ["emma", "emma"]
    (span,) = traced.spans
    assert span.name == f"execute_tool {name}"
    assert span.attributes["toolspan.outcome"] == "ok"
    assert span.attributes.get("gen_ai.tool.call.id") == id_
    assert span.attributes["gen_ai.tool.description"].startswith("Search the shelves")


def test_the_providers_own_classes_are_read(traced):
    @dataclass
    class Function:
        name: str
        arguments: str

    @dataclass
    class ToolCall:
        id: str
        function: Function
        type: str = "function"

    call = ToolCall("call_1", Function("search", TEXT))
    assert dispatch(TOOLS, call) == ["emma", "emma"]
    assert len(traced.spans) == 1


@pytest.mark.parametrize("empty", [None, "", {}, "{}", "  {} "])
def test_no_arguments_are_arguments(traced, empty):
    assert dispatch({"now": lambda: 1}, {"name": "now", "arguments": empty}) == 1
    assert traced.outcomes == ["ok"]


def test_arguments_and_result_are_content(trace_with):
    traced = trace_with(settings=Settings(capture=True))
    dispatch(TOOLS, forms("search")["OpenAI chat"][0])
    (span,) = traced.spans
    assert json.loads(span.attributes["gen_ai.tool.call.arguments"]) == ARGUMENTS
    assert json.loads(span.attributes["gen_ai.tool.call.result"]) == ["emma", "emma"]


# -- refusals --------------------------------------------------------------------------------


def refused(traced, call, word, tools=TOOLS):
    """The error value, its span checked."""
    value = dispatch(tools, call)
    assert type(value) is CallError
    assert value.outcome == word
    assert str(value) == value.message
    assert asyncio.run(awaited(value)) is value
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == word
    assert span.attributes["error.type"] == word
    assert span.status.status_code is StatusCode.ERROR
    return value, span


async def awaited(value):
    return await value


@pytest.mark.parametrize("form", forms("find"))
def test_an_unknown_name_gives_its_span_and_a_clear_value(traced, form):
    call, id_ = forms("find")[form]
    value, span = refused(traced, call, "unknown_tool")
    assert "find" in value.message
    assert all(name in value.message for name in TOOLS)
    assert span.name == "execute_tool find"
    assert span.attributes.get("gen_ai.tool.call.id") == id_
    assert toolspan.stats()["find"].outcomes == {"unknown_tool": 1}


@pytest.mark.parametrize("text", ["{", '{"query": "emma"', "[1, 2]", '"emma"', "7", "query=emma"])
@pytest.mark.parametrize("name", ["search", "search_later"])
def test_unreadable_arguments_give_their_span_and_a_clear_value(traced, name, text):
    value, span = refused(traced, {"name": name, "arguments": text}, "invalid_arguments")
    assert name in value.message
    assert "JSON object" in value.message
    assert span.name == f"execute_tool {name}"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({}, "query"), ({"query": "a", "other": 1}, "other"), ({"limit": 1}, "query")],
)
@pytest.mark.parametrize("name", ["search", "search_later"])
def test_arguments_that_do_not_fit_give_their_span_and_a_clear_value(
    traced, name, arguments, named
):
    value, _span = refused(traced, {"name": name, "arguments": arguments}, "invalid_arguments")
    assert named in value.message


@pytest.mark.parametrize(
    "call",
    ["", "{", "null", "[]", "7", b"\xff", "[" * 100_000, {}, None, 7, object(), [], {"name": 7}],
    ids=lambda call: repr(call)[:20],
)
def test_what_is_no_call_gives_a_span_and_a_clear_value(traced, call):
    value, span = refused(traced, call, "unknown_tool")
    assert "names no tool" in value.message
    assert "search" in value.message
    assert span.name == "execute_tool unnamed"


@pytest.mark.parametrize("tools", [None, [search], "search", 7], ids=repr)
def test_tools_that_are_no_mapping_get_one_line_and_run_nothing(traced, caplog, tools):
    caplog.set_level(logging.WARNING, "toolspan")
    value, _span = refused(traced, {"name": "search"}, "unknown_tool", tools)
    assert "known: none" in value.message
    dispatch(tools, {"name": "search"})
    (line,) = [one.getMessage() for one in caplog.records if one.name == "toolspan"]
    assert "maps names to functions" in line


def test_what_cannot_be_called_is_no_tool(traced):
    value, _span = refused(traced, {"name": "seven"}, "unknown_tool", {"seven": 7})
    assert "there is no tool 'seven'" in value.message


@pytest.mark.parametrize("arguments", ["{", {"other": 1}])
def test_a_refused_call_has_the_definition_and_the_options_of_its_tool(trace_with, arguments):
    traced = trace_with(settings=Settings(capture=True))
    tools = {"search": tool(agent="clerk", capture=False)(search)}
    tools["search"](**ARGUMENTS)
    dispatch(tools, {"name": "search", "arguments": ARGUMENTS})
    dispatch(tools, {"name": "search", "arguments": arguments})
    direct, ran, refusal = traced.spans
    assert refusal.attributes["toolspan.outcome"] == "invalid_arguments"
    for name in ("toolspan.tool.fingerprint", "gen_ai.tool.description", "gen_ai.agent.name"):
        assert refusal.attributes[name] == ran.attributes[name] == direct.attributes[name]
    assert "gen_ai.tool.call.arguments" not in refusal.attributes


def test_many_tools_are_not_all_named(traced):
    tools = {f"tool_{number}": search for number in range(1_000)}
    value, _span = refused(traced, {"name": "x" * 100_000}, "unknown_tool", tools)
    assert len(value.message) < 600


def test_a_refusal_is_counted_and_not_measured(traced):
    refused(traced, {"name": "search", "arguments": "{"}, "invalid_arguments")
    row = toolspan.stats()["search"]
    assert (row.calls, row.failures) == (1, 1)
    assert row.mean != row.mean  # NaN: nothing was measured


def test_a_refusal_can_be_handed_to_the_model_as_text():
    value = dispatch(TOOLS, {"name": "find"})
    assert json.dumps({"role": "tool", "content": str(value)})


def test_refusals_work_without_instrumentation():
    assert dispatch(TOOLS, {"name": "find"}).outcome == "unknown_tool"
    assert dispatch(TOOLS, {"name": "search", "arguments": ARGUMENTS}) == ["emma", "emma"]


# -- what the tool does ----------------------------------------------------------------------


def test_what_the_tool_raises_is_raised(traced):
    with pytest.raises(Failure):
        dispatch(TOOLS, {"name": "fail", "arguments": {}})
    with pytest.raises(Failure):
        asyncio.run(dispatch(TOOLS, {"name": "fail_later", "arguments": {}}))
    assert traced.outcomes == ["error", "error"]
    assert all("secret" not in span.to_json() for span in traced.spans)


def test_a_type_error_out_of_the_body_is_the_tools_own(traced):
    def broken(query):
        return query + 1

    with pytest.raises(TypeError):
        dispatch({"broken": broken}, {"name": "broken", "arguments": {"query": "a"}})
    assert traced.outcomes == ["error"]


@pytest.mark.parametrize("name", ["search", "search_later"])
def test_a_decorated_tool_is_one_span(traced, name):
    tools = {name: tool(TOOLS[name])}
    value = dispatch(tools, {"name": name, "id": "call_1", "arguments": {"query": "emma"}})
    if name == "search_later":
        value = asyncio.run(value)
    assert value == ["emma"] * 5
    (span,) = traced.spans
    assert span.attributes["gen_ai.tool.call.id"] == "call_1"
    assert toolspan.stats()[name].calls == 1


def test_what_the_decorator_was_told_holds_for_a_dispatched_call(trace_with):
    traced = trace_with(settings=Settings(capture=True))
    quiet = tool(agent="clerk", capture=False)(search)
    renamed = tool(tool(name="look_up")(Shelf().find))
    assert dispatch({"find": quiet}, {"name": "find", "arguments": ARGUMENTS}) == ["emma"] * 2
    assert dispatch({"find": renamed}, {"name": "find", "arguments": {"title": "Emma"}}) == "Emma"
    assert dispatch({"find": Shelf().lend}, {"name": "find", "arguments": {"title": "a"}}) == "a"
    first, second, third = traced.spans
    assert {one.name for one in (first, second, third)} == {"execute_tool find"}
    assert first.attributes["gen_ai.agent.name"] == "clerk"
    assert "emma" not in first.to_json()
    assert second.attributes["gen_ai.tool.call.result"] == "Emma"


def test_a_generator_is_traced_until_its_end(traced):
    def pages(count):
        yield from range(count)

    stream = dispatch({"pages": pages}, {"name": "pages", "arguments": {"count": 3}})
    assert traced.spans == []
    assert list(stream) == [0, 1, 2]
    assert traced.outcomes == ["ok"]


class Shelf:
    """A shelf."""

    def find(self, title):
        """Find a book."""
        return title

    @tool
    def lend(self, title):
        """Lend a book."""
        return title


class Finder:
    """Find a book, by an object."""

    def __call__(self, title):
        return title


def find_in(shelf, title):
    """Find a book in a shelf."""
    return shelf and title


@pytest.mark.parametrize(
    ("function", "description"),
    [
        (Shelf().find, "Find a book."),
        (Finder(), "Find a book, by an object."),
        (functools.partial(find_in, "shelf"), "Find a book in a shelf."),
        (lambda title: title, None),
    ],
)
def test_anything_that_can_be_called_is_a_tool(traced, function, description):
    assert dispatch({"find": function}, {"name": "find", "arguments": {"title": "Emma"}}) == "Emma"
    (span,) = traced.spans
    assert span.attributes.get("gen_ai.tool.description") == description


def test_a_builtin_without_a_signature_is_just_called(traced):
    assert dispatch({"dict": dict}, {"name": "dict", "arguments": {"a": 1}}) == {"a": 1}
    assert traced.outcomes == ["ok"]


def test_the_second_try_of_an_id_is_counted(traced):
    call = {"name": "search", "id": "call_5", "arguments": ARGUMENTS}
    with toolspan.run("work"):
        dispatch(TOOLS, call)
        dispatch(TOOLS, call)
    assert [span.attributes.get("toolspan.attempt") for span in traced.tools] == [None, 2]


def test_parallel_calls_of_one_answer_are_siblings(traced):
    calls = [{"name": "search_later", "arguments": {"query": str(n)}} for n in range(4)]

    async def main():
        async with toolspan.run("work"):
            return await asyncio.gather(*(dispatch(TOOLS, call) for call in calls))

    assert asyncio.run(main()) == [[str(n)] * 5 for n in range(4)]
    run = traced.named("invoke_agent work")
    assert [span.parent.span_id for span in traced.tools] == [run.context.span_id] * 4


def test_gathering_answers_with_a_refusal_among_them_works(traced):
    calls = [{"name": "search_later", "arguments": ARGUMENTS}, {"name": "find"}]

    async def main():
        return await asyncio.gather(*(dispatch(TOOLS, call) for call in calls))

    found, value = asyncio.run(main())
    assert found == ["emma", "emma"]
    assert value.outcome == "unknown_tool"
    assert sorted(traced.outcomes) == ["ok", "unknown_tool"]


def test_the_arguments_of_the_call_are_not_changed(traced):
    def greedy(**arguments):
        arguments.clear()
        return 1

    call = {"name": "greedy", "arguments": {"a": 1}}
    assert dispatch({"greedy": greedy}, call) == 1
    assert call == {"name": "greedy", "arguments": {"a": 1}}
    assert len(traced.spans) == 1
