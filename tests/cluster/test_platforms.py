"""Other people's platforms, as far as kind can be one: umbrellas, any user, DNS elsewhere, upgrades, dual stack."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.kube import CHART, IMAGES, RELEASE, ROOT, SMALL, Cluster, CommandFailedError, Namespace, run, until

ANYBODY = 1000650000  # such as OpenShift gives a namespace
NODE_LOCAL = "169.254.20.10"  # https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/
UPGRADES = ["--reuse-values", "--reset-then-reuse-values"]


def settings(folder: Path, values: dict[str, Any]) -> Path:
    """A file with `values`."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file


@pytest.fixture
def alone(namespace: Namespace) -> Iterator[Namespace]:
    """The namespace, empty again afterwards."""
    yield namespace
    for release in namespace.helm("list", "--short").split():
        namespace.helm("uninstall", release, "--wait", "--timeout", "3m")
    namespace.kubectl("delete", "pods", "--all", "--wait=true", "--grace-period=1")


def test_two_of_one_umbrella_serve_side_by_side(alone: Namespace, tmp_path: Path) -> None:
    umbrella = shutil.copytree(ROOT / "tests" / "chart" / "fixtures" / "umbrella", tmp_path / "search")
    shutil.copytree(CHART, umbrella / "charts" / CHART.name)
    values = {"global": {"imageRegistry": ""}, "pictures": SMALL, "words": {**SMALL, "flow": "encode"}}
    flags = ("--values", settings(tmp_path, values), "--wait", "--timeout", "5m")
    alone.helm("install", RELEASE, umbrella, *flags)
    told = alone.helm("test", RELEASE)
    assert told.count("Succeeded") >= 2
    for alias in ("pictures", "words"):
        endpoints = alone.kubectl(
            "get", "endpointslices", "-l", f"kubernetes.io/service-name={RELEASE}-{alias}-gateway"
        )
        assert len(endpoints.splitlines()) == 2, "a heading, and the one gateway of its own"


@pytest.mark.parametrize("group", [0, ANYBODY], ids=["OpenShift's group", "any group"])
def test_both_images_run_as_any_user_on_a_read_only_root(alone: Namespace, group: int) -> None:
    security = {"runAsUser": ANYBODY, "runAsGroup": group, "fsGroup": ANYBODY}
    alone.install({"podSecurityContext": security})
    assert "Succeeded" in alone.helm("test", RELEASE)
    for component in ("gateway", "encoder"):
        pod = alone.pods(component)[0].metadata.name
        assert alone.exec(pod, "id", "-u").strip() == str(ANYBODY)
        with pytest.raises(CommandFailedError, match=r"Read-only file system|Permission denied"):
            alone.exec(pod, "touch", "/app/file")


@pytest.mark.parametrize("binary", ["helm", "helm3"])
def test_the_log_of_a_helm_test_is_shown(alone: Namespace, binary: str) -> None:
    if shutil.which(binary) is None:
        pytest.skip(f"NOT RUN: there is no {binary} here")
    alone.install(binary=binary)
    assert "ok: HTTP, picture" in alone.helm("test", RELEASE, "--logs", binary=binary)


