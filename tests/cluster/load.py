"""Runs a moderate load of images and texts from a pod in the cluster, and collects the result of each call."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.cluster.kube import IMAGES, RELEASE, ROOT, CommandFailedError, Namespace, requests_of, until

PICTURE = ROOT / "examples" / "pictures" / "heldout" / "rocket.png"
_SCRIPT = Path(__file__).with_name("loader.py")


@dataclass
class Load:
    """The calls of one load; times are Unix times in seconds."""

    begin: float
    end: float = 0.0
    calls: list[dict[str, Any]] = field(default_factory=list)

    @property
    def lost(self) -> list[dict[str, Any]]:
        """Calls without a correct response."""
        return [call for call in self.calls if call["wrong"]]

    @property
    def sent_again(self) -> list[str]:
        """Reasons why calls were sent again."""
        return [reason for call in self.calls for reason in call["again"]]

    def summary(self) -> str:
        times = {
            "before": [c["seconds"] for c in self.calls if c["at"] + c["seconds"] < self.begin],
            "during": [
                c["seconds"] for c in self.calls if self.begin <= c["at"] + c["seconds"] and c["at"] <= self.end
            ],
            "after": [c["seconds"] for c in self.calls if c["at"] > self.end],
        }
        told = [f"{len(self.calls)} calls, {len(self.lost)} lost, {len(self.sent_again)} sent again"]
        for phase, seconds in times.items():
            if seconds:
                p50, p99 = 1000 * np.percentile(seconds, [50, 99])
                told.append(f"{phase}: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
        return "; ".join(told)


@contextlib.contextmanager
def load(namespace: Namespace, quiet: float = 5.0, keep_alive: bool = True, word: str = "") -> Iterator[Load]:
    """Run a load on the release's gateway during the context, and for `quiet` seconds before and after it.

    :param namespace: namespace of the release.
    :param quiet: time before and after the context, in seconds.
    :param keep_alive: whether HTTP callers keep their connection to one gateway, or open one per call.
    :param word: text that the same number of additional callers send; empty for none.
    """
    domain = f"{namespace.name}.svc.cluster.local."
    arguments = [
        f"grpc://{RELEASE}-gateway-headless.{domain}:8080",
        f"http://{RELEASE}-gateway.{domain}:8081",
        "keep-alive" if keep_alive else "close",
        word,
    ]
    with calls_of(namespace, _SCRIPT, PICTURE.read_bytes(), arguments, quiet) as calls:
        result = Load(begin=time.time())
        yield result
        result.end = time.time()
    result.calls = calls


@contextlib.contextmanager
def calls_of(
    namespace: Namespace, script: Path, sent: bytes, arguments: Sequence[str], quiet: float = 5.0
) -> Iterator[list[dict[str, Any]]]:
    """Run a script in a pod during the context; yield a list, which has its calls at the end.

    :param namespace: namespace of the pod.
    :param script: script, which prints a JSON line per call.
    :param sent: content of a file, whose path is the first argument of the script.
    :param arguments: further arguments of the script.
    :param quiet: time before and after the context in which the script runs too, in seconds.
    """
    name = f"load-{time.time_ns() % 10**9}"
    namespace.apply(*_pod(namespace, name, script, sent, arguments))
    until("the load has begun", lambda: '"ready"' in _log(namespace, name) or _phase(namespace, name) == "Failed", 120)
    assert _phase(namespace, name) == "Running", _log(namespace, name)
    time.sleep(quiet)
    calls: list[dict[str, Any]] = []
    yield calls
    time.sleep(quiet)
    namespace.exec(name, "touch", "/tmp/stop")
    until("the load has ended", lambda: _phase(namespace, name) == "Succeeded", 90)
    calls += [line for line in requests_of(_log(namespace, name)) if "seconds" in line]
    namespace.kubectl("delete", "pod,configmap", name, "--wait=false")


def _phase(namespace: Namespace, pod: str) -> str:
    return str(namespace.cluster.core.read_namespaced_pod(pod, namespace.name).status.phase)


def _log(namespace: Namespace, pod: str) -> str:
    with contextlib.suppress(CommandFailedError):
        return namespace.logs(pod)
    return ""


def _pod(namespace: Namespace, name: str, script: Path, sent: bytes, arguments: Sequence[str]) -> list[dict[str, Any]]:
    files = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"script.py": script.read_text(encoding="utf-8")},
        "binaryData": {"sent": base64.b64encode(sent).decode()},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "loader",
                    "image": IMAGES["clip-gateway"],
                    "command": ["python", "-W", "ignore", "/load/script.py", "/load/sent"],
                    "args": list(arguments),
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "load", "mountPath": "/load"}],
                }
            ],
            "volumes": [{"name": "load", "configMap": {"name": name}}],
        },
    }
    return [files, pod]
