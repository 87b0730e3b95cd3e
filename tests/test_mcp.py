"""MCP calls in memory, client and server in this process, against what the tools wrote down."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import sys
import threading
from contextlib import contextmanager, nullcontext
from functools import partial

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.context import Context as EmptyContext
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

import toolspan
from conventions.check import violations
from programs import mcp_server
from programs.mcp_client import VERSION, connected, play
from toolspan.adapters import mcp_1, mcp_2, mcp_wire
from toolspan.settings import Settings, read_settings
from toolspan.testing.hostile import HOSTILE, LOOKS
from trees import compare_with_golden, tree_of

if VERSION == 1:
    from mcp.server.fastmcp import Context
else:
    from mcp.server.mcpserver import Context

MODES = {"memory": "auto"} if VERSION == 1 else {"direct": "auto", "legacy": "legacy"}
CANARY = "canary-7f3a"
ADD = {"tool": "add", "arguments": {"a": 1, "b": 2}}
BOOM = {"tool": "boom", "arguments": {"secret": CANARY}}
REFUSE = {"tool": "refuse", "arguments": {"reason": CANARY}}
SLOW = {"tool": "slow", "arguments": {"seconds": 5}}
BROWSE = {"browse": True}
#: Of the low-level server, which may fail as a protocol.
ECHO = {"tool": "echo", "arguments": {"text": CANARY}}
CODED = {"tool": "coded", "arguments": {"secret": CANARY}}
BROKEN = {"tool": "broken", "arguments": {"secret": CANARY}}
MISFIT = {"tool": "misfit"}
UNKNOWN = {"tool": "unknown"}

one = pytest.mark.skipif(VERSION != 1, reason="langchain-mcp-adapters needs MCP 1.x")
two = pytest.mark.skipif(VERSION != 2, reason="only MCP 2.x has telemetry of its own")


@pytest.fixture(params=MODES)
def mode(request):
    """How client and server meet: 2.x also calls the server directly, without any wire."""
    return MODES[request.param]


@pytest.fixture(autouse=True)
def ran(tmp_path, monkeypatch):
    """The names of the tools that ran, as the tools themselves wrote them down."""
    log = tmp_path / "calls"
    log.touch()
    monkeypatch.setenv("MCP_SERVER_CALLS", str(log))
    return lambda: log.read_text().split()


@pytest.fixture
def native(monkeypatch):
    """Send what the SDK itself traces to where our spans go."""

    def send(traced):
        if VERSION == 2:
            monkeypatch.setattr("mcp.shared._otel._tracer", traced.tracer("mcp-python-sdk"))
        return traced

    return send


@pytest.fixture
def both(trace_with, native):
    """Instrumentation, with the SDK's own telemetry into the same memory."""
    return lambda *names, **options: native(trace_with(*names, **options))


def talk(*steps, mode="auto", server=mcp_server.high_level):
    """Play `steps` with a server in memory, as a program that has no span of its own."""

    async def conversation():
        async with connected(server(), mode) as session:
            return [await play(session, step) for step in steps]

    return anyio.run(conversation)


low = partial(talk, server=mcp_server.low_level)


def serving(function):
    """A server with one tool."""

    def server():
        high = mcp_server.FastMCP("one tool")
        high.tool()(function)
        return high

    return server


def sides(traced):
    """The client's and the server's span of the only call, joined as they must be."""
    client, server = sorted(traced.tools, key=lambda span: span.kind.value, reverse=True)
    assert (client.kind, server.kind) == (SpanKind.CLIENT, SpanKind.SERVER)
    assert server.parent.span_id == client.context.span_id
    assert server.context.trace_id == client.context.trace_id
    return client, server


def both_say(traced, key):
    return tuple(span.attributes.get(key) for span in sides(traced))


def statuses(traced):
    return tuple(span.status.status_code.name for span in sides(traced))


def wire(spans):
    """The spans as they leave the process."""
    return encode_spans(spans).SerializeToString()


def native_shape(spans):
    """Everything that the SDK said, without ids and times; a stack shows who stood on it."""
    return sorted(
        (
            span.name,
            span.kind.name,
            json.dumps(dict(span.attributes), sort_keys=True),
            span.status.status_code.name,
            span.status.description or "",
            [(e.name, e.attributes.get("exception.message")) for e in span.events],
        )
        for span in spans
    )


# -- one call, two spans ------------------------------------------------------------------------


def test_a_call_is_one_client_span_and_one_server_span_below_it(both, mode, ran):
    traced = both()
    assert talk(ADD, mode=mode) == [{"failed": False, "text": "3"}]
    client, server = sides(traced)
    assert ran() == ["add"]
    assert client.name == server.name == "tools/call add"
    assert client.parent is None
    assert both_say(traced, "toolspan.outcome") == ("ok", "ok")
    assert violations(server) == []  # also where it is the SDK's own


