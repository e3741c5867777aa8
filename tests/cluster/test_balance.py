"""Replicas share a load evenly, with no mesh between them."""

from __future__ import annotations

import pytest

from tests.cluster.kube import FIGURES, Namespace, requests_of
from tests.cluster.load import load

PODS = {"encoder": 3, "gateway": 2}
SHARE = 0.15  # most that a replica may be away from its share


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Namespace:
    executors = {"replicas": PODS["encoder"], "resources": {"requests": {"cpu": "20m", "memory": "256Mi"}}}
    debug = {"extraEnv": [{"name": "JINA_LOG_LEVEL", "value": "DEBUG"}]}  # Jina then names each request
    namespace.install({"gateway": {"replicas": PODS["gateway"]}, "executorDefaults": {**executors, **debug}})
    return namespace


@pytest.fixture(scope="module")
def served(release: Namespace) -> dict[str, list[int]]:
    """Requests that each pod served of one load: component -> counts.

    Gateways learn of a new pod after at most `connections.maxAgeSeconds` (5 s) and the TTL of the cluster's DNS (5 s
    in CoreDNS), so the requests of the first 20 s are not counted.
    """
    with load(release, quiet=20, keep_alive=False) as result:
        before = _requests(release)
    assert result.lost == []
    after = _requests(release)
    return {name: [after[name][pod] - count for pod, count in before[name].items()] for name in before}


def _requests(release: Namespace) -> dict[str, dict[str, int]]:
    """Return the number of requests that each pod has served until now: component -> pod -> count."""
    logs = {name: {pod.metadata.name: release.logs(pod.metadata.name) for pod in release.pods(name)} for name in PODS}
    return {
        "encoder": {pod: " ".join(log.split()).count("recv DataRequest at /") for pod, log in logs["encoder"].items()},
        "gateway": {
            pod: sum(line.get("endpoint") in ("/", "/embed") for line in requests_of(log))
            for pod, log in logs["gateway"].items()
        },
    }


@pytest.mark.parametrize(("component", "replicas"), PODS.items())
def test_each_replica_has_its_share(served: dict[str, list[int]], component: str, replicas: int) -> None:
    counts = served[component]
    FIGURES.append(f"requests served by the {replicas} pods of {component}: {counts}")
    assert len(counts) == replicas
    assert sum(counts) > 300
    share = sum(counts) / replicas
    assert all(abs(count - share) <= SHARE * share for count in counts)
