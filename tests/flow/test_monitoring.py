"""What a Flow shows to Prometheus: the metrics of the docs, sound, and found by every panel of the dashboard."""

from __future__ import annotations

import asyncio
import math
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from docarray import Document, DocumentArray
from jina import Client

from scripts import ROOT
from scripts.flow.running import RunningFlow, running_flow
from scripts.processes import free_ports
from scripts.watch import dashboard
from scripts.watch.load import arrivals, bodies
from scripts.watch.prometheus import Prometheus, prometheus
from tests.chart.chart import NAMESPACE, render
from tests.flow.conftest import flow_environment
from tests.tools import tool

DOCS = ROOT / "docs" / "monitoring.md"
PANELS = [panel for panel in dashboard.panels("10s") if panel.kind != "row"]
EXECUTORS = ["encoder", "text"]


def consecutive_ports(count: int) -> int:
    """The first of `count` free ports in a row, below those that the system hands out."""
    for first in range(20000 + free_ports(1)[0] % 5000, 32000, count):
        taken = [port for port in range(first, first + count) if not _is_free(port)]
        if not taken:
            return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    import socket

    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


@dataclass
class Watched:
    """A Flow with metrics."""

    flow: RunningFlow
    log: Path

    def metrics(self, name: str) -> str:
        """What the first process of `name` shows."""
        return requests.get(f"http://127.0.0.1:{self.flow.metrics[name][0]}/metrics", timeout=10).text


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The Flow for words and pictures with metrics, after requests that went well and one that did not."""
    log = tmp_path_factory.mktemp("watched") / "flow.log"
    settings = flow_environment(
        "emoji-tiny", FLOW="flows/clip_flow.yml", REPLICAS="1", CLIP_MONITORING_PORT=str(consecutive_ports(3))
    )
    with log.open("wb") as output, running_flow(settings, output) as flow:
        picture = next(bodies(words=False)).data
        for data, media in ((picture, "image/png"), (b"a cat", "text/plain"), (b"no picture", "image/png")):
            requests.post(f"{flow.http}/embed", data=data, headers={"Content-Type": media}, timeout=30)
        docs = DocumentArray([Document(blob=picture), Document(text="a dog"), Document(blob=picture)])
        Client(host=flow.grpc).post("/", docs)
        yield Watched(flow, log)


@pytest.fixture(scope="module")
def scraped(watched: Watched) -> Iterator[Prometheus]:
    """A Prometheus that has scraped it under load."""
    tool("prometheus")
    with prometheus(watched.flow.metrics) as source:
        asyncio.run(arrivals(watched.flow.http, 15, 12, bodies(words=True)))
        time.sleep(1.5)
        yield source


def documented() -> dict[str, tuple[str, set[str]]]:
    """The metrics of docs/monitoring.md: name -> type and labels."""
    rows = re.findall(
        r"^\| `(clip_\w+)` \| (counter|gauge|histogram) \|([^|]*)\|", DOCS.read_text(encoding="utf-8"), re.M
    )
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def exposed(text: str) -> dict[str, tuple[str, set[str]]]:
    """Our metrics in an answer: name -> type and labels, without those that buckets have."""
    kinds = dict(re.findall(r"^# TYPE (clip_\w+) (\w+)$", text, re.M))
    found = {}
    for name, kind in kinds.items():
        if not name.endswith("_created"):
            samples = re.findall(rf"^{name}(?:_count|_sum|_bucket)?(?:\{{(.*)\}})? ", text, re.M)
            found[name] = kind, {label for one in samples for label in re.findall(r'(\w+)="', one)} - {"le"}
    return found


def test_the_table_in_the_docs_is_what_is_exposed(watched: Watched) -> None:
    every = {}
    for name in ("gateway", *EXECUTORS):
        every |= exposed(watched.metrics(name))
    table = documented()
    table.pop("clip_gateway_certificate_expiry_timestamp_seconds")  # with TLS alone
    assert every == table


def test_jinas_own_metrics_are_kept(watched: Watched) -> None:
    assert "jina_successful_requests_total" in watched.metrics("gateway")
    for name in EXECUTORS:
        assert "jina_process_request_seconds_count" in watched.metrics(name)
        assert "process_resident_memory_bytes" in watched.metrics(name)


@pytest.mark.parametrize("name", ["gateway", *EXECUTORS])
def test_metrics_are_sound(watched: Watched, name: str) -> None:
    command = [tool("promtool"), "check", "metrics"]
    run = subprocess.run(command, input=watched.metrics(name), capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_items_are_counted_where_they_are_encoded(watched: Watched) -> None:
    assert 'clip_items_total{outcome="ok",tower="image"} 3.0' in watched.metrics("encoder")
    assert 'clip_items_total{outcome="UnsupportedMedia",tower="image"} 1.0' in watched.metrics("encoder")
    assert 'clip_items_total{outcome="ok",tower="text"} 2.0' in watched.metrics("text")


def test_both_sides_have_one_log_line_a_request_with_its_parts(watched: Watched) -> None:
    headers = {"X-Request-Id": "a-line-each", "Content-Type": "image/png"}
    answer = requests.post(
        f"{watched.flow.http}/embed", data=next(bodies(words=False)).data, headers=headers, timeout=30
    )
    fingerprint = answer.headers["x-model-fingerprint"]
    time.sleep(0.5)
    lines = [line for line in watched.log.read_text().splitlines() if line.endswith("id=a-line-each")]
    assert sorted(re.findall(r"request (\S+)", " ".join(lines))) == ["HTTP", "encoder/rep-0"]
    for line in lines:
        assert re.search(r"1 items: [\d.]+ ms waiting, [\d.]+ preparing, [\d.]+ computing", line)
        assert f"by {fingerprint[:12]}" in line


def test_what_is_for_the_log_reaches_no_caller(watched: Watched) -> None:
    answer = Client(host=watched.flow.grpc).post("/", DocumentArray([Document(text="a")]), return_responses=True)
    assert "__work__" not in str(answer[0].parameters)
    body = {"data": [{"text": "a"}], "execEndpoint": "/"}
    assert "__work__" not in requests.post(f"{watched.flow.http}/post", json=body, timeout=30).text


@pytest.mark.parametrize("panel", PANELS, ids=[panel.title for panel in PANELS])
def test_every_panel_finds_data(panel: dashboard.Panel, scraped: Prometheus) -> None:
    for query in panel.queries:
        found = scraped.query_range(query.expression, 12, time.time(), 1)
        values = [value for one in found for _, value in one.values if not math.isnan(value)]
        assert values, query.expression
        assert "$" not in query.expression
        assert "{{" not in dashboard.legend(query, found[0])


def test_the_panels_can_be_drawn(scraped: Prometheus, tmp_path: Path) -> None:
    dashboard.draw(scraped, 12, tmp_path / "dashboard.png", "10s")
    assert (tmp_path / "dashboard.png").stat().st_size > 10_000


def test_kedas_query_says_more_before_latency_doubles_and_fewer_after(tmp_path: Path) -> None:
    """On an engine of a known speed, since what else this machine does would double latencies too."""
    tool("prometheus")
    autoscaling = {"executorDefaults": {"autoscaling": {"enabled": True, "by": "keda"}}}
    monitoring = {"enabled": True, "prometheus": "http://prometheus:9090"}
    scaled = render({"monitoring": monitoring, **autoscaling}).one("ScaledObject", "clip-encoder")
    trigger = scaled["spec"]["triggers"][0]["metadata"]
    query = trigger["query"].replace(f'"{NAMESPACE}"', '"local"').replace("[1m]", "[8s]")
    paths = ":".join(str(ROOT / path) for path in (".", "gateway", "executors/clip_image"))
    settings = flow_environment(
        "emoji-tiny",
        FLOW="tests/flow/slow_flow.yml",
        CLIP_MONITORING_PORT=str(consecutive_ports(2)),
        PYTHONPATH=paths,
    )

    def pods(source: Prometheus) -> int:
        """What KEDA asks of the autoscaler."""
        return max(1, math.ceil(source.query(query)[0].values[0][1] / float(trigger["threshold"])))

    def under(rate: float) -> float:
        """The median latency, of three runs the middle one: the 99th percentile is also what else the machine does."""
        runs = [arrivals(flow.http, rate, 6, bodies(words=False, broken=False), seed) for seed in range(3)]
        return sorted(asyncio.run(run).percentile(0.5) for run in runs)[1]

    log = tmp_path / "flow.log"
    with log.open("wb") as output, running_flow(settings, output) as flow, prometheus(flow.metrics) as source:
        under(3)
        calm, said, doubled = under(3), [pods(source)], [False]
        for rate in (6, 10, 14, 18):
            doubled.append(under(rate) >= 2 * calm)
            said.append(pods(source))
        time.sleep(10)
        after = pods(source)
    assert said[0] == after == 1
    assert said[-1] > 1
    more = next(step for step, count in enumerate(said) if count > 1)
    assert more <= (doubled.index(True) if True in doubled else len(doubled)), (said, doubled)
