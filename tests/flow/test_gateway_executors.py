"""Executors that go away and come back: health tells the truth, requests fail fast, nobody has to restart anything."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from docarray import Document, DocumentArray
from jina import Client
from jina.proto import jina_pb2, jina_pb2_grpc

from scripts.processes import free_ports, kill
from tests.flow.asking import IMAGE, check_problem, data_request, send
from tests.flow.gateways import NOT_SERVING, SERVING, Gateway, executor, gateway, health, wait_for

TIME_LIMIT = 20.0  # far above what failing fast may take
FAST = 5.0


def embed(running: Gateway) -> requests.Response:
    return send(running.http, "/embed", data=b"x", headers=IMAGE)


@pytest.fixture(scope="module")
def ports() -> list[int]:
    return free_ports(2)


@pytest.fixture(scope="module")
def pair(ports: list[int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway for two executors in a row, neither of which is there yet."""
    log = tmp_path_factory.mktemp("pair") / "gateway.log"
    names = {"first": ports[0], "second": ports[1]}
    with gateway(names, log, {"time_limit_seconds": TIME_LIMIT}) as running:
        yield running


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("executors")


def until(running: Gateway, condition: Any) -> None:
    wait_for(condition, running.log, running.process)


def test_a_life(pair: Gateway, ports: list[int], logs: Path) -> None:
    """One story, since starting an executor takes seconds: none, one, both, one killed, back again."""
    assert pair.status("/healthz") == 200
    assert pair.health() == SERVING
    assert (pair.status("/startupz"), pair.status("/readyz")) == (503, 503)
    check_problem(embed(pair), 503, "Unavailable", "no answer from first, second")

    with executor(ports[0], logs / "first.log"):
        until(pair, lambda: pair.health("first") == SERVING)
        assert pair.health("second") == NOT_SERVING
        answer = requests.get(pair.http + "/readyz", timeout=10)
        assert (answer.status_code, answer.json()["missing"]) == (503, ["second"])
        assert answer.headers["retry-after"]
        assert pair.status("/startupz") == 503

        with executor(ports[1], logs / "second.log") as second:
            until(pair, lambda: embed(pair).status_code == 200)
            assert (pair.status("/startupz"), pair.status("/readyz")) == (200, 200)
            until(pair, lambda: pair.health("second") == SERVING)
            kill(second)

            started = time.monotonic()
            check_problem(embed(pair), 503, "Unavailable", "try again")
            with pytest.raises(ConnectionError):
                Client(host=pair.http).post("/", Document())
            with pytest.raises(ConnectionError):
                Client(host=pair.grpc).post("/", Document())
            assert time.monotonic() - started < FAST

            assert pair.status("/readyz") == 503
            assert (pair.status("/startupz"), pair.status("/healthz"), pair.health()) == (200, 200, SERVING)
            until(pair, lambda: pair.health("second") == NOT_SERVING)
            assert pair.health("first") == SERVING
            assert not Client(host=pair.grpc).is_flow_ready()
            assert not Client(host=pair.http).is_flow_ready()

        with executor(ports[1], logs / "second.log"):
            until(pair, lambda: embed(pair).status_code == 200)
            assert pair.status("/readyz") == 200
            assert len(Client(host=pair.grpc).post("/", Document())) == 1
            until(pair, lambda: pair.health("second") == SERVING)


@pytest.mark.parametrize("seconds", [0, 8])
def test_an_executor_is_asked_as_soon_as_it_listens(tmp_path: Path, seconds: float) -> None:
    """However long the gateway has been there before it: gRPC looks again for who is missing ever more rarely."""
    (port,) = free_ports(1)
    with gateway({"encoder": port}, tmp_path / "gateway.log") as running:
        time.sleep(seconds)
        with executor(port, tmp_path / "executor.log"):
            answer = embed(running)
            assert answer.status_code == 200, answer.text


@pytest.fixture
def single(tmp_path: Path) -> Iterator[tuple[Gateway, Any]]:
    """A gateway and its executor, which a test may end."""
    (port,) = free_ports(1)
    settings = {"time_limit_seconds": TIME_LIMIT}
    with (
        executor(port, tmp_path / "executor.log") as process,
        gateway({"encoder": port}, tmp_path / "gateway.log", settings) as running,
    ):
        until(running, lambda: embed(running).status_code == 200)
        yield running, process


