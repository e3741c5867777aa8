"""What strangers send costs them their requests, and nobody else: at the limits of the chart, no pod restarts."""

from __future__ import annotations

import base64
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

from fuzz.hostile import HOSTILE
from tests.cluster.kube import FIGURES, IMAGES, RELEASE, ROOT, Namespace, requests_of, until

PICTURE = ROOT / "examples" / "pictures" / "heldout" / "rocket.png"
SECONDS = 40
# Those that are small enough for a ConfigMap; the flood makes the large ones by itself.
SMALL = ("jpeg-scans", "png-rgba", "png-grey-16", "png-rgb-16", "webp-canvas", "tiff-warnings", "bmp-run-lengths")
# What the flood makes by itself.
FLOODS = ("upload", "photograph", "json documents", "grpc upload", "grpc cancelled", "grpc documents")


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Namespace:
    namespace.install({})
    return namespace


def flood(namespace: Namespace) -> list[dict[str, Any]]:
    """Send the worst for `SECONDS` from a pod of the cluster, and small requests beside it: a line for each call."""
    domain = f"{namespace.name}.svc.cluster.local."
    files = {name: HOSTILE[name]() for name in SMALL} | {"picture": PICTURE.read_bytes()}
    load = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "flood"},
        "data": {"flood.py": (ROOT / "tests" / "cluster" / "flood.py").read_text(encoding="utf-8")},
        "binaryData": {name: base64.b64encode(data).decode() for name, data in files.items()},
    }
    urls = [f"http://{RELEASE}-gateway.{domain}:8081", f"{RELEASE}-gateway-headless.{domain}:8080"]
    container = {
        "name": "flood",
        "image": IMAGES["clip-gateway"],
        "command": ["python", "-W", "ignore", "/load/flood.py", str(SECONDS), *urls],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "flood"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "load", "configMap": {"name": "flood"}}],
        },
    }
    namespace.cluster.core.create_namespaced_config_map(namespace.name, load)  # `kubectl apply` would annotate it
    namespace.apply(pod)

    def phase() -> str:
        return str(namespace.cluster.core.read_namespaced_pod("flood", namespace.name).status.phase)

    until("the flood is over", lambda: phase() in ("Succeeded", "Failed"), SECONDS + 150)
    log = namespace.logs("flood")
    assert phase() == "Succeeded", log[-3000:]
    return requests_of(log)


def test_a_flood_of_the_worst_restarts_no_pod_and_small_requests_are_answered(release: Namespace) -> None:
    before = time.time()
    calls = flood(release)
    quiet, small = ([call for call in calls if call["kind"] == kind] for kind in ("quiet", "small"))
    hostile = [call for call in calls if call["kind"] not in ("quiet", "small")]
    p50, p99 = np.percentile([call["seconds"] for call in small], [50, 99])
    alone = np.median([call["seconds"] for call in quiet])
    FIGURES.append(
        f"a flood of the worst for {SECONDS} s: {len(hostile)} hostile calls, {len(small)} small ones beside them, "
        f"p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms (alone p50 {1000 * alone:.0f} ms)"
    )
    ends = Counter((call["kind"], call["end"]) for call in hostile)
    pods = release.pods()
    assert {pod.metadata.name: [c.restart_count for c in pod.status.container_statuses] for pod in pods} == {
        pod.metadata.name: [0] for pod in pods
    }, ends
    assert [call for call in small if call["end"] != "200"] == []
    assert p99 <= 2, f"{p99:.2f} s"
    assert {kind for kind, _ in ends} == {*SMALL, *FLOODS}
    assert time.time() - before < SECONDS + 150
