"""FastMCP in memory: one CLIENT and one SERVER span a call, with and without its own telemetry."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from collections import Counter
from itertools import pairwise
from pkgutil import resolve_name

import pytest
from opentelemetry import context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

import ground_truth
import toolspan
from ground_truth import RAN, noted
from toolspan.settings import Settings

fastmcp = pytest.importorskip("fastmcp")
from fastmcp import telemetry  # noqa: E402  # where it is installed
from fastmcp.exceptions import ToolError  # noqa: E402
from fastmcp.server import create_proxy  # noqa: E402
from fastmcp.server import telemetry as server_telemetry  # noqa: E402
from fastmcp.server.middleware.error_handling import RetryMiddleware  # noqa: E402

SECRET = "canary-77aa"


@noted
def complain(reason: str) -> str:
    """Fail, and tell the client why."""
    raise ToolError(reason)


@pytest.fixture
def server():
    made = fastmcp.FastMCP("sums")
    for function in (ground_truth.add, ground_truth.add_async, ground_truth.boom, complain):
        made.tool(function)
    made.tool(ground_truth.nap)
    RAN.clear()
    return made


@pytest.fixture(params=["plain", "native"])
def start(request, trace_with, monkeypatch):
    """Instrument; with FastMCP's own spans going to the same provider, or to none."""

    def started(**options):
        traced = trace_with(**options)
        if request.param == "native":
            tracer = traced.tracer("fastmcp")
            monkeypatch.setattr(telemetry, "otel_get_tracer", lambda *_: tracer)
        return traced

    # On the MCP SDK 1.x the server's own span is begun inside the request's, which has ours.
    started.scope = {"plain": "toolspan", "native": "fastmcp"}[request.param]
    started.server = started.scope if hasattr(server_telemetry, "seam_span") else "toolspan"
    return started


def calls(server, *asked, **options):
    """Let a client make the calls, one after the other."""

    async def main():
        async with fastmcp.Client(server) as client:
            for name, arguments in asked:
                await client.call_tool(name, arguments, raise_on_error=False, **options)

    asyncio.run(main())


def sides(traced):
    """The spans of each side."""
    tools = traced.tools
    client = [span for span in tools if span.kind is SpanKind.CLIENT]
    server = [span for span in tools if span.kind is SpanKind.SERVER]
    assert len(client) + len(server) == len(tools)
    return client, server


def joined(traced):
    """The sides of the one call, which are one trace."""
    (client,), (server,) = sides(traced)
    assert client.parent is None
    assert server.parent.span_id == client.context.span_id
    assert server.context.trace_id == client.context.trace_id
    return client, server