def test_requests_under_way_when_their_executor_is_killed_fail_at_once(single: tuple[Gateway, Any]) -> None:
    running, process = single
    body = {"execEndpoint": "/", "parameters": {"sleep": TIME_LIMIT / 2}}

    def over_grpc() -> grpc.RpcError:
        with (
            grpc.insecure_channel(running.grpc.removeprefix("grpc://")) as channel,
            pytest.raises(grpc.RpcError) as error,
        ):
            list(jina_pb2_grpc.JinaRPCStub(channel).Call(iter([data_request(sleep=TIME_LIMIT / 2)]), timeout=60))
        return error.value

    with ThreadPoolExecutor(5) as threads:
        by_http = [threads.submit(send, running.http, "/post", json=body) for _ in range(4)]
        by_grpc = threads.submit(over_grpc)
        time.sleep(1)  # they have reached the executor
        started = time.monotonic()
        kill(process)
        for future in by_http:
            check_problem(future.result(), 503, "Unavailable", "try again")
        assert by_grpc.result().code() == grpc.StatusCode.UNAVAILABLE
        assert dict(by_grpc.result().trailing_metadata())["retry-after"]
        assert time.monotonic() - started < FAST


def test_an_executor_that_is_frozen_is_refused_soon(single: tuple[Gateway, Any]) -> None:
    """Nothing refuses its connections, as when a node is lost: only asking it again and again tells."""
    running, process = single

    def refused() -> bool:
        with contextlib.suppress(requests.Timeout):
            return requests.post(running.http + "/embed", b"x", headers=IMAGE, timeout=1).status_code == 503
        return False

    os.killpg(process.pid, signal.SIGSTOP)
    try:
        until(running, refused)
        assert running.status("/readyz") == 503
    finally:
        os.killpg(process.pid, signal.SIGCONT)
    until(running, lambda: embed(running).status_code == 200)
    assert running.status("/readyz") == 200


def test_on_sigterm_requests_under_way_are_answered_and_new_ones_sent_away(single: tuple[Gateway, Any]) -> None:
    running, _ = single
    body = {"execEndpoint": "/", "parameters": {"sleep": 2}}
    with ThreadPoolExecutor(2) as threads:
        by_http = threads.submit(send, running.http, "/post", json=body)
        by_grpc = threads.submit(
            Client(host=running.grpc).post, "/", DocumentArray([Document()]), parameters={"sleep": 2}
        )
        time.sleep(0.7)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert running.status("/startupz") == 503
        check_problem(embed(running), 503, "Unavailable", "shutting down")
        assert by_http.result().status_code == 200
        assert len(by_grpc.result()) == 1
    assert running.process.wait(15) is not None


def test_reflection_lists_the_services(limited: Gateway) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    with grpc.insecure_channel(limited.grpc.removeprefix("grpc://")) as channel:
        ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        (answer,) = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10)
    names = {service.name for service in answer.list_services_response.service}
    assert {"jina.JinaRPC", "jina.JinaSingleDataRequestRPC", "jina.JinaDiscoverEndpointsRPC"} <= names


def test_discovery_lists_the_endpoints(limited: Gateway) -> None:
    with grpc.insecure_channel(limited.grpc.removeprefix("grpc://")) as channel:
        discover = jina_pb2_grpc.JinaDiscoverEndpointsRPCStub(channel).endpoint_discovery
        empty = jina_pb2.google_dot_protobuf_dot_empty__pb2.Empty()
        assert {"/default", "/named"} <= set(discover(empty, timeout=10).endpoints)


def is_there(port: int, *, starting: bool = False) -> bool:
    """Whether an executor answers there: at once, or as soon as it has started."""
    try:
        health(port, seconds=60, start=starting)
    except grpc.RpcError:
        return False
    return True


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_request_that_ends_an_executor_is_carried_to_one_other_and_no_further(tmp_path: Path, protocol: str) -> None:
    ports = free_ports(4)
    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.enter_context(executor(port, tmp_path / f"{port}.log", wait=False))
        running = stack.enter_context(gateway({"encoder": ports}, tmp_path / "gateway.log", {"time_limit_seconds": 20}))
        assert all(is_there(port, starting=True) for port in ports)
        until(running, lambda: embed(running).status_code == 200)
        with pytest.raises(ConnectionError):
            Client(host=getattr(running, protocol)).post("/", Document(text="x"), parameters={"die": True})
        assert 2 <= sum(is_there(port) for port in ports) <= 3
        assert {embed(running).status_code for _ in range(10)} == {200}


def test_a_broken_picture_is_one_line_of_the_executors_log(tiny_model: Path, tmp_path: Path) -> None:
    [port] = free_ports(1)
    uses = tmp_path / "config.yml"
    uses.write_text(
        "jtype: CLIPImageEncoder\n"
        f"with: {{pretrained_model_name_or_path: {tiny_model}}}\n"
        f"py_modules: [{Path('executors/clip_image/clip_image.py').resolve()}]\n"
    )
    log = tmp_path / "executor.log"
    with executor(port, log, uses), gateway({"encoder": port}, tmp_path / "gateway.log") as running:
        until(running, lambda: running.status("/readyz") == 200)
        before = log.read_text()
        assert embed(running).status_code == 415
        time.sleep(0.5)
        lines = log.read_text().removeprefix(before).strip().splitlines()
    assert "UnsupportedMedia" in " ".join(lines)
    assert len(" ".join(lines)) < 1000
    assert "Traceback" not in " ".join(lines)
