"""Sends requests at random times with a fixed average rate, even if earlier ones are not answered yet."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import aiohttp

from scripts import ROOT

PICTURES = ROOT / "examples" / "pictures" / "heldout"
TEXTS = ("a red apple", "a cat", "the sea at night", "a bicycle in front of a house", "two people who laugh")


@dataclass(frozen=True)
class Body:
    """Body of a request to `/embed`, with its media type."""

    data: bytes
    media_type: str


@dataclass
class Answers:
    """Results of the requests.

    :param statuses: HTTP status -> number of responses; 0 for requests without a response.
    :param seconds: latency of each request with status 200, in seconds.
    """

    statuses: dict[int, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return a percentile of the latencies, in seconds; `share` is from 0 to 1."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def bodies(words: bool, broken: bool = True) -> Iterator[Body]:
    """Yield bodies endlessly: images, with every third a text and every fiftieth invalid.

    :param words: whether the Flow encodes texts; without it there are none.
    :param broken: whether to include invalid bodies.
    """
    pictures = [Body(file.read_bytes(), "image/png") for file in sorted(Path(PICTURES).glob("*.png"))]
    texts = cycle(Body(text.encode(), "text/plain") for text in TEXTS)
    for number, picture in enumerate(cycle(pictures)):
        if broken and number % 50 == 49:
            yield Body(b"no picture", "image/png")
        elif words and number % 3 == 2:
            yield next(texts)
        else:
            yield picture


async def arrivals(url: str, rate: float, seconds: float, what: Iterator[Body], seed: int = 0) -> Answers:
    """Send requests, and wait for their responses.

    :param url: HTTP address of the gateway.
    :param rate: average number of requests per second; the times between them are exponentially distributed.
    :param seconds: time to send requests, in seconds.
    :param what: bodies to send.
    :param seed: seed of the times between requests.
    """
    found, chance = Answers(), random.Random(seed)

    async def ask(session: aiohttp.ClientSession, body: Body) -> None:
        began = time.perf_counter()
        headers = {"Content-Type": body.media_type}
        try:
            async with session.post(f"{url}/embed", data=body.data, headers=headers) as answer:
                await answer.read()
                status = answer.status
        except aiohttp.ClientError:
            status = 0
        found.statuses[status] = found.statuses.get(status, 0) + 1
        if status == 200:
            found.seconds.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        began, due = time.perf_counter(), chance.expovariate(rate)
        tasks = []
        while due < seconds:
            await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(session, next(what))))
            due += chance.expovariate(rate)
        await asyncio.gather(*tasks)
    return found


def waves(most: float) -> Sequence[float]:
    """Return the rates of a load that rises to `most` requests per second, and falls again."""
    shares = (0.2, 0.4, 0.6, 0.8, 1.0, 0.6, 0.2)
    return [most * share for share in shares]