def test_a_conversation_looks_as_a_person_expects_it(both, request, mode):
    traced = both()
    talk(ADD, BOOM, REFUSE, {"tool": "nobody"}, BROWSE, mode=mode)
    low(ECHO, CODED, BROKEN, UNKNOWN, mode=mode)
    # The SDK's own spans of notifications start when they happen to arrive.
    spans = [span for span in traced.spans if not span.name.startswith("notifications/")]
    compare_with_golden(f"mcp_{VERSION}_{request.node.callspec.id}", tree_of(spans))


def test_every_hook_found_its_place(traced):
    assert traced.spans == []
    talk()
    (mcp,) = [one for one in toolspan.status().frameworks if one.name == "mcp"]
    assert mcp.tested
    assert mcp.placed
    assert mcp.missing == ()


def test_the_trace_of_the_caller_goes_on(both, mode):
    traced = both()
    with traced.tracer().start_as_current_span("question") as question:
        talk(ADD, mode=mode)
    client, server = sides(traced)
    assert client.parent.span_id == question.get_span_context().span_id
    assert client.links == server.links == ()


def test_ten_calls_at_once_are_ten_pairs(both, mode, ran):
    traced = both()
    talk({**ADD, "times": 10}, mode=mode)
    assert ran() == ["add"] * 10
    clients = {s.context.span_id: s for s in traced.tools if s.kind is SpanKind.CLIENT}
    servers = [s for s in traced.tools if s.kind is SpanKind.SERVER]
    assert len(clients) == len(servers) == 10
    assert {server.parent.span_id for server in servers} == set(clients)
    for server in servers:  # a direct call has no wire, and its client no id
        asked = clients[server.parent.span_id].attributes.get("jsonrpc.request.id")
        assert asked in (None, server.attributes["jsonrpc.request.id"])


def test_what_is_no_tool_call_gets_no_span_of_ours(both, mode, ran):
    traced = both()
    talk(BROWSE, mode=mode)
    assert traced.tools == []
    assert {span.instrumentation_scope.name for span in traced.spans} <= {"mcp-python-sdk"}
    assert ran() == []


def test_the_servers_span_is_current_while_its_tool_runs(both, mode):
    def look() -> str:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return "seen"

    seen = []
    traced = both()
    talk({"tool": "look"}, mode=mode, server=serving(look))
    _, server = sides(traced)
    assert seen == [server.context.span_id]


def test_a_tool_that_asks_another_server_has_that_call_below_it(both, mode, ran):
    async def ask() -> str:
        async with connected(mcp_server.high_level(), mode) as session:
            return (await play(session, ADD))["text"]

    traced = both()
    assert talk({"tool": "ask"}, mode=mode, server=serving(ask))[0]["text"] == "3"
    assert ran() == ["add"]
    assert chain(traced) == ["CLIENT ask", "SERVER ask", "CLIENT add", "SERVER add"]


def test_a_server_that_hands_a_call_on_makes_a_call_of_its_own(both, mode, ran):
    async def add(a: int, b: int) -> str:
        async with connected(mcp_server.high_level(), mode) as session:
            return (await play(session, {"tool": "add", "arguments": {"a": a, "b": b}}))["text"]

    traced = both()
    assert talk(ADD, mode=mode, server=serving(add))[0]["text"] == "3"
    assert ran() == ["add"]
    assert chain(traced) == ["CLIENT add", "SERVER add", "CLIENT add", "SERVER add"]


def chain(traced):
    """The tool spans of a trace in which each has one child, from the root down."""
    children = {span.parent and span.parent.span_id: span for span in traced.tools}
    assert len(children) == len(traced.tools)
    found, parent = [], None
    while (span := children.get(parent)) is not None:
        found.append(f"{span.kind.name} {span.attributes['gen_ai.tool.name']}")
        parent = span.context.span_id
    return found


@two
def test_each_round_of_a_call_that_wants_more_input_is_a_call(both, mode):
    from mcp.types import InputRequiredResult

    async def call(_context, params):
        if params.request_state is None:
            return InputRequiredResult(request_state="once more")
        return mcp_server.result("done")

    traced = both()
    server = mcp_server.Server("asking", on_list_tools=mcp_server._list, on_call_tool=call)
    if mode == "legacy":
        pytest.skip("the handshake protocol knows no rounds")
    assert talk({"tool": "ask"}, mode=mode, server=lambda: server)[0]["text"] == "done"
    found = [(span.kind.name, span.attributes["toolspan.outcome"]) for span in traced.tools]
    assert found == [(k, o) for o in ("interrupted", "ok") for k in ("CLIENT", "SERVER")]


