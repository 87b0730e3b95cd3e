"""OpenAI's tools that are no functions and run here: shells, patches, a computer, custom ones.

Each has a function of its own, which asks a person, runs what the program handed in, and makes an
answer of what that raised. What OpenAI runs itself is not seen here.
"""

from __future__ import annotations

from typing import Any

from toolspan.hooks import Hook, Invocation, Witness, WordOfAdapter
from toolspan.hooks.readers import fails
from toolspan.toolcall import Outcome, ToolCall, is_a

#: Where the call of each kind says what is to be done, and where its tool is.
TOOLS = ("computer_tool", "local_shell_tool", "shell_tool", "apply_patch_tool", "custom_tool")
WISHES = ("action", "operation", "operations", "input")


def read(invocation: Invocation) -> ToolCall:
    """Read the model's call: an item of the response, or a dict."""
    known = vars(invocation.get("call") or invocation.get("action"))
    tool = next(known[one] for one in TOOLS if one in known)
    wish = known["tool_call"]
    facts = wish if type(wish) is dict else vars(wish)
    given = {one: _plain(facts[one]) for one in WISHES if facts.get(one) is not None}
    return ToolCall(
        name=tool.name,
        arguments=given.get("action", given),
        id=facts.get("call_id") or facts.get("id"),
        agent=getattr(invocation.get("agent"), "name", None),
    )


def _plain(wish: Any) -> Any:
    """An item as a dict."""
    return {**vars(wish)} if is_a(wish, "BaseModel") else wish


def outcome(item: Any) -> Outcome:
    """What the model is told, or the wait for a person."""
    raw = item.raw_item
    failed = type(raw) is dict and raw.get("status") == "failed"
    return Outcome(getattr(item, "output", None), error="tool_error" if failed else None)


def waits(_invocation: Invocation, decided: Any) -> Outcome | None:
    """A person is to be asked."""
    return Outcome(error="interrupted") if decided[0] is None else None


def over(_invocation: Invocation, _none: Any) -> Outcome:
    """It ran, which is told before the framework's own span ends."""
    return Outcome()


ACTIONS = "agents.run_internal.tool_actions"
#: What the framework shows to whoever listens: a neighbour has its span then.
STARTS = tuple(f"agents.tracing.spans:{span}.start" for span in ("SpanImpl", "NoOpSpan"))
#: Where nobody is shown anything, what comes first.
FIRST = ("agents.run_context:RunContextWrapper.get_approval_status", f"{ACTIONS}:resolve_computer")
#: What comes last; of the older one there is another before the tool runs.
ENDS = (f"{ACTIONS}:run_native_tool_post_invoke", f"{ACTIONS}:gather_with_cancel")

WORDS: tuple[WordOfAdapter, ...] = (
    *(
        Hook(f"{ACTIONS}:{kind}Action.execute", read, outcome, decide=(*STARTS, *FIRST))
        for kind in ("Computer", "Shell", "ApplyPatch", "CustomTool")
    ),
    Hook(f"{ACTIONS}:LocalShellAction.execute", read, outcome),  # which is shown to nobody
    Witness(f"{ACTIONS}:log_tool_action_error", fails("error", "exc"), "before"),
    Witness(f"{ACTIONS}:resolve_approval_status", waits),
    Witness(ENDS, over, "before"),
)
