"""What a stranger sends costs the gateway in proportion: CPU time and memory of its process, read from the kernel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import psutil
import pytest
import requests
from docarray import Document, DocumentArray
from jina import Client
from jina.proto import jina_pb2, jina_pb2_grpc

from scripts import ROOT
from scripts.processes import free_ports
from tests.flow.gateways import Gateway, executor, gateway
from tests.flow.grpc_flood import LARGE, field
from tests.flow.test_gateway_status import data_request

MIB = 1 << 20
MEMORY = 512 * MIB  # of the chart's gateway
RESIDENT = 500 * MIB  # of a gateway that has so much, whatever comes


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("wall")
    [port] = free_ports(1)
    settings = {"memory_bytes": MEMORY, "time_limit_seconds": 8}
    with executor(port, folder / "executor.log"), gateway({"encoder": port}, folder / "gateway.log", settings) as found:
        requests.post(f"{found.http}/embed", data=b"x", headers={"Content-Type": "image/png"}, timeout=30)
        yield found


@dataclass
class Cost:
    """Of the gateway's process: seconds of CPU time, bytes of memory at the most and over what it had."""

    cpu: float = 0.0
    peak: int = 0
    over: int = 0


def workers(gateway: Gateway) -> list[psutil.Process]:
    own = psutil.Process(gateway.process.pid)
    return [own, *own.children(recursive=True)]


@contextmanager
def cost(gateway: Gateway) -> Iterator[Cost]:
    """What the block costs."""
    found = Cost()
    process = max(workers(gateway), key=lambda one: one.memory_info().rss)
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak begins anew
    before, used = process.memory_info().rss, sum(process.cpu_times()[:2])
    yield found
    status = Path(f"/proc/{process.pid}/status").read_text()
    found.peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) << 10
    found.over = found.peak - before
    found.cpu = sum(process.cpu_times()[:2]) - used


def of_documents(payload: bytes) -> bytes:
    """A DataRequestProto with this DocumentArrayProto."""
    return field(4, field(1, payload))


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


def test_uploads_at_once_hold_no_more_than_the_budget(wall: Gateway) -> None:
    async def upload(session: aiohttp.ClientSession, headers: dict[str, str]) -> int:
        try:
            async with session.post(f"{wall.http}/embed", data=bytes(31 * MIB), headers=headers) as answer:
                return answer.status
        except aiohttp.ClientOSError:  # refused while it still sent
            return 429

    async def upload_all() -> list[int]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(120)) as session:
            return await asyncio.gather(*(upload(session, {"Content-Type": "image/png"}) for _ in range(16)))

    with cost(wall) as found:
        statuses = asyncio.run(upload_all())
    assert set(statuses) == {200, 429}
    assert found.peak <= RESIDENT, f"{found.peak / MIB} MiB"


@pytest.mark.parametrize("after", [None, 0.1], ids=["answered", "cancelled"])
@pytest.mark.parametrize("messages", [1, 4], ids=["single calls", "streams"])
def test_messages_at_once_hold_no_more_than_there_is_and_are_all_freed(
    wall: Gateway, messages: int, after: float | None
) -> None:
    arguments = [wall.grpc.removeprefix("grpc://"), str(messages), "5", *([str(after)] if after else [])]
    with cost(wall) as found:
        flood = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "tests.flow.grpc_flood", *arguments], cwd=ROOT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            flood.wait(20)
        flood.kill()
        flood.wait()
    assert found.over > 31 * MIB
    assert found.peak <= RESIDENT, f"{found.peak / MIB} MiB"
    process = max(workers(wall), key=lambda one: one.memory_info().rss)
    deadline = time.monotonic() + 10
    while process.memory_info().rss > 360 * MIB:  # 70 %, over which the gateway refuses
        assert time.monotonic() < deadline, f"{process.memory_info().rss / MIB} MiB are kept"
        time.sleep(0.1)


