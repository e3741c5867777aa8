"""Jina's own export, as it is: `kubectl apply -R -f k8s/`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from jina import Client, Document, DocumentArray

from tests.cluster.kube import ROOT, Cluster, Namespace, is_ready, until
from tests.cluster.load import PICTURE


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """The one that the export names."""
    yield Namespace(cluster, "default")
    cluster.kubectl("delete", "--recursive", "--filename", ROOT / "k8s", "--ignore-not-found", "--wait=false")


def test_it_comes_up_and_answers(namespace: Namespace) -> None:
    namespace.kubectl("apply", "--recursive", "--filename", ROOT / "k8s")

    def running() -> bool:
        pods = namespace.cluster.core.list_namespaced_pod("default").items
        return {pod.metadata.labels.get("app") for pod in pods if is_ready(pod)} >= {"gateway", "encoder"}

    until("the pods run", running, 180)

    def answer() -> Any:
        with namespace.forward("service/gateway", 8080) as (grpc,):
            try:
                return Client(host=f"grpc://127.0.0.1:{grpc}").post(
                    "/", DocumentArray([Document(blob=PICTURE.read_bytes())])
                )
            except Exception:  # not yet: the raw export has no readiness
                return None

    docs = until("an answer", answer, 120, every=2)
    assert docs[0].embedding.shape == (128,)
    assert np.isfinite(docs[0].embedding).all()
