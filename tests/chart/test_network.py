"""Who reaches whom, and by which address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chart.cases import CASES, EVERYTHING_ON
from tests.chart.chart import NAMESPACE, Object, Rendering, argument, container, pod, render

DNS = [
    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
    {"ipBlock": {"cidr": "169.254.20.10/32"}},
    {"ipBlock": {"cidr": "169.254.169.254/32"}},
]


@pytest.fixture(params=["this Flow", "another Flow"])
def chart(request: pytest.FixtureRequest, two_executors: Path) -> dict[str, Any]:
    """What `render` takes to render this Flow's chart, or the one of two executors."""
    return {} if request.param == "this Flow" else {"chart": two_executors}


def executors(rendering: Rendering) -> list[str]:
    """The components behind the gateway."""
    components = [d["metadata"]["labels"]["app.kubernetes.io/component"] for d in rendering.of_kind("Deployment")]
    return [component for component in components if component != "gateway"]


def selected(policy: Object, rendering: Rendering) -> list[str]:
    """The components whose pods a policy is for."""
    wanted = policy["spec"]["podSelector"]["matchLabels"].items()
    labels = [pod["metadata"]["labels"] for pod in rendering.pods().values()]
    return [one["app.kubernetes.io/component"] for one in labels if wanted <= one.items()]


def peers(rules: list[Object], direction: str) -> list[str]:
    """The components that rules name as peers; other peers as they are."""
    named = []
    for rule in rules:
        for peer in rule.get(direction, ["everybody"]):
            labels = peer["podSelector"]["matchLabels"] if "podSelector" in peer else {}
            named.append(labels.get("app.kubernetes.io/component", json.dumps(peer)))
    return named


def test_only_the_gateway_reaches_an_executor(chart: dict[str, Any]) -> None:
    rendering = render(**chart)
    for executor in executors(rendering):
        policy = rendering.one("NetworkPolicy", f"clip-{executor}")
        assert selected(policy, rendering) == [executor]
        assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        (rule,) = policy["spec"]["ingress"]
        assert peers([rule], "from") == ["gateway"]
        assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]


def test_an_executor_reaches_dns_and_nothing_else(chart: dict[str, Any]) -> None:
    rendering = render(**chart)
    for executor in executors(rendering):
        (rule,) = rendering.one("NetworkPolicy", f"clip-{executor}")["spec"]["egress"]
        assert rule["to"] == DNS
        assert {port["port"] for port in rule["ports"]} == {53}


def test_the_gateway_reaches_dns_and_the_executors(chart: dict[str, Any]) -> None:
    rendering = render(**chart)
    dns, *others = rendering.one("NetworkPolicy", "clip-gateway")["spec"]["egress"]
    assert dns["to"] == DNS
    assert peers(others, "to") == executors(rendering)
    assert all(rule["ports"] == [{"protocol": "TCP", "port": 8080}] for rule in others)


def test_everybody_reaches_the_gateways_two_ports_unless_told_otherwise() -> None:
    (rule,) = render().one("NetworkPolicy", "clip-gateway")["spec"]["ingress"]
    assert rule == {"ports": [{"protocol": "TCP", "port": 8080}, {"protocol": "TCP", "port": 8081}]}


def test_told_otherwise_only_those_and_the_helm_test() -> None:
    (rule,) = render(EVERYTHING_ON).one("NetworkPolicy", "clip-gateway")["spec"]["ingress"]
    assert rule["from"][0] == {"namespaceSelector": {"matchLabels": {"team": "shop"}}}
    assert peers([{"from": rule["from"][1:]}], "from") == ["test"]


@pytest.mark.parametrize("case", [name for name in CASES if name != "everything off"])
def test_every_pod_has_a_policy_for_both_directions(case: str) -> None:
    rendering = render(CASES[case])
    covered = [one for policy in rendering.of_kind("NetworkPolicy") for one in selected(policy, rendering)]
    every = [pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in rendering.pods().values()]
    assert sorted(covered) == sorted(every)
    for policy in rendering.of_kind("NetworkPolicy"):
        assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}


def test_a_download_opens_the_way_out_for_that_executor_alone(two_executors: Path) -> None:
    values = {"executors": {"encoder": {"model": {"source": "download", "name": "ViT-B/32"}}}}
    rendering = render(values, chart=two_executors)
    (rule,) = rendering.one("NetworkPolicy", "clip-encoder")["spec"]["egress"][1:]
    assert rule["ports"] == [{"protocol": "TCP", "port": 443}]
    assert len(rendering.one("NetworkPolicy", "clip-text-ranker")["spec"]["egress"]) == 1


def test_egress_is_opened_by_values() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443, "protocol": "TCP"}]}
    rendering = render(EVERYTHING_ON)
    assert rule in rendering.one("NetworkPolicy", "clip-encoder")["spec"]["egress"]
    assert rule in rendering.one("NetworkPolicy", "clip-gateway")["spec"]["egress"]


