"""Flow control of one gRPC stream: when its requests are read."""

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
    """Reads the requests of one gRPC stream as slots and bytes become free.

    If there is no room, a stream without requests in flight is rejected as a whole; a stream with some waits for them,
    so that a long stream slows down instead of failing. It never uses more than half of the slots or bytes. A request
    is in flight until its response is sent.

    :param slots: slots of the gateway.
    :param prefetch: maximum number of requests in flight that the caller wants; 0 for no limit.
    :param budget: byte budget of the gateway; by default a separate one.
    :param limits: limits on the content of a request.
    """

    _DOCUMENTS = 256  # in flight, after which reading pauses: one stream must not fill an Executor's queue

    def __init__(
        self, slots: Slots, prefetch: int = 0, budget: Budget | None = None, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._slots = slots
        self._budget = budget or Budget(bytes_under_way(container_bytes()))
        self._limits = limits
        self._most = max(1, min(prefetch or slots.limit, slots.limit // 2))
        self._under_way: dict[int, tuple[int, Holding]] = {}  # id() of a request -> number of documents, bytes
        self._answered: set[int] = set()  # those of them whose work has ended
        self._changed = asyncio.Event()
        self._closed = False
        self.admitted = 0
        self.refusal: Problem | None = None

    async def admit(self, requests: AsyncIterator[DataRequest]) -> AsyncIterator[DataRequest]:
        """Yield each request when there is room for it; stop when the stream is rejected."""
        async for request in requests:
            holding = Holding(self._budget)
            holding.add(len(request.buffer or b""))
            try:
                while self.refusal is None and not (self._has_room(holding) and self._slots.take()):
                    if not self._under_way:
                        self.refusal = self._slots.full() if self._has_room(holding) else self._budget.full()
                        request.buffer = None  # frees the message: the exception that ends the call may keep it alive
                        break
                    await self._change()
                if self.refusal:
                    return
                self._admit(request, holding)
                holding = Holding(self._budget)
            finally:
                holding.release()
            yield request
            while self._under_way and self._holds_its_share():  # unread requests use no bytes
                await self._change()

    def _admit(self, request: DataRequest, holding: Holding) -> None:
        with contextlib.suppress(Problem):  # raised again when the request is served
            parse(request, self._limits)
        self._under_way[id(request)] = (document_count(request), holding)
        self.admitted += 1

    def answered(self, request: DataRequest) -> None:
        """Mark the work of a request as finished."""
        self._answered.add(id(request))
        if self._closed:
            self.done(request)

    def done(self, request: DataRequest) -> None:
        """Mark the response of a request as sent, and release its slot and bytes."""
        self._done(id(request))

    def close(self) -> None:
        """End the call: release finished requests now, and the others when their work has finished."""
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
