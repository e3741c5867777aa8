"""A Flow by its name: scripts, exporter and chart take any, and no template knows one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from scripts import ROOT
from scripts.cluster import flow_images
from scripts.cluster.flow_images import NodeImage, StaleTopologyError, node_images
from scripts.flow.names import CHART, DEFAULT_FLOW, flow_file, flow_name, model_option, topology_file
from scripts.flow.running import FlowError, load_flow, model_of, monitoring_ports
from tests.chart.cases import CASES, EVERYTHING_ON
from tests.chart.chart import container, notes, render, tool, uses_with
from tests.chart.custom_schemas import CUSTOM
from tests.chart.exporting import chart_with, export
from tests.chart.kubernetes_schemas import refusal

CLIP = ROOT / "flows" / "clip_flow.yml"
SECOND = ROOT / "tests" / "flow" / "second_flow.yml"
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["version"]


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with the second Flow beside its own, as `FLOW=... make export` leaves it."""
    made = tmp_path_factory.mktemp("second")
    assert export(SECOND, made) == 0
    return chart_with(made / "topology.yaml", flow_name(SECOND), made)


def test_no_template_is_touched_or_knows_an_executor(chart: Path) -> None:
    templates = sorted((CHART / "templates").rglob("*.*"))
    assert templates
    for template in templates:
        text = template.read_text(encoding="utf-8")
        assert (chart / template.relative_to(CHART)).read_text(encoding="utf-8") == text
        for name in ("encoder", "clip-image-encoder", "clip-gateway:", "pretrained_model_name_or_path"):
            assert name not in text, template


@pytest.mark.parametrize("case", CASES)
def test_the_second_flow_renders_to_valid_objects(case: str, chart: Path) -> None:
    rendering = render({**CASES[case], "flow": "second"}, chart=chart)
    deployments = {one["metadata"]["name"]: one for one in rendering.of_kind("Deployment")}
    assert deployments.keys() == {"clip-gateway", "clip-encoder", "clip-obedient-1"}
    assert [reason for o in rendering.objects if o["kind"] not in CUSTOM and (reason := refusal(o))] == []
    assert "pretrained_model_name_or_path" not in uses_with(deployments["clip-obedient-1"])
    arguments = container(deployments["clip-gateway"])["args"]
    graph = json.loads(arguments[arguments.index("--graph-description") + 1])
    assert graph == {"start-gateway": ["encoder"], "encoder": ["Obedient_1"], "Obedient_1": ["end-gateway"]}
    addresses = json.loads(arguments[arguments.index("--deployments-addresses") + 1])
    assert addresses["Obedient_1"][0].startswith("grpc://clip-obedient-1.")


def test_the_first_flow_is_beside_it_as_it_was(chart: Path) -> None:
    assert render(EVERYTHING_ON, chart=chart).objects == render(EVERYTHING_ON).objects