def test_photographs_of_many_callers_hold_no_more_than_the_budget(wall: Gateway) -> None:
    photograph = bytes(4 * MIB)

    def by_grpc() -> str:
        docs = DocumentArray([Document(blob=photograph) for _ in range(5)])
        try:
            return str(len(Client(host=wall.grpc).post("/", docs, request_size=1)))
        except ConnectionError:
            return "refused"

    def by_http() -> str:
        answers = [
            requests.post(f"{wall.http}/embed", data=photograph, headers={"Content-Type": "image/jpeg"}, timeout=60)
            for _ in range(5)
        ]
        return "/".join(str(answer.status_code) for answer in answers)

    with cost(wall) as found, ThreadPoolExecutor(24) as callers:
        ends = [callers.submit(ask) for _ in range(12) for ask in (by_grpc, by_http)]
        results = [end.result() for end in ends]
    assert "5" in results
    statuses = {status for result in results if "/" in result for status in result.split("/")}
    assert "200" in statuses
    assert statuses <= {"200", "429"}
    assert found.peak <= RESIDENT, f"{found.peak / MIB} MiB"


def test_a_long_stream_of_photographs_is_slowed_down_and_not_refused(wall: Gateway) -> None:
    docs = DocumentArray([Document(blob=bytes(4 * MIB)) for _ in range(60)])
    with cost(wall) as found:
        answers = Client(host=wall.grpc).post("/", docs, request_size=6)
    assert len(answers) == 60
    assert all(doc.embedding is not None for doc in answers)
    assert found.peak <= RESIDENT, f"{found.peak / MIB} MiB"


def test_answers_that_nobody_reads_over_grpc_stop_the_reading_and_end_with_the_connection(tmp_path: Path) -> None:
    message = of_documents(field(1, field(2, bytes(2 * MIB))))
    sent = 0
    ages = {"grpc.max_connection_age_ms": 3000, "grpc.max_connection_age_grace_ms": 2000}
    settings = {"memory_bytes": MEMORY, "grpc_server_options": ages}

    async def send_and_read_nothing(address: str) -> grpc.StatusCode:
        nonlocal sent
        async with grpc.aio.insecure_channel(address) as channel:
            stream = channel.stream_stream("/jina.JinaRPC/Call")(timeout=60)
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError):
                for _ in range(400):
                    await stream.write(message)
                    sent += 1
            return await stream.code()

    [port] = free_ports(1)
    with (
        executor(port, tmp_path / "executor.log"),
        gateway({"encoder": port}, tmp_path / "gateway.log", settings) as found,
        cost(found) as costs,
    ):
        code = asyncio.run(send_and_read_nothing(found.grpc.removeprefix("grpc://")))
        assert requests.get(f"{found.http}/readyz", timeout=5).status_code == 200
    assert code != grpc.StatusCode.OK
    assert sent < 100
    assert costs.peak <= RESIDENT, f"{costs.peak / MIB} MiB"


def test_answers_that_nobody_reads_over_http_hold_no_more_than_the_budget(wall: Gateway) -> None:
    body = json.dumps({"data": [{"blob": "A" * (4 * MIB)}]}).encode()
    head = f"POST /post HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    callers = []
    with cost(wall) as found:
        for _ in range(30):
            caller = socket.create_connection(("127.0.0.1", wall.http_port), 5)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            callers.append(caller)
            with contextlib.suppress(OSError):  # refused
                caller.sendall(head.encode() + body)
        time.sleep(1)
        for caller in callers:
            caller.close()
    assert found.peak <= RESIDENT, f"{found.peak / MIB} MiB"


def test_calls_that_are_called_off_keep_their_slots_until_their_work_has_ended(tmp_path: Path) -> None:
    [port] = free_ports(1)
    settings = {"max_concurrent_requests": 2}
    with (
        executor(port, tmp_path / "executor.log"),
        gateway({"encoder": port}, tmp_path / "gateway.log", settings) as found,
        grpc.insecure_channel(found.grpc.removeprefix("grpc://")) as channel,
    ):
        ask = jina_pb2_grpc.JinaSingleDataRequestRPCStub(channel).process_single_data
        for _ in range(2):
            call = ask.future(data_request(sleep=1.5))
            time.sleep(0.2)
            call.cancel()
        with pytest.raises(grpc.RpcError) as error:
            ask(data_request())
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        time.sleep(2)
        assert ask(data_request()).header.status.code == jina_pb2.StatusProto.SUCCESS
