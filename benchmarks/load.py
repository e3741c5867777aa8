"""Load on one server: callers that each wait for their answer (closed loop), or arrivals at a rate (open loop)."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

from benchmarks.measure import percentile
from benchmarks.servers import Server


@dataclass(frozen=True)
class Pattern:
    """`callers` requests in flight, of `images` images each."""

    name: str
    callers: int
    images: int


BULK = Pattern("bulk", 2, 32)
ONLINE = Pattern("online", 8, 1)
SINGLE = Pattern("single", 1, 1)


@dataclass
class Run:
    """What one or more runs of a pattern gave."""

    seconds: float = 0.0
    images: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds

    def add(self, other: Run) -> None:
        """Count `other` in."""
        self.seconds += other.seconds
        self.images += other.images
        self.latencies += other.latencies

    def milliseconds(self, share: float) -> float:
        """The latency that `share` of the requests did not exceed."""
        return 1000 * percentile(self.latencies, share)


def closed_loop(server: Server, pattern: Pattern, files: list[bytes], images: int) -> Run:
    """`images` images, `pattern.callers` requests in flight all the time."""
    return asyncio.run(_closed_loop(server, pattern, files, images))


async def _closed_loop(server: Server, pattern: Pattern, files: list[bytes], images: int) -> Run:
    run = Run()
    requests = iter(range(max(1, images // pattern.images)))
    async with server.connect() as ask:

        async def caller() -> None:
            for request in requests:
                own = [files[(request * pattern.images + i) % len(files)] for i in range(pattern.images)]
                begin = time.perf_counter()
                await ask(own)
                run.latencies.append(time.perf_counter() - begin)
                run.images += pattern.images

        begin = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(pattern.callers)))
        run.seconds = time.perf_counter() - begin
    return run


def open_loop(server: Server, rate: float, files: list[bytes], images: int) -> Run:
    """`images` single images that arrive at random (Poisson), `rate` a second, whether the server keeps up or not."""
    return asyncio.run(_open_loop(server, rate, files, images))


async def _open_loop(server: Server, rate: float, files: list[bytes], images: int) -> Run:
    run, generator = Run(), random.Random(0)
    async with server.connect() as ask:

        async def one(file: bytes) -> None:
            begin = time.perf_counter()
            await ask([file])
            run.latencies.append(time.perf_counter() - begin)
            run.images += 1

        begin, due = time.perf_counter(), 0.0
        tasks = []
        for i in range(images):
            due += generator.expovariate(rate)
            await asyncio.sleep(max(0.0, begin + due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(files[i % len(files)])))
        await asyncio.gather(*tasks)
        run.seconds = time.perf_counter() - begin
    return run
