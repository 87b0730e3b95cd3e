"""LlamaIndex beyond the common situations: several agents, tools of every class, its own telemetry."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core import tools
from llama_index.core.agent.workflow import AgentWorkflow, ReActAgent
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.memory import Memory
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.tools import (
    AsyncBaseTool,
    FunctionTool,
    QueryEngineTool,
    ToolMetadata,
    ToolOutput,
    adapt_to_async_tool,
)
from llama_index.core.tools.types import BaseTool
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

import ground_truth
import toolspan
from ground_truth import ONE_AND_TWO, asked
from programs.llamaindex_program import ADD, agent, quietly
from toolspan.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # see the program's `quietly`


def facts_of_agents(traced):
    return traced.told("gen_ai.agent.name", "gen_ai.tool.call.id", "toolspan.outcome")


# -- several agents ------------------------------------------------------------------------------


def test_a_call_is_that_of_the_agent_whose_turn_it_is(traced):
    handoff = asked("handoff", {"to_agent": "helper", "reason": "sums"}, number=0)
    calls = [handoff, asked("add", ONE_AND_TWO, turn=1), asked("delete", number=2, turn=2)]
    agents = [agent([handoff], [ADD], "receptionist"), agent(calls, [ADD])]

    async def run():
        await AgentWorkflow(agents, root_agent="receptionist").run("hello")

    asyncio.run(run())
    assert facts_of_agents(traced) == [
        ("handoff", "receptionist", "call-0", "ok"),
        ("add", "helper", "call-1", "ok"),
        ("delete", "helper", "call-2", "unknown_tool"),
    ]
    root, *rest = traced.spans
    assert root.name == "invoke_workflow AgentWorkflow"
    assert {span.parent.span_id for span in rest} == {root.context.span_id}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # it leaves its database open
def test_the_memory_of_a_run_names_the_conversation(traced):
    memory = Memory.from_defaults(session_id="sums")

    async def run():
        await agent([asked("add", ONE_AND_TWO)], [ADD]).run("hello", memory=memory)

    asyncio.run(run())
    known = [span.attributes.get("gen_ai.conversation.id") for span in traced.spans]
    assert known == ["sums", "sums"]


def test_an_agent_that_writes_its_wishes_in_prose_is_one_run(traced):
    said = iter(["Action: add\nAction Input: {'a': 1, 'b': 2}", "Answer: 3"])

    class Prose(MockLLM):
        async def astream_chat(self, messages, **options):
            text = ChatMessage(f"Thought: hm\n{next(said)}")
            return await super().astream_chat([text], **options)

    async def run():
        await ReActAgent(name="helper", tools=[ADD], llm=Prose()).run("hello")

    asyncio.run(run())
    ((tool, who, id_, outcome),) = facts_of_agents(traced)
    assert (tool, who, outcome) == ("add", "helper", "ok")
    assert len(id_) == 36  # the framework's own
    assert [span.name for span in traced.spans] == ["invoke_agent helper", "execute_tool add"]


def test_a_workflow_of_the_users_own_is_one_run_too(traced):
    class Sums(Workflow):
        @step
        async def begin(self, event: StartEvent) -> StopEvent:
            await ADD.acall(a=1, b=2)
            return StopEvent(result=str(ADD(a=3, b=4)))

    Sums.begin.__annotations__.update(event=StartEvent)

    async def run():
        return await Sums().run()

    assert asyncio.run(run()) == "7"
    root, first, second = traced.spans
    assert root.name == "invoke_workflow Sums"
    assert first.parent.span_id == second.parent.span_id == root.context.span_id


# -- tools of every class ------------------------------------------------------------------------


class Engine(CustomQueryEngine):
    """Answers with the question."""

    def custom_query(self, query_str):
        return query_str


@pytest.fixture
def read(trace_with):
    traced = trace_with(settings=Settings(capture=True))
    return lambda: traced.told("gen_ai.tool.call.arguments", "toolspan.outcome")


def test_what_is_given_without_a_name_has_the_name_of_the_parameter(read):
    assert ADD(1, 2).raw_output == 3
    assert QueryEngineTool.from_defaults(Engine(), "ask")("why").content == "why"
    assert read() == [("add", '{"a":1,"b":2}', "ok"), ("ask", '{"input":"why"}', "ok")]


def test_what_the_program_adds_is_among_the_arguments(read):
    tool = FunctionTool.from_defaults(ground_truth.add, partial_params={"b": 2})
    assert asyncio.run(tool.acall(a=1, b=2)).raw_output == tool(a=1).raw_output == 3
    assert read() == [("add", '{"b":2,"a":1}', "ok")] * 2


class Old(BaseTool):
    """A tool of the kind that cannot be awaited, which agents adapt."""

    metadata = ToolMetadata("Answer.", "old")

    def __call__(self, input):  # noqa: A002  # theirs
        return ToolOutput("old", input, raw_input={}, raw_output=input)


def test_a_tool_that_can_only_be_called_is_one_call_adapted_or_not(read):
    adapted = asyncio.run(adapt_to_async_tool(Old()).acall("why"))
    assert adapted.content == Old()("why").content == "why"
    assert read() == [("old", '{"input":"why"}', "ok")] * 2


class Doubling(FunctionTool):
    """A user's tool around the framework's."""

    async def acall(self, *args, **given):
        output = await super().acall(*args, **given)
        output.raw_output *= 2
        return output


def test_a_users_class_around_the_frameworks_is_one_call(read):
    assert asyncio.run(Doubling.from_defaults(ground_truth.add).acall(a=1, b=2)).raw_output == 6
    assert read() == [("add", '{"a":1,"b":2}', "ok")]


def failing(a: int) -> int:
    """Fail with an error of the kind that a wrong call gives."""
    return a + "b"


def test_a_type_error_of_the_body_is_not_one_of_the_arguments(read):
    for tool in (ADD, FunctionTool.from_defaults(failing)):
        with pytest.raises(TypeError):
            asyncio.run(tool.acall(a=1))
        with pytest.raises(TypeError):
            tool(a=1)
    words = [outcome for _, _, outcome in read()]
    assert words == ["invalid_arguments"] * 2 + ["error"] * 2


def test_a_decorated_function_below_is_the_same_call(read):
    tool = FunctionTool.from_defaults(toolspan.tool(ground_truth.add))
    tool(a=1, b=2)
    asyncio.run(tool.acall(a=1, b=2))
    assert read() == [("add", '{"a":1,"b":2}', "ok")] * 2


def test_a_loop_of_the_users_own_tells_the_id_by_the_frameworks_helper(traced):
    first, second = (
        ToolSelection(tool_id=f"call-{number}", tool_name="add", tool_kwargs=ONE_AND_TWO)
        for number in (1, 2)
    )
    assert tools.call_tool_with_selection(first, [ADD]).content == "3"
    assert asyncio.run(tools.acall_tool_with_selection(second, [ADD])).content == "3"
    assert traced.told("gen_ai.tool.call.id") == [("add", "call-1"), ("add", "call-2")]


class Trusting(AsyncBaseTool):
    """A tool whose author answers with what went wrong."""

    metadata = ToolMetadata("Try.", "trusting")

    def call(self):
        return ToolOutput("trusting", "no", raw_input={}, is_error=True, exception=OSError("no"))

    async def acall(self):
        return self.call()


def test_an_error_that_a_tool_answers_with_has_its_type(traced):
    assert asyncio.run(Trusting().acall()).is_error
    assert traced.told("error.type", "toolspan.outcome") == [("trusting", "OSError", "tool_error")]


# -- who else traces this very call --------------------------------------------------------------

THEIRS = "llamaindex.opentelemetry.tracer"


@contextmanager
def native(provider):
    """With the framework's own spans, of llama-index-observability-otel."""
    otel = pytest.importorskip("llama_index.observability.otel.base")
    from llama_index.core.instrumentation import get_dispatcher

    root = get_dispatcher()
    handlers = root.span_handlers
    tracer = provider.get_tracer(THEIRS)
    root.span_handlers = [*handlers, otel.OTelCompatibleSpanHandler(tracer=tracer)]
    try:
        yield
    finally:
        root.span_handlers = handlers


