"""Metrics in a cluster: a scraper that the values name reaches them, and nobody else does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.kube import RELEASE, Cluster, Namespace
from tests.cluster.test_isolation import reaches

COMPONENTS = ("gateway", "encoder")
PORT = 9090
_SCRAPE = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Namespace:
    """A release whose metrics a pod labelled `role: scraper` in any namespace may read."""
    scraper = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"role": "scraper"}}}
    namespace.install({"monitoring": {"enabled": True, "from": [scraper]}})
    return namespace


@pytest.fixture(scope="module")
def outside(cluster: Cluster, release: Namespace) -> Iterator[Namespace]:
    """A namespace beside the release's with two pods: `scraper`, which may, and `stranger`, which may not."""
    with cluster.namespace("t-scrapers", "baseline") as made:
        made.sleepers("scraper", "stranger")
        yield made


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize(("pod", "reached"), [("scraper", True), ("stranger", False)])
def test_only_whom_the_values_name_reaches_metrics(
    release: Namespace, outside: Namespace, component: str, pod: str, reached: bool
) -> None:
    host = release.pods(component)[0].status.pod_ip
    assert reaches(outside, pod, host, PORT) is reached


def test_the_scraper_reaches_an_executors_metrics_and_not_its_requests(release: Namespace, outside: Namespace) -> None:
    host = release.pods("encoder")[0].status.pod_ip
    assert not reaches(outside, "scraper", host, 8080)


def test_what_callers_send_is_counted_on_both_sides(release: Namespace, outside: Namespace) -> None:
    release.helm("test", RELEASE)
    texts = {}
    for component in COMPONENTS:
        (pod,) = release.pods(component)
        url = f"http://{pod.status.pod_ip}:{PORT}/metrics"
        texts[component] = outside.exec("scraper", "python", "-c", _SCRAPE, url)
    assert 'clip_gateway_requests_total{error="",protocol="HTTP",status="200"}' in texts["gateway"]
    assert 'clip_gateway_executor_up{executor="encoder"} 1.0' in texts["gateway"]
    assert 'clip_model_info{backend="openvino"' in texts["encoder"]
    (ok,) = [line for line in texts["encoder"].splitlines() if line.startswith('clip_items_total{outcome="ok"')]
    assert float(ok.rpartition(" ")[2]) >= 1


@pytest.mark.parametrize("service", ["gateway", "gateway-headless", "encoder"])
def test_no_service_has_metrics(release: Namespace, outside: Namespace, service: str) -> None:
    spec = release.cluster.core.read_namespaced_service(f"{RELEASE}-{service}", release.name).spec
    assert PORT not in [port.port for port in spec.ports]
