"""collector-config/backends: each file is accepted, starts, and says who it is where it should."""

from __future__ import annotations

import re

import pytest
import yaml

from backends import CONFIG, Collector, needs_binaries, until
from receiver import Receiver
from sender import Sender, new_trace, request, tool_span

pytestmark = needs_binaries()

FILES = {file.stem: file for file in sorted((CONFIG / "backends").glob("*.yaml"))}
DUMMY_KEYS = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-secret"}

#: backend -> variable of its address, the path that follows a base, header, its value with `KEY`.
#: From the vendors' documents; the files are held against it.
EXPECTED = {
    "aws-xray": ("AWS_OTLP_TRACES", "", "authorization", "AWS4-HMAC-SHA256 Credential=an-id/"),
    "azure-monitor": ("AZURE_OTLP_TRACES", "", "authorization", "Bearer KEY"),
    "datadog": ("DD_OTLP_TRACES", "", "dd-api-key", "KEY"),
    "dynatrace": ("DYNATRACE_OTLP", "/v1/traces", "authorization", "Api-Token KEY"),
    "elastic": ("ELASTIC_OTLP", "/v1/traces", "authorization", "ApiKey KEY"),
    "google-cloud": ("GOOGLE_OTLP_TRACES", "", "authorization", "Bearer KEY"),
    "grafana-cloud": ("GRAFANA_CLOUD_OTLP", "/v1/traces", "authorization", "Basic KEY"),
    "honeycomb": ("HONEYCOMB_OTLP", "/v1/traces", "x-honeycomb-team", "KEY"),
    "langfuse": ("LANGFUSE_OTLP", "/v1/traces", "authorization", "Basic KEY"),
    "langsmith": ("LANGSMITH_OTLP", "/v1/traces", "x-api-key", "KEY"),
    "mlflow": ("MLFLOW_OTLP", "/v1/traces", "x-mlflow-experiment-id", "KEY"),
    "new-relic": ("NEW_RELIC_OTLP", "/v1/traces", "api-key", "KEY"),
    "opik": ("OPIK_OTLP", "/v1/traces", "authorization", "KEY"),
    "phoenix": ("PHOENIX_OTLP", "/v1/traces", "content-type", "application/x-protobuf"),
    "splunk": ("SPLUNK_OTLP_TRACES", "", "x-sf-token", "KEY"),
}


def variables(text):
    return set(re.findall(r"\$\{env:(\w+)", text))


def parsed(file):
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def test_each_backend_has_a_file_and_each_file_a_test():
    assert FILES.keys() == EXPECTED.keys()


@pytest.mark.parametrize("backend", FILES)
def test_a_backends_file_is_valid_and_starts(backend, tmp_path):
    collector = Collector(tmp_path, "agent", FILES[backend], **DUMMY_KEYS)
    assert collector.validate()[0] == 0
    collector.start()
    assert collector.stop() == 0
    complaints = [line for line in collector.complaints() if "unset environment" not in line]
    assert [line for line in complaints if "[core]" not in line] == []  # no gateway is there


@pytest.mark.parametrize("backend", FILES)
def test_the_first_lines_of_a_file_name_every_variable_of_it(backend):
    text = FILES[backend].read_text(encoding="utf-8")
    head = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    optional = {EXPECTED[backend][0]}  # the address, where the default is the right one
    assert variables(text) - set(re.findall(r"\w+", head)) <= optional


def test_every_exporter_waits_and_repeats_alike():
    files = [CONFIG / "default.yaml", CONFIG / "agent.yaml", *FILES.values()]
    exporters = [
        exporter
        for file in files
        for name, exporter in parsed(file)["exporters"].items()
        if name.startswith("otlp")
    ]
    assert len(exporters) == len(files)
    for part in ("retry_on_failure", "sending_queue"):
        assert all(exporter[part] == exporters[0][part] for exporter in exporters)


def test_all_backends_at_once_get_the_span_with_their_own_key_at_their_own_path(tmp_path):
    names = {name for file in FILES.values() for name in variables(file.read_text())}
    keys = dict.fromkeys(names, "KEY") | DUMMY_KEYS | {"AWS_REGION": "eu-west-1"}
    with Receiver() as receiver:
        for backend, (variable, *_) in EXPECTED.items():
            keys[variable] = f"{receiver.url}/{backend}"
        with Collector(tmp_path, "agent", *FILES.values(), **keys) as collector:
            with Sender(collector) as sender:
                sender.deliver(request("everywhere", [tool_span(new_trace(), "x")]))
            until(lambda: len(set(receiver.paths)) >= len(EXPECTED), 15)
        told = dict(zip(receiver.paths, receiver.headers, strict=True))
    assert told.keys() == {f"/{name}{path}" for name, (_, path, *_) in EXPECTED.items()}
    for backend, (_, path, header, content) in EXPECTED.items():
        assert told[f"/{backend}{path}"][header].startswith(content)
        assert told[f"/{backend}{path}"]["content-type"] == "application/x-protobuf"
