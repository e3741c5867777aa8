"""Under a load, pods come and go and every request is answered rightly."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.cluster.kube import FIGURES, RELEASE, Namespace
from tests.cluster.load import load

EXECUTORS, GATEWAYS = 3, 2
SMALL_RESOURCES = {"requests": {"cpu": "20m", "memory": "256Mi"}}


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Namespace:
    namespace.install(
        {
            "gateway": {"replicas": GATEWAYS, "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}}},
            "executorDefaults": {"replicas": EXECUTORS, "resources": SMALL_RESOURCES},
        }
    )
    return namespace


def settled(release: Namespace) -> None:
    release.wait_settled("encoder", EXECUTORS, 240)
    release.wait_settled("gateway", GATEWAYS, 240)


def executor_rolls_out(release: Namespace) -> None:
    release.kubectl("rollout", "restart", f"deployment/{RELEASE}-encoder")
    release.rollout("encoder")


def gateway_rolls_out(release: Namespace) -> None:
    release.kubectl("rollout", "restart", f"deployment/{RELEASE}-gateway")
    release.rollout("gateway")


def executor_is_deleted(release: Namespace) -> None:
    release.kubectl("delete", "pod", release.ready("encoder")[0].metadata.name)


def executor_is_killed(release: Namespace) -> None:
    release.kubectl("delete", "pod", release.ready("encoder")[0].metadata.name, "--grace-period=0", "--force")


def gateway_is_deleted(release: Namespace) -> None:
    release.kubectl("delete", "pod", release.ready("gateway")[0].metadata.name)


def gateway_is_killed(release: Namespace) -> None:
    release.kubectl("delete", "pod", release.ready("gateway")[0].metadata.name, "--grace-period=0", "--force")


def node_is_drained(release: Namespace) -> None:
    node = release.ready("encoder")[0].spec.node_name
    # The load's own pod stays where it is: it stands for callers outside the cluster.
    selector = f"--pod-selector=app.kubernetes.io/instance={RELEASE}"
    try:
        release.cluster.kubectl(
            "drain", node, selector, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=240s"
        )
        settled(release)
    finally:
        release.cluster.kubectl("uncordon", node)


def replicas_go_down_and_up(release: Namespace) -> None:
    for count in (1, EXECUTORS):
        release.kubectl("scale", f"deployment/{RELEASE}-encoder", f"--replicas={count}")
        release.wait_settled("encoder", count)
        time.sleep(5)


# What happens -> whether a caller's own connection may die of it, so that the call is sent again.
DISRUPTIONS: dict[Callable[[Namespace], None], bool] = {
    executor_rolls_out: False,
    gateway_rolls_out: True,
    executor_is_deleted: False,
    executor_is_killed: False,
    gateway_is_deleted: True,
    gateway_is_killed: True,
    node_is_drained: True,
    replicas_go_down_and_up: False,
}


@pytest.mark.parametrize("disrupt", DISRUPTIONS, ids=lambda disrupt: disrupt.__name__)
def test_nothing_is_lost_when(release: Namespace, disrupt: Callable[[Namespace], None]) -> None:
    settled(release)
    with load(release) as result:
        disrupt(release)
        settled(release)
    FIGURES.append(f"{disrupt.__name__}: {result.summary()}")
    assert len(result.calls) > 50
    assert result.lost == []
    if not DISRUPTIONS[disrupt]:
        assert result.sent_again == []
