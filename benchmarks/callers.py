"""Callers of a running Flow that count how each call ended, instead of failing on errors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import aiohttp
import grpc
import psutil
from docarray import Document, DocumentArray
from jina.proto import jina_pb2_grpc
from jina.types.request.data import DataRequest

from benchmarks.measure import percentile

Call = Callable[[bytes], Awaitable[str]]
SECONDS = 60.0  # timeout of a call
REFUSED = {"429", "503", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "QueueFull"}


@dataclass
class Ends:
    """Results of calls.

    :param seconds: kind of result (`ok`, `refused` or `error`) -> time of each call, in seconds.
    :param names: `ok` or name of the error -> number of calls.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    names: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, seconds: float) -> None:
        """Add a call that ended with `name`, `ok` or an error, after `seconds`."""
        kind = "ok" if name == "ok" else "refused" if name in REFUSED else "error"
        self.seconds.setdefault(kind, []).append(seconds)
        self.names[name] += 1

    def count(self, kind: str) -> int:
        """Return the number of calls with a kind of result: `ok`, `refused` or `error`."""
        return len(self.seconds.get(kind, []))

    def ms(self, kind: str, share: float) -> float:
        """Return a percentile of the times of those calls, in milliseconds; `share` is from 0 to 1."""
        return 1000 * percentile(self.seconds[kind], share) if self.count(kind) else 0.0


@contextlib.asynccontextmanager
async def by_http(port: int) -> AsyncIterator[Call]:
    """Yield a call by POST /embed on kept-alive connections."""
    limits = {"connector": aiohttp.TCPConnector(limit=0), "timeout": aiohttp.ClientTimeout(SECONDS)}
    async with aiohttp.ClientSession(**limits) as session:  # type: ignore[arg-type]

        async def call(file: bytes) -> str:
            try:
                async with session.post(f"http://127.0.0.1:{port}/embed", data=file) as answer:
                    await answer.read()
                    return "ok" if answer.status == 200 else str(answer.status)
            except (aiohttp.ClientError, TimeoutError) as error:
                return type(error).__name__

        yield call


@contextlib.asynccontextmanager
async def by_grpc(port: int) -> AsyncIterator[Call]:
    """Yield a unary call on one open channel."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        stub = jina_pb2_grpc.JinaSingleDataRequestRPCStub(channel).process_single_data

        async def call(file: bytes) -> str:
            request = DataRequest()
            request.header.exec_endpoint = "/"
            request.data.docs = DocumentArray([Document(blob=file)])
            try:
                answer = await stub(request, timeout=SECONDS)
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)
            return str(answer.status.exception.name) or "ok"

        yield call


async def at_rate(call: Call, files: list[bytes], rate: float, seconds: float) -> Ends:
    """Make calls at random times (Poisson), `rate` per second, even if earlier ones have not ended."""
    ends, generator = Ends(), random.Random(0)
    tasks: list[asyncio.Task[None]] = []

    async def one(file: bytes) -> None:
        begin = time.perf_counter()
        ends.add(await call(file), time.perf_counter() - begin)

    begin, due = time.perf_counter(), 0.0
    while due < seconds:
        due += generator.expovariate(rate)
        await asyncio.sleep(max(0.0, begin + due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(files[len(tasks) % len(files)])))
    await asyncio.gather(*tasks)
    return ends


async def in_turn(call: Call, files: Iterable[bytes], callers: int) -> Ends:
    """Run `callers` callers, each of which waits for the response before the next call."""
    ends, waiting = Ends(), iter(files)

    async def caller() -> None:
        for file in waiting:
            begin = time.perf_counter()
            ends.add(await call(file), time.perf_counter() - begin)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return ends


@contextlib.asynccontextmanager
async def bad_company(port: int, count: int) -> AsyncIterator[None]:
    """Keep `count` misbehaving connections open: silent ones, slow ones, and ones that close within a request."""
    head = b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n\r\n"

    async def one(kind: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    if kind == 1:
                        for i in range(600):
                            writer.write(head[i : i + 1] or b"x")
                            await writer.drain()  # raises after the server has closed the connection
                            await asyncio.sleep(0.1)
                    elif kind == 2:
                        writer.write(head + bytes(1000))
                        await asyncio.sleep(0.2)
                    else:
                        await asyncio.wait_for(reader.read(), SECONDS)
                except TimeoutError:
                    pass
                finally:
                    writer.close()
            await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(one(i % 3)) for i in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def resources(group: int) -> dict[str, float]:
    """Return what the processes of a group use: memory in MB (PSS), file descriptors, threads, processes."""
    found = {"mb": 0.0, "descriptors": 0, "threads": 0, "processes": 0}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group:
                found["mb"] += process.memory_full_info().pss / 2**20
                found["descriptors"] += process.num_fds()
                found["threads"] += process.num_threads()
                found["processes"] += 1
    return found
