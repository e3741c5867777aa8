"""Both protocols of the gateway, and executors, answer on IPv6 and on IPv4."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clip_gateway.http.listening import listening
from tests.flow.gateways import Gateway, gateway

ADDRESSES = ["127.0.0.1", "[::1]"]
needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this kernel has no IPv6")


@pytest.fixture(scope="module")
def running(obedient: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway in front of an executor."""
    with gateway({"encoder": obedient}, tmp_path_factory.mktemp("gateway") / "log") as found:
        yield found


@needs_ipv6
@pytest.mark.parametrize("address", ADDRESSES)
def test_http_answers(address: str, running: Gateway) -> None:
    assert requests.get(f"http://{address}:{running.http_port}/healthz", timeout=10).status_code == 200


@needs_ipv6
@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("server", ["gateway", "executor"])
def test_grpc_answers(server: str, address: str, running: Gateway, obedient: int) -> None:
    """Jina's Client takes no IPv6 address, and needs none: it is given names."""
    listens_on = {"gateway": running.grpc_port, "executor": obedient}[server]
    with grpc.insecure_channel(f"{address}:{listens_on}") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_headers(host: str) -> None:
    with listening(host, 0) as one, socket.create_connection(("127.0.0.1", one.getsockname()[1]), timeout=5):
        connection, _ = one.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@needs_ipv6
def test_every_address_is_one_socket_for_both_families() -> None:
    with listening("0.0.0.0", 0) as one:
        assert one.family == socket.AF_INET6
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, one.getsockname()[1]), timeout=5):
                pass


def test_without_ipv6_it_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listening("0.0.0.0", 0) as one:
        assert one.family == socket.AF_INET
        with socket.create_connection(("127.0.0.1", one.getsockname()[1]), timeout=5):
            pass


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_one_address_is_that_address(host: str, family: socket.AddressFamily) -> None:
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("this kernel has no IPv6")
    with listening(host, 0) as one:
        assert (one.family, one.getsockname()[0]) == (family, host)


def test_a_port_that_is_taken_is_an_error() -> None:
    with listening("0.0.0.0", 0) as one, pytest.raises(OSError, match="in use"):
        listening("0.0.0.0", one.getsockname()[1])
