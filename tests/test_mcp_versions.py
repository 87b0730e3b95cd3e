"""A client of this major version of the MCP SDK meets a server of the other, in its own world.

The interpreter of the other environment is TOOLSPAN_PEER_PYTHON; run there, with ours as its peer,
these tests are about the reverse. Both worlds have toolspan, and neither program knows of it.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from programs.mcp_client import VERSION
from programs.mcp_conversation import converse

PEER = os.environ.get("TOOLSPAN_PEER_PYTHON")
CANARY = "canary-7f3a"
ADD = {"tool": "add", "arguments": {"a": 1, "b": 2}}
STEPS = [
    ADD,
    {"tool": "boom", "arguments": {"secret": CANARY}},
    {"tool": "slow", "arguments": {"seconds": 0.4}, "timeout": 0.1},
    {**ADD, "times": 3},
    {"browse": True},
    {"tool": "slow", "arguments": {"seconds": 0.5}},
]

pytestmark = pytest.mark.skipif(
    PEER is None, reason="TOOLSPAN_PEER_PYTHON names no interpreter with the other MCP SDK"
)


@pytest.fixture(scope="module", params=["stdio", "http"])
def met(request, tmp_path_factory):
    """A conversation between the versions."""
    return converse(STEPS, request.param, tmp_path_factory.mktemp("met"), server=PEER)


def test_the_peer_has_the_other_version():
    asked = "from importlib.metadata import version; print(version('mcp'))"
    done = subprocess.run([PEER, "-c", asked], capture_output=True, text=True, check=True)
    assert int(done.stdout.partition(".")[0]) == 3 - VERSION


def test_each_call_is_one_client_and_one_server_span_in_one_trace(met):
    assert met.ran == ["add", "boom", "slow", "add", "add", "add", "slow"]
    clients, servers = met.tools("CLIENT"), met.tools("SERVER")
    assert len(clients) == len(servers) == len(met.ran)
    for client, server in met.pairs():
        assert client.name == server.name
        assert client.trace_id == server.trace_id
        assert client.attributes["jsonrpc.request.id"] == server.attributes["jsonrpc.request.id"]
    assert {span.resource["service.name"] for span in clients} == {"asker"}
    assert {span.resource["service.name"] for span in servers} == {"server"}
    assert {span.scope for span in clients} == {"toolspan"}


def test_an_error_is_one_on_both_sides(met):
    for span in met.pairs("boom")[0]:
        assert (span.status, span.attributes["error.type"]) == ("ERROR", "tool_error")


def test_a_call_that_waited_too_long_is_a_timeout_and_only_2_x_tells_the_server(met):
    late, good = met.pairs("slow")
    word = "ok" if VERSION == 1 else "cancelled"  # a client of MCP 1.x goes away without a word
    assert [span.attributes["toolspan.outcome"] for span in late] == ["timeout", word]
    assert [span.attributes["toolspan.outcome"] for span in good] == ["ok", "ok"]


def test_both_tell_of_the_protocol_that_they_agreed_on(met):
    (client, server), *_ = met.pairs("add")
    agreed = server.attributes["mcp.protocol.version"]
    # A client's session of MCP 1.x drops the answer to its handshake.
    assert client.attributes.get("mcp.protocol.version") == (None if VERSION == 1 else agreed)


def test_no_text_leaves_a_process(met):
    assert CANARY.encode() not in met.raw
