"""Load on one server: callers that each wait for their response (closed loop), or requests at a rate (open loop)."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

from benchmarks.measure import percentile
from benchmarks.servers import Server


@dataclass(frozen=True)
class Pattern:
    """A pattern of load: `callers` requests in flight, with `images` images each."""

    name: str
    callers: int
    images: int


BULK = Pattern("bulk", 2, 32)
ONLINE = Pattern("online", 8, 1)
SINGLE = Pattern("single", 1, 1)


@dataclass
class Run:
    """Results of one or more runs of a pattern.

    :param seconds: wall-clock time, in seconds.
    :param images: number of images.
    :param latencies: latency of each request, in seconds.
    """

    seconds: float = 0.0
    images: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds

    def add(self, other: Run) -> None:
        """Add the results of `other`."""
        self.seconds += other.seconds
        self.images += other.images
        self.latencies += other.latencies

    def milliseconds(self, share: float) -> float:
        """Return a percentile of the latencies, in milliseconds; `share` is from 0 to 1."""
        return 1000 * percentile(self.latencies, share)


def closed_loop(server: Server, pattern: Pattern, files: list[bytes], images: int) -> Run:
    """Send `images` images, with `pattern.callers` requests in flight all the time."""
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
    """Send `images` single images at random times (Poisson), `rate` per second, even if the server does not keep up."""
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