@two
def test_a_result_of_an_extensions_own_shape_is_a_result(both):
    from typing import Literal

    from mcp import Client
    from mcp.client.extension import ClientExtension, ResultClaim
    from mcp.types import Result

    class Ticket(Result):
        result_type: Literal["ticket"] = "ticket"

    class Tickets(ClientExtension):
        identifier = "com.example/tickets"

        def claims(self):
            return [ResultClaim(result_type="ticket", model=Ticket, resolve=resolve)]

    async def resolve(_ticket, _context):
        return mcp_server.result("done")

    async def call(_context, _params):
        return {"resultType": "ticket"}

    async def conversation():
        server = mcp_server.Server("later", on_list_tools=mcp_server._list, on_call_tool=call)
        async with Client(server, extensions=[Tickets()]) as session:
            return await play(session, {"tool": "wait"})

    traced = both()
    assert anyio.run(conversation)["text"] == "done"
    assert both_say(traced, "toolspan.outcome") == ("ok", "ok")


# -- how a call ends ----------------------------------------------------------------------------


@pytest.mark.parametrize("step", [BOOM, REFUSE, {"tool": "nobody"}], ids=lambda s: s["tool"])
def test_a_result_that_is_an_error_is_one_on_both_sides(both, mode, step):
    traced = both()
    assert talk(step, mode=mode)[0]["failed"]
    assert both_say(traced, "toolspan.outcome") == ("tool_error", "tool_error")
    assert both_say(traced, "error.type") == ("tool_error", "tool_error")
    assert statuses(traced) == ("ERROR", "ERROR")


@pytest.mark.parametrize("step", [CODED, UNKNOWN, MISFIT], ids=lambda step: step["tool"])
def test_an_error_of_the_protocol_has_its_code_on_both_sides(both, mode, step):
    traced = both()
    code = str(low(step, mode=mode)[0]["code"])
    assert both_say(traced, "error.type") == (code, code)
    assert both_say(traced, "rpc.response.status_code") == (code, code)
    assert statuses(traced) == ("ERROR", "ERROR")
    word = "invalid_arguments" if code == "-32602" else "error"
    assert both_say(traced, "toolspan.outcome") == (word, word)


def test_a_server_without_tools_refuses_with_its_code_on_both_sides(both, mode):
    traced = both()
    assert talk(ADD, mode=mode, server=lambda: mcp_server.Server("empty"))[0]["code"] == -32601
    assert both_say(traced, "error.type") == ("-32601", "-32601")
    assert both_say(traced, "rpc.response.status_code") == ("-32601", "-32601")
    assert statuses(traced) == ("ERROR", "ERROR")  # on a server's span a gap that is declared


def test_arguments_that_the_client_itself_refuses_never_reach_a_server(both, mode):
    async def wrong():
        async with connected(mcp_server.high_level(), mode) as session:
            with pytest.raises(ValueError, match="arguments") as caught:
                await session.call_tool("add", arguments="no mapping")
            return caught

    traced = both()
    kind = type(anyio.run(wrong).value)
    (client,) = traced.tools
    assert client.attributes["error.type"] == f"{kind.__module__}.{kind.__qualname__}"
    assert client.attributes["toolspan.outcome"] == "error"


def test_a_call_that_waited_too_long_is_a_timeout(both, mode, ran):
    traced = both()
    (answer,) = talk({**SLOW, "timeout": 0.2}, mode=mode)
    code = str(answer["code"])
    client, server = sides(traced)
    assert ran() == ["slow"]
    assert (client.attributes["toolspan.outcome"], client.status.status_code.name) == (
        "timeout",
        "ERROR",
    )
    assert client.attributes["error.type"] == client.attributes["rpc.response.status_code"] == code
    assert server.attributes["toolspan.outcome"] == "cancelled"
    assert server.status.status_code.name == "UNSET"


@pytest.mark.parametrize("how", ["scope", "task"])
def test_a_cancelled_call_is_cancelled_on_both_sides(both, mode, ran, how):
    async def cancelled_task():
        async with connected(mcp_server.high_level(), mode) as session:
            task = asyncio.create_task(play(session, SLOW))
            await until(ran)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    traced = both()
    if how == "scope":
        assert talk({**SLOW, "cancel": 0.2}, mode=mode) == ["cancelled"]
    else:
        anyio.run(cancelled_task)
    assert ran() == ["slow"]
    assert both_say(traced, "toolspan.outcome") == ("cancelled", "cancelled")
    assert statuses(traced) == ("UNSET", "UNSET")
    assert toolspan.stats()["slow"].in_flight == 0


