"""LlamaIndex with a scripted model; the tools write down themselves what ran."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.llms import (
    LLM,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    CustomLLM,
    LLMMetadata,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import AsyncBaseTool, FunctionTool, ToolMetadata, ToolOutput
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
from workflows.errors import WorkflowTimeoutError

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth
from ground_truth import asked, finished, in_threads, noted, turns

FRAMEWORK = "llamaindex"


# -- an agent without a provider -----------------------------------------------------------------


class Scripted(CustomLLM, FunctionCallingLLM):
    """Says one turn of its script after the other, in every conversation from the beginning."""

    script: list[Any]

    @property
    def metadata(self):
        return LLMMetadata(is_function_calling_model=True, model_name="scripted")

    def said(self, chat_history):
        """What comes after the turns that were said."""
        number = sum(message.role == "assistant" for message in chat_history)
        turn = self.script[number] if number < len(self.script) else ()
        wishes = [ToolSelection(tool_id=c.id, tool_name=c.name, tool_kwargs=c.arguments) for c in turn]
        text = ChatMessage(role="assistant", content="" if turn else "done")
        return ChatResponse(message=text, additional_kwargs={"wishes": wishes})

    async def achat_with_tools(self, *_args, chat_history, **_options):
        return self.said(chat_history)

    async def astream_chat_with_tools(self, *_args, chat_history, **_options):
        async def stream():
            yield self.said(chat_history)

        return stream()

    def get_tool_calls_from_response(self, response, **_options):
        return response.additional_kwargs["wishes"]

    def _prepare_chat_with_tools(self, *_args, **_options):
        raise NotImplementedError

    def complete(self, *_args, **_options):
        return CompletionResponse(text="")

    def stream_complete(self, *_args, **_options):
        raise NotImplementedError


# -- its tools -----------------------------------------------------------------------------------


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return ground_truth.add(a=a, b=b)


@noted
def flaky() -> str:
    """Fail two times out of three."""
    if len(ground_truth.RAN) % 3:
        raise ConnectionError
    return "fine"


class Complaint(AsyncBaseTool):
    """A tool whose author tells the model of a failure."""

    metadata = ToolMetadata("Fail, and tell the model why.", "complain")

    def call(self, **given):
        @noted
        def complain(reason):
            return ToolOutput("complain", reason, raw_input=given, is_error=True)

        return complain(**given)

    async def acall(self, **given):
        return self.call(**given)


class Wary(FunctionTool):
    """A tool of a user's class, that asks a person first."""

    async def acall(self, ctx, **given):
        @noted
        async def add(a, b):
            await ctx.wait_for_event(HumanResponseEvent, waiter_event=InputRequiredEvent())
            return await super(Wary, self).acall(**given)

        return await add(**given)


async def research(topic: str) -> str:
    """Ask another agent."""
    return await ask(topic=topic)


@noted
async def ask(topic: str) -> str:
    return str(await researcher.run(topic))


ask.__name__ = "research"


def tools_of(*functions):
    return [FunctionTool.from_defaults(one) for one in functions]


TOOLS = [*tools_of(add, ground_truth.add_async, ground_truth.boom, flaky, ask), Complaint()]


def agent(calls, tools=(), name="helper", **options):
    """An agent whose model asks for these calls."""
    model = Scripted(script=turns(calls))
    options = {"streaming": False, "description": name, **options}
    return FunctionAgent(name=name, llm=model, tools=list(tools) or TOOLS, **options)


researcher = agent(
    [asked("add", ground_truth.ONE_AND_TWO, id="inner-1")], tools_of(add), "researcher"
)
