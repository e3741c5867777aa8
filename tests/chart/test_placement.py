"""Where pods go, and what goes with them that the chart has no value for."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.chart.cases import EVERYTHING_ON
from tests.chart.chart import encoder, pod, render

GPU = {"device": "cuda", "image": {"tag": "0.1.0-gpu"}}
GKE = {"cloud.google.com/gke-accelerator": "nvidia-l4"}


@pytest.mark.parametrize(
    ("selector", "labels"),
    [({}, {"nvidia.com/gpu.present": "true"}), (GKE, GKE), (None, None)],
    ids=["nothing", "GKE's", "null"],
)
@pytest.mark.parametrize("where", ["defaults", "executor"])
def test_labels_of_gpu_nodes_are_replaced_as_a_whole(
    where: str, selector: dict[str, str] | None, labels: dict[str, str] | None
) -> None:
    own = {**GPU, "gpu": {"nodeSelector": selector}}
    values = {"executorDefaults": own} if where == "defaults" else {"executors": {"encoder": own}}
    assert pod(render(values).one("Deployment", "clip-encoder")).get("nodeSelector") == labels


def test_an_executors_own_labels_of_gpu_nodes_replace_those_for_all() -> None:
    values = {"executorDefaults": {"gpu": {"nodeSelector": {"pool": "a"}}}}
    own = {"executors": {"encoder": {**GPU, "gpu": {"nodeSelector": GKE}}}}
    assert pod(render({**values, **own}).one("Deployment", "clip-encoder"))["nodeSelector"] == GKE


def test_every_pod_goes_to_nodes_of_one_kind() -> None:
    nodes = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"}
    rendering = render({"nodeSelector": nodes, "gateway": {"nodeSelector": {"pool": "web"}}})
    selectors = {name: one["spec"]["nodeSelector"] for name, one in rendering.pods().items()}
    assert selectors["Deployment/clip-encoder"] == nodes
    assert selectors["Deployment/clip-gateway"] == selectors["Pod/clip-test"] == {**nodes, "pool": "web"}


def test_the_pod_of_helm_test_goes_where_the_gateway_goes() -> None:
    rendering = render(EVERYTHING_ON)
    gateway, test = (rendering.one(*one) for one in (("Deployment", "clip-gateway"), ("Pod", "clip-test")))
    for key in ("nodeSelector", "tolerations", "priorityClassName", "schedulerName", "imagePullSecrets"):
        assert pod(test)[key] == pod(gateway)[key]
    assert pod(test)["affinity"]["nodeAffinity"] == pod(gateway)["affinity"]["nodeAffinity"]
    assert test["metadata"]["annotations"]["example.com/note"] == "yes"
    assert test["metadata"]["labels"]["example.com/cost"] == "vision"


def test_a_sidecar_stands_beside_the_one_container() -> None:
    sidecar = {"name": "proxy", "image": "proxy:1"}
    first, second = pod(encoder(extraContainers=[sidecar]))["containers"]
    assert (first["name"], second) == ("executor", sidecar)


def test_the_last_word_on_a_pod_is_the_values() -> None:
    extra = {"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}, "terminationGracePeriodSeconds": 300}
    spec = pod(encoder(extraPodSpec=extra))
    assert extra.items() <= spec.items()
    assert {**spec, **pod(encoder())} == {**spec, "terminationGracePeriodSeconds": 90}


@pytest.mark.parametrize("constraints", [[], None], ids=["none", "the chart's"])
def test_spreading_can_be_left_to_the_cluster(constraints: list[Any] | None) -> None:
    spec = pod(encoder(topologySpreadConstraints=constraints))
    assert ("topologySpreadConstraints" in spec) == (constraints is None)


@pytest.mark.parametrize("as_text", [False, True])
def test_more_objects_are_templates(as_text: bool) -> None:
    one = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": '{{ include "clip-image-flow.fullname" . }}-mine'},
        "data": {"model": "{{ .Values.flow }}"},
    }
    rendering = render({"extraObjects": [yaml.safe_dump(one) if as_text else one]})
    assert rendering.one("ConfigMap", "clip-mine")["data"] == {"model": "encode"}
