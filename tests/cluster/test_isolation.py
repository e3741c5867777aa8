"""What pods may do, and who may reach them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.cluster.kube import IMAGES, RELEASE, Cluster, CommandFailedError, Namespace

COMPONENTS = ("gateway", "encoder")
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 4); print('reached')"


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Namespace:
    namespace.install()
    return namespace


@pytest.fixture(scope="module")
def stranger(cluster: Cluster, release: Namespace) -> Iterator[Namespace]:
    """A namespace beside the release's, with a pod `stranger` in it."""
    with cluster.namespace("t-stranger", "baseline") as made:
        made.sleepers("stranger")
        yield made


def reaches(namespace: Namespace, pod: str, host: str, port: int) -> bool:
    """Whether a connection can be opened from a pod."""
    try:
        return "reached" in namespace.exec(pod, "python", "-c", CONNECT, host, str(port))
    except CommandFailedError as error:
        if re.search("timed out|refused|unreachable", str(error)):
            return False
        raise


@pytest.mark.parametrize(("component", "reached"), [("gateway", True), ("encoder", False)])
def test_from_another_namespace_only_the_gateway_is_reached(
    release: Namespace, stranger: Namespace, component: str, reached: bool
) -> None:
    host = release.pods(component)[0].status.pod_ip
    assert reaches(stranger, "stranger", host, 8080) is reached


def test_a_neighbour_in_the_same_namespace_does_not_reach_an_executor(release: Namespace) -> None:
    container = {
        "name": "neighbour",
        "image": IMAGES["clip-gateway"],
        "command": ["sleep", "600"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "securityContext": security}
    release.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "neighbour"}, "spec": spec})
    release.kubectl("wait", "pod/neighbour", "--for=condition=Ready", "--timeout=90s")
    assert not reaches(release, "neighbour", f"{RELEASE}-encoder", 8080)
    assert reaches(release, "neighbour", f"{RELEASE}-gateway", 8080)


@pytest.mark.parametrize("component", COMPONENTS)
def test_pods_reach_nothing_but_dns_and_their_own(release: Namespace, component: str) -> None:
    pod = release.pods(component)[0].metadata.name
    api = release.cluster.core.read_namespaced_service("kubernetes", "default").spec.cluster_ip
    assert not reaches(release, pod, api, 443)
    look_up = f"import socket; print(socket.gethostbyname('{RELEASE}-encoder.{release.name}.svc.cluster.local.'))"
    assert release.exec(pod, "python", "-c", look_up).strip()
    other = "encoder" if component == "gateway" else "gateway"
    assert reaches(release, pod, f"{RELEASE}-{other}", 8080) is (other == "encoder")


def test_the_gateway_takes_no_shortcut_past_its_doors(release: Namespace, stranger: Namespace) -> None:
    host = release.pods("gateway")[0].status.pod_ip
    assert reaches(stranger, "stranger", host, 8081)
    assert not reaches(stranger, "stranger", host, 9090)


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_root_is_read_only(release: Namespace, component: str) -> None:
    pod = release.pods(component)[0].metadata.name
    with pytest.raises(CommandFailedError, match="Read-only file system"):
        release.exec(pod, "touch", "/app/file")
    assert release.exec(pod, "id", "-u").strip() == "10001"


@pytest.mark.parametrize("component", COMPONENTS)
def test_there_is_no_service_account_token(release: Namespace, component: str) -> None:
    pod = release.pods(component)[0].metadata.name
    assert release.exec(pod, "sh", "-c", "ls /var/run/secrets 2>/dev/null; true").strip() == ""
