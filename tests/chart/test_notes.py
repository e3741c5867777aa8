"""What `helm install` says at its end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.cases import CASES, EVERYTHING_ON
from tests.chart.chart import NAMESPACE, RELEASE, notes

ANYBODY = {"auth": {"anonymous": True}}


@pytest.mark.parametrize("case", CASES)
def test_they_say_how_to_send_the_first_image(case: str) -> None:
    text = notes(CASES[case])
    assert f"kubectl -n {NAMESPACE} port-forward service/clip-gateway 8081" in text
    assert "--data-binary @picture.jpg" in text
    assert f"helm test {RELEASE} -n {NAMESPACE}" in text


def test_the_first_image_is_sent_as_the_gateway_asks() -> None:
    text = notes(EVERYTHING_ON)
    assert "https://127.0.0.1:8081/embed" in text
    assert "Authorization: Bearer $TOKEN" in text
    assert "http://127.0.0.1:8081/embed" in notes({})
    assert "Bearer" not in notes({})


@pytest.mark.parametrize(("model", "loud"), [("emoji-tiny", True), ("ViT-B/32", False)], ids=["embedded", "another"])
def test_the_demo_model_is_named_aloud(model: str, loud: bool) -> None:
    text = notes({"executors": {"encoder": {"model": {"name": model}}}})
    assert f"model {model}, device cpu" in text
    assert ("DEMO" in text) == loud


def test_they_name_every_executor_and_the_demo_model_once() -> None:
    text = notes({"flow": "clip"})
    assert "the Flow clip:\n  encoder: model emoji-tiny, device cpu\n  text: model emoji-tiny, device cpu\n" in text
    assert text.count("DEMO") == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "The gateway requires NO token"),
        ({}, "It does not use TLS"),
        ({}, "Every pod of the cluster can reach it (to restrict this: networkPolicy.gatewayFrom)"),
        ({"gateway": {"auth": {"existingSecret": "tokens"}}}, "a bearer token from the Secret tokens"),
        ({"gateway": {"tls": {"existingSecret": "cert"}}}, "TLS with the certificate of the Secret cert"),
        ({"networkPolicy": {"enabled": False}}, "NetworkPolicies are NOT enabled"),
        ({"networkPolicy": {"gatewayFrom": [{"podSelector": {}}]}}, "Only the peers in networkPolicy.gatewayFrom"),
        ({"gateway": {**ANYBODY, "service": {"type": "LoadBalancer"}}}, "may be reachable from outside the cluster"),
        (
            {"gateway": {**ANYBODY, "ingress": {"enabled": True, "hosts": ["a.example"]}}},
            "An Ingress exposes it at: a.example",
        ),
        (
            {"gateway": {**ANYBODY, "httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}]}}},
            "exposes it at: every host",
        ),
    ],
)
def test_they_say_who_may_come_in(values: dict[str, Any], said: str) -> None:
    assert said in notes(values)


def test_addresses_are_such_as_clients_take() -> None:
    """Over TLS a name with the final dot is not the certificate's, for httpx and urllib."""
    host = f"clip-gateway.{NAMESPACE}.svc.cluster.local"
    assert f"over HTTP: http://{host}:8081/v1\n" in notes({})
    assert f"Jina's Client: grpc://{host}.:8080\n" in notes({})
    secured = notes({"gateway": {"tls": {"existingSecret": "cert"}}})
    assert f"over HTTP: https://{host}:8081/v1\n" in secured
    assert f"Jina's Client: grpcs://{host}:8080\n" in secured
    assert "local.:" not in secured


@pytest.mark.parametrize(("seconds", "minutes"), [(600, 15), (60, 6), (3600, 65)])
def test_they_say_how_long_an_upgrade_may_take(seconds: int, minutes: int) -> None:
    text = notes({"executorDefaults": {"startupSeconds": seconds}})
    assert f"--timeout {minutes}m" in text


@pytest.mark.parametrize(
    ("registry", "said"),
    [
        ("", "clip-gateway:0.1.0, or docker.io/library/clip-gateway:0.1.0\n"),
        ("registry.example.com", "registry.example.com/clip-gateway:0.1.0\n"),
    ],
)
def test_they_say_where_images_come_from(registry: str, said: str) -> None:
    assert said in notes({"global": {"imageRegistry": registry}})


def test_they_say_where_weights_come_from_and_what_stays() -> None:
    claim = notes(
        {"executors": {"encoder": {"model": {"name": "/models/a.pt", "source": "claim", "claim": "weights"}}}}
    )
    assert (
        "weights from the claim weights (read-only; on several nodes it must be ReadOnlyMany or ReadWriteMany)" in claim
    )
    persistent = notes(EVERYTHING_ON)
    assert "`helm uninstall` keeps the claim clip-encoder-models" in persistent
    assert "egress to TCP 443 is allowed" in persistent
