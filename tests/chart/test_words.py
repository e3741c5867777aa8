"""The Flow for words and pictures: both executors have all that one has, and one model."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.chart import RefusedError, Rendering, Values, container, pod, render, uses_with
from tests.chart.test_network import DNS, peers

EXECUTORS = ["encoder", "text"]
ON_A_GPU = {"device": "cuda", "image": {"tag": "0.1.0-gpu"}}
CLAIM = {"name": "ViT-B/32", "source": "claim", "claim": "weights"}


def words(values: Values | None = None) -> Rendering:
    return render({**(values or {}), "flow": "clip"})


@pytest.mark.parametrize("executor", EXECUTORS)
def test_each_executor_has_its_objects(executor: str) -> None:
    rendering = words({"executorDefaults": {"autoscaling": {"enabled": True}}})
    for kind in ("Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler"):
        assert rendering.one(kind, f"clip-{executor}")
    image = container(rendering.one("Deployment", f"clip-{executor}"))["image"]
    assert image.startswith({"encoder": "clip-image-encoder:", "text": "clip-text-encoder:"}[executor])


def test_pictures_are_served_as_in_the_flow_for_them_alone() -> None:
    """So `helm upgrade --set flow=clip` leaves their pods as they are."""
    assert words().one("Deployment", "clip-encoder") == render().one("Deployment", "clip-encoder")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_gateway_alone_reaches_it(executor: str) -> None:
    rendering = words()
    policy = rendering.one("NetworkPolicy", f"clip-{executor}")["spec"]
    assert peers(policy["ingress"], "from") == ["gateway"]
    assert [rule["to"] for rule in policy["egress"]] == [DNS]
    _, *others = rendering.one("NetworkPolicy", "clip-gateway")["spec"]["egress"]
    assert peers(others, "to") == EXECUTORS


def test_one_model_is_for_both_and_so_is_its_volume() -> None:
    rendering = words({"model": CLAIM})
    for executor in EXECUTORS:
        deployment = rendering.one("Deployment", f"clip-{executor}")
        assert uses_with(deployment)["pretrained_model_name_or_path"] == "ViT-B/32"
        claim = {"name": "models", "persistentVolumeClaim": {"claimName": "weights", "readOnly": True}}
        assert claim in pod(deployment)["volumes"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"executors": {"text": {"model": {"name": "a"}}}}, "encoder has emoji-tiny, text has a"),
        ({"executors": {"text": {"usesWith": {"pretrained_model_name_or_path": "a"}}}}, "text has a"),
        ({"model": CLAIM, "executors": {"encoder": {"model": {"name": "a"}}}}, "encoder has a, text has ViT-B/32"),
    ],
    ids=["its own model", "an option", "over the model for all"],
)
def test_two_models_in_one_flow_are_refused(values: Values, said: str) -> None:
    with pytest.raises(RefusedError) as refused:
        words(values)
    assert "values: model: the executors of the Flow clip must have the same model" in str(refused.value)
    assert said in str(refused.value)


def test_the_same_model_by_an_executors_own_values_is_one_model() -> None:
    own = {"model": {"name": "ViT-B/32", "source": "claim", "claim": "weights"}}
    assert words({"executors": dict.fromkeys(EXECUTORS, own)}).objects == words({"model": CLAIM}).objects


@pytest.mark.parametrize(
    ("values", "on_a_gpu"),
    [
        ({"executorDefaults": ON_A_GPU}, EXECUTORS),
        ({"executorDefaults": ON_A_GPU, "executors": {"text": {"device": "cpu"}}}, ["encoder"]),
        ({"executors": {"encoder": ON_A_GPU}}, ["encoder"]),
    ],
    ids=["both", "words kept on the CPU", "pictures alone"],
)
def test_a_gpu_is_for_the_executors_that_are_told(values: dict[str, Any], on_a_gpu: list[str]) -> None:
    rendering = words(values)
    deployments = {name: rendering.one("Deployment", f"clip-{name}") for name in EXECUTORS}
    limits = {name: container(one)["resources"]["limits"] for name, one in deployments.items()}
    assert [name for name in EXECUTORS if "nvidia.com/gpu" in limits[name]] == on_a_gpu
    assert [name for name in EXECUTORS if "nodeSelector" in pod(deployments[name])] == on_a_gpu


def test_helm_test_compares_with_what_is_stored_for_the_model() -> None:
    (told,) = [one["env"] for one in pod(words().one("Pod", "clip-test"))["containers"]]
    assert {"name": "MODEL", "value": "emoji-tiny"} in told
