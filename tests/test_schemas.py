"""The schemas that frameworks make from a decorated function are those of the plain one.

Compared byte by byte; and a call through the framework, whose own hooks are placed too, is one
span.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field

import toolspan
from toolspan import tool
from toolspan.settings import Settings


class Filter(BaseModel):
    """What to look for."""

    field: Literal["title", "author"] = "title"
    words: list[str] = Field(default_factory=list, description="Any of these.")


@dataclass
class Page:
    """A part of the results."""

    number: int = 1
    size: int = 10


def search(
    query: str,
    limit: Annotated[int, Field(ge=1, le=50, description="At most so many.")] = 10,
    tags: Optional[list[str]] = None,  # noqa: UP045  # as many write it
) -> list[str]:
    """Search the shelves.

    Args:
        query: What to look for.
        limit: At most so many.
        tags: Only with these.
    """
    return [query] * min(limit, 2) + (tags or [])


async def search_later(query: str, limit: int = 10) -> list[str]:
    """Search the shelves, later."""
    await asyncio.sleep(0)
    return [query] * min(limit, 2)


def nested(filters: Filter, page: Page, options: dict[str, Any], *, exact: bool = False) -> str:
    """Search with filters."""
    return f"{filters.field} {page.number} {sorted(options)} {exact}"


def without_arguments() -> str:
    """Say hello."""
    return "hello"


def without_types(a, b=2):
    """Take anything."""
    return f"{a} {b}"


FUNCTIONS = [search, search_later, nested, without_arguments, without_types]
WRAPS = {
    "decorated": tool,
    "with options": tool(name="traced", agent="clerk", capture=True),
    "decorated twice": lambda function: tool(tool(function)),
}


def text(schema) -> str:
    """A schema as the bytes that a provider is sent."""
    return json.dumps(schema, default=str)


def needs(module):
    """A module that this environment has, or the test is not run here."""
    return pytest.importorskip(module, exc_type=ImportError)


# -- LangChain -------------------------------------------------------------------------------


def langchain_schemas(made):
    conversion = importlib.import_module("langchain_core.utils.function_calling")
    return text(
        [
            made.name,
            made.description,
            made.args,
            made.args_schema.model_json_schema(),
            made.tool_call_schema.model_json_schema(),
            conversion.convert_to_openai_tool(made),
        ]
    )


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_langchains_tool_makes_the_same_schema(function, wrap):
    tools = needs("langchain_core.tools")
    plain, decorated = tools.tool(function), tools.tool(WRAPS[wrap](function))
    assert langchain_schemas(decorated) == langchain_schemas(plain)
    assert (decorated.coroutine is None) == (plain.coroutine is None)
    assert (decorated.func is None) == (plain.func is None)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_langchains_structured_tool_makes_the_same_schema(function):
    make = needs("langchain_core.tools").StructuredTool.from_function
    place = "coroutine" if function is search_later else "func"
    plain, decorated = make(**{place: function}), make(**{place: tool(function)})
    assert langchain_schemas(decorated) == langchain_schemas(plain)


def test_langchain_converts_a_decorated_function_by_itself_alike():
    needs("langchain_core.tools")
    conversion = importlib.import_module("langchain_core.utils.function_calling")
    for function in (search, search_later, without_arguments):
        plain = conversion.convert_to_openai_function(function)
        assert text(conversion.convert_to_openai_function(tool(function))) == text(plain)


def test_langchain_reads_the_docstring_alike():
    tools = needs("langchain_core.tools")
    plain = tools.tool(parse_docstring=True)(search)
    assert langchain_schemas(tools.tool(parse_docstring=True)(tool(search))) == langchain_schemas(
        plain
    )
    assert "Only with these." in langchain_schemas(plain)


class Shelf:
    """A shelf."""

    @tool
    def find(self, title: str, copies: int = 1) -> str:
        """Find a book."""
        return f"{title} x{copies}"

    def plain(self, title: str, copies: int = 1) -> str:
        """Find a book."""
        return f"{title} x{copies}"


def test_a_decorated_method_makes_the_same_schema():
    tools = needs("langchain_core.tools")
    plain = tools.StructuredTool.from_function(Shelf().plain, name="find")
    found = tools.StructuredTool.from_function(Shelf().find)
    assert langchain_schemas(found).replace("plain", "find") == langchain_schemas(plain).replace(
        "plain", "find"
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"query": "a", "limit": 2, "tags": ["x"]}, ["a", "a", "x"]),
        ({"query": "a"}, ["a", "a"]),
        ({"query": "a", "limit": "2"}, ["a", "a"]),
    ],
    ids=["all", "defaults", "coerced"],
)
def test_a_call_through_langchain_is_one_span(trace_with, given, expected):
    tools = needs("langchain_core.tools")
    traced = trace_with()
    made = tools.tool(tool(search))
    assert made.invoke(given) == expected
    call = {"type": "tool_call", "id": "call_1", "name": "search", "args": given}
    assert made.invoke(call).tool_call_id == "call_1"
    assert [span.name for span in traced.spans] == ["execute_tool search"] * 2
    assert traced.spans[1].attributes["gen_ai.tool.call.id"] == "call_1"
    assert toolspan.stats()["search"].calls == 2


def test_an_async_call_through_langchain_is_one_span(trace_with):
    tools = needs("langchain_core.tools")
    traced = trace_with()
    made = tools.tool(tool(search_later))
    assert asyncio.run(made.ainvoke({"query": "a", "limit": 1})) == ["a"]
    (span,) = traced.spans
    assert span.attributes["toolspan.outcome"] == "ok"


def test_a_call_through_langchain_with_models_is_one_span(trace_with):
    tools = needs("langchain_core.tools")
    traced = trace_with()
    made = tools.tool(tool(nested))
    given = {"filters": {"words": ["a"]}, "page": {"number": 3}, "options": {"b": 1}}
    assert made.invoke(given) == "title 3 ['b'] False"
    assert len(traced.spans) == 1


def test_what_the_decorator_was_told_holds_under_langchain(trace_with):
    tools = needs("langchain_core.tools")
    traced = trace_with(settings=Settings(capture=True))
    made = tools.tool(tool(agent="clerk", capture=False)(search))
    made.invoke({"query": "canary"})
    (span,) = traced.spans
    assert span.attributes["gen_ai.agent.name"] == "clerk"
    assert "canary" not in span.to_json()
    assert toolspan.stats()["search", "clerk"].calls == 1


def test_content_switched_on_for_a_tool_is_on_under_langchain(trace_with):
    tools = needs("langchain_core.tools")
    traced = trace_with()
    made = tools.tool(tool(capture=True)(search))
    made.invoke({"query": "canary"})
    (span,) = traced.spans
    assert "canary" in span.attributes["gen_ai.tool.call.arguments"]
    assert "canary" in span.attributes["gen_ai.tool.call.result"]


def test_an_error_through_langchain_is_one_span(trace_with):
    tools = needs("langchain_core.tools")
    traced = trace_with()

    @tool
    def broken(query: str) -> str:
        """Fail."""
        raise LookupError(query)

    with pytest.raises(LookupError):
        tools.tool(broken).invoke({"query": "secret"})
    (span,) = traced.spans
    assert span.attributes["error.type"] == "LookupError"
    assert toolspan.stats()["broken"].failures == 1


# -- MCP -------------------------------------------------------------------------------------


def mcp_server():
    """A server of the MCP SDK, 1.x or 2.x."""
    try:
        return importlib.import_module("mcp.server.mcpserver").MCPServer("shelves")
    except ImportError:
        return needs("mcp.server.fastmcp").FastMCP("shelves")


def mcp_schemas(function):
    needs("mcp")
    server = mcp_server()
    server.add_tool(function)
    return [one.model_dump_json() for one in asyncio.run(server.list_tools())]


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_mcp_makes_the_same_schema(function, wrap):
    assert mcp_schemas(WRAPS[wrap](function)) == mcp_schemas(function)


def test_mcp_makes_the_same_schema_of_a_method():
    plain = mcp_schemas(Shelf().plain)
    assert [one.replace("plain", "find") for one in plain] == mcp_schemas(Shelf().find)


def contents(result):
    """The structured result of a server's own `call_tool`, in either major version."""
    blocks = result[0] if isinstance(result, tuple) else getattr(result, "content", result)
    return [block.text for block in blocks]


