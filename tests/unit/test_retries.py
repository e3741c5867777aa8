"""Which calls to an executor may have been what ended it, told by gRPC's own words about real sockets."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import grpc
import pytest

from clip_gateway.flow.sending import has_reached_an_executor

_SETTINGS = bytes.fromhex("000000040000000000")  # an empty frame, the first of HTTP/2's server
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds


@pytest.fixture
def resetting() -> Iterator[int]:
    """The port of a server that resets the connection behind a call, as a process that ends with bytes unread does."""

    def answer() -> None:
        connection, _ = server.accept()
        connection.sendall(_SETTINGS)
        read = b""
        while b"x" * 100 not in read:
            read += connection.recv(4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


@pytest.fixture
def refusing() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def details_of_a_call(port: int) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/executor/call")(b"x" * 1000, timeout=10)
    return str(failed.value.details())


def test_a_call_whose_connection_is_reset_may_have_been_read(resetting: int) -> None:
    assert has_reached_an_executor(details_of_a_call(resetting))


def test_a_call_without_a_connection_was_not_read(refusing: int) -> None:
    assert not has_reached_an_executor(details_of_a_call(refusing))


@pytest.mark.parametrize("details", ["", "Socket closed", "recvmsg:Connection reset by peer"])
def test_whatever_else_failed_may_have_been_read(details: str) -> None:
    assert has_reached_an_executor(details)
