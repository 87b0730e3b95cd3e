"""docker-compose.yml and the Kubernetes example, without an engine: schema, files, addresses, versions."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from backends import BINARIES, CONFIG, VARIANTS

ROOT = CONFIG.parent
COMPOSE = ROOT / "docker-compose.yml"
SERVICES = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
IMAGES = {
    "collector": "otel/opentelemetry-collector-contrib:{}",
    "jaeger": "jaegertracing/jaeger:{}",
    "prometheus": "prom/prometheus:v{}",
}
#: By which Go knows the same release.
MODULES = {"collector": "v0.155.0", "jaeger": "jaeger v1.76.0", "prometheus": "prometheus v0.315.0"}


def mounts(service):
    """(here, there) of every file or folder of this checkout that a service sees."""
    for volume in SERVICES[service].get("volumes", ()):
        here, there, *_ = volume.split(":")
        if here.startswith("."):
            yield ROOT / here, there


@pytest.mark.skipif(
    not importlib.util.find_spec("check_jsonschema"), reason="checked where check-jsonschema is"
)
def test_the_file_is_what_the_compose_specification_asks_for():
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    command[0] = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_mounted_file_exists():
    found = [here for service in SERVICES for here, _ in mounts(service)]
    assert len(found) > 6
    assert [here for here in found if not here.exists()] == []


@pytest.mark.parametrize("name", IMAGES)
def test_the_images_are_the_tested_versions(name):
    assert SERVICES[name]["image"] == IMAGES[name].format(BINARIES[name].version)
    module = (ROOT / "tests" / "binaries" / name / "go.mod").read_text()
    assert MODULES[name] in module


def test_every_image_is_pinned_and_every_service_has_a_limit():
    for service in SERVICES.values():
        assert re.search(r":v?\d+\.\d+", service["image"])
        assert "mem_limit" in service


def test_only_this_machine_may_connect():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", ["collector", "jaeger"])
def test_every_variable_is_one_that_the_mounted_files_read(name):
    texts = "".join(here.read_text(encoding="utf-8") for here, _ in mounts(name))
    read = set(re.findall(r"\$\{env:(\w+)", texts))
    assert SERVICES[name]["environment"].keys() <= read


@pytest.mark.parametrize("name", ["collector", "jaeger", "prometheus"])
def test_every_file_of_a_command_line_is_mounted(name):
    files = re.findall(r"--config(?:\.file)?=(\S+)", " ".join(SERVICES[name]["command"]))
    assert files
    assert set(files) <= {there for _, there in mounts(name)}


def test_the_services_of_the_sidecar_and_of_prometheus_are_those_of_the_file():
    targets = yaml.safe_load((CONFIG / "targets.compose.yml").read_text())
    here = yaml.safe_load((CONFIG / "targets.yml").read_text())
    assert [one["labels"] for one in targets] == [one["labels"] for one in here]
    for one, other in zip(targets, here, strict=True):
        (place,), (local,) = one["targets"], other["targets"]
        host, port = place.split(":")
        assert host in SERVICES
        assert port == local.split(":")[1]
    probed = re.findall(r"http://(\w+):\d+", SERVICES["health"]["healthcheck"]["test"][1])
    assert set(probed) == {"collector", "jaeger"}


def test_the_board_asks_only_data_sources_that_are_provisioned():
    grafana = CONFIG / "grafana"
    sources = yaml.safe_load((grafana / "provisioning/datasources/toolspan.yaml").read_text())
    board = json.loads((grafana / "dashboards/tool-calls.json").read_text())
    known = {source["uid"] for source in sources["datasources"]}
    assert {panel["datasource"]["uid"] for panel in board["panels"]} <= known
    for source in sources["datasources"]:
        assert re.match(r"http://(\w+):", source["url"])[1] in SERVICES


def collectors():
    """The Collector's container in each file of the Kubernetes example."""
    for file in sorted((ROOT / "examples" / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            pod = document["spec"].get("template", {}).get("spec", {})
            containers = [*pod.get("containers", ()), *pod.get("initContainers", ())]
            yield from (one for one in containers if one["name"] == "collector")


def test_the_kubernetes_example_uses_the_files_and_variables_that_there_are():
    found = list(collectors())
    assert [len(one["args"]) for one in found] == [2, 3]
    for container in found:
        assert container["image"] == SERVICES["collector"]["image"]
        files = [
            CONFIG / Path(argument.removeprefix("--config=")).name for argument in container["args"]
        ]
        read = set(re.findall(r"\$\{env:(\w+)", "".join(file.read_text() for file in files)))
        assert {variable["name"] for variable in container["env"]} <= read
        assert tuple(file.name for file in files) in VARIANTS.values()


def test_the_readme_has_every_variable_of_the_files_and_no_other():
    files = [*{file for variant in VARIANTS.values() for file in variant}, "jaeger.yaml"]
    read = {name for file in files for name in re.findall(r"\$\{env:(\w+)", text(file))}
    told = re.findall(r"`((?:OTELCOL|JAEGER|PROMETHEUS)_[A-Z_]+)`", text("README.md"))
    assert set(told) == read


@pytest.mark.parametrize(
    "line", re.findall(r"^otelcol-contrib .*", (CONFIG / "README.md").read_text(), re.MULTILINE)
)
def test_the_readmes_command_lines_name_files_that_are_there(line):
    assert [
        file for file in re.findall(r"--config (\w\S+)", line) if not (CONFIG / file).exists()
    ] == []


def test_without_a_variable_set_nothing_listens_to_other_machines():
    files = [*{file for variant in VARIANTS.values() for file in variant}, "jaeger.yaml"]
    addresses = [
        (name, address)
        for file in files
        for name, address in re.findall(r"\$\{env:(\w+):-([^}]*:\d+|[\d.]+\.\d+)\}", text(file))
    ]
    assert len(addresses) > 10
    elsewhere = {name for name, address in addresses if "127.0.0.1" not in address}
    assert elsewhere == {"OTELCOL_GATEWAY"}


def text(file):
    return (CONFIG / file).read_text(encoding="utf-8")
