"""The gateway's memory while gRPC messages are being read.

A gRPC message is in memory before anybody can look at it, and any number of calls may bring one at the same time. What
HTTP says beforehand, in Content-Length, gRPC does not. So few calls read their first message at the same time, and the
process looks at itself: while its memory runs out, calls that are being read are ended.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import resource
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from clip_gateway.memory import trim
from clip_gateway.observing.logs import LOG
from clip_gateway.problems import Problem
from clip_wire.errors import TooManyRequests

_PERIOD_SECONDS = 0.01  # a local caller brings some 10 MB in it
_FULL = 0.7  # of the container's memory
_READ = 0.25  # of it, for messages that are read at the same time
_COLLECT_SECONDS = 0.3
_TURN_SECONDS = 0.25  # after which a call that is slow lets the next one read too
_STATM = Path("/proc/self/statm")

T = TypeVar("T")


class Guard:
    """Watches the memory of this process.

    :param memory: bytes that there are.
    :param largest: bytes of a message.
    """

    def __init__(self, memory: int, largest: int) -> None:
        self._most = int(_FULL * memory)
        # Each message is there three times: as it arrives, in one piece, and parsed.
        self._turns = asyncio.Semaphore(max(1, int(_READ * memory) // (3 * largest)))
        self._numbers = itertools.count()
        self._reading: dict[int, Callable[[Problem], None]] = {}

    async def paced(self, requests: AsyncIterator[T]) -> AsyncIterator[T]:
        """`requests`, the first of them in turn with the first ones of other calls."""
        await self._turns.acquire()
        turn = _Turn(self._turns, self._most // 2)
        try:
            async for request in _each_read_to_its_end(requests):
                turn.end()
                yield request
        finally:
            turn.end()

    async def first(self, requests: AsyncIterator[T]) -> T | None:
        """The first of `requests`, in turn; None where there is none.

        :raises Problem: memory is full.
        """
        full: asyncio.Future[Problem] = asyncio.get_running_loop().create_future()

        def shed(problem: Problem) -> None:
            if not full.done():
                full.set_result(problem)

        async def read() -> T | None:
            return await anext(self.paced(requests), None)

        reading, reader = self.reading(shed), asyncio.create_task(read())
        waiting: list[asyncio.Future[Any]] = [reader, full]
        try:
            # Not `await reader`, which would tie this call to the exception that ends it.
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.ended(reading)
            if not reader.done():
                reader.cancel()
        if full.done():
            raise full.result()
        return reader.result()

    def reading(self, shed: Callable[[Problem], None]) -> int:
        """A call has begun to read messages.

        :param shed: ends it.
        :return: for `ended`.
        """
        number = next(self._numbers)
        self._reading[number] = shed
        return number

    def ended(self, number: int) -> None:
        """The call reads no more."""
        self._reading.pop(number, None)

    async def watch(self) -> None:
        """Look for ever."""
        collected = 0.0
        gc.freeze()  # what is here stays, and need not be looked at again below
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            if _resident_bytes() > self._most:
                if time.monotonic() - collected > _COLLECT_SECONDS:
                    gc.collect()  # calls that have ended in an error, with what they read
                    trim()
                    collected = time.monotonic()
                if self._reading and _resident_bytes() > self._most:
                    self._shed()

    def _shed(self) -> None:
        problem = Problem(TooManyRequests, "the gateway's memory is full; try again")
        LOG.warning("memory is full: %d calls that were being read are ended", len(self._reading))
        for shed in list(self._reading.values()):
            shed(problem)
        self._reading.clear()


class _Turn:
    """A call's turn to read. One that is slow lets the next one read too, as long as memory is at most half full.

    :param turns: where it was taken.
    :param most: bytes of memory, up to which it is.
    """

    def __init__(self, turns: asyncio.Semaphore, most: int) -> None:
        self._turns = turns
        self._most = most
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TURN_SECONDS, self._pass_on)

    def _pass_on(self) -> None:
        if _resident_bytes() <= self._most:
            self.end()
        else:
            self._wait()

    def end(self) -> None:
        """Give it back, once."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
            self._turns.release()


async def _each_read_to_its_end(requests: AsyncIterator[T]) -> AsyncIterator[T]:
    """`requests`, each read in a task that is not cancelled with its reader.

    grpc.aio frees a message when the read of it was awaited, and not when that was cancelled
    (https://github.com/grpc/grpc/issues/43360). A call that has ended ends its read.
    """
    iterator = aiter(requests)

    async def read() -> T | None:
        return await anext(iterator, None)

    while True:
        task = asyncio.create_task(read())
        _READS.add(task)
        task.add_done_callback(_forget)
        if (request := await asyncio.shield(task)) is None:
            return
        yield request


_READS: set[asyncio.Task[Any]] = set()  # asyncio itself would let them be collected


def _forget(task: asyncio.Task[Any]) -> None:
    _READS.discard(task)
    if not task.cancelled():
        task.exception()  # where nobody waits for it any more, nobody is told


def _resident_bytes() -> int:
    return int(_STATM.read_text().split()[1]) * resource.getpagesize()
