"""What a stranger sends costs the gateway in proportion: CPU time and memory of its process, read from the kernel."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable

import grpc
import pytest
import requests
from jina.proto import jina_pb2

from tests.flow.cost import MIB, cost
from tests.flow.gateways import Gateway
from tests.flow.grpc_flood import LARGE, field, of_documents


def deep(levels: int) -> bytes:
    document = b""
    for _ in range(levels):
        document = field(14, document)
    return of_documents(field(1, document))


def call(gateway: Gateway, message: bytes) -> str:
    """The name of the error that the answer to these bytes has in its header."""
    with grpc.insecure_channel(gateway.grpc.removeprefix("grpc://"), LARGE) as channel:
        stub = channel.unary_unary(
            "/jina.JinaSingleDataRequestRPC/process_single_data",
            request_serializer=lambda data: data,
            response_deserializer=jina_pb2.DataRequestProto.FromString,
        )
        answer: jina_pb2.DataRequestProto = stub(message, timeout=60)
        return str(answer.header.status.exception.name)


def post(gateway: Gateway, body: bytes, path: str = "/post") -> str:
    """The name of the error in the answer to a JSON body."""
    answer = requests.post(f"{gateway.http}{path}", data=body, headers={"Content-Type": "application/json"}, timeout=60)
    return str(answer.json().get("type", "")).rpartition(":")[2]


def tags(count: int) -> bytes:
    return of_documents(field(1, field(17, count * field(1, field(1, b"a")))))


ATTACKS: dict[str, tuple[Callable[[Gateway, bytes], str], bytes, str]] = {
    "empty documents": (call, of_documents(15_000_000 * b"\x0a\x00"), "TooLarge"),
    "empty chunks": (call, of_documents(field(1, 1_000_000 * b"\x72\x00")), "TooLarge"),
    "empty matches of chunks": (call, of_documents(field(1, 1000 * field(14, 1000 * b"\x7a\x00"))), "TooLarge"),
    "tags": (call, tags(500_000), "TooLarge"),
    "parameters": (call, field(2, 1_000_000 * field(1, b"")), "TooLarge"),
    "routes": (call, 2_000_000 * field(3, b""), "TooLarge"),
    "numbers": (call, of_documents(field(1, 6_000_000 * b"\x6d\0\0\0\0")), "TooLarge"),
    "unknown fields": (call, 10_000_000 * b"\x78\x01", "TooLarge"),
    "an id": (call, of_documents(field(1, field(1, bytes(5_000_000)))), "TooLarge"),
    "depth": (call, deep(90), "Malformed"),
    "no message": (call, 30_000_000 * b"\xff", "Malformed"),
    "a target that backtracks": (call, field(1, field(4, b"(a+)+$" + 40 * b"a")), "Malformed"),
    "json: documents": (post, b'{"data":[' + 2_000_000 * b"{}," + b"{}]}", "TooLarge"),
    "json: chunks": (post, b'{"data":[{"chunks":[' + 9000 * b"{}," + b"{}]}]}", "TooLarge"),
    "json: lists": (post, b'{"data":[{"tensor":[' + 2_000_000 * b"[]," + b"[]]}]}", "TooLarge"),
    "json: inputs": (post, b'{"data":' + 50_000 * b"[" + 50_000 * b"]" + b"}", "Malformed"),
    "json: an id": (post, json.dumps({"data": [{"id": "a" * 5_000_000}]}).encode(), "TooLarge"),
    "json: a target that backtracks": (post, b'{"data":[],"targetExecutor":"(a+)+$"}', "Malformed"),
    "json: 1e999": (post, b'{"data":[{"weight":1e999}],"parameters":{"a":1e999}}', "Malformed"),
    "json: lone surrogates": (post, b'{"data":[{"id":"\\ud800","text":"\\udfff"}]}', "Malformed"),
    "json: a tensor's shape": (post, b'{"data":[{"tensor":[[1,2],[3]]}]}', "Malformed"),
    "json: an inner type": (post, b'{"data":[{"tags":7,"chunks":5,"weight":"x"}]}', "Malformed"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_message_costs_what_it_is_worth(wall: Gateway, name: str) -> None:
    send, body, error = ATTACKS[name]
    with cost(wall) as found:
        assert send(wall, body) == error
    megabytes = len(body) / 1e6
    assert found.cpu <= 0.3 + 0.03 * megabytes, f"{found.cpu} s"
    assert found.over <= 16 * MIB + 5 * len(body), f"{found.over} bytes"
    assert requests.get(f"{wall.http}/readyz", timeout=5).status_code == 200


TENSORS = {
    "too many values": {"shape": [1 << 30, 1 << 30, 3], "dtype": "uint8", "buffer": b"abc"},
    "a shape that overflows": {"shape": [2**32 - 1] * 8, "dtype": "uint8", "buffer": b""},
    "another length": {"shape": [4, 4, 3], "dtype": "uint8", "buffer": b"abc"},
    "no type": {"shape": [1, 1, 3], "dtype": "tuple", "buffer": b"abc"},
    "a type of objects": {"shape": [1], "dtype": "O", "buffer": b"abcdefgh"},
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_that_describes_itself_wrongly_is_the_callers_fault(wall: Gateway, name: str) -> None:
    request = jina_pb2.DataRequestProto()
    dense = request.data.docs.docs.add(id="t").tensor.dense
    dense.buffer, dense.dtype = TENSORS[name]["buffer"], TENSORS[name]["dtype"]
    dense.shape.extend(TENSORS[name]["shape"])
    assert call(wall, request.SerializeToString()) == "Malformed"


def test_a_body_in_chunks_of_one_byte_is_refused_before_it_is_read(wall: Gateway) -> None:
    host = ("127.0.0.1", wall.http_port)
    head = b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    with cost(wall) as found, socket.create_connection(host, 10) as caller:
        caller.sendall(head)
        time.sleep(0.1)
        with contextlib.suppress(OSError):  # when it does not listen any more
            for _ in range(400):
                caller.sendall(10_000 * b"1\r\nx\r\n")
    assert found.cpu <= 0.5


def test_a_body_in_chunks_of_a_sensible_size_is_read(wall: Gateway) -> None:
    answer = requests.post(
        f"{wall.http}/embed", data=iter([b"x" * 200] * 5000), headers={"Content-Type": "image/png"}, timeout=30
    )
    assert answer.status_code == 200


def test_two_lengths_of_one_body_end_the_connection(wall: Gateway) -> None:
    head = b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", wall.http_port), 10) as caller:
        caller.sendall(head + b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while block := caller.recv(1 << 16):
            answer += block
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_caller_who_never_finishes_his_headers_is_hung_up_on(wall: Gateway) -> None:
    host = ("127.0.0.1", wall.http_port)
    with socket.create_connection(host, 30) as silent, socket.create_connection(host, 30) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert end_of(silent)
        assert end_of(slow)


def end_of(caller: socket.socket) -> bool:
    try:
        return caller.recv(1) == b""
    except ConnectionResetError:
        return True
