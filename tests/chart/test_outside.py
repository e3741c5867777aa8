"""How callers from outside the cluster come in: the Service, Gateway API, an Ingress."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from scripts.flow.names import topology_file
from tests.chart.cases import EVERYTHING_ON
from tests.chart.chart import CHART, Values, pod, render

TOKENS = {"existingSecret": "tokens"}
ROUTES: Values = {"gateway": {"auth": TOKENS, "grpcRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}}


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
