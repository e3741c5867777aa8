"""How many requests may be under way at the same time, over all protocols."""

from __future__ import annotations

import asyncio

from clip_gateway.problems import Problem
from clip_wire.errors import TooManyRequests


class Slots:
    """A bounded number of requests under way, over all protocols.

    :param limit: most of them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._given = asyncio.Event()

    @property
    def taken(self) -> int:
        """How many requests are under way."""
        return self._taken

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
        return Problem(TooManyRequests, f"{self.limit} requests are under way, the most at a time; try again")

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