def test_where_dns_is_can_be_told() -> None:
    values = {"networkPolicy": {"dns": {"to": [{"ipBlock": {"cidr": "169.254.20.10/32"}}], "port": 5353}}}
    for policy in render(values).of_kind("NetworkPolicy"):
        dns = policy["spec"]["egress"][0]
        assert dns["to"] == [{"ipBlock": {"cidr": "169.254.20.10/32"}}]
        assert {(port["protocol"], port["port"]) for port in dns["ports"]} == {("UDP", 5353), ("TCP", 5353)}


@pytest.mark.parametrize(
    ("values", "domain"), [({}, "cluster.local"), (EVERYTHING_ON, "corp.example")], ids=["default", "clusterDomain"]
)
def test_every_address_is_fully_qualified(values: dict[str, Any], domain: str, chart: dict[str, Any]) -> None:
    rendering = render(values, **chart)
    gateway = container(rendering.one("Deployment", "clip-gateway"))
    addresses = json.loads(argument(gateway, "--deployments-addresses"))
    assert {address.partition(".")[2] for several in addresses.values() for address in several} == {
        f"{NAMESPACE}.svc.{domain}.:8080"
    }
    test = pod(rendering.one("Pod", "clip-test"))["containers"][0]
    told = {entry["name"]: entry.get("value") for entry in test["env"]}
    assert told["GRPC_ADDRESS"] == f"clip-gateway.{NAMESPACE}.svc.{domain}.:8080"
    assert told["HTTP_ADDRESS"] == f"clip-gateway.{NAMESPACE}.svc.{domain}.:8081"


def test_the_gateway_knows_every_executor_of_its_graph_by_the_service_it_has(chart: dict[str, Any]) -> None:
    rendering = render(**chart)
    gateway = container(rendering.one("Deployment", "clip-gateway"))
    addresses = json.loads(argument(gateway, "--deployments-addresses"))
    graph = json.loads(argument(gateway, "--graph-description"))
    assert addresses.keys() == graph.keys() - {"start-gateway"}
    for (address,) in addresses.values():
        service = rendering.one("Service", address.removeprefix("grpc://").partition(".")[0])
        assert service["spec"]["ports"][0]["port"] == 8080


def test_the_graph_is_the_flows(two_executors: Path) -> None:
    gateway = container(render(chart=two_executors).one("Deployment", "clip-gateway"))
    assert json.loads(argument(gateway, "--graph-description")) == {
        "start-gateway": ["encoder"],
        "encoder": ["text_ranker"],
        "text_ranker": ["end-gateway"],
    }


def test_executors_have_headless_services_so_that_the_gateway_sees_every_pod(chart: dict[str, Any]) -> None:
    rendering = render(**chart)
    for executor in executors(rendering):
        service = rendering.one("Service", f"clip-{executor}")["spec"]
        assert service["clusterIP"] == "None"
        assert service["selector"] == rendering.one("Deployment", f"clip-{executor}")["spec"]["selector"]["matchLabels"]
        assert "publishNotReadyAddresses" not in service


def test_the_gateway_takes_executors_in_turn_and_looks_a_lost_one_up_again() -> None:
    gateway = container(render().one("Deployment", "clip-gateway"))
    assert json.loads(argument(gateway, "--grpc-channel-options")) == {
        "grpc.lb_policy_name": "round_robin",
        "grpc.dns_min_time_between_resolutions_ms": 1000,
    }


def test_connections_are_renewed_on_both_sides_and_the_flows_own_options_stay(two_executors: Path) -> None:
    rendering = render({"connections": {"maxAgeSeconds": 7, "graceSeconds": 40}}, chart=two_executors)
    age = {"grpc.max_connection_age_ms": 7000, "grpc.max_connection_age_grace_ms": 40000}
    options = {
        name: json.loads(argument(container(rendering.one("Deployment", name)), "--grpc-server-options"))
        for name in ("clip-encoder", "clip-gateway")
    }
    assert options["clip-encoder"] == age
    assert options["clip-gateway"] == {**age, "grpc.max_send_message_length": 33554432}


def test_the_gateways_service_has_both_protocols_and_a_headless_twin_for_grpc_clients() -> None:
    rendering = render(EVERYTHING_ON)
    service, twin = (rendering.one("Service", name)["spec"] for name in ("clip-gateway", "clip-gateway-headless"))
    assert [(port["name"], port["port"]) for port in service["ports"]] == [("grpc", 8080), ("http", 8081)]
    assert service["type"] == "LoadBalancer"
    assert service["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert twin["type"] == "ClusterIP"
    assert twin["clusterIP"] == "None"
    assert twin["selector"] == service["selector"]


def test_node_ports_are_chosen_by_protocol() -> None:
    values = {"gateway": {"service": {"type": "NodePort", "nodePorts": {"http": 30080}}}}
    ports = {
        port["name"]: port.get("nodePort") for port in render(values).one("Service", "clip-gateway")["spec"]["ports"]
    }
    assert ports == {"grpc": None, "http": 30080}
