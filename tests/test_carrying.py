"""What only an outer function knows reaches the calls below it, and threads keep the context."""

from __future__ import annotations

import sys
import types
from concurrent import futures
from contextvars import ContextVar, copy_context

import pytest

from toolspan.hooks import Adapter, Carrier, Hook, KeepContext, Placement
from toolspan.lifecycle import wrapper_for
from toolspan.toolcall import ToolCall


class Agent:
    """Knows ids where it takes a turn, and not where it executes a call."""

    threads = 8

    def turn(self, wishes):
        with futures.ThreadPoolExecutor(self.threads) as threads:
            done = [
                threads.submit(copy_context().run, self.execute, name, arguments)
                for name, arguments, _ in wishes
            ]
        yield [one.result() for one in done]

    def execute(self, name, arguments):
        if name == "outer":
            self.execute("inner", {"a": 1})
        return name


ADAPTER = Adapter(
    name="host",
    distribution="host",
    versions=">=1",
    words=(
        Hook(
            "host:Agent.execute", lambda given: ToolCall(given.get("name"), given.get("arguments"))
        ),
        Carrier("host:Agent.turn", lambda given: [ToolCall(*one) for one in wished(given)]),
        KeepContext("host:ThreadPoolExecutor"),
    ),
)


def wished(given):
    return [(name, arguments, None, id_) for name, arguments, id_ in given.get("wishes")]


@pytest.fixture
def host(traced, monkeypatch):
    """A framework of two functions and an executor, hooked."""
    module = types.ModuleType("host")
    module.Agent, module.ThreadPoolExecutor = Agent, futures.ThreadPoolExecutor
    monkeypatch.setitem(sys.modules, "host", module)
    module.placement = Placement(ADAPTER, wrapper_for)
    module.placement.place()
    yield module
    module.placement.remove()


def ids(traced):
    found = [
        (s.attributes["gen_ai.tool.name"], s.attributes.get("gen_ai.tool.call.id"))
        for s in traced.tools
    ]
    return sorted(found, key=str)


def test_of_equal_calls_in_parallel_each_has_an_id_of_its_own(host, traced):
    wishes = [("add", {"a": 1}, f"call-{number}") for number in range(20)]
    assert list(host.Agent().turn(wishes)) == [["add"] * 20]
    assert ids(traced) == sorted(("add", f"call-{number}") for number in range(20))


def test_a_call_that_nobody_expected_has_no_id(host, traced):
    (turn,) = host.Agent().turn([("add", {"a": 1}, "call-1")])
    host.Agent().execute("add", {"a": 1})
    assert turn == ["add"]
    assert ids(traced) == [("add", "call-1"), ("add", None)]


def test_a_tool_that_calls_another_takes_no_id_of_its_siblings(host, traced):
    agent = host.Agent()
    agent.threads = 1  # one after the other
    steps = agent.turn([("outer", {}, "call-1"), ("inner", {"a": 1}, "call-2")])
    assert list(steps) == [["outer", "inner"]]
    outer, nested, sibling = traced.tools
    assert nested.parent.span_id == outer.context.span_id
    assert sibling.parent is None
    assert ids(traced) == [("inner", "call-2"), ("inner", None), ("outer", "call-1")]
    assert sibling.attributes["gen_ai.tool.call.id"] == "call-2"


WORD = ContextVar("word", default="nothing")


def in_a_thread(module):
    with module.ThreadPoolExecutor(1) as threads:
        return threads.submit(WORD.get).result(), list(threads.map(lambda _: WORD.get(), "ab"))


def test_an_executor_keeps_the_context_until_the_hooks_are_gone(host):
    token = WORD.set("something")
    assert in_a_thread(host) == ("something", ["something"] * 2)
    assert in_a_thread(futures) == ("nothing", ["nothing"] * 2)
    host.placement.remove()
    assert host.ThreadPoolExecutor is futures.ThreadPoolExecutor
    assert in_a_thread(host) == ("nothing", ["nothing"] * 2)
    WORD.reset(token)


def test_a_module_that_calls_itself_by_another_name_is_hooked(host, traced):
    host.placement.remove()
    host.__name__ = "guest"  # as a module does that takes over the names of another
    host.placement.place()
    host.Agent().execute("add", {"a": 1})
    assert ids(traced) == [("add", None)]