@pytest.mark.skipif(VERSION != 1, reason="MCP 2.x tells the server of each cancelled call")
def test_a_call_that_the_client_takes_back_ends_at_the_server(both, ran):
    from mcp import types

    async def taken_back():
        async with connected(mcp_server.high_level()) as session:
            async with anyio.create_task_group() as group:
                group.start_soon(play, session, SLOW)
                await until(ran)
                (id_,) = session._response_streams
                back = types.CancelledNotification(params={"requestId": id_})
                await session.send_notification(types.ClientNotification(back))
            ended.extend(span.kind.name for span in traced.tools)

    ended = []
    traced = both()
    anyio.run(taken_back)
    assert sorted(ended) == ["CLIENT", "SERVER"]
    assert both_say(traced, "toolspan.outcome") == ("error", "cancelled")
    assert both_say(traced, "error.type") == ("0", None)


async def until(ran):
    for _ in range(500):
        if ran():
            return
        await anyio.sleep(0.01)
    raise TimeoutError


@two
def test_what_a_middleware_makes_of_a_good_result_is_how_the_call_ended(both, mode):
    async def refusing(context, call_next):
        result = await call_next(context)
        if context.method == "tools/call":
            raise mcp_server.protocol_error(-32050, "not today")
        return result

    def server():
        low_level = mcp_server.low_level()
        low_level.middleware.append(refusing)
        return low_level

    traced = both()
    assert talk(ECHO, mode=mode, server=server)[0]["code"] == -32050
    assert both_say(traced, "toolspan.outcome") == ("error", "error")
    assert both_say(traced, "error.type") == ("-32050", "-32050")


# -- texts --------------------------------------------------------------------------------------


@two
def test_without_us_the_servers_own_span_gives_the_secret_away(traced, native, mode):
    native(traced)
    toolspan.uninstrument()
    low(CODED, BROKEN, mode=mode)
    served = [span for span in traced.spans if span.name.startswith("tools/call")]
    assert len(served) == 2
    assert all(CANARY.encode() in wire([span]) for span in served)


def test_without_content_no_text_leaves_the_process(both, mode, ran):
    traced = both()
    talk(BOOM, REFUSE, mode=mode)
    answers = low(ECHO, CODED, BROKEN, mode=mode)
    assert CANARY in json.dumps(answers)
    assert ran() == ["boom", "refuse", "echo", "coded", "broken"]
    assert len(traced.tools) == 10
    assert CANARY.encode() not in wire(traced.spans)


def test_with_content_arguments_and_results_are_on_both_spans(both, mode):
    traced = both(settings=Settings(capture=True))
    talk(ADD, mode=mode)
    for span in sides(traced):
        assert json.loads(span.attributes["gen_ai.tool.call.arguments"]) == {"a": 1, "b": 2}
        assert json.loads(span.attributes["gen_ai.tool.call.result"]) == 3


def test_with_content_an_error_is_described_on_both_spans(both, mode):
    traced = both(settings=Settings(capture=True))
    low(CODED, mode=mode)
    assert [span.status.description for span in sides(traced)] == [f"the secret is {CANARY}"] * 2


# -- the SDK's own telemetry --------------------------------------------------------------------


@two
def test_the_clients_own_span_is_muted_and_the_servers_adopted(both, mode):
    traced = both()
    talk(ADD, mode=mode)
    client, server = sides(traced)
    assert client.instrumentation_scope.name == "toolspan"
    assert server.instrumentation_scope.name == "mcp-python-sdk"
    assert not [span for span in traced.spans if span.name == "MCP send tools/call add"]


@two
def test_where_only_we_have_a_provider_the_servers_span_is_ours(trace_with, monkeypatch, mode):
    monkeypatch.setattr("mcp.shared._otel._tracer", trace.NoOpTracer())  # as without a global one
    traced = trace_with()
    talk(ADD, mode=mode)
    assert [span.instrumentation_scope.name for span in sides(traced)] == ["toolspan", "toolspan"]


@two
def test_a_server_whose_own_telemetry_was_taken_out_has_one_span_all_the_same(both, mode):
    def silent():
        server = mcp_server.low_level()
        server.middleware.clear()
        return server

    traced = both()
    talk(ECHO, mode=mode, server=silent)
    client, server = sides(traced)
    assert server.instrumentation_scope.name == client.instrumentation_scope.name == "toolspan"
    if mode == "legacy":
        assert len(set(both_say(traced, "jsonrpc.request.id"))) == 1
    for step, code in ((CODED, "-32050"), (UNKNOWN, "-32602"), (MISFIT, "-32602")):
        traced.exporter.clear()
        talk(step, mode=mode, server=silent)
        assert both_say(traced, "error.type") == (code, code)


