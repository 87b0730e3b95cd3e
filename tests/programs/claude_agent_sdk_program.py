"""Claude Agent SDK and the command line in its wheel, with a scripted model on this machine."""

from __future__ import annotations

import asyncio
import atexit
import gc
import inspect
import itertools
import json
import logging
import shutil
import sys
import tempfile
import threading
import types
import warnings
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import claude_agent_sdk
from claude_agent_sdk import (
    AgentDefinition,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    PermissionResultAllow,
    PermissionResultDeny,
    Transport,
    create_sdk_mcp_server,
    query,
    tool,
)
from claude_agent_sdk._internal.query import Query

sys.path.insert(0, str(Path(__file__).parents[1]))

import ground_truth
from ground_truth import Execution, asked, cancelled, finished, in_threads, noted, turns

FRAMEWORK = "claude-agent-sdk"


# -- a model without a provider ------------------------------------------------------------------

#: What the user, or an agent, says -> the turns of the model, each a list of calls.
SCRIPTS = {}
#: What of that was said.
HEARD = set()


class Model(BaseHTTPRequestHandler):
    """Says one turn of a script after the other, in every conversation from the beginning."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked_for = json.loads(self.rfile.read(int(self.headers["content-length"])))
        script = script_of(asked_for["messages"]) if asked_for.get("tools") else []
        turn = sum(message["role"] == "assistant" for message in asked_for["messages"])
        blocks = [as_block(call) for call in script[turn]] if turn < len(script) else []
        data = b"".join(
            f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            for event in streamed_by_the_model(asked_for["model"], blocks or [DONE])
        )
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args):
        """Nothing."""


NUMBERS = itertools.count()
DONE = {"type": "text", "text": "done"}


def script_of(messages):
    """The script of who speaks first, among what the command line adds of its own."""
    said = json.dumps(messages[:2])
    prompt = next((prompt for prompt in SCRIPTS if prompt in said), None)
    HEARD.add(prompt)
    return SCRIPTS.get(prompt, [])


def as_block(call):
    """The model's wish to call a tool."""
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def streamed_by_the_model(model, blocks):
    """The events of one answer."""
    usage, stop = {"input_tokens": 1, "output_tokens": 1}, blocks[-1]["type"]
    message = {"id": f"msg_{next(NUMBERS)}", "type": "message", "role": "assistant", "model": model}
    unsaid = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    yield {"type": "message_start", "message": message | unsaid}
    for index, block in enumerate(blocks):
        if block is DONE:
            begun, delta = block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            given = json.dumps(block["input"])
            begun = block | {"input": {}}
            delta = {"type": "input_json_delta", "partial_json": given}
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    reason = {"stop_reason": stop if stop == "tool_use" else "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": reason, "usage": usage}
    yield {"type": "message_stop"}


