"""One Flow for all tests of this folder, with a random model that computes in a millisecond."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jina import Client
from jina.excepts import BadServer

from scripts.flow import RunningFlow, running_flow

os.environ["JINA_OPTOUT_TELEMETRY"] = "1"  # of the clients in this process


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def flow_environment(model: Path | str, **settings: str) -> dict[str, str]:
    """The environment of a Flow that serves `model` on free ports."""
    grpc, http = free_ports(2)
    ports = {"CLIP_GRPC_PORT": str(grpc), "CLIP_HTTP_PORT": str(http)}
    return {**os.environ, **ports, "CLIP_MODEL": str(model), **settings}


@pytest.fixture(scope="session")
def flow(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """The Flow of flows/encode_flow.yml, running."""
    log = tmp_path_factory.mktemp("flow") / "flow.log"
    with log.open("wb") as output, running_flow(flow_environment(tiny_model), output) as running:
        yield running


def refusal(client: Client, *args: Any, **kwargs: Any) -> str:
    """How `client.post(...)` is refused: over gRPC in the answer that BadServer holds, over HTTP in its body."""
    with pytest.raises((BadServer, ValueError)) as raised:
        client.post(*args, **kwargs)
    (told,) = raised.value.args
    status = told["header"]["status"]["description"] if isinstance(told, dict) else told.status.description
    return str(status)


@pytest.fixture(params=["grpc", "http"])
def client(request: pytest.FixtureRequest, flow: RunningFlow) -> Client:
    """Jina's Client, over each protocol."""
    return Client(host=getattr(flow, request.param))
