"""The HorizontalPodAutoscaler follows the load, up and down."""

from __future__ import annotations

import os

import pytest

from tests.cluster.kube import FIGURES, ROOT, Cluster, Namespace, until
from tests.cluster.load import load

METRICS_SERVER = ROOT.parent / "shared" / "cluster" / "metrics-server.yaml"


@pytest.fixture(scope="module")
def metrics(cluster: Cluster) -> None:
    """metrics-server, where its manifest is at hand."""
    if not METRICS_SERVER.is_file():
        message = "no manifest of metrics-server is at hand"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(f"NOT RUN: {message}")
    cluster.kubectl("apply", "--filename", METRICS_SERVER)
    cluster.kubectl("rollout", "status", "deployment/metrics-server", "--namespace=kube-system", "--timeout=120s")


@pytest.fixture(scope="module")
def release(namespace: Namespace, metrics: None) -> Namespace:
    autoscaling = {
        "enabled": True,
        "minReplicas": 1,
        "maxReplicas": 3,
        "targetCPUUtilizationPercentage": 5,  # of the limit of two cores
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},  # a test does not wait for five minutes
    }
    namespace.install({"executorDefaults": {"autoscaling": autoscaling}})
    return namespace


def test_a_load_brings_pods_and_its_end_takes_them(release: Namespace) -> None:
    release.wait_settled("encoder", 1)
    with load(release) as result:
        until("more executors", lambda: len(release.ready("encoder")) > 1, 150)
    FIGURES.append(f"scaled up under a load: {result.summary()}")
    assert result.lost == []
    assert result.sent_again == []
    until("one executor again", lambda: len(release.pods("encoder")) == 1, 240)
