"""smolagents with a scripted model; the tools write down themselves what ran."""

from __future__ import annotations

import inspect
import json
import signal
import sys
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from smolagents import CodeAgent, Model, Tool, ToolCallingAgent
from smolagents.models import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    get_tool_json_schema,
)
from smolagents.monitoring import LogLevel

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth
from ground_truth import asked, in_threads, noted, turns

FRAMEWORK = "smolagents"


# -- an agent without a provider -----------------------------------------------------------------


class Wishing(Model):
    """Says one turn of its script after the other, as calls or as code."""

    def __init__(self, script, says):
        super().__init__(model_id="scripted")
        self.script, self.says = iter(script), says

    def generate(self, _messages, **_options):
        calls = next(self.script, None)
        if calls is None:
            return ChatMessage(role=MessageRole.ASSISTANT, content="done")
        return self.says(calls)


def as_calls(calls):
    """The model's wish to call tools."""
    wishes = [
        ChatMessageToolCall(
            ChatMessageToolCallFunction(dict(call.arguments), call.name), call.id, "function"
        )
        for call in calls
    ]
    return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=wishes)


def as_code(calls):
    """The model's program that calls tools."""
    lines = [f"{call.name}(**{call.arguments!r})" for call in calls]
    code = "\n".join(["<code>", *lines, "</code>"])
    return ChatMessage(role=MessageRole.ASSISTANT, content=code)


# -- its tools -----------------------------------------------------------------------------------


class Made(Tool):
    """A tool made of a function, whose name and parameters it has."""

    skip_forward_signature_validation = True
    output_type = "any"

    def __init__(self, function):
        self.name, self.description = function.__name__, inspect.getdoc(function)
        self.inputs = {
            name: {"type": {"int": "integer", "str": "string"}.get(one.annotation, "any")}
            | {"description": name}
            for name, one in inspect.signature(function).parameters.items()
        }
        self.forward = function
        super().__init__()


@noted
def flaky() -> str:
    """Fail two times out of three."""
    if len(ground_truth.RAN) % 3:
        raise ConnectionError
    return "fine"


@noted
def nap() -> str:
    """Somebody loses patience while it sleeps."""
    signal.raise_signal(signal.SIGINT)
    return "slept"


@noted
def final_answer(answer: str) -> str:
    """Give the answer of the run."""
    return answer


add = Made(ground_truth.add)
TOOLS = [add, *map(Made, (ground_truth.boom, flaky, nap, final_answer))]


def agent(kind, name, calls, tools=None, **options):
    """An agent whose model asks for these calls, and which has so many turns."""
    script = turns(calls)
    model = Wishing(script, as_calls if kind is ToolCallingAgent else as_code)
    return kind(
        TOOLS if tools is None else tools,
        model,
        name=name,
        description=name,
        max_steps=len(script),
        verbosity_level=LogLevel.OFF,
        **options,
    )


class Researcher(ToolCallingAgent):
    """A managed agent that writes down its runs."""

    def run(self, task, **options):
        @noted
        def researcher(task):
            return super(Researcher, self).run(task, **options)

        return researcher(task)


def researcher():
    """One for each agent that it works for."""
    inner = [asked("add", ground_truth.ONE_AND_TWO, id="inner-1")]
    made = agent(Researcher, "researcher", inner)
    made.model.says = as_calls
    made.prompt_templates["managed_agent"]["task"] = "{{task}}"
    return made


# -- for the contract ----------------------------------------------------------------------------


def give(value):
    """Give back what came in."""
    return value


class Kept(Tool):
    """Gives back, or raises, what the program, not the model, handed in."""

    name = "keep"
    description = "Give back what it keeps."
    inputs = {}  # noqa: RUF012  # as the framework wants it
    output_type = "any"
    value = error = None

    def forward(self):
        if self.error is not None:
            raise self.error
        return self.value


def keeping(**kept):
    """A tool that keeps a value."""
    tool = Kept()
    vars(tool).update(kept)
    return tool


echo = Made(give)


def through_code(value):
    """What a thread of the framework's interpreter gives back."""
    from smolagents.local_python_executor import LocalPythonExecutor

    python = LocalPythonExecutor([])
    python.send_tools({"keep": keeping(value=value)})
    return python("keep()").output


#: Ways in which a value goes through a tool and comes back.
DOORS = {
    "argument": lambda value: echo(value=value),
    "injected": lambda value: keeping(value=value)(),
    "async": through_code,
}
#: What a host may copy and pickle.
OBJECTS = {"tool": add, "kept": keeping(value=1), "class": Kept, "run": ToolCallingAgent.run}


def call(value):
    """Call a tool that gives back its argument."""
    return echo(value=value)


