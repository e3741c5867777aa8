"""Limits the total memory of the images that are being decoded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """Limits the bytes in use at the same time. Requests that do not fit wait in order of arrival.

    :param total: maximum number of bytes. A larger request is admitted when no other is.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def granting(self, count: int) -> Iterator[bool]:
        """Wait until `count` bytes are free, and hold them during the context."""
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
