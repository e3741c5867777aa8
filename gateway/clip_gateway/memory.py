"""Memory of the container, and a budget for the bytes that requests hold in it."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

from clip_gateway.problems import Problem
from clip_wire.errors import TooManyRequests

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt(3)
_IDLE_BYTES = 160 << 20  # memory of the process before the first request
# Bytes of memory per byte of a body: received data, the message, the serialized message for the executor, a copy in
# gRPC's buffers, and the answer, which returns the content of documents: 4.5 were measured. The rest is reserved for
# gRPC messages that are being received, whose length is not known in advance.
_COPIES = 8


def container_bytes() -> int:
    """Return the memory limit of the container in bytes, or the machine's memory if there is no limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(int(text) for text in map(_read, _LIMITS) if text.isdecimal())])


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def give_back_early() -> None:
    """Let malloc return freed memory to the system: by default, glibc keeps blocks of some megabytes."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        for option, value in ((_MMAP_THRESHOLD, 1 << 20), (_TRIM_THRESHOLD, 8 << 20), (_ARENA_MAX, 2)):
            libc.mallopt(option, value)


def trim() -> None:
    """Return the memory that is freed so far to the system."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def bytes_under_way(memory: int) -> int:
    """Return how many bytes of bodies fit into `memory` bytes, together with all copies of them."""
    return max(memory - _IDLE_BYTES, 64 << 20) // _COPIES


_SMALL_BYTES = 1 << 20  # maximum size of a small request
_STEP = 1 << 16  # bytes, minimum growth of a holding whose final size is not known


class Budget:
    """Limits the bytes that requests hold at the same time, over all protocols.

    A quarter is reserved for small requests, which a few large ones would otherwise block.

    :param limit: maximum number of bytes; a larger request is accepted only while no other holds bytes.
    :ivar held: number of bytes that are held now.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def fits(self, count: int, more: int) -> bool:
        """Return whether a request that holds `count` bytes may hold `more` in addition."""
        limit = self.limit if count + more <= _SMALL_BYTES else self.limit * 3 // 4
        return self.held == count or self.held + more <= limit

    def full(self) -> Problem:
        """Return the error for a request that does not fit."""
        return Problem(TooManyRequests, f"requests hold {self.held} of {self.limit} bytes, the maximum; try again")


class Holding:
    """The bytes of the budget that one request holds until its end."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.count = 0

    def grow(self, count: int) -> None:
        """Hold `count` more bytes.

        :raises Problem: if they do not fit.
        """
        if not self._budget.fits(self.count, count):
            raise self._budget.full()
        self.add(count)

    def cover(self, count: int) -> None:
        """Hold at least `count` bytes in total.

        :raises Problem: if they do not fit.
        """
        if count > self.count:
            self.grow(max(count - self.count, _STEP))

    def add(self, count: int) -> None:
        """Hold `count` more bytes that are in memory already, even if they do not fit."""
        self._budget.held += count
        self.count += count

    def release(self) -> None:
        """Release all bytes."""
        self._budget.held -= self.count
        self.count = 0