def raising(error):
    """Call a tool that raises `error`."""
    return keeping(error=error)()


def named(name):
    """Call a tool of that name."""
    return keeping(name=name, value="ok")()


def schemas():
    """What a model is told of a tool that is made just now, byte for byte."""
    return json.dumps([get_tool_json_schema(Made(ground_truth.add)), add.to_code_prompt()])


# -- the situations of every framework -----------------------------------------------------------


def run(calls, *tools, **options):
    return agent(ToolCallingAgent, "helper", calls, list(tools) or None, **options).run("hello")


def code(calls, *tools, **options):
    return agent(CodeAgent, "coder", calls, list(tools) or None, **options).run("hello")


def both(calls, *tools):
    run(calls, *tools)
    code(calls, *tools)


def streamed(calls):
    for kind, name in ((ToolCallingAgent, "helper"), (CodeAgent, "coder")):
        for _ in agent(kind, name, calls).run("hello", stream=True):
            pass


def interrupted(calls):
    with suppress(KeyboardInterrupt):
        run(calls)


def delegated(calls):
    run(calls, managed_agents=[researcher()])
    code(calls, managed_agents=[researcher()])


def at_once(_calls):
    def one(calls):
        (code if calls[0].run % 2 else run)(calls)

    in_threads(one, ALL["200 calls at once"])


def served():
    """An MCP server on this machine, whose tools run in this process."""
    from mcp.server.fastmcp import FastMCP

    from programs.http_serving import served_over_http

    server = FastMCP("sums", stateless_http=True, json_response=True)
    server.add_tool(ground_truth.add)
    return served_over_http(server.streamable_http_app())


def through_mcp(calls):
    from smolagents import MCPClient

    with served() as url:
        where = {"url": url, "transport": "streamable-http"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what it uses of MCP's
            client = MCPClient(where, structured_output=True)
        with client as tools:
            both(calls, *tools)
        client._adapter.loop.close()  # it forgets to


SITUATIONS = {
    "sync": run,
    "streaming": streamed,
    "parallel": run,
    "raising": both,
    "unknown tool": run,
    "invalid arguments": run,
    "cancelled": interrupted,
    "retry": both,
    "agent as a tool": delegated,
    "direct call": lambda calls: [add(**call.arguments) for call in calls],
    "MCP tools": through_mcp,
    "200 calls at once": at_once,
}
GAPS = {
    "async": "there are no async tools: what `Tool.forward` returns is the result, not awaited",
    "soft error": "the one way for a tool to tell the model of a failure is to raise",
    "timed out": "a tool has no time limit; that of a CodeAgent's code waits for the thread's end",
    "approval refused": "no call waits for a person: `interrupt()` comes between two steps",
    "approval granted later": "no call waits for a person: `interrupt()` comes between two steps",
}


def in_code(call, number=100):
    """The same call in the program of a CodeAgent's model: it has no id."""
    path = ("coder", *call.path[1:])
    mine = {"agent": "coder", "id": None} if call.agent == "helper" else {}
    return replace(call, path=path, run=call.run + number, **mine)


def with_code(calls):
    return (*calls, *map(in_code, calls))


ALL = ground_truth.SITUATIONS
NEEDS = {"MCP tools": "mcpadapt"}
CALLS = {
    # A run may end with its limit of steps, or with a tool that gives the answer.
    "streaming": with_code((*ALL["streaming"], asked("final_answer", {"answer": "3"}, turn=1))),
    "parallel": tuple(replace(call, name="add") for call in ALL["parallel"]),
    "raising": with_code(ALL["raising"]),
    "retry": with_code(ALL["retry"]),
    "agent as a tool": with_code(
        (
            asked("researcher", {"task": "sums"}),
            replace(ALL["agent as a tool"][1], path=("helper", "researcher", "researcher")),
        )
    ),
    "MCP tools": with_code(ALL["MCP tools"]),
    "200 calls at once": tuple(
        in_code(call, 0) if call.run % 2 else call for call in ALL["200 calls at once"]
    ),
}

WATCHED = {
    "async": ("async|^a(call|run|forward)", "smolagents:Tool"),
    "soft error": ("error|fail", "smolagents:Tool", "smolagents.agents:ToolOutput"),
    "timed out": ("time", "smolagents:Tool", "smolagents:tool"),
    "approval refused": ("approv|confirm|permi", "smolagents:Tool", "smolagents:MultiStepAgent"),
    "approval granted later": (
        "approv|confirm|permi",
        "smolagents:Tool",
        "smolagents:MultiStepAgent",
    ),
}

if __name__ == "__main__":
    ground_truth.show(sys.modules[__name__])
