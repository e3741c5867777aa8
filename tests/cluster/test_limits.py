"""Limits hold: of memory, which costs one pod a restart and nobody an answer, and of CPU, which threads follow."""

from __future__ import annotations

import pytest
from kubernetes.client import V1ContainerStatus

from tests.cluster.kube import FIGURES, CommandFailedError, Namespace, until
from tests.cluster.load import load

CPUS = "1"
# Of a container over its limit the kernel kills the process that scores highest: the one that serves, since it is
# marked so, and larger than each of those that take the rest.
TAKE = "import time; taken = bytes(1) * (200 << 20); time.sleep(60)"
OVER_THE_LIMIT = f"echo 1000 >/proc/1/oom_score_adj; for i in 1 2 3 4 5; do python -c '{TAKE}' & done; wait"


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Namespace:
    resources = {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"cpu": CPUS, "memory": "1Gi"}}
    namespace.install({"executorDefaults": {"replicas": 2, "resources": resources}})
    return namespace


def test_threads_follow_the_cpu_limit(release: Namespace) -> None:
    pod = release.pods("encoder")[0].metadata.name
    count = "from clip_image_flow.platform import cpus; print(cpus.available())"
    assert release.exec(pod, "python", "-W", "ignore", "-c", count).strip() == CPUS


def test_a_pod_over_its_memory_is_restarted_alone_and_nothing_is_lost(release: Namespace) -> None:
    victim, other = (pod.metadata.name for pod in release.wait_settled("encoder", 2))

    def status(name: str) -> V1ContainerStatus:
        return release.cluster.core.read_namespaced_pod(name, release.name).status.container_statuses[0]

    with load(release) as result:
        with pytest.raises(CommandFailedError):  # the container goes, and the command in it
            release.exec(victim, "sh", "-c", OVER_THE_LIMIT)
        until("a restart", lambda: status(victim).restart_count == 1, 60)
        release.wait_settled("encoder", 2)
    FIGURES.append(f"a pod over its memory: {result.summary()}")
    assert status(victim).last_state.terminated.reason == "OOMKilled"
    assert status(other).restart_count == 0
    assert result.lost == []
    assert result.sent_again == []
