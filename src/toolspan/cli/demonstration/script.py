"""A chat model that plays its part from a script: no network, no key, always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.tool import ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult

if TYPE_CHECKING:
    from collections.abc import Sequence

MISSING = "no-such-file.txt"


class ScriptedModel(BaseChatModel):
    """Asks for the calls of its next turn, then sums up."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_options: Any) -> ScriptedModel:  # noqa: ARG002
        """Itself: the script knows the tools."""
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        turn = sum(isinstance(message, AIMessage) for message in messages)
        return ChatResult(generations=[ChatGeneration(message=_reply(turn, messages))])


def _reply(turn: int, messages: list[BaseMessage]) -> AIMessage:
    calls = _calls(messages)
    if turn >= len(calls):
        return AIMessage("I have looked at everything.")
    numbered = [
        ToolCall(name=name, args=arguments, id=f"call_{turn}_{number}")
        for number, (name, arguments) in enumerate(calls[turn])
    ]
    return AIMessage("", tool_calls=numbered)


def _calls(messages: list[BaseMessage]) -> list[list[tuple[str, dict[str, str]]]]:
    """The calls of each turn; the second turn's answer names what the third one reads."""
    first, second = [*_found(messages), "README.md", "README.md"][:2]
    return [
        [("count", {})],
        [("search", {"text": "the"})],
        [("read", {"path": first}), ("read", {"path": second})],
        [("read", {"path": MISSING})],
        [("checksum", {})],
    ]


def _found(messages: list[BaseMessage]) -> list[str]:
    answers = [m.text for m in messages if isinstance(m, ToolMessage) and m.name == "search"]
    return answers[0].splitlines() if answers else []
