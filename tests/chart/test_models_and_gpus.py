"""Where weights come from, and what a GPU brings."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from scripts.flow.names import topology_file
from tests.chart.chart import RefusedError, Rendering, container, encoder, pod, render, uses_with
from tests.chart.kubernetes_schemas import refusal

GPU_IMAGE = {"tag": "0.1.0-gpu"}


def test_the_embedded_model_mounts_nothing() -> None:
    deployment = encoder(model={"name": "emoji-tiny"})
    assert uses_with(deployment)["pretrained_model_name_or_path"] == "emoji-tiny"
    assert [mount["name"] for mount in container(deployment)["volumeMounts"]] == ["home", "tmp"]


def test_a_model_on_a_claim_is_mounted_read_only() -> None:
    deployment = encoder(model={"name": "/models/a.pt", "source": "claim", "claim": "weights"})
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in container(deployment)["volumeMounts"]
    claim = {"name": "models", "persistentVolumeClaim": {"claimName": "weights", "readOnly": True}}
    assert claim in pod(deployment)["volumes"]
    assert {"name": "CLIP_CACHE", "value": "/models"} in container(deployment)["env"], "an OpenAI name is found there"


OCI = f"registry.example.com/models/siglip2@sha256:{'ab' * 32}"


def test_a_model_of_an_oci_image_is_a_volume_of_it() -> None:
    model = {"name": "/models/siglip2", "source": "oci", "oci": OCI}
    rendering = render({"model": model}, flags=("--kube-version", "1.35.0"))
    deployment = rendering.one("Deployment", "clip-encoder")
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in container(deployment)["volumeMounts"]
    volume = {"name": "models", "image": {"reference": OCI, "pullPolicy": "IfNotPresent"}}
    assert volume in pod(deployment)["volumes"]
    assert {"name": "CLIP_CACHE", "value": "/models"} in container(deployment)["env"]
    assert refusal(deployment) is None


def test_an_oci_image_as_a_volume_needs_a_newer_kubernetes() -> None:
    told = "source is oci, an image as a volume, which needs Kubernetes 1.35 or newer; this is v1.34.2. Put the weights"
    model = {"name": "/models/siglip2", "source": "oci", "oci": OCI}
    with pytest.raises(RefusedError, match=re.escape(told)):
        render({"model": model}, flags=("--kube-version", "1.34.2"))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"source": "oci"}, "values: model: source is oci, so oci must name an image by its digest"),
        ({"oci": OCI}, "values: model: oci is set, so source must be oci"),
        ({"source": "oci", "oci": "registry.example.com/models/siglip2:latest"}, "at '/model/oci'"),
    ],
)
def test_an_oci_image_is_named_by_its_digest(model: dict[str, str], told: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(told)):
        render({"model": model}, flags=("--kube-version", "1.35.0"))


def test_a_download_goes_into_a_cache_that_counts_as_storage() -> None:
    deployment = encoder(model={"name": "ViT-B/32", "source": "download", "cache": {"size": "3Gi"}})
    assert {"name": "models", "emptyDir": {"sizeLimit": "3Gi"}} in pod(deployment)["volumes"]
    assert {"name": "CLIP_CACHE", "value": "/models"} in container(deployment)["env"]
    assert container(deployment)["resources"]["limits"]["ephemeral-storage"] == "4096Mi", "1Gi of its own and the cache"


def test_a_persistent_cache_is_a_claim_that_outlives_the_release() -> None:
    model = {"name": "ViT-B/32", "source": "download", "cache": {"persistent": True, "storageClassName": "nfs"}}
    rendering = render({"executors": {"encoder": {"model": model}}})
    claim = rendering.one("PersistentVolumeClaim", "clip-encoder-models")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "nfs",
        "resources": {"requests": {"storage": "4Gi"}},
    }
    volumes = pod(rendering.one("Deployment", "clip-encoder"))["volumes"]
    assert {"name": "models", "persistentVolumeClaim": {"claimName": "clip-encoder-models"}} in volumes


DOWNLOADED: dict[str, Any] = {"name": "ViT-B/32", "source": "download", "cache": {"persistent": True, "size": "3Gi"}}


def test_one_model_is_every_executors_that_takes_one(two_executors: Path) -> None:
    """The ranker takes none: it gets no option it would not know, no weights and no way out."""
    rendering = render({"model": DOWNLOADED}, chart=two_executors)
    taking, other = (rendering.one("Deployment", name) for name in ("clip-encoder", "clip-text-ranker"))
    assert uses_with(taking)["pretrained_model_name_or_path"] == "ViT-B/32"
    assert uses_with(other) == {}
    assert [claim["metadata"]["name"] for claim in rendering.of_kind("PersistentVolumeClaim")] == [
        "clip-encoder-models"
    ]
    assert "models" not in [volume["name"] for volume in pod(other)["volumes"]]
    assert "CLIP_CACHE" not in [entry["name"] for entry in container(other)["env"]]
    assert len(rendering.one("NetworkPolicy", "clip-text-ranker")["spec"]["egress"]) == 1


def test_an_executors_own_model_goes_before_the_one_for_all() -> None:
    values = {"model": DOWNLOADED, "executors": {"encoder": {"model": {"name": "ViT-L/14", "cache": {"size": "9Gi"}}}}}
    rendering = render(values)
    assert uses_with(rendering.one("Deployment", "clip-encoder"))["pretrained_model_name_or_path"] == "ViT-L/14"
    claim = rendering.one("PersistentVolumeClaim", "clip-encoder-models")["spec"]
    assert claim["resources"]["requests"]["storage"] == "9Gi"
    assert claim["accessModes"] == ["ReadWriteMany"]


def test_a_model_for_an_executor_that_takes_none_is_refused(two_executors: Path) -> None:
    values = {"executors": {"text_ranker": {"model": {"name": "ViT-B/32"}}}}
    says = r"values: executors\.text_ranker\.model: this executor takes no model: remove it \(.* a model: encoder\)"
    with pytest.raises(RefusedError, match=says):
        render(values, chart=two_executors)


@pytest.mark.parametrize("model", [{"name": "ViT-B/32"}, {"source": "download"}], ids=["name", "source"])
def test_a_model_that_no_executor_takes_is_refused(model: dict[str, Any], two_executors: Path, tmp_path: Path) -> None:
    chart = shutil.copytree(two_executors, tmp_path / two_executors.name)
    topology = topology_file("two_executors", chart)
    text = topology.read_text(encoding="utf-8")
    topology.write_text(text.replace("modelOption: pretrained_model_name_or_path", "modelOption: null"), "utf-8")
    assert render(chart=chart).objects
    with pytest.raises(RefusedError, match="values: model: no executor of the Flow two_executors takes a model"):
        render({"model": model}, chart=chart)


def test_helm_test_compares_with_a_stored_vector_where_models_alone_made_it(two_executors: Path) -> None:
    def told(rendering: Rendering) -> str:
        (environment,) = [one["env"] for one in pod(rendering.one("Pod", "clip-test"))["containers"]]
        return str(next(entry["value"] for entry in environment if entry["name"] == "MODEL"))

    assert told(render()) == "emoji-tiny"
    assert told(render({"model": {"name": "ViT-L/14"}})) == "ViT-L/14"
    assert told(render(chart=two_executors)) == ""


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_brings_what_a_gpu_needs(device: str) -> None:
    deployment = encoder(device=device, image=GPU_IMAGE, gpu={"runtimeClassName": "nvidia"})
    spec = pod(deployment)
    assert container(deployment)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in container(deployment)["resources"]["requests"], "Kubernetes copies the limit"
    assert spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert spec["runtimeClassName"] == "nvidia"
    assert uses_with(deployment)["device"] == device


def test_a_rollout_on_gpus_needs_no_spare_one() -> None:
    strategy = encoder(device="cuda", image=GPU_IMAGE)["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_a_slice_of_a_gpu_is_another_resource() -> None:
    limits = container(
        encoder(device="cuda", image=GPU_IMAGE, gpu={"resourceName": "nvidia.com/mig-1g.10gb", "count": 2})
    )["resources"]["limits"]
    assert limits["nvidia.com/mig-1g.10gb"] == "2"
    assert "nvidia.com/gpu" not in limits


def test_without_a_gpu_nothing_of_it_remains() -> None:
    deployment = encoder(device="cpu", gpu={"runtimeClassName": "nvidia", "count": 4})
    assert not {"nodeSelector", "tolerations", "runtimeClassName"} & pod(deployment).keys()
    assert container(deployment)["resources"]["limits"].keys() == {"cpu", "memory", "ephemeral-storage"}


def test_a_gpu_for_one_executor_is_not_for_the_others(two_executors: Any) -> None:
    rendering = render({"executors": {"encoder": {"device": "cuda", "image": GPU_IMAGE}}}, chart=two_executors)
    assert "runtimeClassName" not in pod(rendering.one("Deployment", "clip-text-ranker"))
    limits = container(rendering.one("Deployment", "clip-text-ranker"))["resources"]["limits"]
    assert "nvidia.com/gpu" not in limits
