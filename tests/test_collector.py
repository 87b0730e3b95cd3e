"""The default Collector with Jaeger and Prometheus: what is sent in is what they answer.

One stack for the file; each test has a service of its own.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
import urllib.request

import pytest

from backends import CONFIG, OPENER, VARIANTS, Collector, Stack, get, needs_binaries, plain, until
from sender import SECOND, Sender, make_span, new_trace, request, send_grpc, tool_span

pytestmark = needs_binaries()

KINDS = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3}
SECRET = "sk-" + "a1B2c3D4" * 4
LIMIT = 64_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="module")
def sender(stack):
    with Sender(stack.collector) as connection:
        yield connection


def arrived(stack, trace, count=1):
    """The spans of a trace by name, as soon as Jaeger has that many."""
    spans = until(lambda: enough(stack.jaeger.spans(trace.hex()), count), 10)
    assert spans, f"{len(stack.jaeger.spans(trace.hex()))} of {count} spans"
    return {span["name"]: span for span in spans}


def enough(found, count):
    return found if len(found) >= count else None


def counted(stack, expression, number):
    """The sum over all series of a counter, once it has reached `number`, else what it is."""
    until(lambda: total(stack, expression) >= number, 10)
    return total(stack, expression)


def total(stack, expression):
    return sum(value for _, value in stack.prometheus.ask(expression))


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_valid_and_starts_without_a_complaint(variant, tmp_path, stack):
    places = {"JAEGER_OTLP_GRPC": stack.jaeger.otlp, "OTELCOL_GATEWAY": stack.collector.grpc}
    collector = Collector(tmp_path, variant, **places, OTELCOL_GATEWAY_INSECURE="true")
    assert collector.validate() == (0, "")
    assert collector.start() < 5
    assert collector.stop() == 0
    assert collector.complaints() == []


def test_a_wrong_key_is_named_by_the_collector_which_does_not_start(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("receivers: {otlp: {protocols: {grpc: {endpoimt: x}}}}")
    collector = Collector(tmp_path, "default", wrong)
    code, words = collector.validate()
    assert code == 1
    assert "endpoimt" in words
    with pytest.raises(AssertionError, match="endpoimt"):
        collector.start()


def test_a_file_that_is_wrong_is_named_with_the_collectors_own_words(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("receivers: {otlp: {protocols: {grpc: {endpoimt: x}}}}")
    command = [sys.executable, str(CONFIG / "check.py")]
    done = subprocess.run([*command, str(wrong)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{wrong}: Error:" in done.stdout
    assert "has invalid keys: endpoimt" in done.stdout
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(": ok\n") == 18


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_a_span_arrives_attribute_by_attribute(way, stack, sender):
    trace = new_trace()
    attributes = {
        "gen_ai.tool.call.id": "call_1",
        "gen_ai.tool.call.result": "größer ✓\n'quoted' \"text\"",
        "toolspan.result.size": 20,
        "toolspan.wait": 0.25,
        "toolspan.stream.complete": False,
        "zero": 0,
        "negative": -(2**62),
        "empty": "",
    }
    root = make_span(trace, "invoke_agent a", attributes={"gen_ai.agent.name": "a"})
    call = tool_span(
        trace, "search", parent=root.span_id, kind="CLIENT", attributes=attributes,
        error="no such file", events=[("retry", {"number": 2})], links=[(new_trace(), b"12345678")],
    )  # fmt: skip
    message = request("by-" + way, [root, call], **{"service.version": "1.2"})
    if way == "grpc":
        send_grpc(stack.collector, message)
    else:
        assert sender.status(message) == 200
    found = arrived(stack, trace, 2)
    assert "parentSpanId" not in found["invoke_agent a"]
    got = found["execute_tool search"]
    assert got["attributes"] == attributes | {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "toolspan.outcome": "error",
        "error.type": "ValueError",
    }
    assert got["resource"] == {"service.name": "by-" + way, "service.version": "1.2"}
    assert (got["kind"], got["status"]) == (KINDS["CLIENT"], {"message": "no such file", "code": 2})
    assert got["parentSpanId"] == root.span_id.hex()
    assert int(got["startTimeUnixNano"]) == call.start_time_unix_nano
    assert int(got["endTimeUnixNano"]) == call.end_time_unix_nano
    assert [(e["name"], plain(e["attributes"])) for e in got["events"]] == [
        ("retry", {"number": 2})
    ]
    assert got["links"][0]["traceId"] == call.links[0].trace_id.hex()
    assert got["scope"]["name"] == "toolspan"


def test_a_call_is_visible_within_five_seconds_of_its_end(stack, sender):
    trace = new_trace()
    sender.deliver(request("visible", [tool_span(trace, "x")]))
    sent = time.monotonic()
    arrived(stack, trace)
    assert time.monotonic() - sent < 5


def test_secrets_are_masked_wherever_they_stand(stack, sender):
    trace = new_trace()
    texts = {
        "gen_ai.tool.call.arguments": {"password": "geheim-1", "deep": [{"api_key": "geheim-2"}]},
        "gen_ai.tool.call.result": json.dumps({"auth_token": 'geheim-3 " geheim-3', "kept": "yes"}),
        "http.request.header.authorization": "geheim-4",
        "note": f"the key is {SECRET}",
        "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIgeheim-5\n-----END RSA PRIVATE KEY-----",
        "words": "ghp_" + "x" * 36,
        "harmless": "risk-assessment-of-a-mask-collection",
        "gen_ai.usage.input_tokens": 12,
    }
    span = tool_span(
        trace, "x", attributes=texts, error=f"401 for {SECRET}",
        events=[("exception", {"exception.message": f"bad key {SECRET}"})],
    )  # fmt: skip
    span.name = f"execute_tool {SECRET}"
    sender.deliver(request("secretive", [span], **{"deployment.key": SECRET}))
    found = arrived(stack, trace)
    got = found["execute_tool [redacted]"]["attributes"]
    assert json.loads(got["gen_ai.tool.call.arguments"]) == {
        "password": "[redacted]",
        "deep": [{"api_key": "[redacted]"}],
    }
    assert json.loads(got["gen_ai.tool.call.result"]) == {"auth_token": "[redacted]", "kept": "yes"}
    assert got["gen_ai.usage.input_tokens"] == 12
    assert got["harmless"] == texts["harmless"]
    assert found["execute_tool [redacted]"]["status"]["message"] == "401 for [redacted]"
    counted(stack, 'traces_span_metrics_calls_total{service_name="secretive"}', 1)
    everywhere = json.dumps(found) + get(f"http://{stack.collector.scraped}/metrics").decode()
    for secret in (SECRET, "geheim", "ghp_x"):
        assert secret not in everywhere


OVERSIZE = {
    "an attribute": {"attributes": {"big": "ü" * 150_000}},
    "a list": {"attributes": {"big": ["x" * 40_000, "y" * 40_000]}},
    "a map": {"attributes": {"big": {"deep": {"er": "x" * 150_000}}}},
    "a message": {"error": "x" * 150_000},
    "an event": {"events": [("exception", {"exception.stacktrace": "x" * 150_000})]},
}


def test_values_too_large_for_badger_are_cut_and_hold_up_nothing(stack, sender):
    traces = {place: new_trace() for place in [*OVERSIZE, "a name", "a resource"]}
    for place, options in OVERSIZE.items():
        sender.deliver(request("oversize", [tool_span(traces[place], "x", **options)]))
    sender.deliver(request("oversize", [make_span(traces["a name"], "n" * 150_000)]))
    big = request("oversize", [tool_span(traces["a resource"], "x")], big="x" * 150_000)
    sender.deliver(big)
    for trace in traces.values():
        (span,) = arrived(stack, trace).values()
        assert len(span["name"]) <= 16_000
        values = {**span["attributes"], **span["resource"]}
        assert all(len(str(value).encode()) <= LIMIT for value in values.values())
    assert until(lambda: stack.collector.total("otelcol_exporter_queue_size") == 0, 10)


def test_a_value_below_the_limit_is_not_touched(stack, sender):
    trace = new_trace()
    given = {"text": "x" * LIMIT}
    sender.deliver(request("below", [make_span(trace, "s", attributes={"list": ["a", "b"]})]))
    sender.deliver(request("below", [make_span(trace, "t", attributes=given)]))
    found = arrived(stack, trace, 2)
    assert found["t"]["attributes"] == given
    assert found["s"]["attributes"]["list"] == '["a","b"]'  # as Jaeger's storage has lists


def test_a_message_of_twenty_megabytes_passes_and_one_of_forty_is_refused(stack, sender):
    trace = new_trace()
    big = make_span(trace, "big", attributes={"big": "x" * 20_000_000})
    assert sender.status(request("big", [big])) == 200
    assert len(arrived(stack, trace)["big"]["attributes"]["big"]) == LIMIT
    too_big = make_span(trace, "big", attributes={"big": "x" * 40_000_000})
    assert sender.status(request("big", [too_big])) in {400, 413, None}


def test_a_web_page_gets_no_leave_to_send(stack):
    question = urllib.request.Request(f"{stack.collector.http}/v1/traces", method="OPTIONS")
    question.add_header("Origin", "https://elsewhere.example")
    question.add_header("Access-Control-Request-Method", "POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        OPENER.open(question, timeout=5)
    with refused.value as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_collector_short_of_memory_refuses_and_stays_alive(tmp_path):
    with Collector(tmp_path, OTELCOL_MEMORY_MIB="4", OTELCOL_MEMORY_SPIKE_MIB="1") as collector:
        with Sender(collector) as sender:
            message = request("memory", [tool_span(new_trace(), "x")])
            assert until(lambda: sender.status(message) == 503, 5)
        assert collector.ready()


#: tool -> (calls, failures): what the sender sends, so what the metrics must say.
CALLS = {"fast": (600, 0), "slow": (520, 26)}


def durations(tool, number):
    chance = random.Random(tool)
    return [math.exp(chance.gauss(-3 if tool == "fast" else 0, 0.8)) for _ in range(number)]


@pytest.fixture(scope="module")
def measured(stack, sender):
    """The calls of `CALLS` under one service, in the metrics; tool -> the true durations."""
    truth = {tool: durations(tool, number) for tool, (number, _) in CALLS.items()}
    for tool, seconds in truth.items():
        failures = CALLS[tool][1]
        spans = [
            tool_span(
                new_trace(), tool, seconds=one, ago=60, error="no" if n < failures else None,
                attributes={"gen_ai.agent.name": "a", "toolspan.result.size": n},
            )
            for n, one in enumerate(seconds)
        ]  # fmt: skip
        for at in range(0, len(spans), 200):
            sender.deliver(request("measured", spans[at : at + 200]))
    everything = sum(number for number, _ in CALLS.values())
    selected = 'toolspan_spans_calls_total{service_name="measured"}'
    assert counted(stack, selected, everything) == everything
    return truth


def by_tool(stack, expression):
    return stack.prometheus.by("gen_ai_tool_name", f"sum by (gen_ai_tool_name) ({expression})")


def test_prometheus_counts_calls_and_failures_of_each_tool(stack, measured):
    name = "toolspan_spans_calls_total"
    assert by_tool(stack, name + '{service_name="measured"}') == {
        tool: calls for tool, (calls, _) in CALLS.items()
    }
    for label in ('status_code="STATUS_CODE_ERROR"', 'toolspan_outcome="error"', 'error_type!=""'):
        failed = by_tool(stack, f'{name}{{service_name="measured",{label}}}')
        assert failed == {"slow": CALLS["slow"][1]}
    assert by_tool(stack, name + '{gen_ai_agent_name="a"}').keys() == CALLS.keys()


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_quantiles_of_each_tool_are_within_two_percent(share, stack, measured):
    series = 'toolspan_spans_duration_seconds{service_name="measured"}'
    found = stack.prometheus.by(
        "gen_ai_tool_name",
        f"histogram_quantile({share}, sum by (gen_ai_tool_name) ({series}))",
    )
    for tool, seconds in measured.items():
        true = sorted(round(one * SECOND) / SECOND for one in seconds)[int(share * len(seconds))]
        assert found[tool] == pytest.approx(true, rel=0.02)


def test_the_sizes_of_results_add_up(stack, measured):
    series = 'toolspan_result_size{job="measured"}'
    sizes = {tool: calls * (calls - 1) / 2 for tool, (calls, _) in CALLS.items()}
    until(lambda: by_tool(stack, f"histogram_sum({series})") == sizes, 10)
    assert by_tool(stack, f"histogram_sum({series})") == sizes


def test_jaegers_monitor_tab_has_calls_errors_and_latencies(stack, measured):
    def asked(what, **query):
        answer = stack.jaeger.monitor(what, "measured", spanKind="internal", **query)
        return {labels["operation"]: value for labels, value in answer}

    operations = {f"execute_tool {tool}" for tool in CALLS}
    assert until(lambda: asked("calls").keys() == operations, 15)
    assert all(value > 0 for value in asked("calls").values())
    assert asked("errors")["execute_tool slow"] > 0
    latencies = asked("latencies", quantile=0.95)
    for tool, seconds in measured.items():
        true = sorted(seconds)[int(0.95 * len(seconds))] * 1000
        assert latencies[f"execute_tool {tool}"] == pytest.approx(true, rel=0.5)  # by bucket


def test_the_collectors_own_metrics_reach_prometheus(stack, measured):
    for name in ("otelcol_exporter_sent_spans", "otelcol_exporter_queue_size"):
        assert until(lambda name=name: stack.prometheus.ask(f'{{__name__=~"{name}.*"}}'), 10)


def test_client_and_server_of_mcp_are_two_services_in_one_trace(stack, sender):
    trace = new_trace()
    call = tool_span(trace, "read", kind="CLIENT", seconds=0.5)
    call.name = "tools/call read"
    served = tool_span(trace, "read", kind="SERVER", parent=call.span_id)
    sender.deliver(request("mcp-agent", [call]))
    sender.deliver(request("mcp-files", [served]))
    found = arrived(stack, trace, 2)
    assert found["tools/call read"]["resource"]["service.name"] == "mcp-agent"
    assert found["execute_tool read"]["resource"]["service.name"] == "mcp-files"
    assert found["execute_tool read"]["parentSpanId"] == call.span_id.hex()
    now = int(time.time() * 1000)
    edges = stack.jaeger.ask("dependencies", endTs=now, lookback=600_000)["data"]
    assert ("mcp-agent", "mcp-files") in {(edge["parent"], edge["child"]) for edge in edges}


def test_the_searches_of_the_readme_find_their_call(stack, sender):
    trace, other = new_trace(), new_trace()
    sender.deliver(request("searched", [tool_span(trace, "sql", error="gone", seconds=7, ago=9)]))
    sender.deliver(request("searched", [tool_span(other, "sql")]))
    arrived(stack, trace)
    arrived(stack, other)
    for query in (
        {"tags": {"error.type": "ValueError"}},
        {"tags": {"toolspan.outcome": "error"}},
        {"minDuration": "5s"},
        {"operation": "execute_tool sql", "minDuration": "5s"},
    ):
        assert [one["traceID"] for one in stack.jaeger.traces("searched", **query)] == [trace.hex()]
