"""Metrics reach whom the values name and nobody else; monitors, dashboard, autoscaling and traces follow the values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.flow.names import CHART
from tests.chart.cases import CASES, MONITORED, OPERATED
from tests.chart.chart import NAMESPACE, RefusedError, Rendering, argument, container, render
from tests.chart.custom_schemas import SCHEMAS, custom_refusal

COMPONENTS = ["gateway", "encoder"]
SCRAPER = {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
SERIES = f'namespace="{NAMESPACE}",app_kubernetes_io_instance="clip"'


def rules_for(rendering: Rendering, component: str, port: int) -> list[dict[str, Any]]:
    """The rules of a component's policy that let somebody in to a port."""
    policy = rendering.one("NetworkPolicy", f"clip-{component}")["spec"]
    return [rule for rule in policy["ingress"] if port in [one["port"] for one in rule["ports"]]]


def annotations(rendering: Rendering, component: str) -> dict[str, str]:
    template = rendering.one("Deployment", f"clip-{component}")["spec"]["template"]
    return dict(template["metadata"].get("annotations") or {})


@pytest.mark.parametrize("case", CASES)
def test_every_custom_resource_is_valid(case: str) -> None:
    custom = [one for one in render(CASES[case]).objects if one["kind"] in SCHEMAS]
    assert [reason for one in custom if (reason := custom_refusal(one))] == []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_schemas_refuse_what_is_misspelt(kind: str) -> None:
    one = next(
        one for case in (MONITORED, OPERATED, CASES["scraped by a Service"]) for one in render(case).of_kind(kind)
    )
    assert custom_refusal({**one, "spec": {**one["spec"], "misspelt": 1}})


def test_without_monitoring_there_is_nothing_of_it() -> None:
    rendering = render()
    assert [one["kind"] for one in rendering.objects if one["kind"] in SCHEMAS] == []
    for component in COMPONENTS:
        one = container(rendering.one("Deployment", f"clip-{component}"))
        assert not {"--monitoring", "--tracing"} & set(one["args"])
        assert "metrics" not in [port["name"] for port in one["ports"]]
        assert rules_for(rendering, component, 9090) == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_one_switch_opens_the_port_to_whom_the_values_name(component: str) -> None:
    rendering = render(MONITORED)
    one = container(rendering.one("Deployment", f"clip-{component}"))
    assert "--monitoring" in one["args"]
    assert argument(one, "--port-monitoring") == "9090"
    assert {"name": "metrics", "containerPort": 9090} in one["ports"]
    (rule,) = rules_for(rendering, component, 9090)
    assert rule == {"from": [SCRAPER], "ports": [{"protocol": "TCP", "port": 9090}]}


@pytest.mark.parametrize("component", COMPONENTS)
def test_nobody_is_let_in_where_nobody_is_named(component: str) -> None:
    assert rules_for(render({"monitoring": {"enabled": True}}), component, 9090) == []


@pytest.mark.parametrize("case", CASES)
def test_no_service_of_callers_has_metrics(case: str) -> None:
    for service in render(CASES[case]).of_kind("Service"):
        spec = service["spec"]
        if any(port["port"] == 9090 or port["targetPort"] == "metrics" for port in spec["ports"]):
            assert service["metadata"]["name"] == "clip-metrics"
            assert (spec["type"], spec["clusterIP"]) == ("ClusterIP", "None")
    for kind in ("Ingress", "HTTPRoute"):
        assert all("metrics" not in json.dumps(one["spec"]) for one in render(CASES[case]).of_kind(kind))


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_prometheus_that_goes_by_annotations_finds_pods_beside_the_annotations_of_the_values(component: str) -> None:
    others = annotations(render(), component)
    assert annotations(render(MONITORED), component) == others | {
        "prometheus.io/scrape": "true",
        "prometheus.io/path": "/metrics",
        "prometheus.io/port": "9090",
    }
    own = {"gateway": {"podAnnotations": {"a": "b"}}, "executorDefaults": {"podAnnotations": {"a": "b"}}}
    assert annotations(render({**MONITORED, **own}), component)["a"] == "b"
    assert annotations(render(OPERATED), component) == others


