"""Other people's clusters: OpenShift, GKE, DNS elsewhere, IPv6, Gateway API, old and new versions."""

from __future__ import annotations

import ipaddress
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.flow.names import topology_file
from tests.chart.cases import EVERYTHING_ON
from tests.chart.chart import CHART, RefusedError, Values, container, encoder, pod, profile, render

OPENSHIFT = ("--api-versions", "security.openshift.io/v1")
IDS = {"runAsUser", "runAsGroup", "fsGroup"}
TOKENS = {"existingSecret": "tokens"}
ROUTES: Values = {"gateway": {"auth": TOKENS, "grpcRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}}


@pytest.mark.parametrize(
    ("values", "flags"),
    [({}, OPENSHIFT), (profile("openshift"), ()), ({"podSecurityContext": dict.fromkeys(IDS)}, ())],
    ids=["its API", "the profile", "null"],
)
def test_where_users_are_the_clusters_to_choose_no_pod_names_one(values: Values, flags: tuple[str, ...]) -> None:
    rendering = render({**EVERYTHING_ON, **values}, flags=flags)
    for one in rendering.pods().values():
        security = one["spec"]["securityContext"]
        assert not IDS & security.keys()
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize(
    ("values", "flags", "kept"),
    [
        ({"openshift": False}, OPENSHIFT, 10001),
        ({"podSecurityContext": {"fsGroup": 2000}}, OPENSHIFT, 2000),
        ({}, (), 10001),
    ],
    ids=["told otherwise", "a group of one's own", "another cluster"],
)
def test_a_group_stays_where_it_was_asked_for(values: Values, flags: tuple[str, ...], kept: int) -> None:
    for one in render(values, flags=flags).pods().values():
        assert one["spec"]["securityContext"]["fsGroup"] == kept


@pytest.mark.parametrize(("flags", "mode"), [(OPENSHIFT, 0o440), ((), 0o444)], ids=["OpenShift gives one", "nobody"])
def test_without_a_group_of_files_every_user_reads_the_mounted_secrets(flags: tuple[str, ...], mode: int) -> None:
    rendering = render({**EVERYTHING_ON, "podSecurityContext": dict.fromkeys(IDS)}, flags=flags)
    volumes = [
        volume["secret"] for one in rendering.pods().values() for volume in one["spec"]["volumes"] if "secret" in volume
    ]
    assert {volume["defaultMode"] for volume in volumes} == {mode}


def test_a_null_leaves_a_field_of_a_container_out() -> None:
    values = {"containerSecurityContext": {"readOnlyRootFilesystem": None, "capabilities": {"add": ["SYS_PTRACE"]}}}
    for one in render(values).pods().values():
        security = one["spec"]["containers"][0]["securityContext"]
        assert security == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["SYS_PTRACE"], "drop": ["ALL"]},
        }


def test_openshifts_dns_is_reached_on_its_own_port() -> None:
    for policy in render(flags=OPENSHIFT).of_kind("NetworkPolicy"):
        rules = policy["spec"]["egress"]
        (rule,) = [rule for rule in rules if "openshift-dns" in str(rule)]
        assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {("UDP", 5353), ("TCP", 5353)}


DOWNLOADING: Values = {"model": {"name": "ViT-B/32", "source": "download"}}


def may_reach(rules: list[dict[str, Any]], address: str, port: int) -> bool:
    """Whether egress rules let a pod reach an address outside the cluster's pods."""
    target = ipaddress.ip_address(address)

    def within(block: dict[str, Any]) -> bool:
        inside = target in ipaddress.ip_network(block["cidr"])
        return inside and not any(target in ipaddress.ip_network(one) for one in block.get("except", ()))

    opened = [rule for rule in rules if port in {one["port"] for one in rule["ports"]}]
    return any(within(peer["ipBlock"]) for rule in opened for peer in rule.get("to", ()) if "ipBlock" in peer)


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("151.101.0.223", True),
        ("2606:4700::1", True),
        ("10.96.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("fd00::1", False),
        ("fe80::1", False),
    ],
)
def test_a_download_reaches_public_addresses_alone(address: str, reached: bool) -> None:
    """The API server and the metadata of a cloud's machine have private ones."""
    rules = render(DOWNLOADING).one("NetworkPolicy", "clip-encoder")["spec"]["egress"]
    assert may_reach(rules, address, 443) is reached
    assert not may_reach(render().one("NetworkPolicy", "clip-encoder")["spec"]["egress"], address, 443)