def serving():
    """The address of the model, which answers for as long as this process lives."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


#: The command line's home, with nothing in it.
HOME = tempfile.mkdtemp()
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
ENVIRONMENT = {
    "ANTHROPIC_BASE_URL": serving(),
    "ANTHROPIC_API_KEY": "none",
    "HOME": HOME,
    "CLAUDE_CONFIG_DIR": HOME,
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}


# -- its tools -----------------------------------------------------------------------------------


def as_asked(function):
    """The same function, under the name by which the model asks for it."""
    plain = inspect.unwrap(function)
    name = f"mcp__tools__{plain.__name__}"
    return noted(types.FunctionType(plain.__code__, plain.__globals__, name))


def made(function):
    """A tool of a function."""
    body, plain = as_asked(function), inspect.unwrap(function)
    kinds = {"int": int, "str": str}
    given = {name: kinds[kind] for name, kind in plain.__annotations__.items() if name != "return"}

    @tool(plain.__name__, inspect.getdoc(plain), given)
    async def handler(arguments):
        value = body(**arguments)
        value = await value if inspect.isawaitable(value) else value
        return value if type(value) is dict else answer(str(value))

    return handler


def answer(text):
    """What the SDK wants of a tool."""
    return {"content": [{"type": "text", "text": text}]}


def complain(reason: str) -> dict:
    """Tell the model of a failure."""
    return {"content": [{"type": "text", "text": reason}], "is_error": True}


def flaky() -> str:
    """Fail two times out of three."""
    if len(ground_truth.RAN) % 3:
        raise ConnectionError
    return "fine"


FUNCTIONS = (ground_truth.add, ground_truth.add_async, ground_truth.boom, ground_truth.nap)
TOOLS = [*map(made, (*FUNCTIONS, complain, flaky))]
SERVER = create_sdk_mcp_server("tools", tools=TOOLS)
ALLOWED = [f"mcp__tools__{one.name}" for one in TOOLS]


# -- for the contract: without the command line --------------------------------------------------


class Told(Transport):
    """Tells what a script says, instead of a command line."""

    def __init__(self, *frames):
        self.frames, self.read = frames, asyncio.Queue()

    async def connect(self):
        """There is nobody."""

    async def write(self, data):
        message = json.loads(data)
        if message["type"] == "control_request":
            answer = {"subtype": "success", "request_id": message["request_id"], "response": {}}
            await self.read.put({"type": "control_response", "response": answer})
        elif message["type"] == "user":
            for frame in (*self.frames, None):
                await self.read.put(frame)

    async def read_messages(self):
        while (frame := await self.read.get()) is not None:
            if isinstance(frame, BaseException):
                raise frame
            yield frame

    async def end_input(self):
        """Nor here."""

    close = connect

    def is_ready(self):
        return True


def wished(name, given, id_="told-1", **more):
    """The message that a tool is called."""
    block = {"type": "tool_use", "id": id_, "name": name, "input": given}
    return {"type": "assistant", "message": {"content": [block], "model": "scripted"}, **more}


def gave(content, id_="told-1", **more):
    """The message of what it gave."""
    block = {"type": "tool_result", "tool_use_id": id_, "content": content, **more}
    return {"type": "user", "message": {"content": [block]}}


def through_messages(value, name="see"):
    """What a program sees of a tool that runs elsewhere."""

    async def asking():
        frames = wished(name, {"value": value}), gave("ok")
        messages = [one async for one in query(prompt="hello", transport=Told(*frames))]
        return messages[0].content[0].input["value"], messages[1].content[0].content

    return finished(asking())


def in_process(tools, method, asked_for):
    """Ask a server of this process, as the command line does it."""
    server = create_sdk_mcp_server("tools", tools=tools)
    client = {"name": "nobody", "version": "1"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}

    async def asking():
        ours = Query(Told(), is_streaming_mode=True, sdk_mcp_servers={"tools": server["instance"]})
        bridge = ours._sdk_mcp_bridges["tools"]
        try:
            await bridge.handle(message("initialize", hello, 0))
            await bridge.handle(message("notifications/initialized", {}))
            return await ours._handle_sdk_mcp_request("tools", message(method, asked_for, 1))
        finally:
            await ours.close()
            ours.close_receive_stream()

    return finished(asking())["result"]


def message(method, params, id_=None):
    """A request, or what wants no answer."""
    numbered = {} if id_ is None else {"id": id_}
    return {"jsonrpc": "2.0", "method": method, "params": params, **numbered}


def called(handler, given, id_="toolu-1"):
    """What the tool of this handler answers."""
    one = tool("one", "One.", {})(handler)
    asks = {"name": "one", "arguments": given, "_meta": {"claudecode/toolUseId": id_}}
    return in_process([one], "tools/call", asks)["content"][0]["text"]


def keeping(value, id_="toolu-1"):
    """A tool gets the value, and the program has it back."""
    kept = []

    async def keep(arguments):
        kept.append(arguments["value"])
        return answer("kept")

    called(keep, {"value": value}, id_)
    return kept[0]


#: Ways in which a value goes through a tool and comes back.
DOORS = {
    "argument": keeping,
    "injected": lambda value: through_messages(value)[0],
    "async": lambda value: keeping(value, "toolu-4"),
}
#: What a host may copy and pickle.
OBJECTS = {
    "tool": TOOLS[0],
    "class": ClaudeSDKClient,
    "run": query,
    "options": AgentDefinition("", ""),
}


def call(value):
    """Call a tool that gives back its argument."""

    async def echo(arguments):
        return answer(arguments["value"])

    return called(echo, {"value": value}, "toolu-2")


def raising(error):
    """Call a tool that raises `error`: who runs it keeps most of them to itself."""

    async def fail(_arguments):
        raise error

    logging.disable()  # a record of what broke would hold its streams, as the exception does
    try:
        called(fail, {}, "toolu-3")
    except BaseException as broken:  # noqa: BLE001  # it may be any
        broken.__traceback__ = error.__traceback__ = None
    finally:
        logging.disable(logging.NOTSET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    raise error


def named(name):
    """Call a tool of that name."""
    return through_messages(None, name)[1]


def schemas():
    """What a model is told of tools that are made just now, byte for byte."""

    return json.dumps(in_process([*map(made, FUNCTIONS)], "tools/list", {}))


# -- the situations of every framework -----------------------------------------------------------


def options(environment=None, **more):
    """How the command line is started."""
    return ClaudeAgentOptions(
        **{
            "env": ENVIRONMENT | (environment or {}),
            "cwd": HOME,
            "model": "scripted",
            "setting_sources": [],
            "mcp_servers": {"tools": SERVER},
            "allowed_tools": ALLOWED,
            "agents": {"helper": AgentDefinition(description="Helps.", prompt="Help.")},
            "extra_args": {"agent": "helper"},
            **more,
        }
    )


async def asking(text):
    """The user's one message: whoever is asked for permissions needs it as a stream."""
    message = {"role": "user", "content": text}
    yield {"type": "user", "message": message, "parent_tool_use_id": None, "session_id": "one"}


