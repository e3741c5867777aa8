"""The memory that pictures take while they are decoded, shared out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """Bytes that may be in use at the same time. What does not fit waits, first come, first served.

    :param total: of them. What is more than all of it is let in alone.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def granting(self, count: int) -> Iterator[bool]:
        """Use `count` bytes, as soon as there is room for them."""
        with self._changed:
            place = object()
            self._waiting.append(place)
            self._changed.wait_for(lambda: self._waiting[0] is place and self._fits(count))
            self._waiting.popleft()
            self._used += count
            self._changed.notify_all()
        try:
            yield True
        finally:
            with self._changed:
                self._used -= count
                self._changed.notify_all()

    def _fits(self, count: int) -> bool:
        return not self._used or self._used + count <= self._total
