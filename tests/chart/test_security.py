"""The Pod Security Standard `restricted` and the NSA/CISA hardening guide, for every pod of every set of values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chart.cases import CASES, EVERYTHING_ON
from tests.chart.chart import Object, Rendering, deployments, render

_VOLUMES_OF_RESTRICTED = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"} | {
    "projected",
    "secret",
}


# Called in the test, not in a fixture: a missing Helm is then one line of the report, not one for each test.
@pytest.fixture(params=[*CASES, "another Flow", "another Flow with everything on"])
def rendering(request: pytest.FixtureRequest, two_executors: Path) -> Callable[[], Rendering]:
    """This Flow with every set of values, and another one."""
    if request.param in CASES:
        return lambda: render(CASES[request.param])
    return lambda: render(EVERYTHING_ON if request.param.endswith("on") else {}, chart=two_executors)


@pytest.fixture
def pods(
    request: pytest.FixtureRequest, rendering: Callable[[], Rendering], two_executors: Path
) -> Callable[[], list[Object]]:
    """The spec of every pod."""

    def specs() -> list[Object]:
        case = request.node.callspec.params["rendering"]
        another = case.startswith("another Flow")
        flow = CASES.get(case, {}).get("flow", "")
        names = [f"Deployment/{name}" for name in deployments(*([two_executors] if another else []), flow=flow)]
        assert sorted(rendering().pods()) == sorted([*names, "Pod/clip-test"])
        return [pod["spec"] for pod in rendering().pods().values()]

    return specs


def containers(pods: list[Object]) -> Iterator[Object]:
    for pod in pods:
        yield from pod["containers"]
        yield from pod.get("initContainers", [])


def test_no_container_runs_as_root(pods: Callable[[], list[Object]]) -> None:
    for pod in pods():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        if "runAsUser" not in security:
            continue  # OpenShift chooses
        assert security["runAsUser"] >= 10000
        assert security["runAsGroup"] >= 10000
        assert security["fsGroup"] >= 10000
    for one in containers(pods()):
        assert not {"runAsUser", "runAsGroup", "runAsNonRoot"} & one["securityContext"].keys(), "the pod's hold"


def test_no_container_gains_privileges(pods: Callable[[], list[Object]]) -> None:
    for one in containers(pods()):
        security = one["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in security
        assert "procMount" not in security


def test_every_container_has_the_runtimes_seccomp_profile(pods: Callable[[], list[Object]]) -> None:
    for pod in pods():
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in containers(pods()):
        assert "seccompProfile" not in one["securityContext"]


def test_every_root_file_system_is_read_only_and_what_is_written_has_a_bound(pods: Callable[[], list[Object]]) -> None:
    for pod in pods():
        for volume in pod["volumes"]:
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}), volume
    for one in containers(pods()):
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        written = {mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")}
        assert {"/home/app", "/tmp"} <= written, "Jina writes to HOME"


def test_no_pod_shares_the_node(pods: Callable[[], list[Object]]) -> None:
    for pod in pods():
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"} & pod.keys()
        for volume in pod["volumes"]:
            assert len(volume.keys() - {"name"}) == 1
            assert volume.keys() - {"name"} <= _VOLUMES_OF_RESTRICTED
    for one in containers(pods()):
        assert all("hostPort" not in port for port in one.get("ports", []))


def test_no_pod_has_a_token_of_the_cluster(
    rendering: Callable[[], Rendering], pods: Callable[[], list[Object]]
) -> None:
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["serviceAccountName"] not in ("", "default")
    for account in rendering().of_kind("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_nothing_grants_rights_and_no_secret_is_made(rendering: Callable[[], Rendering]) -> None:
    kinds = {one["kind"] for one in rendering().objects}
    assert not kinds & {"Secret", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "PriorityClass", "Issuer"}


def test_every_container_has_requests_and_limits(pods: Callable[[], list[Object]]) -> None:
    for one in containers(pods()):
        for amounts in (one["resources"]["requests"], one["resources"]["limits"]):
            assert {"cpu", "memory", "ephemeral-storage"} <= amounts.keys()


def test_what_may_be_written_fits_the_storage_limit(pods: Callable[[], list[Object]]) -> None:
    """Beyond the limit the kubelet evicts the pod, so it must hold the emptyDirs; a cache has a size of its own."""
    for pod in pods():
        sizes = {v["name"]: _bytes(v["emptyDir"]["sizeLimit"]) for v in pod["volumes"] if "emptyDir" in v}
        (one,) = pod["containers"]
        assert sum(sizes.values()) <= _bytes(one["resources"]["limits"]["ephemeral-storage"])


def test_every_image_has_a_version(pods: Callable[[], list[Object]]) -> None:
    for one in containers(pods()):
        name = one["image"].rpartition("/")[2]
        assert "@sha256:" in name or (":" in name and not name.endswith(":latest"))


def test_no_secret_stands_in_an_argument_or_the_environment(pods: Callable[[], list[Object]]) -> None:
    for one in containers(pods()):
        for entry in one["env"]:
            assert not {"TOKEN", "PASSWORD", "SECRET", "KEY"} & set(entry["name"].split("_")) or "valueFrom" in entry


def test_secrets_are_readable_by_the_group_alone(pods: Callable[[], list[Object]]) -> None:
    for pod in pods():
        for volume in pod["volumes"]:
            assert volume.get("secret", {"defaultMode": 0o440})["defaultMode"] == 0o440


def test_services_are_not_in_the_environment(pods: Callable[[], list[Object]]) -> None:
    assert all(pod["enableServiceLinks"] is False for pod in pods())


def _bytes(quantity: Any) -> float:
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 1e3, "M": 1e6, "G": 1e9}
    unit = next((unit for unit in units if str(quantity).endswith(unit)), "")
    return float(str(quantity).removesuffix(unit)) * units.get(unit, 1)