async def running(calls, **more):
    """One run, whose prompt names its script."""
    prompt = f"script {id(calls)}."
    SCRIPTS[prompt] = turns(calls)
    # Looked up now: some of those who trace it put another function there.
    async for _ in claude_agent_sdk.query(prompt=asking(prompt), options=options(**more)):
        pass


def run(calls, **more):
    return finished(running(calls, **more))


def streamed(calls):
    async def listening():
        SCRIPTS["streamed."] = turns(calls)
        async with ClaudeSDKClient(options(include_partial_messages=True)) as client:
            await client.query("streamed.")
            async for _ in client.receive_response():
                pass

    finished(listening())


async def refused(_name, _given, _context):
    return PermissionResultDeny(message="not today")


async def granted(_name, _given, _context):
    await asyncio.sleep(0.1)
    return PermissionResultAllow()


def delegated(calls):
    SCRIPTS["sums"] = turns([replace(INNER, turn=0)])
    researcher = AgentDefinition(description="Researches.", prompt="Research.", tools=ALLOWED)
    agents = options().agents | {"researcher": researcher}
    ground_truth.RAN.append(Execution("Task", DELEGATED, None))
    run(calls, agents=agents, allowed_tools=[*ALLOWED, "Task"])
    assert "sums" in HEARD


def at_once(calls):
    in_threads(run, calls)


def external(ran):
    """A server that the command line starts, whose tool writes a line for each of its runs."""
    command = [str(Path(__file__).with_name("claude_agent_sdk_server.py")), str(ran)]
    return {"type": "stdio", "command": sys.executable, "args": command}


def through_mcp(calls):
    ran = Path(HOME, "ran")
    run(calls, mcp_servers={"tools": external(ran)})
    for line in ran.read_text(encoding="utf-8").splitlines():
        ground_truth.RAN.append(Execution("mcp__tools__add", json.loads(line), None))
    ran.unlink()


def directly(calls):
    """The program calls what the decorator made of its function."""
    one = tool("add", "Add two numbers.", {"a": int, "b": int})(
        lambda given: ground_truth.add(**given)
    )
    one.handler(calls[0].arguments)


ALL = ground_truth.SITUATIONS
DELEGATED = {
    "description": "Sums.",
    "prompt": "sums",
    "subagent_type": "researcher",
    "run_in_background": False,
}
CALLS = {
    situation: tuple(replace(call, name=f"mcp__tools__{call.name}") for call in calls)
    for situation, calls in ALL.items()
}
INNER = replace(CALLS["agent as a tool"][1], path=("helper", "Task"))
CALLS["agent as a tool"] = asked("Task", DELEGATED), INNER
SITUATIONS = {
    "sync": run,
    "async": run,
    "streaming": streamed,
    "parallel": run,
    "raising": run,
    "soft error": run,
    "unknown tool": run,
    "invalid arguments": run,
    "cancelled": lambda calls: asyncio.run(cancelled(running(calls))),
    "timed out": lambda calls: run(calls, environment={"MCP_TOOL_TIMEOUT": "300"}),
    "approval refused": lambda calls: run(calls, allowed_tools=[], can_use_tool=refused),
    "approval granted later": lambda calls: run(calls, allowed_tools=[], can_use_tool=granted),
    "retry": run,
    "agent as a tool": delegated,
    "direct call": directly,
    "MCP tools": through_mcp,
    "200 calls at once": at_once,
}
GAPS = {
    "direct call": "`SdkMcpTool.handler` is the function itself: who calls it passes nothing of the SDK",
}

if __name__ == "__main__":
    ground_truth.show(sys.modules[__name__])
