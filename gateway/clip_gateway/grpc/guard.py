"""Limits the gateway's memory while gRPC messages are received.

A gRPC message is in memory before it can be checked, its size is not announced as in HTTP's Content-Length, and any
number of calls may send one at the same time. So only a few calls receive their first message at the same time, and
when the process runs out of memory, calls that are receiving a message are aborted.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import resource
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from clip_gateway.memory import trim
from clip_gateway.observing.logs import LOG
from clip_gateway.problems import Problem
from clip_wire.errors import TooManyRequests

_PERIODS_SECONDS = (0.01, 0.1)  # between two looks at the memory, the shortest and the longest
_BYTES_A_SECOND = 8 << 30  # more than local clients send; a period is what they would need to fill the memory
_FULL = 0.7  # share of the container's memory
_READ = 0.25  # share of the container's memory for messages that are received at the same time
# Pause before memory is freed again: failed calls wait for the collector, and malloc keeps freed memory, 60 MB after a
# minute of mixed requests. To free it takes some 10 ms.
_FREE_SECONDS, _FREE_SECONDS_FULL = 30.0, 0.3
_TURN_SECONDS = 0.25  # after which the next call may receive beside a slow one

T = TypeVar("T")


class Guard:
    """Watches the memory of this process.

    :param memory: memory of the container, in bytes.
    :param largest: maximum size of a message, in bytes.
    """

    def __init__(self, memory: int, largest: int) -> None:
        self._most = int(_FULL * memory)
        self._resident = _ResidentMemory()
        # Each message is in memory three times: received slices, one buffer, and parsed.
        self._turns = asyncio.Semaphore(max(1, int(_READ * memory) // (3 * largest)))
        self._numbers = itertools.count()
        self._reading: dict[int, Callable[[Problem], None]] = {}

    async def paced(self, requests: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield `requests`; the first one waits until few other calls receive their first one."""
        await self._turns.acquire()
        turn = _Turn(self._turns, self._resident, self._most // 2)
        try:
            async for request in _each_read_to_its_end(requests):
                turn.end()
                yield request
        finally:
            turn.end()

    async def first(self, requests: AsyncIterator[T]) -> T | None:
        """Return the first of `requests`, received as in `paced`; None if there is none.

        :raises Problem: if the memory is full.
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
            # Not `await reader`: its exception would keep a reference to this call.
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.ended(reading)
            if not reader.done():
                reader.cancel()
        if full.done():
            raise full.result()
        return reader.result()

    def reading(self, shed: Callable[[Problem], None]) -> int:
        """Register a call that receives messages.

        :param shed: function that aborts the call.
        :return: number for `ended`.
        """
        number = next(self._numbers)
        self._reading[number] = shed
        return number

    def ended(self, number: int) -> None:
        """Unregister a call."""
        self._reading.pop(number, None)

    async def watch(self) -> None:
        """Watch the memory forever."""
        gc.freeze()  # existing objects are permanent: `gc.collect` below skips them
        freed = time.monotonic()
        while True:
            await asyncio.sleep(self._period())
            full = self._resident.read() > self._most
            if time.monotonic() - freed > (_FREE_SECONDS_FULL if full else _FREE_SECONDS):
                gc.collect()  # failed calls, with the messages that they received
                trim()
                freed = time.monotonic()
            if full and self._reading and self._resident.read() > self._most:
                self._shed()

    def _period(self) -> float:
        shortest, longest = _PERIODS_SECONDS
        return min(max((self._most - self._resident.read()) / _BYTES_A_SECOND, shortest), longest)

    def _shed(self) -> None:
        problem = Problem(TooManyRequests, "the gateway's memory is full; try again")
        LOG.warning("memory is full: %d calls that were receiving a message are aborted", len(self._reading))
        for shed in list(self._reading.values()):
            shed(problem)
        self._reading.clear()


class _ResidentMemory:
    """Reads the resident memory of this process from a file that stays open: opening it costs ten times as much."""

    def __init__(self) -> None:
        self._statm = Path("/proc/self/statm").open("rb", buffering=0)  # noqa: SIM115  # open as long as the process

    def read(self) -> int:
        """Return the resident memory in bytes."""
        return int(os.pread(self._statm.fileno(), 128, 0).split()[1]) * resource.getpagesize()


class _Turn:
    """Permission of a call to receive its first message.

    A slow call gives it up after `_TURN_SECONDS`, so that the next call can receive too, while memory is below `most`.

    :param turns: semaphore from which the turn was acquired.
    :param resident: memory of this process.
    :param most: memory in bytes above which a turn is kept.
    """

    def __init__(self, turns: asyncio.Semaphore, resident: _ResidentMemory, most: int) -> None:
        self._turns = turns
        self._resident = resident
        self._most = most
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TURN_SECONDS, self._pass_on)

    def _pass_on(self) -> None:
        if self._resident.read() <= self._most:
            self.end()
        else:
            self._wait()

    def end(self) -> None:
        """Release the turn, once."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
            self._turns.release()


async def _each_read_to_its_end(requests: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield `requests`, each read in a task that is not cancelled with its reader.

    grpc.aio leaks a message if the read of it is cancelled (https://github.com/grpc/grpc/issues/43360). The read ends
    when the call ends.
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


_READS: set[asyncio.Task[Any]] = set()  # strong references: asyncio keeps only weak ones


def _forget(task: asyncio.Task[Any]) -> None:
    _READS.discard(task)
    if not task.cancelled():
        task.exception()  # marks it as retrieved, so that asyncio logs nothing if the reader is gone