@pytest.mark.parametrize("function", [search, search_later])
def test_a_call_through_an_mcp_server_is_one_span(trace_with, function):
    needs("mcp")
    traced = trace_with()
    name = function.__name__

    async def main(one):
        server = mcp_server()
        server.add_tool(one)
        return contents(await server.call_tool(name, {"query": "a", "limit": 2}))

    expected = asyncio.run(main(function))
    assert expected == ["a", "a"]
    assert traced.spans == []
    assert asyncio.run(main(tool(function))) == expected
    assert [span.name for span in traced.tools] == [f"execute_tool {name}"]


def test_an_mcp_server_finds_the_context_parameter_of_a_decorated_function():
    needs("mcp")
    module = importlib.import_module(
        "mcp.server.mcpserver"
        if importlib.util.find_spec("mcp.server.mcpserver")
        else "mcp.server.fastmcp"
    )

    def with_context(query: str, ctx: module.Context) -> str:
        """Search, with a context."""
        return query

    with_context.__annotations__["ctx"] = module.Context
    with_context.__annotations__["query"] = with_context.__annotations__["return"] = str
    schemas = mcp_schemas(tool(with_context))
    assert schemas == mcp_schemas(with_context)
    assert '"ctx"' not in schemas[0]


# -- Pydantic AI -----------------------------------------------------------------------------


