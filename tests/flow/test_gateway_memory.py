"""What callers make the gateway hold stays within its memory: uploads, messages, and answers that nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import grpc
import pytest
import requests
from docarray import Document, DocumentArray
from jina import Client

from scripts import ROOT
from scripts.processes import free_ports
from tests.flow.asking import ask_grpc, ask_once, data_request
from tests.flow.cost import MEMORY, MIB, RESIDENT, cost, workers
from tests.flow.gateways import Gateway, executor, gateway
from tests.flow.grpc_flood import field, of_documents


def ask_by(way: str, wall: Gateway, blob: bytes) -> None:
    """Send one image, and check that it is answered."""
    if way == "http":
        answer = requests.post(f"{wall.http}/embed", data=blob, headers={"Content-Type": "image/png"}, timeout=60)
        assert answer.status_code == 200
    else:
        request = data_request(blobs=[blob])
        [found] = [ask_once(wall.grpc, request)] if way == "single call" else ask_grpc(wall.grpc, request)
        assert found.data.docs[0].embedding is not None


@pytest.mark.parametrize("way", ["single call", "stream", "http"])
def test_an_image_is_freed_when_its_call_has_ended(wall: Gateway, way: str) -> None:
    """At once, not by the garbage collector, which runs after some dozens of calls."""
    with cost(wall) as found:
        for _ in range(80):
            ask_by(way, wall, bytes(3 * MIB))
    assert found.over < 16 * 3 * MIB, f"{found.over / MIB} MiB"


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
