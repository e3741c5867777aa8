"""How pods come, go, find a place and multiply; tokens and TLS; their names and labels."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.chart.cases import CASES, EVERYTHING_ON
from tests.chart.chart import ROLES, argument, container, encoder, gateway, pod, render, uses_with


def test_an_executor_lives_by_its_process_and_is_ready_by_its_service() -> None:
    one = container(encoder())
    assert one["livenessProbe"]["grpc"] == {"port": 8080}
    assert one["readinessProbe"]["grpc"] == {"port": 8080, "service": "jina.JinaSingleDataRequestRPC"}


@pytest.mark.parametrize(("seconds", "times"), [(600, 300), (90, 45), (1, 1)])
def test_an_executor_has_time_to_load_its_model(seconds: int, times: int) -> None:
    probe = container(encoder(startupSeconds=seconds))["startupProbe"]
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (2, times)
    assert probe["grpc"]["service"] == "jina.JinaSingleDataRequestRPC"


def test_a_rollout_is_given_up_no_sooner_than_a_model_may_take_to_load(two_executors: Any) -> None:
    values = {"executorDefaults": {"startupSeconds": 100}, "executors": {"text_ranker": {"startupSeconds": 900}}}
    rendering = render(values, chart=two_executors)
    deadlines = {o["metadata"]["name"]: o["spec"]["progressDeadlineSeconds"] for o in rendering.of_kind("Deployment")}
    assert deadlines == {"clip-encoder": 160, "clip-text-ranker": 960, "clip-gateway": 960}


def test_why_a_container_did_not_start_stands_in_its_pods_status() -> None:
    for deployment in (encoder(), gateway()):
        assert container(deployment)["terminationMessagePolicy"] == "FallbackToLogsOnError"


@pytest.mark.parametrize(("tls", "scheme"), [("", "HTTP"), ("certificate", "HTTPS")])
def test_the_gateway_is_ready_once_every_executor_answered_and_lives_by_itself(tls: str, scheme: str) -> None:
    one = container(gateway(tls={"existingSecret": tls}))
    assert one["readinessProbe"]["httpGet"] == {"path": "/startupz", "port": "http", "scheme": scheme}
    for probe in ("livenessProbe", "startupProbe"):
        assert one[probe]["httpGet"] == {"path": "/healthz", "port": "http", "scheme": scheme}


@pytest.mark.parametrize("case", CASES)
def test_a_pod_that_ends_has_lost_its_connections_before_it_stops(case: str) -> None:
    rendering = render(CASES[case])
    for name in ROLES:
        deployment = rendering.one("Deployment", name)
        pause = container(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"]
        age = json.loads(argument(container(deployment), "--grpc-server-options"))["grpc.max_connection_age_ms"]
        assert age / 1000 < pause < pod(deployment)["terminationGracePeriodSeconds"]


def test_a_rollout_on_cpu_never_has_a_pod_too_few() -> None:
    for deployment in (encoder(), gateway()):
        assert deployment["spec"]["strategy"] == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        }


def test_tokens_and_certificates_come_from_secrets_and_reach_the_gateway_and_the_test() -> None:
    rendering = render(EVERYTHING_ON)
    deployment = rendering.one("Deployment", "clip-gateway")
    assert uses_with(deployment) == {
        "max_documents": 16,
        "tokens_file": "/etc/clip-gateway/auth/all",
        "tls_certificate_file": "/etc/clip-gateway/tls/tls.crt",
        "tls_key_file": "/etc/clip-gateway/tls/tls.key",
    }
    for owner, names in ((deployment, {"auth", "tls"}), (rendering.one("Pod", "clip-test"), {"auth", "tls"})):
        mounted = {mount["name"]: mount for mount in pod(owner)["containers"][0]["volumeMounts"]}
        assert names <= mounted.keys()
        assert all("subPath" not in mount for mount in mounted.values()), "a file mounted alone never changes"
        secrets = {v["name"]: v["secret"]["secretName"] for v in pod(owner)["volumes"] if "secret" in v}
        assert secrets == {"auth": "tokens", "tls": "certificate"}


def test_the_test_gets_the_certificate_and_not_its_key() -> None:
    job = render(EVERYTHING_ON).one("Pod", "clip-test")
    (tls,) = [volume["secret"] for volume in pod(job)["volumes"] if volume["name"] == "tls"]
    assert [item["key"] for item in tls["items"]] == ["tls.crt"]


def test_without_secrets_the_gateway_is_asked_for_nothing() -> None:
    assert uses_with(gateway()) == {}
    assert [volume["name"] for volume in pod(gateway())["volumes"]] == ["home", "tmp"]


@pytest.mark.parametrize("role", ROLES)
def test_pods_keep_apart_when_there_is_room(role: str) -> None:
    deployment = render().one("Deployment", role)
    labels = deployment["spec"]["selector"]["matchLabels"]
    constraints = pod(deployment)["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in constraints} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert {one["whenUnsatisfiable"] for one in constraints} == {"ScheduleAnyway"}
    assert all(one["labelSelector"]["matchLabels"] == labels for one in constraints)
    (term,) = pod(deployment)["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == labels


@pytest.mark.parametrize("role", ROLES)
def test_placement_and_additions_are_the_values(role: str) -> None:
    deployment = render(EVERYTHING_ON).one("Deployment", role)
    spec = pod(deployment)
    assert spec["affinity"].keys() == {"nodeAffinity"}
    assert spec["nodeSelector"]["pool"] == "clip"
    assert {"key": "pool", "operator": "Equal", "value": "clip", "effect": "NoSchedule"} in spec["tolerations"]
    assert spec["priorityClassName"] == "high"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert deployment["metadata"]["annotations"] == {"reloader.stakater.com/auto": "true"}
    assert deployment["spec"]["revisionHistoryLimit"] == 3
    assert deployment["spec"]["template"]["metadata"]["annotations"]["example.com/note"] == "yes"
    assert deployment["spec"]["template"]["metadata"]["labels"]["example.com/cost"] == "vision"
    assert [one["name"] for one in spec["initContainers"]] == ["before"]
    assert [one["topologyKey"] for one in spec["topologySpreadConstraints"]] == ["example.com/rack"]
    assert spec["schedulerName"] == "other"
    assert {"name": "JINA_LOG_LEVEL", "value": "DEBUG"} in container(deployment)["env"]
    assert {"name": "more", "mountPath": "/more"} in container(deployment)["volumeMounts"]
    assert {"name": "more", "emptyDir": {"sizeLimit": "1Mi"}} in spec["volumes"]


@pytest.mark.parametrize("role", ROLES)
def test_an_autoscaler_takes_the_number_of_pods_over(role: str) -> None:
    rendering = render(EVERYTHING_ON)
    assert "replicas" not in rendering.one("Deployment", role)["spec"]
    autoscaler = rendering.one("HorizontalPodAutoscaler", role)["spec"]
    assert autoscaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": role}
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (2, 6)
    assert [metric["type"] for metric in autoscaler["metrics"]] == ["Pods"]
    assert autoscaler["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 60}}
    assert render().of_kind("HorizontalPodAutoscaler") == []


@pytest.mark.parametrize(
    ("resources", "target"),
    [
        ({}, 700),
        ({"requests": {"cpu": "500m"}}, 140),
        ({"requests": {"cpu": 1}}, 70),
        ({"limits": {"cpu": None}}, 70),
        ({"requests": {"cpu": None}}, 70),
    ],
    ids=["a tenth asked for", "half", "all", "no limit", "no request: Kubernetes takes the limit"],
)
def test_an_autoscaler_follows_the_share_of_the_cpu_that_a_pod_may_take(resources: Any, target: int) -> None:
    """Of a request of 100m 70 % are reached at once, and all pods would come."""
    values = {"gateway": {"autoscaling": {"enabled": True}, "resources": resources}}
    (metric,) = render(values).one("HorizontalPodAutoscaler", "clip-gateway")["spec"]["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}


@pytest.mark.parametrize("role", ["gateway", "executorDefaults"])
def test_null_replicas_leave_the_field_to_another_autoscaler(role: str) -> None:
    name = {"gateway": "clip-gateway", "executorDefaults": "clip-encoder"}[role]
    assert "replicas" not in render({role: {"replicas": None}}).one("Deployment", name)["spec"]
    assert render().one("Deployment", name)["spec"]["replicas"] == 2


def test_an_autoscaler_of_nodes_may_take_one_with_pods_on_it() -> None:
    key = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
    downloading = {"name": "ViT-B/32", "source": "download"}
    for deployment in (gateway(), encoder(), encoder(model=downloading)):
        volumes = [volume["name"] for volume in pod(deployment)["volumes"] if "emptyDir" in volume]
        assert deployment["spec"]["template"]["metadata"]["annotations"] == {key: ",".join(volumes)}
    mine = encoder(podAnnotations={key: "tmp"})
    assert mine["spec"]["template"]["metadata"]["annotations"] == {key: "tmp"}


@pytest.mark.parametrize("role", ROLES)
def test_a_drain_takes_one_pod_at_a_time(role: str) -> None:
    budget = render().one("PodDisruptionBudget", role)["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["selector"] == render().one("Deployment", role)["spec"]["selector"]
    assert render(EVERYTHING_ON).one("PodDisruptionBudget", role)["spec"]["maxUnavailable"] == "50%"


@pytest.mark.parametrize("case", CASES)
def test_common_labels_are_everywhere_and_change_no_selector(case: str) -> None:
    rendering = render({**CASES[case], "commonLabels": {"team": "vision", "app.kubernetes.io/component": "mine"}})
    plain = render(CASES[case])
    for one in rendering.objects:
        assert one["metadata"]["labels"]["team"] == "vision"
    for name, template in rendering.pods().items():
        assert template["metadata"]["labels"]["team"] == "vision"
        if name.startswith("Deployment/"):
            selector = rendering.one(*name.split("/"))["spec"]["selector"]
            assert selector == plain.one(*name.split("/"))["spec"]["selector"]
            assert selector["matchLabels"].items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("release", ["r" * 53, "7-of-9", "a.b", "x"])
def test_names_are_such_as_kubernetes_takes_whatever_the_release_is_called(release: str, two_executors: Any) -> None:
    objects = render(chart=two_executors, release=release).objects
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    for kind, name in names:
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]" if kind == "Service" else r"[a-z0-9.-]{1,63}", name)


@pytest.mark.parametrize(("case", "most"), [("defaults", 1000), ("small", 200)])
def test_two_cores_have_room_for_it(case: str, most: int) -> None:
    """Millicores that pods ask for; a kind cluster's own pods take 950 on one node."""
    asked = 0
    for deployment in render(CASES[case]).of_kind("Deployment"):
        cpu = container(deployment)["resources"]["requests"]["cpu"]
        asked += deployment["spec"]["replicas"] * int(cpu.removesuffix("m"))
    assert asked <= most