STEPS = (ECHO, CODED, BROKEN, UNKNOWN)


@two
@pytest.mark.parametrize("how", ["untraced", "disabled"])
def test_left_alone_the_sdks_own_spans_count_each_call_once_under_its_tools_name(both, how):
    disabled = read_settings({"TOOLSPAN_DISABLED": "mcp"})
    traced = both(settings=disabled if how == "disabled" else None)
    with toolspan.untraced() if how == "untraced" else nullcontext():
        low(ECHO, ECHO, CODED, mode="legacy")
    assert [s.name for s in traced.spans].count("MCP send tools/call echo") == 2
    sides = [("echo", "client", 2), ("echo", "server", 2)]
    sides += [("coded", "client", 1), ("coded", "server", 1)]
    counted = [(row.tool, row.side, row.calls) for row in toolspan.stats().rows()]
    assert sorted(counted) == sorted(sides)
    assert all(row.foreign == row.calls for row in toolspan.stats().rows())


@two
@pytest.mark.parametrize("name", ["add", "sums_add"])
def test_the_sdks_own_client_span_under_our_tool_of_that_call_is_not_counted_again(both, name):
    both(settings=read_settings({"TOOLSPAN_DISABLED": "mcp"}))
    assert under_a_tool(name, {}, "legacy") == "3"
    counted = [(row.tool, row.side, row.calls) for row in toolspan.stats().rows()]
    assert sorted(counted) == sorted([(name, "client", 1), ("add", "server", 1)])


@pytest.fixture
def untouched(native, mode):
    """What the SDK traces of `STEPS` without us, and what they gave."""
    from conftest import Traced

    plain = native(Traced())
    return low(*STEPS, mode=mode), native_shape(plain.spans)


def test_uninstrumented_everything_is_as_it_was(untouched, both, mode):
    traced = both()
    low(*STEPS, mode=mode)
    traced.exporter.clear()
    toolspan.uninstrument()
    assert (low(*STEPS, mode=mode), native_shape(traced.spans)) == untouched


def test_untraced_the_sdk_does_what_it_does_without_us(untouched, both, mode):
    traced = both()
    with toolspan.untraced():
        assert (low(*STEPS, mode=mode), native_shape(traced.spans)) == untouched
    assert all(row.foreign == row.calls for row in toolspan.stats().rows())


def test_disabled_by_its_variable_mcp_is_left_alone(untouched, both, mode):
    traced = both(settings=read_settings({"TOOLSPAN_DISABLED": "mcp"}))
    assert (low(*STEPS, mode=mode), native_shape(traced.spans)) == untouched


def test_the_host_gets_the_same_answers(untouched, both, mode):
    both()
    assert low(*STEPS, mode=mode) == untouched[0]


def test_uninstrument_puts_every_function_back(trace_with):
    adapter = (mcp_1, mcp_2)[VERSION - 1].ADAPTER
    paths = [path for word in adapter.words for path in (word.path, *getattr(word, "decide", ()))]
    before = [found(path) for path in paths]
    trace_with()
    assert not any(one is other for one, other in zip(before, map(found, paths), strict=True))
    toolspan.uninstrument()
    assert all(one is other for one, other in zip(before, map(found, paths), strict=True))


def found(path):
    module, _, names = path.partition(":")
    __import__(module)
    thing = sys.modules[module]
    for name in names.split("."):
        thing = inspect.getattr_static(thing, name)
    return thing


# -- numbers ------------------------------------------------------------------------------------


def test_each_side_is_counted_once(both, mode):
    both()
    talk(ADD, ADD, BOOM, mode=mode)
    for tool, outcome, times in (("add", "ok", 2), ("boom", "tool_error", 1)):
        for side in ("client", "server"):
            tally = toolspan.stats()[tool, None, side]
            assert (tally.calls, tally.outcomes[outcome]) == (times, times)
            assert tally.foreign == tally.in_flight == 0


def test_sampled_out_each_side_is_counted_all_the_same(both, mode, ran):
    traced = both(sampler=ALWAYS_OFF)
    talk(ADD, BOOM, mode=mode)
    assert ran() == ["add", "boom"]
    assert traced.spans == []
    counted = [(row.tool, row.side, row.calls) for row in toolspan.stats().rows()]
    assert sorted(counted) == [(t, s, 1) for t in ("add", "boom") for s in ("client", "server")]


# -- what a caller may do -----------------------------------------------------------------------


