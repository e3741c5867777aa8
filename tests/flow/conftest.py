"""Fixtures for the tests in this directory: Flows, clients, and gateways with an executor that follows parameters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from jina import Client

from scripts.flow.running import RunningFlow, running_flow
from scripts.processes import free_ports
from tests.flow.cost import MEMORY
from tests.flow.gateways import Gateway, executor, gateway

os.environ["JINA_OPTOUT_TELEMETRY"] = "1"  # for the clients in this process


def flow_environment(model: Path | str, **settings: str) -> dict[str, str]:
    """Return the environment of a Flow that serves `model` on free ports, by default of flows/encode_flow.yml."""
    grpc, http = free_ports(2)
    ports = {"CLIP_GRPC_PORT": str(grpc), "CLIP_HTTP_PORT": str(http)}
    return {**os.environ, **ports, "FLOW": "flows/encode_flow.yml", "CLIP_MODEL": str(model), **settings}


@pytest.fixture(scope="session")
def flow(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """Run flows/encode_flow.yml with a random model whose forward pass takes a millisecond."""
    log = tmp_path_factory.mktemp("flow") / "flow.log"
    with log.open("wb") as output, running_flow(flow_environment(tiny_model), output) as running:
        yield running


@pytest.fixture(scope="session")
def clip_flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """Run flows/clip_flow.yml with its own model."""
    log = tmp_path_factory.mktemp("clip-flow") / "flow.log"
    settings = flow_environment("emoji-tiny", FLOW="flows/clip_flow.yml", REPLICAS="1")
    with log.open("wb") as output, running_flow(settings, output) as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def client(request: pytest.FixtureRequest, flow: RunningFlow) -> Client:
    """Return Jina's Client, for each protocol."""
    return Client(host=getattr(flow, request.param))


@pytest.fixture(scope="session")
def obedient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run an executor that does what the parameters of a request say; yield its port."""
    (port,) = free_ports(1)
    with executor(port, tmp_path_factory.mktemp("executor") / "executor.log"):
        yield port


@pytest.fixture(scope="session")
def limited(obedient: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Run a gateway with small limits and a JSON log, for that executor."""
    settings = {
        "max_body_bytes": 1_000_000,
        "max_documents": 8,
        "max_concurrent_requests": 4,
        "time_limit_seconds": 1.5,
    }
    log = tmp_path_factory.mktemp("gateway") / "gateway.log"
    with gateway({"encoder": obedient}, log, settings, LOG_FORMAT="json") as running:
        yield running


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Run a gateway with the memory limit of the chart, and an executor; it has handled a first request."""
    folder = tmp_path_factory.mktemp("wall")
    [port] = free_ports(1)
    settings = {"memory_bytes": MEMORY, "time_limit_seconds": 8}
    with executor(port, folder / "executor.log"), gateway({"encoder": port}, folder / "gateway.log", settings) as found:
        requests.post(f"{found.http}/embed", data=b"x", headers={"Content-Type": "image/png"}, timeout=30)
        yield found
