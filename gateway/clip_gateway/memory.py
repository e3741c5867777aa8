"""How much memory there is, and how many bytes of callers may be held in it."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

from clip_gateway.problems import Problem
from clip_wire.errors import TooManyRequests

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt(3)
_IDLE_BYTES = 160 << 20  # of the process, before the first request
# Of memory, for each byte of a body: what came in, the message made of it, that message as it is sent on, the same in
# gRPC's buffers, and the answer, which brings a document's content back: 4.5 were measured. The rest is room for gRPC
# messages that are being read, whose length nobody knows beforehand.
_COPIES = 8


def container_bytes() -> int:
    """Memory of the container, or of the machine where it has no limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(int(text) for text in map(_read, _LIMITS) if text.isdecimal())])


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def give_back_early() -> None:
    """Have the allocator give back what is freed: by default glibc keeps blocks of some megabytes for good."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        for option, value in ((_MMAP_THRESHOLD, 1 << 20), (_TRIM_THRESHOLD, 8 << 20), (_ARENA_MAX, 2)):
            libc.mallopt(option, value)


def trim() -> None:
    """Give back what is freed by now."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def bytes_under_way(memory: int) -> int:
    """What bodies may hold, so that all that is made of them fits into `memory`, in bytes."""
    return max(memory - _IDLE_BYTES, 64 << 20) // _COPIES


_SMALL_BYTES = 1 << 20  # of a request
_STEP = 1 << 16  # bytes, by which a holding grows at least while its length is not known


class Budget:
    """Bytes of callers that are held at the same time, over all protocols.

    A quarter of it is for small requests, which would else be turned away for a few large ones.

    :param limit: most of them. What is larger by itself is let in alone.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def fits(self, count: int, more: int) -> bool:
        """Whether a request that holds `count` bytes may hold `more`."""
        limit = self.limit if count + more <= _SMALL_BYTES else self.limit * 3 // 4
        return self.held == count or self.held + more <= limit

    def full(self) -> Problem:
        """What a caller is told who finds no room."""
        return Problem(
            TooManyRequests, f"requests hold {self.held} of {self.limit} bytes, the most at a time; try again"
        )


class Holding:
    """What one request holds of the budget, given back at its end."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.count = 0

    def grow(self, count: int) -> None:
        """Hold `count` more bytes.

        :raises Problem: there is no room for them.
        """
        if not self._budget.fits(self.count, count):
            raise self._budget.full()
        self.add(count)

    def cover(self, count: int) -> None:
        """Hold `count` bytes in all, where it is not that many already.

        :raises Problem: there is no room for them.
        """
        if count > self.count:
            self.grow(max(count - self.count, _STEP))

    def add(self, count: int) -> None:
        """Count bytes that are held already, whether there is room for them or not."""
        self._budget.held += count
        self.count += count

    def release(self) -> None:
        """Give all of it back."""
        self._budget.held -= self.count
        self.count = 0