def of_tools(traced):
    return [s for s in traced.spans if s.name.endswith(".acall") or s.name.startswith("execute_")]


@pytest.mark.parametrize(
    "wished", [asked("add", ONE_AND_TWO), asked("boom", {"reason": "no"}, "error")]
)
def test_the_frameworks_own_span_is_the_one_of_the_call(trace_with, wished):
    alone = trace_with()
    toolspan.uninstrument()

    async def run():
        await quietly(agent)([wished]).run("hello")

    with native(alone.provider):
        asyncio.run(run())
    assert [span.instrumentation_scope.name for span in of_tools(alone)] == [THEIRS]
    assert alone.tools == []
    traced = trace_with()
    with native(traced.provider):
        asyncio.run(run())
    (span,) = of_tools(traced)
    assert span.instrumentation_scope.name == THEIRS
    assert facts_of_agents(traced) == [(wished.name, "helper", "call-1", wished.outcome)]
    assert [row.calls for row in toolspan.stats().rows()] == [1]


class Dispatched:
    """A listener that has a tool span for each way that is taken, as OpenInference has."""

    def __init__(self, tracer):
        self.tracer, self.open = tracer, {}

    def span_enter(self, id_, **_known):
        known = {"openinference.span.kind": "TOOL", "tool.name": "add"}
        self.open[id_] = self.tracer.start_span(id_.partition("-")[0], attributes=known)

    def span_exit(self, id_, **_known):
        self.open.pop(id_).end()


@contextmanager
def dispatched(tracer):
    """With that one beside the framework's own listeners."""
    from llama_index.core.instrumentation import get_dispatcher

    root = get_dispatcher()
    handlers = root.span_handlers
    root.span_handlers = [*handlers, Dispatched(tracer)]
    try:
        yield
    finally:
        root.span_handlers = handlers


def test_a_neighbours_second_span_of_a_call_is_counted_with_the_first(traced):
    with dispatched(traced.tracer("openinference.instrumentation.llama_index")):
        ADD(a=1, b=2)
    told = {span.name: span.attributes.get("toolspan.outcome") for span in traced.spans}
    assert told == {"FunctionTool.__call__": "ok", "FunctionTool.call": "ok"}
    assert [row.calls for row in toolspan.stats().rows()] == [1]


@pytest.mark.parametrize(
    "scope", ["openinference.instrumentation.llama_index", "llamaindex.opentelemetry.tracer"]
)
def test_a_neighbours_span_of_a_run_is_told_whose_it_is(traced, scope):
    async def run():
        with traced.tracer(scope).start_as_current_span("FunctionAgent.run"):
            await agent([asked("add", ONE_AND_TWO)]).run("hello")

    asyncio.run(run())
    root, *rest = traced.spans
    assert root.attributes == {"gen_ai.agent.name": "helper"}
    assert [span.name for span in rest] == ["execute_tool add"]
    assert rest[0].parent.span_id == root.context.span_id


def test_a_neighbours_span_around_the_tool_is_the_one_of_the_call(traced):
    tracer = traced.tracer("opentelemetry.instrumentation.genai.llamaindex")
    known = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "add"}
    with tracer.start_as_current_span("execute_tool add", attributes=known):
        ADD(a=1, b=2)
    assert traced.told("toolspan.outcome") == [("add", "ok")]
