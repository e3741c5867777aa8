"""The last line of defence for the gateway's memory: while it runs out, gRPC calls that are being read are ended.

A gRPC message is in memory before anybody can look at it, and any number of calls may bring one at the same time. What
HTTP says beforehand, in Content-Length, gRPC does not. So the process looks at itself.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
from collections.abc import Callable
from pathlib import Path

from clip_gateway.logs import LOG
from clip_gateway.memory import container_bytes, trim
from clip_gateway.problems import Problem

_PERIOD_SECONDS = 0.01  # a local caller brings some 10 MB in it
_FULL = 0.7  # of the container's memory
_STATM = Path("/proc/self/statm")


class Guard:
    """Watches the memory of this process.

    :param limit: bytes of the container.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._most = int(_FULL * (container_bytes() if limit is None else limit))
        self._numbers = itertools.count()
        self._reading: dict[int, Callable[[Problem], None]] = {}

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
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            if self._reading and _resident_bytes() > self._most:
                trim()
                if _resident_bytes() > self._most:
                    self._shed()

    def _shed(self) -> None:
        problem = Problem("TooManyRequests", "the gateway's memory is full; try again")
        LOG.warning("memory is full: %d calls that were being read are ended", len(self._reading))
        for shed in list(self._reading.values()):
            shed(problem)
        self._reading.clear()


def _resident_bytes() -> int:
    return int(_STATM.read_text().split()[1]) * resource.getpagesize()