@pytest.mark.parametrize(
    ("scrape", "kind"), [("PodMonitor", "PodMonitor"), ("ServiceMonitor", "ServiceMonitor"), ("none", None)]
)
def test_an_operator_finds_every_pod_of_the_release(scrape: str, kind: str | None) -> None:
    rendering = render({"monitoring": {"enabled": True, "scrape": scrape, "labels": {"release": "kps"}}})
    monitors = rendering.of_kind("PodMonitor") + rendering.of_kind("ServiceMonitor")
    assert [one["kind"] for one in monitors] == ([kind] if kind else [])
    for monitor in monitors:
        assert monitor["metadata"]["labels"]["release"] == "kps"
        assert monitor["spec"]["podTargetLabels"] == ["app.kubernetes.io/instance", "app.kubernetes.io/component"]
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        found = rendering.of_kind("Service") if kind == "ServiceMonitor" else pods(rendering)
        chosen = [one for one in found if wanted <= one["metadata"]["labels"].items()]
        if kind == "ServiceMonitor":
            (service,) = chosen
            wanted = service["spec"]["selector"].items()
            chosen = [one for one in pods(rendering) if wanted <= one["metadata"]["labels"].items()]
        components = {one["metadata"]["labels"]["app.kubernetes.io/component"] for one in chosen}
        assert components >= set(COMPONENTS)


def pods(rendering: Rendering) -> list[dict[str, Any]]:
    return list(rendering.pods().values())


def test_the_dashboard_is_where_grafanas_sidecar_looks() -> None:
    config = render(MONITORED).one("ConfigMap", "clip-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    file = CHART / "files" / "dashboards" / "clip-image-flow.json"
    assert json.loads(config["data"]["clip-image-flow.json"]) == json.loads(file.read_text(encoding="utf-8"))
    off = {"monitoring": {"enabled": True, "dashboard": {"enabled": False}}}
    assert "clip-dashboard" not in [one["metadata"]["name"] for one in render(off).of_kind("ConfigMap")]


def test_an_executor_scales_on_what_waits_by_keda() -> None:
    scaled = render(OPERATED).one("ScaledObject", "clip-encoder")["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 6)
    (trigger,) = scaled["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert trigger["metadata"] == {
        "serverAddress": "http://prometheus.monitoring:9090",
        "query": f'sum(rate(clip_queue_wait_seconds_sum{{{SERIES},app_kubernetes_io_component="encoder"}}[1m]))',
        "threshold": "0.5",
    }
    assert render(OPERATED).of_kind("HorizontalPodAutoscaler") == []
    assert "replicas" not in render(OPERATED).one("Deployment", "clip-encoder")["spec"]


def test_an_executor_scales_on_cpu_and_on_its_queue_by_a_pods_metric() -> None:
    autoscaling = {"enabled": True, "by": "waiting", "targetWaitingItems": 3.5}
    rendering = render({**MONITORED, "executors": {"encoder": {"autoscaling": autoscaling}}})
    cpu, queue = rendering.one("HorizontalPodAutoscaler", "clip-encoder")["spec"]["metrics"]
    assert cpu["resource"]["name"] == "cpu"
    assert queue["pods"] == {
        "metric": {"name": "clip_queue_items"},
        "target": {"type": "AverageValue", "averageValue": "3.5"},
    }


def test_traces_go_to_the_collector_and_the_way_there_is_open() -> None:
    rendering = render(OPERATED)
    for component in COMPONENTS:
        one = container(rendering.one("Deployment", f"clip-{component}"))
        assert "--tracing" in one["args"]
        assert argument(one, "--traces-exporter-host") == "http://collector.observability"
        assert argument(one, "--traces-exporter-port") == "4317"
        environment = {entry["name"]: entry.get("value") for entry in one["env"]}
        assert environment["OTEL_TRACES_SAMPLER"] == "parentbased_traceidratio"
        assert environment["OTEL_TRACES_SAMPLER_ARG"] == "0.1"
        egress = rendering.one("NetworkPolicy", f"clip-{component}")["spec"]["egress"]
        collector = {"namespaceSelector": {"matchLabels": {"team": "observability"}}}
        assert {"to": [collector], "ports": [{"protocol": "TCP", "port": 4317}]} in egress


def test_executors_log_in_the_gateways_format() -> None:
    rendering = render({"gateway": {"logFormat": "text"}})
    for component in COMPONENTS:
        env = container(rendering.one("Deployment", f"clip-{component}"))["env"]
        assert {"name": "LOG_FORMAT", "value": "text"} in env


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"monitoring": {"rules": {"enabled": True}}}, "monitoring.rules: enabled, so monitoring.enabled must be true"),
        ({"monitoring": {"tracing": {"enabled": True}}}, "monitoring.tracing: enabled, so host must name a collector"),
        (
            {"executorDefaults": {"autoscaling": {"enabled": True, "by": "waiting"}}},
            "by is waiting, so monitoring.enabled must be true",
        ),
        (
            {**MONITORED, "executorDefaults": {"autoscaling": {"enabled": True, "by": "keda"}}},
            "by is keda, so monitoring.prometheus must be its address",
        ),
        ({"monitoring": {"scrape": "podmonitor"}}, "monitoring.scrape|/monitoring/scrape"),
        ({"monitoring": {"rules": {"latencySeconds": 0.3}}}, "latencySeconds"),
    ],
)
def test_values_that_cannot_work_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        render(values)