@pytest.fixture
def node_local_dns(cluster: Cluster) -> Iterator[str]:
    """A DNS server on every node at the address of NodeLocal DNSCache, which is no pod of kube-system."""
    nodes = cluster.workers()
    for node in nodes:
        run("docker", "exec", node, "ip", "address", "replace", f"{NODE_LOCAL}/32", "dev", "lo")
    upstream = cluster.core.read_namespaced_service("kube-dns", "kube-system").spec.cluster_ip
    program = Path(__file__).with_name("forward_dns.py").read_text(encoding="utf-8")
    container = {
        "name": "dns",
        "image": IMAGES["clip-gateway"],
        "command": ["python", "-c", program, NODE_LOCAL, upstream],
        "securityContext": {"runAsUser": 0},
    }
    labels = {"app": "node-local-dns"}
    template = {"metadata": {"labels": labels}, "spec": {"hostNetwork": True, "containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    daemons = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "dns"}, "spec": spec}
    with cluster.namespace("t-node-local-dns", "privileged") as space:
        space.apply(daemons)
        space.kubectl("rollout", "status", "daemonset/dns", "--timeout=90s")
        yield NODE_LOCAL
    for node in nodes:
        run("docker", "exec", node, "ip", "address", "del", f"{NODE_LOCAL}/32", "dev", "lo")


def test_pods_that_ask_a_dns_server_outside_of_kube_system_get_ready(alone: Namespace, node_local_dns: str) -> None:
    asking = {"extraPodSpec": {"dnsPolicy": "None", "dnsConfig": {"nameservers": [node_local_dns]}}}
    alone.install({"gateway": asking, "executorDefaults": asking})
    pod = alone.ready("gateway")[0].metadata.name
    assert node_local_dns in alone.exec(pod, "cat", "/etc/resolv.conf")
    assert "Succeeded" in alone.helm("test", RELEASE)


@pytest.fixture(scope="module")
def first_chart() -> Path:
    """The chart as it was first committed."""
    name = CHART.relative_to(ROOT)
    command = ["git", "-C", str(ROOT), "log", "--reverse", "--format=%H", "--", f"{name}/values.yaml"]
    history = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    if len(history) < 2:
        pytest.skip("the history here has no earlier chart")
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", history[0], str(name)], capture_output=True, check=True
    ).stdout
    folder = Path(tempfile.mkdtemp(prefix="first-chart-"))
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder / name


@pytest.mark.parametrize("how", UPGRADES)
def test_a_release_of_the_first_chart_becomes_one_of_todays(
    how: str, alone: Namespace, first_chart: Path, tmp_path: Path
) -> None:
    values = settings(tmp_path, {**SMALL, "commonLabels": {"team": "vision"}})
    waiting = ("--wait", "--timeout", "5m")
    alone.helm("install", RELEASE, first_chart, "--values", values, *waiting)
    before = {pod.metadata.name for pod in alone.pods()}
    alone.helm("upgrade", RELEASE, CHART, how, *waiting)
    for component in ("gateway", "encoder"):
        alone.rollout(component)
        (pod,) = alone.wait_settled(component, 1)
        assert pod.metadata.name not in before
        assert pod.metadata.labels["team"] == "vision"
    assert "Succeeded" in alone.helm("test", RELEASE)


def give_pods_both_families(cluster: Cluster, node: str) -> None:
    """Add the node's IPv6 range to its CNI configuration, where that hands out IPv4 alone as some node images do."""
    subnets = cluster.kubectl("get", "node", node, "-o", "jsonpath={.spec.podCIDRs[*]}").split()
    found = until(
        "the node's CNI configuration", lambda: run("docker", "exec", node, "sh", "-c", "cat /etc/cni/net.d/*.conflist")
    )
    config = json.loads(found)
    for plugin in config["plugins"]:
        ranges = plugin.get("ipam", {}).get("ranges", [])
        missing = [one for one in subnets if ":" in one and [{"subnet": one}] not in ranges]
        if ranges and missing:
            ranges += [[{"subnet": one}] for one in missing]
            plugin["ipam"].setdefault("routes", []).append({"dst": "::/0"})
            write = "cat > /etc/cni/net.d/00-both-families.conflist"  # the first file by name counts
            run("docker", "exec", "-i", node, "sh", "-c", write, stdin=json.dumps(config))


@pytest.fixture(scope="module")
def dual_stack() -> Iterator[Cluster]:
    """A cluster of one node whose pods and Services have addresses of both families."""
    name = "clip-image-flow-dual"
    kubeconfig = Path(tempfile.gettempdir()) / f"kubeconfig-{name}"
    image = ["--image", os.environ["KIND_NODE_IMAGE"]] if os.environ.get("KIND_NODE_IMAGE") else []
    file = Path(tempfile.mkdtemp(prefix="kind-")) / "kind.yaml"
    file.write_text(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnetworking: {ipFamily: dual}\n", encoding="utf-8"
    )
    if name in run("kind", "get", "clusters").split():
        run("kind", "delete", "cluster", "--name", name)
    command = ("kind", "create", "cluster", "--name", name, *image, "--config", file, "--kubeconfig", kubeconfig)
    try:
        run(*command, "--wait", "180s", timeout=420)
    except CommandFailedError as error:
        run("kind", "delete", "cluster", "--name", name)
        pytest.skip(f"NOT RUN: kind makes no dual-stack cluster here: {str(error)[-300:]}")
    made = Cluster(name, kubeconfig)
    give_pods_both_families(made, f"{name}-control-plane")
    for one in ("clip-gateway", "clip-image-encoder"):
        made.load(IMAGES[one], f"{name}-control-plane")
    yield made
    run("kind", "delete", "cluster", "--name", name)


def test_both_families_of_addresses_lead_to_both_protocols(cluster: Cluster, dual_stack: Cluster) -> None:
    """Whoever comes by either family is answered by HTTP and by gRPC."""
    with dual_stack.namespace("t-dual") as namespace, dual_stack.namespace("t-client", "baseline") as client:
        namespace.install({"gateway": {"service": {"ipFamilyPolicy": "RequireDualStack"}}})
        assert "Succeeded" in namespace.helm("test", RELEASE)
        (pod,) = namespace.ready("gateway")
        service, host = f"service/{RELEASE}-gateway", f"pod/{pod.metadata.name}"
        of_service = namespace.kubectl("get", service, "-o", "jsonpath={.spec.clusterIPs[*]}").split()
        of_pod = namespace.kubectl("get", host, "-o", "jsonpath={.status.podIPs[*].ip}").split()
        if {":" in address for address in of_service} & {":" in address for address in of_pod} != {False, True}:
            pytest.skip(f"NOT RUN: this cluster gives addresses of one family: Service {of_service}, pod {of_pod}")
        client.sleepers("client")
        connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); print('reached')"
        for address in (*of_service, *of_pod):
            for port in ("8080", "8081"):
                assert "reached" in client.exec("client", "python", "-c", connect, address, port), address