def test_a_download_can_be_narrowed_to_a_mirror() -> None:
    mirror = [{"ipBlock": {"cidr": "10.1.2.3/32"}}]
    rendering = render({**DOWNLOADING, "networkPolicy": {"download": {"to": mirror}}})
    rules = rendering.one("NetworkPolicy", "clip-encoder")["spec"]["egress"]
    assert may_reach(rules, "10.1.2.3", 443)
    assert not may_reach(rules, "151.101.0.223", 443)


@pytest.mark.parametrize("address", ["169.254.20.10", "169.254.169.254"], ids=["NodeLocal DNSCache", "Cloud DNS"])
def test_dns_that_is_no_pod_is_reached_by_default(address: str) -> None:
    for policy in render().of_kind("NetworkPolicy"):
        assert may_reach(policy["spec"]["egress"], address, 53)
        assert not may_reach(policy["spec"]["egress"], address, 80)


@pytest.mark.parametrize("kind", ["ClusterIP", "LoadBalancer"])
def test_metrics_are_on_no_service_but_the_headless_one(kind: str, tmp_path: Path) -> None:
    """A Flow with `monitoring: true` has port 9090 among the gateway's."""
    chart = shutil.copytree(CHART, tmp_path / CHART.name)
    file = topology_file("encode", chart)
    topology = yaml.safe_load(file.read_text(encoding="utf-8"))
    topology["gateway"]["ports"].append({"name": "monitoring", "port": 9090})
    file.write_text(yaml.safe_dump(topology), encoding="utf-8")
    rendering = render({"gateway": {"auth": TOKENS, "service": {"type": kind}}}, chart=chart)
    service, headless = (rendering.one("Service", name)["spec"] for name in ("clip-gateway", "clip-gateway-headless"))
    assert [port["name"] for port in service["ports"]] == ["grpc", "http"]
    assert "monitoring" in [port["name"] for port in headless["ports"]]


def test_the_service_has_what_a_load_balancer_needs() -> None:
    service = render(EVERYTHING_ON).one("Service", "clip-gateway")
    assert service["metadata"]["labels"]["example.com/exposed"] == "yes"
    expected = {
        "externalTrafficPolicy": "Local",
        "loadBalancerClass": "example.com/internal",
        "ipFamilyPolicy": "PreferDualStack",
        "ipFamilies": ["IPv6", "IPv4"],
    }
    assert expected.items() <= service["spec"].items()