@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_the_second_flow_lints_and_installs(helm: str, chart: Path) -> None:
    lint = [tool(helm), "lint", "--strict", str(chart), "--set", "flow=second"]
    run = subprocess.run(lint, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    text = notes({"flow": "second", "executors": {"Obedient_1": {"replicas": 3}}}, chart)
    assert "Executors of the Flow second:\n  encoder: model emoji-tiny, device cpu" in text
    assert "Obedient_1: device cpu" in text


def test_a_flow_is_named_by_the_environment() -> None:
    assert flow_file({}) == flow_file({"FLOW": ""}) == DEFAULT_FLOW
    flow = load_flow({"FLOW": str(SECOND), "CLIP_MODEL": "ViT-B/32", "CLIP_HTTP_PORT": "8123"})
    assert [executor["name"] for executor in flow["executors"]] == ["encoder", "Obedient_1"]
    assert flow["gateway"]["port"] == [51000, 8123]
    assert model_of(flow) == "ViT-B/32"
    assert "uses_with" not in flow["executors"][1], "it takes no model"
    assert all(Path(executor["uses"]).is_absolute() for executor in flow["executors"])


def test_metrics_and_traces_are_switched_on_for_every_process() -> None:
    flow = load_flow({"FLOW": str(CLIP), "CLIP_MONITORING_PORT": "9300", "CLIP_TRACES_PORT": "4317"})
    assert flow["with"] == {
        "monitoring": True,
        "tracing": True,
        "traces_exporter_host": "http://127.0.0.1",
        "traces_exporter_port": 4317,
    }
    assert monitoring_ports(flow) == {"gateway": [9300], "encoder": [9301, 9302], "text": [9303, 9304]}
    assert monitoring_ports(load_flow({"FLOW": str(CLIP)})) == {}


def test_a_flow_that_is_not_there_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(FlowError, match=r"not 'flows/nothing\.yml'; there are: .*flows/encode_flow\.yml"):
        load_flow({"FLOW": "flows/nothing.yml"})


def test_a_flow_without_the_ports_that_are_served_is_an_error(tmp_path: Path) -> None:
    flow = tmp_path / "bare_flow.yml"
    flow.write_text("jtype: Flow\nexecutors: [{name: a}]\n", encoding="utf-8")
    with pytest.raises(FlowError, match=r"gateway: port must be two, \[gRPC, HTTP\]"):
        load_flow({"FLOW": str(flow)})


@pytest.mark.parametrize(
    ("config", "uses_with", "taken"),
    [
        ("", None, False),
        ("", {"batch_size": 3}, False),
        ("", {"pretrained_model_name_or_path": "x"}, True),
        ("with: {pretrained_model_name_or_path: x}", None, True),
        ("with: {batch_size: 3}", {}, False),
        ("with:", {}, False),
    ],
)
def test_an_executor_takes_the_model_where_flow_or_configuration_have_the_option(
    config: str, uses_with: dict[str, object] | None, taken: bool, tmp_path: Path
) -> None:
    (tmp_path / "config.yml").write_text(f"jtype: Any\n{config}\n", encoding="utf-8")
    executor = {"name": "a", "uses": "config.yml", "uses_with": uses_with}
    assert (model_option(tmp_path / "flow.yml", executor) is not None) == taken
    from_an_image = {**executor, "uses": "docker://a/b"}
    assert (model_option(tmp_path / "flow.yml", from_an_image) is not None) == bool(uses_with and taken)


def test_images_are_those_of_the_topology() -> None:
    assert node_images(DEFAULT_FLOW) == [
        NodeImage("gateway", f"clip-gateway:{VERSION}", "gateway"),
        NodeImage("executors.encoder", f"clip-image-encoder:{VERSION}", "executors/clip_image"),
    ]


def test_executors_beside_each_other_share_a_dockerfile_and_an_image_from_elsewhere_has_none() -> None:
    assert [one.dockerfile for one in node_images(CLIP)] == ["gateway/Dockerfile", *2 * ["executors/Dockerfile"]]
    assert NodeImage("executors.a", "a:1", "-").dockerfile == "-"
    assert NodeImage("executors.a", "a:1", "tests/flow/test_executor").dockerfile == "-"


def test_the_images_of_executors_differ_in_their_last_layer_alone() -> None:
    text = (ROOT / "executors" / "Dockerfile").read_text(encoding="utf-8")
    shared, _, own = text.partition("\nARG EXECUTOR=clip_image\n")
    layers = [line for line in own.splitlines() if line.startswith(("COPY", "RUN", "ADD", "WORKDIR"))]
    assert layers == ["COPY executors/${EXECUTOR}/*.py executors/${EXECUTOR}/config.yml /app/"]
    assert "COPY executors" not in shared
    assert "ARG VERSION" not in shared, "a new version would make every layer anew"


def test_images_of_another_flow(chart: Path) -> None:
    assert node_images(SECOND, chart)[2] == NodeImage(
        "executors.Obedient_1", f"obedient-executor:{VERSION}", "tests/flow/test_executor"
    )


def test_images_of_a_flow_that_the_chart_does_not_have_are_an_error(chart: Path, tmp_path: Path) -> None:
    with pytest.raises(
        StaleTopologyError, match=r"no topology of the Flow second \(it has: clip, encode\): FLOW=.* make export"
    ):
        node_images(SECOND)
    stale = tmp_path / "second_flow.yml"
    stale.write_text(SECOND.read_text(encoding="utf-8").replace("name: Obedient_1", "name: other"), encoding="utf-8")
    with pytest.raises(StaleTopologyError, match="its executors are not those of"):
        node_images(stale, chart)
    assert flow_images.main(["--flow", str(SECOND)]) == 1


# Stands for docker, kind, kubectl and helm: writes down what it is asked for, and says what the scripts read.
PROGRAM = """#!/bin/sh
echo "${0##*/} $@" >>"$ASKED"
case "${0##*/} $*" in
  "docker port"*) exit 1 ;;
  "docker image inspect"*) echo sha256:1234 ;;
  "kubectl config current-context") echo "$CONTEXT" ;;
  "helm test"*) echo "Phase: Succeeded" ;;
esac
"""


def asked(script: str, folder: Path, *arguments: str, **settings: str) -> list[list[str]]:
    """What a script of scripts/cluster/ asks of the programs, each as its words."""
    for name in ("docker", "kind", "kubectl", "helm"):
        (folder / name).write_text(PROGRAM, encoding="utf-8")
        (folder / name).chmod(0o755)
    known = ("FLOW", "REGISTRY", "TAG", "DEVICE", "MODEL", "NAMESPACE", "RELEASE", "VALUES", "PUSH")
    environment = {key: value for key, value in os.environ.items() if key not in known}
    path = {"PATH": f"{folder}:{os.environ['PATH']}", "ASKED": str(folder / "asked")}
    command = [ROOT / "scripts" / "cluster" / script, *arguments]
    subprocess.run(command, env={**environment, **path, **settings}, check=True, timeout=60)
    return [line.split() for line in (folder / "asked").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("settings", "built"),
    [
        ({}, [f"clip-gateway:{VERSION}", f"clip-image-encoder:{VERSION}"]),
        ({"TAG": "next"}, ["clip-gateway:next", "clip-image-encoder:next"]),
        (
            {"REGISTRY": "reg.example.com:5000/team/"},
            [f"reg.example.com:5000/team/{name}:{VERSION}" for name in ("clip-gateway", "clip-image-encoder")],
        ),
        ({"DEVICE": "cuda"}, [f"clip-image-encoder:{VERSION}-gpu"]),
        (
            {"FLOW": str(CLIP)},
            [f"{name}:{VERSION}" for name in ("clip-gateway", "clip-image-encoder", "clip-text-encoder")],
        ),
        (
            {"FLOW": str(CLIP), "DEVICE": "cuda"},
            [f"{name}:{VERSION}-gpu" for name in ("clip-image-encoder", "clip-text-encoder")],
        ),
    ],
    ids=["defaults", "tag", "registry", "cuda", "words", "words on cuda"],
)
def test_the_images_that_are_built_are_those_of_the_topology(
    settings: dict[str, str], built: list[str], tmp_path: Path
) -> None:
    builds = [words for words in asked("images.sh", tmp_path, MODEL="m.pt", **settings) if words[1] == "build"]
    assert [words[words.index("--tag") + 1] for words in builds] == built
    for words in builds:
        file = words[words.index("--file") + 1]
        assert (ROOT / file).is_file()
        assert ("MODEL=m.pt" in words) == (file == "executors/Dockerfile")
        assert ("EXECUTOR=clip_text" in words) == ("clip-text-encoder" in words[words.index("--tag") + 1])
        assert ("DEVICE=cuda" in words) == (settings.get("DEVICE") == "cuda")


@pytest.mark.parametrize(
    ("settings", "brought"),
    [
        (
            {"CONTEXT": "kind-x"},
            [f"kind load docker-image clip-gateway:{VERSION} clip-image-encoder:{VERSION} --name x"],
        ),
        (
            {"CONTEXT": "far", "REGISTRY": "reg.example.com"},
            [
                f"docker push --quiet reg.example.com/{name}:{VERSION}"
                for name in ("clip-gateway", "clip-image-encoder")
            ],
        ),
        (
            {"CONTEXT": "kind-x", "FLOW": str(CLIP)},
            [
                f"kind load docker-image clip-gateway:{VERSION} clip-image-encoder:{VERSION} "
                f"clip-text-encoder:{VERSION} --name x"
            ],
        ),
    ],
    ids=["kind", "registry", "words"],
)
def test_what_is_deployed_is_the_flow_with_its_images(
    settings: dict[str, str], brought: list[str], tmp_path: Path
) -> None:
    words = asked("deploy.sh", tmp_path, "up", **settings)
    assert [line for line in map(" ".join, words) if " load " in line or " push " in line] == brought
    (upgrade,) = [line for line in words if line[:2] == ["helm", "upgrade"]]
    assert f"flow={'clip' if 'FLOW' in settings else 'encode'}" in upgrade
    assert "gateway.podAnnotations.image-id=sha256:1234" in upgrade
    assert "executors.encoder.podAnnotations.image-id=sha256:1234" in upgrade


@pytest.mark.parametrize(("flow", "executors"), [("encode", 1), ("clip", 2)])
def test_the_topologies_say_which_executors_take_the_model(flow: str, executors: int) -> None:
    topology = yaml.safe_load(topology_file(flow).read_text(encoding="utf-8"))
    assert [node["modelOption"] for node in topology["executors"]] == executors * ["pretrained_model_name_or_path"]
