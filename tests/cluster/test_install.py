"""The chart with its defaults: it comes up, gives the library's embeddings, upgrades, rolls back and goes."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Callable

import numpy as np
import pytest
import yaml
from jina import Client, Document, DocumentArray

from clip_image_flow import ImageEncoder
from tests.cluster.kube import CHART, FIGURES, IMAGES, RELEASE, ROOT, SMALL, Namespace, until

PICTURES = sorted((ROOT / "examples" / "pictures" / "heldout").glob("*.png"))[:8]


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Namespace:
    begin = time.monotonic()
    namespace.helm("install", RELEASE, CHART, "--wait", "--timeout", "5m")
    FIGURES.append(f"helm install --wait with the defaults: {time.monotonic() - begin:.0f} s")
    return namespace


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    """What the library makes of PICTURES in this process: float32 (n, dim)."""
    encoder = ImageEncoder("emoji-tiny")
    rows = encoder.encode([picture.read_bytes() for picture in PICTURES])
    encoder.close()
    return rows


def test_the_defaults_come_up_and_pass_helm_test(release: Namespace) -> None:
    assert len(release.ready("gateway")) == len(release.ready("encoder")) == 2
    begin = time.monotonic()
    assert "Succeeded" in release.helm("test", RELEASE)
    FIGURES.append(f"helm test: {time.monotonic() - begin:.0f} s")
    for pod in release.pods():
        conditions = {c.type: c.last_transition_time for c in pod.status.conditions}
        seconds = (conditions["Ready"] - conditions["PodScheduled"]).total_seconds()
        FIGURES.append(f"{pod.metadata.labels['app.kubernetes.io/component']}, pod scheduled to ready: {seconds:.0f} s")


def by_grpc(grpc: int, http: int) -> np.ndarray:
    return _by_jina(f"grpc://127.0.0.1:{grpc}")


def by_http(grpc: int, http: int) -> np.ndarray:
    return _by_jina(f"http://127.0.0.1:{http}")


def by_embed(grpc: int, http: int) -> np.ndarray:
    rows = []
    for picture in PICTURES:
        request = urllib.request.Request(
            f"http://127.0.0.1:{http}/embed", picture.read_bytes(), {"Content-Type": "image/png"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            rows.append(json.load(answer)["embedding"])
    return np.array(rows)


def _by_jina(host: str) -> np.ndarray:
    docs = DocumentArray([Document(blob=picture.read_bytes()) for picture in PICTURES])
    return np.array(Client(host=host).post("/", docs).embeddings)


@pytest.mark.parametrize("ask", [by_grpc, by_http, by_embed], ids=["grpc", "http", "embed"])
def test_embeddings_are_those_of_the_library(
    release: Namespace, expected: np.ndarray, ask: Callable[[int, int], np.ndarray]
) -> None:
    with release.forward(f"service/{RELEASE}-gateway", 8080, 8081) as (grpc, http):
        answer = ask(grpc, http)
    assert answer.shape == expected.shape
    cosines = (answer * expected).sum(axis=1) / np.linalg.norm(answer, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.99999
    assert np.abs(answer - expected).max() <= 1e-3 * np.abs(expected).max()


def test_an_upgrade_rolls_what_it_touches_and_a_rollback_returns(release: Namespace) -> None:
    def names(component: str) -> set[str]:
        return {pod.metadata.name for pod in release.pods(component)}

    gateways, encoders = names("gateway"), names("encoder")
    option = "executorDefaults.usesWith.batch_size=16"
    release.helm("upgrade", RELEASE, CHART, "--set", option, "--wait", "--timeout", "5m")
    release.rollout("encoder")
    assert names("gateway") == gateways
    until("other encoders", lambda: not names("encoder") & encoders)
    release.helm("rollback", RELEASE, "1", "--wait", "--timeout", "5m")
    release.rollout("encoder")
    deployment = release.cluster.apps.read_namespaced_deployment(f"{RELEASE}-encoder", release.name)
    assert "batch_size" not in " ".join(deployment.spec.template.spec.containers[0].args)
    assert names("gateway") == gateways
    assert "Succeeded" in release.helm("test", RELEASE)


def test_uninstalled_it_leaves_nothing_but_the_log_of_its_test(release: Namespace) -> None:
    test = f"pod/{RELEASE}-test"
    assert release.objects() > {test}
    release.helm("uninstall", RELEASE, "--wait", "--timeout", "2m")
    until("nothing else is left", lambda: release.objects() == {test}, 120)
    release.kubectl("delete", test)


def test_helm_3_installs_it(namespace: Namespace) -> None:
    if shutil.which("helm3") is None:
        pytest.skip("NOT RUN: there is no helm3 here")
    namespace.install(binary="helm3")
    assert "Succeeded" in namespace.helm("test", RELEASE, binary="helm3")
    namespace.helm("uninstall", RELEASE, "--wait", binary="helm3")


@pytest.mark.parametrize("profile", ["small", "air-gapped"])
def test_a_profile_comes_up(namespace: Namespace, profile: str) -> None:
    file = CHART / "profiles" / f"{profile}.yaml"
    registry = yaml.safe_load(file.read_text(encoding="utf-8")).get("global", {}).get("imageRegistry")
    for image in IMAGES.values() if registry else ():
        namespace.cluster.tag(image, f"{registry}/{image}")  # as if the nodes had pulled it from there
    namespace.install(*([SMALL] if registry else []), profile=file)
    pods = namespace.pods("gateway") + namespace.pods("encoder")  # the one of an earlier helm test stays
    assert all(pod.spec.containers[0].image.startswith(registry or "clip-") for pod in pods)
    assert "Succeeded" in namespace.helm("test", RELEASE)
    namespace.helm("uninstall", RELEASE, "--wait")
