"""More than the gateway takes: what is over the limit is told so at once, and nothing is lost or held."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import grpc
import pytest
from docarray import Document, DocumentArray
from jina import Client
from jina.proto import jina_pb2, jina_pb2_grpc

from scripts.processes import free_ports
from tests.flow.asking import IMAGE, ask_grpc, ask_once, check_problem, data_request, post, send
from tests.flow.gateways import Gateway, executor, gateway

SLOTS = 4  # of the gateway `limited`


def hold(gateway: Gateway, count: int, seconds: float) -> ThreadPoolExecutor:
    """Take slots for some time."""
    threads = ThreadPoolExecutor(count)
    for _ in range(count):
        threads.submit(send, gateway.http, **post(parameters={"sleep": seconds}))
    time.sleep(0.4)  # they have arrived
    return threads


def test_of_500_uploads_at_once_those_over_the_limit_get_429_and_none_is_lost(limited: Gateway) -> None:
    body = bytes(100_000)

    async def upload(session: aiohttp.ClientSession) -> tuple[int, bool]:
        async with session.post(f"{limited.http}/embed?sleep=0.2", data=body, headers=IMAGE) as answer:
            content = await answer.json()
            complete = len(content["embedding"]) == 4 if answer.status == 200 else content["status"] == answer.status
            return answer.status, complete and (answer.status == 200 or bool(answer.headers["Retry-After"]))

    async def upload_all() -> list[tuple[int, bool]]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60)) as session:
            return await asyncio.gather(*(upload(session) for _ in range(500)))

    answers = asyncio.run(upload_all())
    assert all(complete for _, complete in answers)
    statuses = Counter(status for status, _ in answers)
    assert set(statuses) == {200, 429}
    assert sum(statuses.values()) == 500
    with ThreadPoolExecutor(SLOTS) as threads:  # all slots are free again
        again = threads.map(lambda _: send(limited.http, "/embed?sleep=0.2", data=body, headers=IMAGE), range(SLOTS))
        assert [answer.status_code for answer in again] == [200] * SLOTS


def test_a_full_gateway_refuses_over_http_and_grpc_and_stays_healthy(limited: Gateway) -> None:
    with hold(limited, SLOTS, 1.2):
        check_problem(send(limited.http, "/embed", data=b"x", headers=IMAGE), 429, "TooManyRequests", "4 requests")
        for ask in (ask_grpc, ask_once):
            with pytest.raises(grpc.RpcError) as error:
                ask(limited.grpc, data_request())
            assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert dict(error.value.trailing_metadata())["retry-after"]
        for path in ("/healthz", "/readyz", "/startupz", "/"):
            assert send(limited.http, path, "GET").status_code == 200
    assert send(limited.http, "/embed", data=b"x", headers=IMAGE).status_code == 200


def test_a_long_stream_waits_for_itself_and_leaves_slots_to_others(limited: Gateway) -> None:
    docs = DocumentArray([Document(id=str(i)) for i in range(30)])
    answers: list[str] = []

    def stream() -> None:
        for doc in Client(host=limited.grpc).post("/", docs, request_size=1, parameters={"sleep": 0.1}):
            answers.append(doc.id)

    thread = threading.Thread(target=stream)
    thread.start()
    others = []
    while thread.is_alive():
        others.append(send(limited.http, "/embed", data=b"x", headers=IMAGE).status_code)
    assert sorted(answers) == sorted(docs[:, "id"])
    assert len(others) > 5
    assert set(others) == {200}


def test_a_stream_answers_in_order_where_its_caller_asks_for_that(limited: Gateway) -> None:
    requests = [data_request("/", [b"x"], sleep=0.3 if i == 0 else 0) for i in range(6)]
    answers = ask_grpc(limited.grpc, *requests, metadata=[("__results_in_order__", "true"), ("__prefetch__", "2")])
    assert [answer.header.request_id for answer in answers] == [request.header.request_id for request in requests]


def test_a_callers_own_deadline_reaches_the_executor(limited: Gateway) -> None:
    answer = ask_once(limited.grpc, data_request(), timeout=0.9)
    deadline = answer.parameters["__results__"]["encoder"]["parameters"]["__deadline__"]
    assert deadline < time.time() + 0.9


def test_callers_who_hang_up_leave_their_slots(limited: Gateway) -> None:
    async def hang_up() -> None:
        timeout = aiohttp.ClientTimeout(total=0.2)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            calls = [session.post(f"{limited.http}/embed?sleep=0.5", data=b"x", headers=IMAGE) for _ in range(SLOTS)]
            assert all(
                isinstance(answer, TimeoutError) for answer in await asyncio.gather(*calls, return_exceptions=True)
            )

    asyncio.run(hang_up())
    for _ in range(SLOTS):
        with pytest.raises(grpc.RpcError):
            ask_grpc(limited.grpc, data_request(sleep=0.5), timeout=0.2)
    time.sleep(1)
    with ThreadPoolExecutor(SLOTS) as threads:
        answers = threads.map(lambda _: send(limited.http, "/embed?sleep=0.2", data=b"x", headers=IMAGE), range(SLOTS))
        assert [answer.status_code for answer in answers] == [200] * SLOTS


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