def test_ports_of_the_service_are_chosen_and_everything_follows() -> None:
    values = {"gateway": {**ROUTES["gateway"], "service": {"ports": {"grpc": 50051}}}}
    rendering = render(values)
    (grpc, _) = rendering.one("Service", "clip-gateway")["spec"]["ports"]
    assert (grpc["port"], grpc["targetPort"]) == (50051, "grpc")
    (rule,) = rendering.one("GRPCRoute", "clip-gateway")["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "clip-gateway", "port": 50051}]
    (headless, _) = rendering.one("Service", "clip-gateway-headless")["spec"]["ports"]
    assert headless["port"] == 8080, "there callers reach the pods themselves"
    told = {entry["name"]: entry["value"] for entry in pod(rendering.one("Pod", "clip-test"))["containers"][0]["env"]}
    assert told["GRPC_ADDRESS"].endswith(":50051")
    assert told["HTTP_ADDRESS"].endswith(":8081")


def test_a_grpc_route_leads_to_the_grpc_port_which_speaks_http_2() -> None:
    rendering = render(ROUTES)
    assert rendering.one("GRPCRoute", "clip-gateway")["spec"] == {
        "parentRefs": [{"name": "public"}],
        "rules": [{"backendRefs": [{"name": "clip-gateway", "port": 8080}]}],
    }
    (grpc, http) = rendering.one("Service", "clip-gateway")["spec"]["ports"]
    assert grpc["appProtocol"] == "kubernetes.io/h2c"
    assert "appProtocol" not in http
    assert all("appProtocol" not in port for port in render().one("Service", "clip-gateway")["spec"]["ports"])


@pytest.mark.parametrize("grpc", [{}, {"grpc": "grpc"}], ids=["none", "told"])
def test_the_applications_protocol_is_told(grpc: dict[str, str]) -> None:
    values = {"gateway": {"service": {"appProtocols": {**grpc, "http": "http"}}}}
    ports = {
        port["name"]: port.get("appProtocol") for port in render(values).one("Service", "clip-gateway")["spec"]["ports"]
    }
    assert ports == {"grpc": grpc.get("grpc"), "http": "http"}


V1, ALPHA = (f"gateway.networking.k8s.io/{version}/BackendTLSPolicy" for version in ("v1", "v1alpha3"))


@pytest.mark.parametrize(
    ("found", "version"), [([], "v1"), ([V1], "v1"), ([ALPHA], "v1alpha3"), ([V1, ALPHA], "v1")], ids=str
)
def test_a_route_speaks_tls_to_a_gateway_that_does(found: list[str], version: str) -> None:
    flags = tuple(word for one in found for word in ("--api-versions", one))
    rendering = render(EVERYTHING_ON, flags=flags)
    policy = rendering.one("BackendTLSPolicy", "clip-gateway")
    assert policy["apiVersion"] == f"gateway.networking.k8s.io/{version}"
    assert policy["spec"] == {
        "targetRefs": [{"group": "", "kind": "Service", "name": "clip-gateway"}],
        "validation": {
            "hostname": "clip.example.com",
            "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}],
        },
    }
    assert all("appProtocol" not in port for port in rendering.one("Service", "clip-gateway")["spec"]["ports"])
    assert render(ROUTES).of_kind("BackendTLSPolicy") == []


def test_an_ingress_can_keep_paths_inside() -> None:
    ingress = {"enabled": True, "hosts": ["a.example.com", "b.example.com"], "paths": ["/embed", "/v1"]}
    rules = render({"gateway": {"auth": TOKENS, "ingress": ingress}}).one("Ingress", "clip-gateway")["spec"]["rules"]
    for rule in rules:
        assert [(one["path"], one["pathType"]) for one in rule["http"]["paths"]] == [
            ("/embed", "Prefix"),
            ("/v1", "Prefix"),
        ]


GPU = {"device": "cuda", "image": {"tag": "0.1.0-gpu"}}
GKE = {"cloud.google.com/gke-accelerator": "nvidia-l4"}


@pytest.mark.parametrize(
    ("selector", "labels"),
    [({}, {"nvidia.com/gpu.present": "true"}), (GKE, GKE), (None, None)],
    ids=["nothing", "GKE's", "null"],
)
@pytest.mark.parametrize("where", ["defaults", "executor"])
def test_labels_of_gpu_nodes_are_replaced_as_a_whole(
    where: str, selector: dict[str, str] | None, labels: dict[str, str] | None
) -> None:
    own = {**GPU, "gpu": {"nodeSelector": selector}}
    values = {"executorDefaults": own} if where == "defaults" else {"executors": {"encoder": own}}
    assert pod(render(values).one("Deployment", "clip-encoder")).get("nodeSelector") == labels


def test_an_executors_own_labels_of_gpu_nodes_replace_those_for_all() -> None:
    values = {"executorDefaults": {"gpu": {"nodeSelector": {"pool": "a"}}}}
    own = {"executors": {"encoder": {**GPU, "gpu": {"nodeSelector": GKE}}}}
    assert pod(render({**values, **own}).one("Deployment", "clip-encoder"))["nodeSelector"] == GKE


def test_every_pod_goes_to_nodes_of_one_kind() -> None:
    nodes = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"}
    rendering = render({"nodeSelector": nodes, "gateway": {"nodeSelector": {"pool": "web"}}})
    selectors = {name: one["spec"]["nodeSelector"] for name, one in rendering.pods().items()}
    assert selectors["Deployment/clip-encoder"] == nodes
    assert selectors["Deployment/clip-gateway"] == selectors["Pod/clip-test"] == {**nodes, "pool": "web"}


def test_the_pod_of_helm_test_goes_where_the_gateway_goes() -> None:
    rendering = render(EVERYTHING_ON)
    gateway, test = (rendering.one(*one) for one in (("Deployment", "clip-gateway"), ("Pod", "clip-test")))
    for key in ("nodeSelector", "tolerations", "priorityClassName", "schedulerName", "imagePullSecrets"):
        assert pod(test)[key] == pod(gateway)[key]
    assert pod(test)["affinity"]["nodeAffinity"] == pod(gateway)["affinity"]["nodeAffinity"]
    assert test["metadata"]["annotations"]["example.com/note"] == "yes"
    assert test["metadata"]["labels"]["example.com/cost"] == "vision"


def test_a_sidecar_stands_beside_the_one_container() -> None:
    sidecar = {"name": "proxy", "image": "proxy:1"}
    first, second = pod(encoder(extraContainers=[sidecar]))["containers"]
    assert (first["name"], second) == ("executor", sidecar)


def test_the_last_word_on_a_pod_is_the_values() -> None:
    extra = {"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}, "terminationGracePeriodSeconds": 300}
    spec = pod(encoder(extraPodSpec=extra))
    assert extra.items() <= spec.items()
    assert {**spec, **pod(encoder())} == {**spec, "terminationGracePeriodSeconds": 90}


@pytest.mark.parametrize("constraints", [[], None], ids=["none", "the chart's"])
def test_spreading_can_be_left_to_the_cluster(constraints: list[Any] | None) -> None:
    spec = pod(encoder(topologySpreadConstraints=constraints))
    assert ("topologySpreadConstraints" in spec) == (constraints is None)


@pytest.mark.parametrize("as_text", [False, True])
def test_more_objects_are_templates(as_text: bool) -> None:
    one = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": '{{ include "clip-image-flow.fullname" . }}-mine'},
        "data": {"model": "{{ .Values.flow }}"},
    }
    rendering = render({"extraObjects": [yaml.safe_dump(one) if as_text else one]})
    assert rendering.one("ConfigMap", "clip-mine")["data"] == {"model": "encode"}


@pytest.mark.parametrize("helm", ["helm", "helm3"])
@pytest.mark.parametrize(("version", "taken"), [("1.29", False), ("v1.29.9-gke.1", False), ("1.30.0-eks-1", True)])
def test_an_old_cluster_is_refused_in_words(version: str, taken: bool, helm: str) -> None:
    if taken:
        assert render(flags=("--kube-version", version), helm=helm).objects
        return
    with pytest.raises(RefusedError, match=r"the cluster runs Kubernetes v1\.29.* needs 1\.30 or newer: upgrade"):
        render(flags=("--kube-version", version), helm=helm)


def test_without_a_cluster_the_version_that_some_builds_of_helm_claim_says_nothing() -> None:
    assert render(flags=("--kube-version", "1.20.0")).objects
    on_a_cluster = ("--kube-version", "1.20.0", "--api-versions", "apps/v1/Deployment")
    with pytest.raises(RefusedError, match=r"needs 1\.30 or newer"):
        render(flags=on_a_cluster)


def test_the_executors_port_is_open_to_both_families() -> None:
    """gRPC takes this address for all of both families; tests/flow/test_dual_stack.py connects."""
    arguments = container(encoder())["args"]
    assert arguments[arguments.index("--host") + 1] == "0.0.0.0"
