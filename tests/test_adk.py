"""Google ADK beside its own telemetry, which has no switch, as it is where a provider is set."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

import ground_truth
import toolspan
from ground_truth import act, asked, calls_of, differences, tool_spans
from toolspan.settings import Settings

program = pytest.importorskip("programs.google_adk_program")

OWN = [name for name in program.SITUATIONS if name not in program.GAPS]
THEIRS = "gcp.vertex.agent"
CONTENT = (b"no such city", b"broken", b"sums", b'one"')


@pytest.fixture
def native(trace_with, monkeypatch):
    """Instrument, with ADK's spans going to the same provider."""

    def start(**options):
        traced = trace_with(**options)
        tracer = traced.tracer(THEIRS)
        monkeypatch.setattr(program.tracing.tracer, "_real_tracer", tracer)
        return traced

    return start


@pytest.mark.parametrize("situation", OWN)
def test_beside_its_own_telemetry_the_spans_are_what_the_tools_wrote_down(native, situation):
    traced = native(settings=Settings(capture=True))
    act(program, situation)
    calls = calls_of(program, situation)
    assert differences(calls, traced.spans) == []
    scope = "toolspan" if situation == "direct call" else THEIRS  # which nobody else traces
    assert {span.instrumentation_scope.name for span in tool_spans(traced.spans)} == {scope}


def test_its_own_span_says_with_us_what_it_says_without_us(native):
    alone = native()
    toolspan.uninstrument()
    act(program, "sync")
    traced = native()
    act(program, "sync")
    (theirs,), (adopted,) = tool_spans(alone.spans), tool_spans(traced.spans)
    assert theirs.name == adopted.name
    assert theirs.attributes.keys() <= adopted.attributes.keys()
    assert theirs.attributes["gen_ai.tool.type"] == "FunctionTool"
    assert adopted.attributes["gen_ai.tool.type"] == "function"


@pytest.mark.parametrize("told", ["raising", "soft error", "invalid arguments", "agent as a tool"])
def test_without_content_none_of_its_texts_is_on_a_tools_span(native, told):
    traced = native()
    act(program, told)
    assert tool_spans(traced.spans)
    exported = encode_spans(tool_spans(traced.spans)).SerializeToString()
    assert [text for text in CONTENT if text in exported] == []


class Error:
    """What a tool may put beside the word, and nobody is to look at."""

    def __bool__(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("error", "word"), [(Error(), "tool_error"), ("no", "tool_error"), ("", "ok"), (None, "ok")]
)
def test_an_error_in_what_a_tool_gives_is_no_more_than_seen(traced, error, word):
    value = {"error": error}
    assert program.DOORS["injected"](value) is value
    assert traced.outcomes == [word]


@pytest.mark.parametrize(("decision", "word"), [(True, "ok"), (False, "denied")])
def test_a_call_that_waits_for_a_person_did_not_run(traced, decision, word):
    ground_truth.RAN.clear()
    careful = program.FunctionTool(ground_truth.add, require_confirmation=True)
    call = asked("add", ground_truth.ONE_AND_TWO)
    program.asyncio.run(program.reviewed([call], decision, careful))
    assert traced.outcomes == ["interrupted", word]
    assert len(ground_truth.RAN) == int(decision)


def test_a_tool_that_streams_in_a_live_session_is_one_call(native):
    """The call ends with an answer that is pending; the body goes on in a task."""
    live_request_queue = pytest.importorskip("google.adk.agents.live_request_queue")
    from google.adk.models.base_llm_connection import BaseLlmConnection

    ran, over = [], asyncio.Event()

    async def watch(price: int):
        """Tell of a price, again and again."""
        ran.append(trace.get_current_span().get_span_context().span_id)
        yield price
        over.set()

    watch.__annotations__ = {"price": int}

    class Voice(BaseLlmConnection):
        """Asks for the tool, and is done when that is."""

        async def receive(self):
            parts = [program.types.Part(function_call=program.wish(asked("watch", {"price": 1})))]
            content = program.types.Content(role="model", parts=parts)
            yield program.LlmResponse(content=content)
            await over.wait()
            yield program.LlmResponse(content=program.text("done"), turn_complete=True)
            await asyncio.sleep(60)

        async def nothing(self, *_args, **_options):
            """Do nothing."""

        send_history = send_content = send_realtime = close = nothing

    class Speaking(program.Scripted):
        @asynccontextmanager
        async def connect(self, _request):
            yield Voice()

    async def main():
        model = Speaking(model="scripted", script=[])
        runner = program.InMemoryRunner(program.LlmAgent(name="helper", model=model, tools=[watch]))
        session = await program.session_of(runner)
        events = runner.run_live(
            user_id="me",
            session_id=session.id,
            live_request_queue=live_request_queue.LiveRequestQueue(),
        )
        async with aclosing(events):
            async for event in events:
                if event.turn_complete:
                    break

    traced = native()
    asyncio.run(asyncio.wait_for(main(), 20))
    (span,) = tool_spans(traced.spans)
    assert (span.attributes["gen_ai.tool.name"], traced.outcomes) == ("watch", ["ok"])
    assert ran == [span.context.span_id]
    assert toolspan.stats()["watch"].calls == 1
