"""Other people's clusters: OpenShift, GKE, DNS elsewhere, old and new versions."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from tests.chart.cases import EVERYTHING_ON
from tests.chart.chart import RefusedError, Values, container, encoder, profile, render

OPENSHIFT = ("--api-versions", "security.openshift.io/v1")
IDS = {"runAsUser", "runAsGroup", "fsGroup"}


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
