"""Garbage collection by bytes.

Python's collector counts objects, of which an image is one. DocArray's documents refer to each other (a document and
its data), so only the collector frees them, with their images: hundreds of requests later, if the process has many
other objects.
"""

from __future__ import annotations

import gc

_MOST_BYTES = 32 << 20  # a collection takes less than 1 ms, to encode so many images some 100 ms and more


class Garbage:
    """Collects garbage after every 32 MiB of requests. Existing objects are permanent, and no longer looked at."""

    def __init__(self) -> None:
        self._bytes = 0
        gc.collect()
        gc.freeze()

    def add(self, count: int) -> None:
        """Count the bytes of an answered request, and collect if it is time."""
        self._bytes += count
        if self._bytes >= _MOST_BYTES:
            self._bytes = 0
            gc.collect()