def pydantic_ai_schemas(function, name=None):
    made = needs("pydantic_ai").Tool(function, name=name, takes_ctx=False)
    definition = made.tool_def
    return text([definition.name, definition.description, definition.parameters_json_schema])


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_pydantic_ai_makes_the_same_schema(function, wrap):
    assert pydantic_ai_schemas(WRAPS[wrap](function)) == pydantic_ai_schemas(function)


def test_pydantic_ai_makes_the_same_schema_of_a_method():
    found = pydantic_ai_schemas(Shelf().find, "find")
    assert found == pydantic_ai_schemas(Shelf().plain, "find")


@pytest.mark.parametrize("function", [search, search_later])
def test_a_call_through_pydantic_ai_is_one_span(trace_with, function):
    pydantic_ai = needs("pydantic_ai")
    models = needs("pydantic_ai.models.test")
    traced = trace_with()
    model = models.TestModel(custom_output_text="done")
    agent = pydantic_ai.Agent(model, tools=[tool(function)])
    assert asyncio.run(agent.run("go")).output == "done"
    assert [span.name for span in traced.tools] == [f"execute_tool {function.__name__}"]
    assert traced.outcomes == ["ok"]


def test_pydantic_ai_finds_the_context_parameter_of_a_decorated_function():
    pydantic_ai = needs("pydantic_ai")

    def with_context(ctx, query: str) -> str:
        """Search, with a context."""
        return query

    with_context.__annotations__["ctx"] = pydantic_ai.RunContext[None]
    with_context.__annotations__["query"] = with_context.__annotations__["return"] = str
    plain = pydantic_ai.Tool(with_context)
    made = pydantic_ai.Tool(tool(with_context))
    assert made.takes_ctx is plain.takes_ctx is True
    assert text(made.tool_def.parameters_json_schema) == text(plain.tool_def.parameters_json_schema)


# -- pydantic itself -------------------------------------------------------------------------


@pytest.mark.parametrize("function", [search, search_later, without_arguments])
def test_pydantic_validates_a_call_alike(function):
    from pydantic import TypeAdapter, validate_call

    decorated = tool(function)
    assert text(TypeAdapter(decorated).json_schema()) == text(TypeAdapter(function).json_schema())
    validated = validate_call(decorated)
    if function is search:
        assert validated("a", limit="1") == ["a"]