ENDINGS = {
    "sync": ("add", ground_truth.ONE_AND_TWO, "ok", 1),
    "async": ("add_async", ground_truth.ONE_AND_TWO, "ok", 1),
    "raising": ("boom", {"reason": SECRET}, "tool_error", 1),
    "soft error": ("complain", {"reason": SECRET}, "tool_error", 1),
    "unknown tool": ("delete", {"everything": SECRET}, "tool_error", 0),
    "invalid arguments": ("add", {"a": SECRET}, "tool_error", 0),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_call_is_one_client_span_and_one_server_span_in_one_trace(start, server, ending):
    name, arguments, outcome, ran = ENDINGS[ending]
    traced = start()
    calls(server, (name, arguments))
    client, serving = joined(traced)
    assert [span.attributes["toolspan.outcome"] for span in (client, serving)] == [outcome] * 2
    assert [span.name for span in (client, serving)] == [f"tools/call {name}"] * 2
    assert serving.instrumentation_scope.name == start.server
    assert client.instrumentation_scope.name == start.scope
    failed = outcome != "ok"
    for span in (client, serving):
        assert span.status.is_ok is not failed
        assert span.attributes.get("error.type") == ("tool_error" if failed else None)
    assert len(RAN) == ran
    assert [execution.span_id for execution in RAN] == [serving.context.span_id] * ran


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_content_no_text_of_a_call_is_exported(start, server, ending):
    traced = start()
    calls(server, ENDINGS[ending][:2])
    assert SECRET.encode() not in encode_spans(traced.spans).SerializeToString()


def test_with_content_both_sides_say_what_was_asked_and_answered(start, server):
    traced = start(settings=Settings(capture=True))
    calls(server, ("add", ground_truth.ONE_AND_TWO))
    for span in joined(traced):
        assert span.attributes["gen_ai.tool.call.arguments"] == '{"a":1,"b":2}'
        assert span.attributes["gen_ai.tool.call.result"] == "3"


def test_its_own_spans_say_with_us_what_they_say_without_us(trace_with, server, monkeypatch):
    def act():
        traced = trace_with()
        monkeypatch.setattr(telemetry, "otel_get_tracer", lambda *_: traced.tracer("fastmcp"))
        return traced

    alone = act()
    toolspan.uninstrument()
    calls(server, ("add", ground_truth.ONE_AND_TWO))
    with_us = act()
    calls(server, ("add", ground_truth.ONE_AND_TWO))
    for theirs, ours in zip(sides(alone), sides(with_us), strict=True):
        (before,), (after,) = theirs, ours
        assert before.instrumentation_scope.name == "fastmcp"
        assert before.name == after.name
        ids = {"mcp.session.id"}  # in memory it is new for each request
        assert before.attributes.keys() - ids <= after.attributes.keys()


def test_calls_at_once_are_a_pair_of_spans_each(start, server):
    async def main():
        async with fastmcp.Client(server) as client:
            await asyncio.gather(
                *(client.call_tool("add_async", {"a": n, "b": 1}) for n in range(200))
            )

    traced = start()
    asyncio.run(main())
    client, serving = sides(traced)
    assert (len(RAN), len(client), len(serving)) == (200, 200, 200)
    assert {s.parent.span_id for s in serving} == {s.context.span_id for s in client}
    assert Counter(traced.outcomes) == {"ok": 400}
    assert {e.span_id for e in RAN} == {s.context.span_id for s in serving}


def test_a_call_that_takes_too_long_is_a_timeout(start, server):
    traced = start()
    with contextlib.suppress(Exception):  # each version has its own
        calls(server, ("nap", {}), timeout=0.05)
    client, _ = sides(traced)
    assert [span.attributes["toolspan.outcome"] for span in client] == ["timeout"]


#: Functions on which both adapters have a layer, and one that only the SDK's has.
SHARED = (
    "mcp.server.runner:ServerRunner._on_request",
    "mcp.client.session:ClientSession.call_tool",
)


@pytest.mark.parametrize("seed", range(12))
def test_whoever_was_on_before_a_call_is_a_pair_of_spans_and_later_no_layer_is_left(
    trace_with, server, monkeypatch, seed
):
    choose = random.Random(seed)
    owners = [resolve_name(path.rpartition(".")[0]) for path in SHARED if _is_there(path)]
    names = [path.rpartition(".")[2] for path in SHARED if _is_there(path)]
    originals = [vars(owner)[name] for owner, name in zip(owners, names, strict=True)]
    before = originals[:]
    for _ in range(6):
        act = choose.choice(["fastmcp", "mcp", "all", "patch", "off"])
        if act == "patch":
            at = choose.randrange(len(owners))
            before[at] = passing(owners[at], names[at], choose.choice([True, False]), monkeypatch)
        elif act == "off":
            toolspan.uninstrument()
            for owner, name, function in zip(owners, names, before, strict=True):
                assert vars(owner)[name] is function
        else:
            trace_with(*([] if act == "all" else [act]))
    traced = trace_with()
    calls(server, ("add", ground_truth.ONE_AND_TWO))
    joined(traced)
    toolspan.uninstrument()
    monkeypatch.undo()  # which puts back what was there: a layer of ours, where one was
    for owner, name, function in zip(owners, names, originals, strict=True):
        setattr(owner, name, function)


def _is_there(path):
    try:
        resolve_name(path)
    except (ImportError, AttributeError):
        return False
    return True


def passing(owner, name, says_so, monkeypatch):
    """Somebody's patch of a coroutine function, that says around what it is or does not."""
    function = getattr(owner, name)

    async def passed(*args, **kwargs):
        return await function(*args, **kwargs)

    patch = functools.wraps(function)(passed) if says_so else passed
    monkeypatch.setattr(owner, name, patch)
    return patch


def test_a_call_that_is_cancelled_says_so(start, server):
    async def main():
        async with fastmcp.Client(server) as client:
            await ground_truth.cancelled(client.call_tool("nap"))

    traced = start()
    asyncio.run(main())
    client, _ = sides(traced)
    assert [span.attributes["toolspan.outcome"] for span in client] == ["cancelled"]
    assert client[0].status.status_code is StatusCode.UNSET


def test_below_a_frameworks_tool_of_that_name_it_is_the_same_call(start, server):
    async def main():
        async with fastmcp.Client(server) as client:
            with toolspan.call("add", ground_truth.ONE_AND_TWO):
                await client.call_tool("add", ground_truth.ONE_AND_TWO)

    traced = start()
    asyncio.run(main())
    ours, serving = traced.tools
    assert (ours.name, ours.kind) == ("execute_tool add", SpanKind.INTERNAL)
    assert serving.parent.span_id == ours.context.span_id


def test_a_tool_of_a_mounted_server_has_no_span_more(start, server):
    outer = fastmcp.FastMCP("outer")
    outer.mount(server, namespace="inner")
    traced = start()
    calls(outer, ("inner_add", ground_truth.ONE_AND_TWO))
    client, serving = joined(traced)
    assert client.name == serving.name == "tools/call inner_add"
    assert len(RAN) == 1


DIRECTLY = {
    "sync": ("add", ground_truth.ONE_AND_TWO, "ok", None),
    "raising": ("boom", {"reason": SECRET}, "error", "ValueError"),
    "soft error": ("complain", {"reason": SECRET}, "tool_error", "fastmcp.exceptions.ToolError"),
    "unknown tool": ("delete", {}, "unknown_tool", "fastmcp.exceptions.NotFoundError"),
    "invalid arguments": ("add", {"a": SECRET}, "invalid_arguments", None),
}


@pytest.mark.parametrize("ending", DIRECTLY)
def test_a_tool_that_the_program_lets_its_server_run_is_one_span(start, server, ending):
    name, arguments, outcome, error = DIRECTLY[ending]
    traced = start()
    with contextlib.suppress(Exception):  # the span is asked for it
        asyncio.run(server.call_tool(name, arguments))
    (span,) = traced.tools
    assert (span.name, span.kind) == (f"execute_tool {name}", SpanKind.INTERNAL)
    assert span.attributes["toolspan.outcome"] == outcome
    assert error is None or span.attributes["error.type"] == error
    assert SECRET.encode() not in encode_spans(traced.spans).SerializeToString()


def test_a_tool_that_lets_its_server_run_another_is_a_call_with_a_call_below(start, server):
    @server.tool
    async def double(a: int) -> int:
        """Add a number to itself."""
        return (await server.call_tool("add", {"a": a, "b": a})).structured_content["result"]

    traced = start()
    calls(server, ("double", {"a": 2}))
    client, serving, inner = traced.tools
    assert [span.name for span in traced.tools] == [
        "tools/call double",
        "tools/call double",
        "execute_tool add",
    ]
    assert inner.parent.span_id == serving.context.span_id
    assert serving.parent.span_id == client.context.span_id
    assert [execution.span_id for execution in RAN] == [inner.context.span_id]
    assert serving.attributes["fastmcp.component.key"].startswith("tool:double")


def test_what_a_servers_middleware_tries_again_is_a_span_below_the_request(start, server):
    tries = []

    @server.tool
    def flaky() -> str:
        """Fail once."""
        tries.append(get_current_span().get_span_context().span_id)
        if len(tries) == 1:
            raise ConnectionError
        return "fine"

    server.add_middleware(RetryMiddleware(base_delay=0, retry_exceptions=(Exception,)))
    traced = start()
    calls(server, ("flaky", {}))
    client, serving, again = traced.tools
    assert [span.kind.name for span in traced.tools] == ["CLIENT", "SERVER", "INTERNAL"]
    assert tries == [serving.context.span_id, again.context.span_id]
    assert traced.outcomes == ["ok", "ok", "ok"]
    assert serving.parent.span_id == client.context.span_id


def test_a_server_that_passes_on_has_a_client_and_no_span_beside_it(start, server):
    traced = start()
    calls(create_proxy(server), ("add", ground_truth.ONE_AND_TWO))
    client, serving = sides(traced)
    assert (len(client), len(serving), len(RAN)) == (2, 2, 1)
    assert len({span.context.trace_id for span in traced.tools}) == 1
    parents = {span.context.span_id: span.parent and span.parent.span_id for span in traced.spans}
    depth = [span.context.span_id for span in traced.tools]
    assert all(above(below, parents) >= {over} for over, below in pairwise(depth))


def above(span_id, parents):
    """Everything around a span."""
    found = set()
    while (span_id := parents.get(span_id)) is not None:
        found.add(span_id)
    return found


def test_after_a_call_the_context_is_what_it_was(start, server):
    async def main():
        async with fastmcp.Client(server) as client:
            before = context.get_current()
            await client.call_tool("add", ground_truth.ONE_AND_TWO)
            return before, context.get_current()

    start()
    before, after = asyncio.run(main())
    assert before == after
