"""Runs gateways and executors as separate processes on real sockets, as in containers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc
from jina import Client

from scripts import ROOT
from scripts.processes import free_ports, process_group

EXECUTOR = ROOT / "tests" / "flow" / "test_executor" / "config.yml"
START_SECONDS = 60
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass
class Gateway:
    """A running gateway."""

    grpc_port: int
    http_port: int
    log: Path
    process: subprocess.Popen[bytes]
    scheme: str = "http"

    @property
    def http(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        return f"grpc://127.0.0.1:{self.grpc_port}"

    def client(self, protocol: str) -> Client:
        return Client(host=getattr(self, protocol))

    def status(self, path: str) -> int:
        """Return the status of a GET request."""
        return requests.get(self.http + path, timeout=10).status_code

    def health(self, service: str = "") -> int:
        """Return `SERVING` or `NOT_SERVING`, from `grpc.health.v1`."""
        return health(self.grpc_port, service)

    def log_text(self) -> str:
        """Return the log so far; wait for its last line, since the log is written with a delay."""
        mark = uuid.uuid4().hex
        requests.get(f"{self.http}/mark", headers={"X-Request-Id": mark}, timeout=10)
        wait_for(lambda: mark in self.log.read_text(), self.log, self.process)
        return self.log.read_text()

    def log_lines(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return the JSON lines of the log that have these values."""
        lines = [json.loads(line) for line in self.log_text().splitlines() if line.startswith('{"time"')]
        return [line for line in lines if wanted.items() <= line.items()]


def health(port: int, service: str = "", *, seconds: float = 10, start: bool = False) -> int:
    """Return the status of a service, from `grpc.health.v1`.

    :param port: port on this machine.
    :param service: name of the service; empty for the whole server.
    :param seconds: timeout, in seconds.
    :param start: whether to wait for a server that is starting.
    :raises grpc.RpcError: if there is no response within `seconds`.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return int(health_pb2_grpc.HealthStub(channel).Check(request, wait_for_ready=start, timeout=seconds).status)


def running(
    arguments: list[str], log: Path, folder: Path = ROOT, **environment: str
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Run `jina ARGUMENTS` in `folder` as a process group, which is killed at the end of the context."""
    return process_group([sys.executable, "-W", "ignore", "-m", "jina", *arguments], log, environment, folder)


@contextlib.contextmanager
def executor(port: int, log: Path, uses: Path = EXECUTOR, wait: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """Run an executor that listens on `port`."""
    with running(["executor", "--name", "encoder", "--uses", str(uses), "--port", str(port)], log) as process:
        if wait:
            health(port, seconds=START_SECONDS, start=True)
        yield process


@contextlib.contextmanager
def gateway(
    executors: dict[str, int | list[int]],
    log: Path,
    settings: dict[str, Any] | None = None,
    *more: str,
    **environment: str,
) -> Iterator[Gateway]:
    """Run ClipGateway for a chain of executors; it is live, but not necessarily ready.

    :param executors: name -> port, or ports of the replicas; in the order of the chain.
    :param log: file for the log.
    :param settings: options of the gateway.
    :param more: further arguments of `jina gateway`.
    :param environment: environment variables.
    """
    ports = free_ports(2)
    names = list(executors)
    graph = {
        name: [following] for name, following in zip(["start-gateway", *names], [*names, "end-gateway"], strict=True)
    }
    addresses = {
        name: [f"grpc://127.0.0.1:{port}" for port in ([replicas] if isinstance(replicas, int) else replicas)]
        for name, replicas in executors.items()
    }
    arguments = ["gateway", "--uses", "gateway/config.yml", "--protocol", "GRPC", "HTTP", "--port", *map(str, ports)]
    arguments += ["--graph-description", json.dumps(graph), "--deployments-addresses", json.dumps(addresses)]
    arguments += ["--uses-with", json.dumps(settings or {}), *more]
    secure = "tls_key_file" in (settings or {})
    with running(arguments, log, **environment) as process:
        found = Gateway(ports[0], ports[1], log, process, "https" if secure else "http")
        wait_for(
            lambda: requests.get(f"{found.http}/healthz", verify=not secure, timeout=5).status_code == 200, log, process
        )
        yield found


def wait_for(condition: Any, log: Path, process: subprocess.Popen[bytes], seconds: float = START_SECONDS) -> None:
    """Wait until `condition` returns true; a refused connection counts as false."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(requests.ConnectionError):
            if condition():
                return
        alive = process.poll() is None and time.monotonic() < end
        assert alive, log.read_text()[-3000:]
        time.sleep(0.05)
