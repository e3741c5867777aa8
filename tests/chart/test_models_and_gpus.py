"""Where weights come from, and what a GPU brings."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.chart import container, encoder, pod, render, uses_with


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


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_brings_what_a_gpu_needs(device: str) -> None:
    deployment = encoder(device=device, gpu={"runtimeClassName": "nvidia"})
    spec = pod(deployment)
    assert container(deployment)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in container(deployment)["resources"]["requests"], "Kubernetes copies the limit"
    assert spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert spec["runtimeClassName"] == "nvidia"
    assert uses_with(deployment)["device"] == device


def test_a_rollout_on_gpus_needs_no_spare_one() -> None:
    strategy = encoder(device="cuda")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_a_slice_of_a_gpu_is_another_resource() -> None:
    limits = container(encoder(device="cuda", gpu={"resourceName": "nvidia.com/mig-1g.10gb", "count": 2}))["resources"][
        "limits"
    ]
    assert limits["nvidia.com/mig-1g.10gb"] == "2"
    assert "nvidia.com/gpu" not in limits


def test_without_a_gpu_nothing_of_it_remains() -> None:
    deployment = encoder(device="cpu", gpu={"runtimeClassName": "nvidia", "count": 4})
    assert not {"nodeSelector", "tolerations", "runtimeClassName"} & pod(deployment).keys()
    assert container(deployment)["resources"]["limits"].keys() == {"cpu", "memory", "ephemeral-storage"}


def test_a_gpu_for_one_executor_is_not_for_the_others(two_executors: Any) -> None:
    rendering = render({"executors": {"encoder": {"device": "cuda"}}}, chart=two_executors)
    assert "runtimeClassName" not in pod(rendering.one("Deployment", "clip-text-ranker"))
    limits = container(rendering.one("Deployment", "clip-text-ranker"))["resources"]["limits"]
    assert "nvidia.com/gpu" not in limits
