"""Replicas share a load evenly, with no mesh between them."""

from __future__ import annotations

import pytest

from tests.cluster.kube import FIGURES, Namespace, requests_of
from tests.cluster.load import load

EXECUTORS, GATEWAYS = 3, 2
SHARE = 0.15  # most that a replica may be away from its share


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Namespace:
    executors = {"replicas": EXECUTORS, "resources": {"requests": {"cpu": "20m", "memory": "256Mi"}}}
    debug = {"extraEnv": [{"name": "JINA_LOG_LEVEL", "value": "DEBUG"}]}  # Jina then names each request
    namespace.install({"gateway": {"replicas": GATEWAYS}, "executorDefaults": {**executors, **debug}})
    return namespace


@pytest.fixture(scope="module")
def served(release: Namespace) -> dict[str, list[int]]:
    """Requests that each pod served of one load: component -> counts."""
    with load(release, quiet=20, keep_alive=False) as result:
        pass
    assert result.lost == []
    executors = [release.logs(pod.metadata.name) for pod in release.pods("encoder")]
    gateways = [requests_of(release.logs(pod.metadata.name)) for pod in release.pods("gateway")]
    return {
        "encoder": [" ".join(log.split()).count("recv DataRequest at /") for log in executors],
        "gateway": [sum(line.get("endpoint") in ("/", "/embed") for line in lines) for lines in gateways],
    }


@pytest.mark.parametrize(("component", "replicas"), [("encoder", EXECUTORS), ("gateway", GATEWAYS)])
def test_each_replica_has_its_share(served: dict[str, list[int]], component: str, replicas: int) -> None:
    counts = served[component]
    FIGURES.append(f"requests served by the {replicas} pods of {component}: {counts}")
    assert len(counts) == replicas
    assert sum(counts) > 300
    share = sum(counts) / replicas
    assert all(abs(count - share) <= SHARE * share for count in counts)
