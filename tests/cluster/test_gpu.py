"""Scheduling on GPUs, on a node that reports one as a device plugin would."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from kubernetes.client import V1Pod

from tests.cluster.kube import RELEASE, VERSION, Cluster, Namespace, until

GPU = "nvidia.com/gpu"
CUDA = {
    "device": "cuda",
    "image": {"tag": VERSION},  # the image for CPUs, asked for by its name
    "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
}


def patch_gpus(cluster: Cluster, node: str, count: int) -> None:
    operation = {"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": str(count)}
    cluster.kubectl("patch", "node", node, "--subresource=status", "--type=json", "--patch", json.dumps([operation]))
    until("GPUs are allocatable", lambda: cluster.core.read_node(node).status.allocatable.get(GPU) == str(count), 90)


@pytest.fixture(scope="module")
def gpu_node(cluster: Cluster) -> Iterator[str]:
    """A worker with one GPU, its label, and its taint."""
    node = cluster.workers()[0]
    patch_gpus(cluster, node, 1)
    cluster.kubectl("label", "node", node, "nvidia.com/gpu.present=true", "--overwrite")
    cluster.kubectl("taint", "node", node, "nvidia.com/gpu=present:NoSchedule", "--overwrite")
    yield node
    cluster.kubectl("taint", "node", node, "nvidia.com/gpu-")
    cluster.kubectl("label", "node", node, "nvidia.com/gpu.present-")
    patch_gpus(cluster, node, 0)


@pytest.fixture(scope="module")
def release(namespace: Namespace, gpu_node: str) -> Namespace:
    namespace.install({"executorDefaults": CUDA}, wait=False)
    return namespace


def scheduled(release: Namespace) -> list[V1Pod]:
    return [pod for pod in release.pods("encoder") if pod.spec.node_name]


def one_pod(release: Namespace) -> V1Pod:
    return until("one executor is scheduled", lambda: scheduled(release)[:1], 60)[0]


def test_the_pod_lands_on_the_gpu_node_and_others_do_not(release: Namespace, gpu_node: str) -> None:
    assert one_pod(release).spec.node_name == gpu_node
    gateways = until("the gateway is scheduled", lambda: [p for p in release.pods("gateway") if p.spec.node_name], 60)
    assert all(pod.spec.node_name != gpu_node for pod in gateways)


def test_an_image_without_cuda_says_so(release: Namespace) -> None:
    until("the container's last words", lambda: "has no CUDA" in release.last_words("encoder"), 120)


def test_a_rollout_needs_no_spare_gpu(release: Namespace, gpu_node: str) -> None:
    old = one_pod(release).metadata.uid
    release.kubectl("rollout", "restart", f"deployment/{RELEASE}-encoder")
    new = until("the new pod has the GPU", lambda: [p for p in scheduled(release) if p.metadata.uid != old], 120)
    assert [pod.spec.node_name for pod in new] == [gpu_node]


def test_each_gpu_has_one_pod_and_the_next_waits_with_a_reason(release: Namespace) -> None:
    release.kubectl("scale", f"deployment/{RELEASE}-encoder", "--replicas=2")
    pods = until("two executors", lambda: p if len(p := release.pods("encoder")) == 2 else None)

    def waits() -> bool:
        events = [event for pod in pods for event in release.events(pod.metadata.name)]
        return any(event.startswith("FailedScheduling") and f"Insufficient {GPU}" in event for event in events)

    until("the scheduler says why", waits, 60)
    assert len(scheduled(release)) == 1
    assert sorted(pod.status.phase == "Pending" for pod in release.pods("encoder"))[-1]
