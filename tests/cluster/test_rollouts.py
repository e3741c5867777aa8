"""A rollout to another model, or to another option, under a load on each gateway: every one goes over to it once."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cluster.kube import FIGURES, RELEASE, Namespace
from tests.cluster.load import PICTURE, calls_of

TOGETHER_SECONDS = 10.0  # within which all gateways switch
URI = f"data:image/png;base64,{base64.b64encode(PICTURE.read_bytes()).decode()}"
_SCRIPT = Path(__file__).with_name("kinds_loader.py")
_SMALL = {"requests": {"cpu": "20m", "memory": "256Mi"}}


def values(gateways: int, replicas: int, **more: Any) -> dict[str, Any]:
    return {
        "gateway": {"replicas": gateways, "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}}},
        "executorDefaults": {"replicas": replicas, "resources": _SMALL, **more.pop("executorDefaults", {})},
        **more,
    }


@pytest.fixture(scope="module")
def another_model(claim: str) -> dict[str, Any]:
    return {"model": {"name": "/models/random.pt", "source": "claim", "claim": claim}}


# The same checkpoint with another fingerprint, on every CPU; bf16 needs one that computes it.
ANOTHER_DECODE = {"executorDefaults": {"usesWith": {"decode": "fast"}}}


def rolled(namespace: Namespace, replicas: int, executors: tuple[str, ...]) -> None:
    for one in executors:
        namespace.rollout(one)
    for one in executors:
        namespace.wait_settled(one, replicas)


def switches(calls: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Gateway -> its answers of another kind than the one before, in the order in which they came."""
    right = sorted((call for call in calls if not call["wrong"]), key=lambda call: call["came"])
    by_gateway: dict[str, list[dict[str, Any]]] = {}
    for call in right:
        by_gateway.setdefault(call["gateway"], []).append(call)
    return {
        gateway: [now for before, now in itertools.pairwise(own) if before["kind"] != now["kind"]]
        for gateway, own in by_gateway.items()
    }


def told(calls: list[dict[str, Any]]) -> str:
    """What a rollout did to the load: its first 5 seconds are from before it."""
    found = switches(calls)
    firsts = [own[0]["came"] for own in found.values() if own] or [float("nan")]
    began = min(call["came"] for call in calls)

    def p99(since: float, until: float) -> str:
        times = [1000 * call["seconds"] for call in calls if since <= call["came"] <= until]
        return f"{np.percentile(times, 99):.0f} ms" if times else "none"

    lost = sum(bool(call["wrong"]) for call in calls)
    return (
        f"{len(calls)} calls, {lost} lost; switches {[len(own) for own in found.values()]}, "
        f"{max(firsts) - min(firsts):.1f} s apart; p99 before {p99(began, began + 5)}, all along "
        f"{p99(began, float('inf'))}, 5 s around the switch {p99(min(firsts) - 5, max(firsts) + 5)}, longest "
        f"{1000 * max(call['seconds'] for call in calls):.0f} ms"
    )


def check(calls: list[dict[str, Any]], gateways: int) -> None:
    assert [call["wrong"] for call in calls if call["wrong"]] == []
    found = switches(calls)
    assert [len(own) for own in found.values()] == gateways * [1]
    times = [own[0]["came"] for own in found.values()]
    assert max(times) - min(times) < TOGETHER_SECONDS
    assert len({call["kind"] for call in calls}) == 2


def cases() -> Iterator[Any]:
    """Two of them have every number and every change; the others run with `--every-rollout`."""
    for case in itertools.product((1, 3), (2, 3), ("model", "decode")):
        few = case in ((1, 2, "model"), (3, 3, "decode"))
        yield pytest.param(*case, marks=() if few else pytest.mark.every_rollout)


@pytest.mark.parametrize(("gateways", "replicas", "change"), list(cases()))
def test_each_gateway_switches_once_and_once_back(
    namespace: Namespace, another_model: dict[str, Any], gateways: int, replicas: int, change: str
) -> None:
    namespace.install(values(gateways, replicas))
    rolled(namespace, replicas, ("encoder",))
    pods = namespace.wait_settled("gateway", gateways)
    urls = [f"http://{pod.status.pod_ip}:8081" for pod in pods]
    new = another_model if change == "model" else ANOTHER_DECODE
    for way in ("forward", "back"):
        with calls_of(namespace, _SCRIPT, json.dumps({"input": [URI]}).encode(), urls) as calls:
            if way == "forward":
                namespace.install(values(gateways, replicas, **new))
            else:
                namespace.helm("rollback", RELEASE, "--wait", "--timeout", "5m")
            rolled(namespace, replicas, ("encoder",))
        FIGURES.append(f"another {change}, {way}, {gateways} gateways, {replicas} replicas: {told(calls)}")
        check(calls, gateways)


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.every_rollout), 2])
def test_both_halves_switch_at_once(namespace: Namespace, another_model: dict[str, Any], replicas: int) -> None:
    """Their Deployments are rolled out side by side; one replica of each has the pause of its pod to wait in."""
    halves = ("encoder", "text")
    namespace.install(values(1, replicas, flow="clip"))
    rolled(namespace, replicas, halves)
    [pod] = namespace.wait_settled("gateway", 1)
    body = json.dumps({"input": [URI, "a rocket"]}).encode()
    with calls_of(namespace, _SCRIPT, body, [f"http://{pod.status.pod_ip}:8081"]) as calls:
        namespace.install(values(1, replicas, flow="clip", **another_model))
        rolled(namespace, replicas, halves)
    FIGURES.append(f"another model, words and pictures, {replicas} replicas: {told(calls)}")
    check(calls, 1)
    assert {len(call["kind"].split(", ")) for call in calls} == {2}
