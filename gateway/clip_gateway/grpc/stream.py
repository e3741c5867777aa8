"""One gRPC stream: which of its requests are read, and when."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from jina.types.request.data import DataRequest

from clip_gateway.flow.counting import DEFAULT_LIMITS, Limits
from clip_gateway.flow.messages import document_count, parse
from clip_gateway.flow.slots import Slots
from clip_gateway.memory import Budget, Holding, bytes_under_way, container_bytes
from clip_gateway.problems import Problem


class Stream:
    """The requests of one gRPC stream: as many under way as there is room for, the next ones wait unread.

    A stream that finds no room is refused as a whole, unless it has work under way: then it waits for that, so that a
    long stream slows down where others are turned away. It never holds more than half of the slots, or of the bytes.
    A request is under way until its answer was sent.

    :param slots: of the gateway.
    :param prefetch: most requests under way, as the caller asked; 0 is no wish.
    :param budget: of the gateway's bytes; by default one of its own.
    :param limits: of what is in a request.
    """

    _DOCUMENTS = 256  # under way, after which no more are read: one stream must not fill an Executor's queue

    def __init__(
        self, slots: Slots, prefetch: int = 0, budget: Budget | None = None, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._slots = slots
        self._budget = budget or Budget(bytes_under_way(container_bytes()))
        self._limits = limits
        self._most = max(1, min(prefetch or slots.limit, slots.limit // 2))
        self._under_way: dict[int, tuple[int, Holding]] = {}  # identity of a request -> its documents and bytes
        self._answered: set[int] = set()  # of these, those whose work has ended
        self._changed = asyncio.Event()
        self._closed = False
        self.admitted = 0
        self.refusal: Problem | None = None

    async def admit(self, requests: AsyncIterator[DataRequest]) -> AsyncIterator[DataRequest]:
        """The requests, each when there is room for it; ends early when the stream is refused."""
        async for request in requests:
            holding = Holding(self._budget)
            holding.add(len(request.buffer or b""))
            try:
                while self.refusal is None and not (self._has_room(holding) and self._slots.take()):
                    if not self._under_way:
                        self.refusal = self._slots.full() if self._has_room(holding) else self._budget.full()
                        request.buffer = None  # what ends a call may be held for some time
                        break
                    await self._change()
                if self.refusal:
                    return
                self._admit(request, holding)
                holding = Holding(self._budget)
            finally:
                holding.release()
            yield request
            while self._under_way and self._holds_its_share():  # what is not read yet holds nothing
                await self._change()

    def _admit(self, request: DataRequest, holding: Holding) -> None:
        with contextlib.suppress(Problem):  # whoever serves it finds the same, and says so
            parse(request, self._limits)
        self._under_way[id(request)] = (document_count(request), holding)
        self.admitted += 1

    def answered(self, request: DataRequest) -> None:
        """The work for a request has ended."""
        self._answered.add(id(request))
        if self._closed:
            self.done(request)

    def done(self, request: DataRequest) -> None:
        """The answer to a request was sent."""
        self._done(id(request))

    def close(self) -> None:
        """The call has ended: what is answered holds nothing any more, the rest until its work has ended."""
        self._closed = True
        for identity in list(self._answered):
            self._done(identity)

    def _done(self, identity: int) -> None:
        self._answered.discard(identity)
        _, holding = self._under_way.pop(identity)
        holding.release()
        self._slots.give()
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _has_room(self, new: Holding) -> bool:
        if self._budget.held > max(self._budget.limit, new.count):
            return False
        documents = sum(count for count, _ in self._under_way.values())
        return not self._under_way or (len(self._under_way) < self._most and documents < self._DOCUMENTS)

    def _holds_its_share(self) -> bool:
        held = sum(holding.count for _, holding in self._under_way.values())
        return self._budget.held > self._budget.limit or held > self._budget.limit // 2
