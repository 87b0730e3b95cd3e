"""OpenAI Agents beyond the common situations: who is told of a failure, and how."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

pytest.importorskip("agents", reason="OpenAI Agents is not in this environment")

from agents import function_tool
from agents.exceptions import AgentsException

import ground_truth
from ground_truth import asked
from programs.openai_agents_program import direct, run_async

ENDING = ("toolspan.outcome", "error.type")


@pytest.mark.parametrize("behavior", ["error_as_result", "raise_exception"])
@pytest.mark.parametrize("author", [None, lambda _context, error: f"sorry: {error}"])
def test_a_timeout_is_seen_whoever_words_the_answer(traced, behavior, author):
    nap = function_tool(
        ground_truth.nap,
        timeout=0.02,
        timeout_behavior=behavior,
        timeout_error_function=author,
    )
    with suppress(AgentsException):
        run_async([asked("nap")], nap)
    assert traced.told(*ENDING) == [("nap", "timeout", "agents.exceptions.ToolTimeoutError")]


@pytest.mark.parametrize("author", [None, lambda _context, error: f"sorry: {error}"])
def test_arguments_that_are_no_json_are_invalid_whoever_words_the_answer(traced, author):
    add = function_tool(ground_truth.add, failure_error_function=author)
    with suppress(AgentsException):
        asyncio.run(direct(add, "{"))
    assert traced.told(*ENDING) == [
        ("add", "invalid_arguments", "agents.exceptions.ModelBehaviorError")
    ]
