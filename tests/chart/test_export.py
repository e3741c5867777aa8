"""What the export holds: each line of the Flow is found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.export.flow_file import project_version
from scripts.export.manifests import container, documents
from tests.chart.chart import CHART, ROOT
from tests.chart.exporting import FLOW, edit, export
from tests.chart.kubernetes_schemas import refusal


@pytest.mark.parametrize("source", ["k8s", "fixture"])
def test_jinas_manifests_are_valid_as_they_are(source: str, export_of_two: Path) -> None:
    manifests = sorted((ROOT / "k8s" if source == "k8s" else export_of_two / "k8s").rglob("*.yml"))
    assert manifests
    for manifest in manifests:
        for one in yaml.safe_load_all(manifest.read_text(encoding="utf-8")):
            assert refusal(one) is None, f"{manifest}: {refusal(one)}"


def test_images_are_called_by_the_names_in_the_configurations(topology: dict[str, Any]) -> None:
    images = [node["image"] for node in (topology["gateway"], *topology["executors"])]
    version = project_version()
    assert images == [f"clip-gateway:{version}", f"clip-image-encoder:{version}", f"text-ranker:{version}"]


@pytest.mark.parametrize(
    ("options", "image"),
    [
        (
            ["--registry", "reg.example.com:5000/team"],
            f"reg.example.com:5000/team/clip-image-encoder:{project_version()}",
        ),
        (["--tag", "nightly"], "clip-image-encoder:nightly"),
        (["--digest", f"clip-image-encoder=sha256:{'0' * 64}"], f"clip-image-encoder@sha256:{'0' * 64}"),
    ],
    ids=["registry", "tag", "digest"],
)
def test_registry_tag_and_digest_are_options(options: list[str], image: str, tmp_path: Path) -> None:
    assert export(FLOW, tmp_path, *options) == 0
    topology = yaml.safe_load((tmp_path / "topology.yaml").read_text(encoding="utf-8"))
    assert topology["executors"][0]["image"] == image
    assert f"image: {image}\n" in (tmp_path / "k8s" / "encoder" / "encoder.yml").read_text(encoding="utf-8")


def test_an_image_in_the_flow_stays(changed_flow: Path, tmp_path: Path) -> None:
    edit(changed_flow, "1", {"uses": "docker://reg.example.com/other:2"})
    assert export(changed_flow, tmp_path) == 0
    topology = yaml.safe_load((tmp_path / "topology.yaml").read_text(encoding="utf-8"))
    assert topology["executors"][1]["image"] == "reg.example.com/other:2"


def test_the_namespace_is_an_option(tmp_path: Path) -> None:
    assert export(FLOW, tmp_path, "--namespace", "vision") == 0
    text = (tmp_path / "k8s" / "gateway" / "gateway.yml").read_text(encoding="utf-8")
    assert {one["metadata"]["namespace"] for one in yaml.safe_load_all(text)} == {"vision"}
    assert "grpc://encoder.vision.svc:8080" in text


def test_every_option_of_the_flow_arrives(export_of_two: Path, topology: dict[str, Any]) -> None:
    """Written out by hand: where each line of the Flow is found again, in Jina's manifests and in the topology."""
    flow = yaml.safe_load(FLOW.read_text(encoding="utf-8"))
    text = (export_of_two / "k8s" / "text_ranker" / "text-ranker.yml").read_text(encoding="utf-8")
    arguments = container(text)["args"]
    ranker = topology["executors"][1]
    assert list(flow["executors"][1]) == [
        *("name", "uses", "needs", "replicas", "timeout_ready", "workspace", "env", "env_from_secret")
    ], "a line was added to the Flow: say here where it arrives"
    assert arguments[arguments.index("--name") + 1] == ranker["name"] == "text_ranker"
    assert arguments[arguments.index("--workspace") + 1] == "/home/app/work space"
    assert arguments[arguments.index("--timeout-ready") + 1] == "120000"
    assert documents(text, "Deployment")[0]["spec"]["replicas"] == 3
    assert documents(text, "ConfigMap")[0]["data"]["OMP_NUM_THREADS"] == "2"
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in ranker["env"]
    secret = {"name": "RANKER_KEY", "valueFrom": {"secretKeyRef": {"name": "ranker", "key": "key"}}}
    assert secret in container(text)["env"]
    assert secret in ranker["env"]
    assert topology["graph"] == {
        "start-gateway": ["encoder"],
        "encoder": ["text_ranker"],
        "text_ranker": ["end-gateway"],
    }
    encoder, gateway = topology["executors"][0], topology["gateway"]
    assert encoder["usesWith"] == {"pretrained_model_name_or_path": "ViT-B/32", "batch_size": 16}
    assert gateway["usesWith"] == {"max_documents": 64}
    assert gateway["grpcServerOptions"] == {"grpc.max_send_message_length": 33554432}
    assert gateway["ports"] == [{"name": "grpc", "port": 8080}, {"name": "http", "port": 8081}]


def test_every_option_of_the_projects_flow_arrives() -> None:
    """For whatever stands in flows/encode_flow.yml, now and later."""
    flow = yaml.safe_load((ROOT / "flows" / "encode_flow.yml").read_text(encoding="utf-8"))
    nodes = [("gateway", flow["gateway"]), *((node["name"], node) for node in flow["executors"])]
    for name, options in nodes:
        text = (ROOT / "k8s" / name / f"{name}.yml").read_text(encoding="utf-8")
        arguments = container(text)["args"]
        for option, value in options.items():
            flag = f"--{option.replace('_', '-')}"
            if option == "uses_with":
                assert json.loads(arguments[arguments.index(flag) + 1]) == value
            elif option not in ("uses", "needs", "env", "port", "protocol"):  # asked for elsewhere, or Kubernetes' own
                assert arguments[arguments.index(flag) + 1] == str(value)


def test_pods_report_nothing_to_jinas_makers(topology: dict[str, Any]) -> None:
    for node in (topology["gateway"], *topology["executors"]):
        assert {"name": "JINA_OPTOUT_TELEMETRY", "value": "1"} in node["env"]


def test_what_all_nodes_have_in_common_arrives_at_each(changed_flow: Path, tmp_path: Path) -> None:
    edit(changed_flow, "", {"with": {"name": "vision", "env": {"A": "b"}, "retries": 3}})
    edit(changed_flow, "1", {"env": {"A": "its own"}})
    assert export(changed_flow, tmp_path) == 0
    topology = yaml.safe_load((tmp_path / "topology.yaml").read_text(encoding="utf-8"))
    nodes = [topology["gateway"], *topology["executors"]]
    assert [next(e["value"] for e in node["env"] if e["name"] == "A") for node in nodes] == ["b", "b", "its own"]
    assert all(node["args"][node["args"].index("--retries") + 1] == "3" for node in nodes)


def test_what_the_chart_owns_is_not_in_the_topology(topology: dict[str, Any]) -> None:
    for node in (topology["gateway"], *topology["executors"]):
        assert not {"--k8s-namespace", "--replicas", "--timeout-ready", "--deployments-addresses"} & set(node["args"])
    assert "default" not in json.dumps(topology), "the namespace"


def test_the_chart_has_the_version_of_the_project() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == project_version()
    gpu = yaml.safe_load((CHART / "profiles" / "gpu.yaml").read_text(encoding="utf-8"))
    assert gpu["executors"]["encoder"]["image"]["tag"] == f"{project_version()}-gpu"
    assert f"clip-image-encoder:{project_version()}" in (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