def test_what_the_caller_put_into_meta_arrives_beside_the_trace(both, mode):
    async def look(context: Context) -> str:
        meta = context.request_context.meta
        seen.update(meta.model_dump() if VERSION == 1 else meta)
        await context.report_progress(1, 2)
        return "seen"

    async def conversation():
        async with connected(serving(look)(), mode) as session:
            await session.call_tool("look", meta={"mine": "m" * 1_000_000}, progress_callback=note)

    async def note(*progress):
        reported.append(progress)

    seen, reported = {}, []
    traced = both(settings=Settings(capture=True))
    anyio.run(conversation)
    client, _ = sides(traced)
    assert seen["mine"] == "m" * 1_000_000
    assert format(client.context.span_id, "016x") in seen["traceparent"]
    assert reported == [(1, 2, None)]
    assert len(wire(traced.spans)) < 10_000


#: Without large ones, one that the SDK never comes back from, one that pytest cannot report, and
#: one that begins a call whenever the SDK looks at it, and never ends it.
LEFT_OUT = ("H6", "H4 endless", "H1 raising on all", "H8")
KINDS = [kind for kind in HOSTILE if not kind.startswith(LEFT_OUT)]
DOORS = {
    "argument": lambda session, value: session.call_tool("echo", {"text": value}),
    "arguments": lambda session, value: session.call_tool("echo", value),
    "name": lambda session, value: session.call_tool(value, {"text": "x"}),
    "meta": lambda session, value: session.call_tool("echo", {"text": "x"}, meta=value),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_value_goes_through_as_without_us(both, mode, kind):
    before = {door: through(door, kind, mode) for door in DOORS}
    traced = both(settings=Settings(capture=True, fingerprint_key=b"k" * 32))
    assert {door: through(door, kind, mode) for door in DOORS} == before
    ours = [span for span in traced.spans if span.instrumentation_scope.name == "toolspan"]
    assert len([span for span in ours if span.kind is SpanKind.CLIENT]) == len(DOORS)
    assert wire(ours)
    traced.exporter.clear()  # the check of names strips what was made of control characters


def through(door, kind, mode):
    """How a hostile value went through a door, and every look at it on the way."""

    async def conversation():
        async with connected(mcp_server.high_level(), mode) as session:
            LOOKS.clear()
            try:
                await DOORS[door](session, HOSTILE[kind]())
            except BaseException as error:  # noqa: BLE001  # some are meant to raise anything
                return type(error).__name__, list(LOOKS)
            return "through", list(LOOKS)

    return anyio.run(conversation)


@pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")
def test_behind_http_the_span_of_the_request_is_linked(both):
    traced = both()
    with listening(mcp_server.high_level().streamable_http_app(), traced.tracer("web")) as url:
        anyio.run(partial(over_http, url))
    client, server = sides(traced)
    requests = {s.context.span_id for s in traced.spans if s.instrumentation_scope.name == "web"}
    assert client.context.trace_id == server.context.trace_id
    if VERSION == 1:  # handles each message in the task of the session, where no request is current
        assert server.links == ()
    else:
        assert {link.context.span_id for link in server.links} < requests
        assert len(server.links) == 1
    gc.collect()  # the oldest MCP 1.x leaves streams open when its server ends


@pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")
def test_behind_http_the_server_tells_of_the_session_that_the_client_named(both):
    def noting(app):
        async def noted(scope, receive, send):
            named.update(v.decode() for n, v in scope.get("headers", ()) if n == b"mcp-session-id")
            await app(scope, receive, send)

        return noted

    named = set()
    traced = both()
    app = noting(mcp_server.high_level().streamable_http_app())
    with listening(app, traced.tracer("web")) as url:
        anyio.run(partial(over_http, url, "legacy"))
    _, server = sides(traced)
    assert {server.attributes["mcp.session.id"]} == named
    assert server.attributes["network.transport"] == "tcp"
    assert violations(server) == []
    gc.collect()  # the oldest MCP 1.x leaves streams open when its server ends


HEADERS = {
    "of another type": {"mcp-session-id": "s"},
    "that are no pairs": [b"mcp-session-id", (b"mcp-session-id",), (b"a", b"b", b"c"), None],
    "of text": [("mcp-session-id", "s")],
    "of other letters": [(b"mcp-session-id", b"\xff\n" * 500)],
}


@pytest.mark.parametrize("headers", HEADERS)
def test_hostile_headers_are_read_without_asking_them(headers):
    from mcp.shared.message import ServerMessageMetadata
    from starlette.requests import Request

    request = Request({"type": "http", "headers": HEADERS[headers]})
    found = mcp_wire.over_http(ServerMessageMetadata(request_context=request))
    assert found.pop("network.transport") == "tcp"
    assert found == ({} if headers != "of other letters" else {"mcp.session.id": "\xff " * 64})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_value_in_a_requests_place_is_not_looked_at(kind):
    from mcp.shared.message import ServerMessageMetadata

    value = HOSTILE[kind]()
    LOOKS.clear()
    assert mcp_wire.over_http(value) == {}
    assert mcp_wire.over_http(ServerMessageMetadata(request_context=value)) == {}
    assert LOOKS == []


async def over_http(url, mode="auto"):
    async with connected(url, mode) as session:
        await play(session, ADD)


@contextmanager
def listening(app, tracer):
    """An HTTP server that has a span for each request, as web frameworks' telemetry does."""
    import uvicorn

    async def spanned(scope, receive, send):
        if scope["type"] != "http":
            return await app(scope, receive, send)
        with tracer.start_as_current_span("POST /mcp", EmptyContext(), SpanKind.SERVER):
            return await app(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(spanned, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/mcp"
    server.should_exit = True
    thread.join()


# -- under another tool -------------------------------------------------------------------------


def test_a_call_under_a_tool_of_the_same_name_and_arguments_is_that_tools_span(both, mode, ran):
    async def conversation():
        async with connected(mcp_server.high_level(), mode) as session:

            @toolspan.tool
            async def add(a, b):
                return (await play(session, {"tool": "add", "arguments": {"a": a, "b": b}}))["text"]

            return await add(1, 2)

    traced = both()
    assert (anyio.run(conversation), ran()) == ("3", ["add"])
    assert chain(traced) == ["INTERNAL add", "SERVER add"]
    tool, server = traced.tools
    assert tool.attributes["mcp.method.name"] == "tools/call"
    if mode != "auto" or VERSION == 1:  # a direct call has no wire, and its client no id
        assert tool.attributes["jsonrpc.request.id"] == server.attributes["jsonrpc.request.id"]
    assert not [span for span in traced.spans if span.name == "MCP send tools/call add"]
    counted = [(row.tool, row.side, row.calls) for row in toolspan.stats().rows()]
    assert sorted(counted) == [("add", "client", 1), ("add", "server", 1)]


def under_a_tool(name, other, mode):
    """Let a tool of this name call `add`, with its own arguments and what is `other` in them."""

    async def conversation():
        async with connected(mcp_server.high_level(), mode) as session:

            @toolspan.tool(name=name)
            async def outer(a, b):
                step = {"tool": "add", "arguments": {"a": a, "b": b} | other}
                return (await play(session, step))["text"]

            return await outer(1, 2)

    return anyio.run(conversation)


def test_a_prefix_before_the_outer_name_makes_no_other_call_of_it(both, mode, ran):
    traced = both()
    assert (under_a_tool("sums_add", {}, mode), ran()) == ("3", ["add"])
    assert chain(traced) == ["INTERNAL sums_add", "SERVER add"]
    assert traced.tools[0].attributes["mcp.method.name"] == "tools/call"
    counted = [(row.tool, row.side, row.calls) for row in toolspan.stats().rows()]
    assert sorted(counted) == [("add", "server", 1), ("sums_add", "client", 1)]


@pytest.mark.parametrize(("name", "other"), [("x_add", {"b": 3}), ("readd", {}), ("add_x", {})])
def test_a_name_that_only_looks_prefixed_is_another_calls(both, mode, ran, name, other):
    traced = both()
    under_a_tool(name, other, mode)
    assert ran() == ["add"]
    assert chain(traced) == [f"INTERNAL {name}", "CLIENT add", "SERVER add"]


@pytest.mark.parametrize(("outer", "step"), [(None, ADD), (ADD["arguments"], {"tool": "add"})])
def test_a_prefix_without_arguments_to_compare_tells_nothing(both, mode, outer, step):
    async def conversation():
        async with connected(mcp_server.high_level(), mode) as session:
            with toolspan.call("sums_add", outer):
                await play(session, step)

    traced = both()
    anyio.run(conversation)
    assert chain(traced) == ["INTERNAL sums_add", "CLIENT add", "SERVER add"]


def under_langchain(use, **options):
    """Let `use` work with the tools of a server, made LangChain tools, and with the session."""
    pytest.importorskip("langchain_mcp_adapters", reason="no LangChain tools of MCP here")
    from langchain_mcp_adapters.tools import load_mcp_tools

    async def conversation():
        async with connected(mcp_server.high_level()) as session:
            tools = {tool.name: tool for tool in await load_mcp_tools(session, **options)}
            return await use(tools, session)

    return anyio.run(conversation)


def asked(step):
    """A tool call as a model asks for it."""
    return {"type": "tool_call", "id": "call_1", "name": step["tool"], "args": step["arguments"]}


@one
def test_a_call_under_a_langchain_tool_is_that_tools_span(traced, ran):
    async def use(tools, _session):
        return await tools["add"].ainvoke(asked(ADD))

    message = under_langchain(use)
    assert (message.content[0]["text"], ran()) == ("3", ["add"])
    tool, server = traced.tools
    assert (tool.name, tool.kind.name) == ("execute_tool add", "INTERNAL")
    assert tool.attributes["mcp.method.name"] == "tools/call"
    assert tool.attributes["gen_ai.tool.call.id"] == "call_1"
    assert (server.name, server.parent.span_id) == ("tools/call add", tool.context.span_id)
    assert tool.attributes["jsonrpc.request.id"] == server.attributes["jsonrpc.request.id"]
    assert toolspan.stats()["add", None, "client"].calls == 1
    assert toolspan.stats()["add", None, "server"].calls == 1


@one
def test_under_a_langchain_tool_with_its_servers_name_before_it_there_is_no_second_span(
    traced, ran
):
    async def use(tools, _session):
        return await tools["s_add"].ainvoke(asked({**ADD, "tool": "s_add"}))

    message = under_langchain(use, server_name="s", tool_name_prefix=True)
    assert (message.content[0]["text"], ran()) == ("3", ["add"])
    tool, server = traced.tools
    assert (tool.name, tool.kind.name) == ("execute_tool s_add", "INTERNAL")
    assert tool.attributes["mcp.method.name"] == "tools/call"
    assert (server.name, server.parent.span_id) == ("tools/call add", tool.context.span_id)
    assert tool.attributes["jsonrpc.request.id"] == server.attributes["jsonrpc.request.id"]


@one
def test_an_error_result_under_a_langchain_tool_is_that_tools_error(traced):
    async def use(tools, _session):
        tools["refuse"].handle_tool_error = True  # older ones raise it out of the tool
        return await tools["refuse"].ainvoke(asked(REFUSE))

    assert under_langchain(use).status == "error"
    tool, server = traced.tools
    assert tool.name == "execute_tool refuse"
    assert [span.status.status_code.name for span in (tool, server)] == ["ERROR", "ERROR"]
    assert [span.attributes["toolspan.outcome"] for span in (tool, server)] == ["tool_error"] * 2


@one
def test_a_body_that_swallows_an_error_result_does_not_hide_it(traced):
    async def use(_tools, session):
        async def refuse(reason: str) -> str:
            """Ask, and make light of the answer."""
            await session.call_tool("refuse", {"reason": reason})
            return "never mind"

        return await langchain_tool(refuse).ainvoke(REFUSE["arguments"])

    assert under_langchain(use) == "never mind"
    assert traced.outcomes == ["tool_error", "tool_error"]


def langchain_tool(function):
    from langchain_core.tools import tool

    return tool(function)


@one
def test_another_call_of_the_tools_body_is_a_call_of_its_own(traced, ran):
    async def use(_tools, session):
        async def add(a: int, b: int) -> str:
            """Add otherwise."""
            return (await play(session, {"tool": "add", "arguments": {"a": a, "b": b + 1}}))["text"]

        return await langchain_tool(add).ainvoke(ADD["arguments"])

    assert under_langchain(use) == "4"
    assert ran() == ["add"]
    assert chain(traced) == ["INTERNAL add", "CLIENT add", "SERVER add"]


@one
def test_of_three_calls_in_one_body_the_first_is_the_tools_own(traced, ran):
    async def use(_tools, session):
        async def add(a: int, b: int) -> str:
            """Add three times."""
            step = {"tool": "add", "arguments": {"a": a, "b": b}}
            return "".join([(await play(session, step))["text"] for _ in range(3)])

        return await langchain_tool(add).ainvoke(ADD["arguments"])

    assert under_langchain(use) == "333"
    assert ran() == ["add"] * 3
    compare_with_golden("mcp_three_calls_in_one_tool", traced.tree())


@one
def test_a_second_try_is_a_call_of_its_own_and_decides_how_the_tool_ended(traced, ran):
    async def use(_tools, session):
        async def slow(seconds: float) -> str:
            """Try again when it takes too long."""
            step = {"tool": "slow", "arguments": {"seconds": seconds}}
            first = await play(session, {**step, "timeout": 0.1})
            assert first["code"] == 408
            return (await play(session, step))["text"]

        return await langchain_tool(slow).ainvoke({"seconds": 0.3})

    assert under_langchain(use) == "at last"
    assert ran() == ["slow", "slow"]
    tool, first, second, again = traced.tools
    assert (tool.name, second.name) == ("execute_tool slow", "tools/call slow")
    assert first.parent.span_id == second.parent.span_id == tool.context.span_id
    assert again.parent.span_id == second.context.span_id
    assert second.attributes["toolspan.outcome"] == "ok"
    assert tool.attributes["toolspan.outcome"] == "ok"
