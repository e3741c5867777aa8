"""Limit on concurrent requests, over all protocols."""

from __future__ import annotations

import asyncio

from clip_gateway.problems import Problem
from clip_wire.errors import TooManyRequests


class Slots:
    """A limited number of slots, one per request in flight.

    :param limit: maximum number of requests in flight.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._given = asyncio.Event()

    @property
    def taken(self) -> int:
        """Number of requests in flight."""
        return self._taken

    def take(self) -> bool:
        """Take a slot; return False at once if none is free."""
        if self._taken >= self.limit:
            return False
        self._taken += 1
        return True

    def give(self) -> None:
        """Release a slot."""
        self._taken -= 1
        self._given.set()

    def full(self) -> Problem:
        """Return the error for a request without a slot."""
        return Problem(TooManyRequests, f"{self.limit} requests are in progress, the maximum; try again")

    async def drained(self, seconds: float) -> bool:
        """Wait until no request is in flight; return False if that takes longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self._taken:
                    self._given.clear()
                    await self._given.wait()
        except TimeoutError:
            return False
        return True
