"""How much may be under way at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from jina.types.request.data import DataRequest

from clip_gateway.messages import document_count, parse
from clip_gateway.problems import Problem


class Slots:
    """A bounded number of requests under way, over all protocols.

    :param limit: most of them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._given = asyncio.Event()

    def take(self) -> bool:
        """Take one, or say at once that there is none."""
        if self._taken >= self.limit:
            return False
        self._taken += 1
        return True

    def give(self) -> None:
        """Give one back."""
        self._taken -= 1
        self._given.set()

    def full(self) -> Problem:
        """What a caller is told who finds none."""
        return Problem("TooManyRequests", f"{self.limit} requests are under way, the most at a time; try again")

    async def drained(self, seconds: float) -> bool:
        """Wait until nothing is under way; False when that takes longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self._taken:
                    self._given.clear()
                    await self._given.wait()
        except TimeoutError:
            return False
        return True


class Stream:
    """The requests of one gRPC stream: as many under way as there is room for, the next ones wait unread.

    A stream that finds no slot is refused as a whole, unless it has work under way: then it waits for that, so that a
    long stream slows down where others are turned away. It never holds more than half of the slots.

    :param slots: of the gateway.
    :param prefetch: most requests under way, as the caller asked; 0 is no wish.
    """

    _DOCUMENTS = 256  # under way, after which no more are read: one stream must not fill an Executor's queue

    def __init__(self, slots: Slots, prefetch: int = 0) -> None:
        self._slots = slots
        self._most = max(1, min(prefetch or slots.limit, slots.limit // 2))
        self._under_way: dict[int, int] = {}  # identity of a request -> its documents
        self._ended = asyncio.Event()
        self.admitted = 0
        self.refusal: Problem | None = None

    async def admit(self, requests: AsyncIterator[DataRequest]) -> AsyncIterator[DataRequest]:
        """The requests, each when there is room for it; ends early when the stream is refused."""
        async for request in requests:
            while self.refusal is None and not (self._has_room() and self._slots.take()):
                if not self._under_way:
                    self.refusal = self._slots.full()
                    break
                self._ended.clear()
                await self._ended.wait()
            if self.refusal:
                return
            parse(request)
            self._under_way[id(request)] = document_count(request)
            self.admitted += 1
            yield request

    def done(self, request: DataRequest) -> None:
        """A request has its answer."""
        del self._under_way[id(request)]
        self._slots.give()
        self._ended.set()

    def _has_room(self) -> bool:
        if not self._under_way:
            return True
        return len(self._under_way) < self._most and sum(self._under_way.values()) < self._DOCUMENTS
