"""Queues of items to prepare, and the threads that prepare them."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from clip_image_flow.errors import Expired, RequestError, bare

T = TypeVar("T")


@dataclass(eq=False)
class Item(Generic[T]):
    """One item between `submit` and its result.

    :param content: item as it was submitted.
    :param batch_size: maximum number of items in its forward pass.
    :param deadline: Unix time in seconds after which the item expires, or None.
    :param weight: size of the content, in bytes.
    :param caller: any object, from the caller of `submit` to an `Observer`.
    :param result: future of the row, float32 (dim,).
    :param array: prepared item; None before.
    :param queued: time of `submit`, in seconds of the monotonic clock.
    :param prepared: end of the preparation, on the same clock.
    :param preparing: duration of the preparation in seconds, in both lanes together.
    :param forward: begin and end of the forward pass, on the same clock; None before.
    """

    content: T
    batch_size: int
    deadline: float | None
    weight: int
    caller: object = None
    result: Future[np.ndarray] = field(default_factory=Future)
    array: np.ndarray | None = None
    queued: float = field(default_factory=time.monotonic)
    prepared: float = 0.0
    preparing: float = 0.0
    forward: tuple[float, float] | None = None

    @property
    def waiting(self) -> float | None:
        """Seconds between `submit` and the forward pass, less the preparation; None before the forward pass."""
        return None if self.forward is None else max(0.0, self.forward[0] - self.queued - self.preparing)

    def is_wanted(self) -> bool:
        """Whether the item is neither cancelled nor expired."""
        return not self.result.cancelled() and (self.deadline is None or time.time() <= self.deadline)

    def claim(self) -> bool:
        """Whether the item is still wanted; it cannot be cancelled afterwards, and an expired item fails."""
        if not self.result.set_running_or_notify_cancel():
            return False
        if not self.is_wanted():
            self.fail(Expired("the time limit passed while the request waited for its turn"))
            return False
        return True

    def fail(self, error: Exception) -> None:
        """Set the exception; one that is not a client error, and so a fault here, keeps its traceback."""
        self.result.set_exception(bare(error) if isinstance(error, RequestError) else error)

    def give_up(self) -> None:
        """Fail an item after the death of the model thread, unless it has a result."""
        with contextlib.suppress(InvalidStateError):
            self.result.set_exception(RuntimeError("the model thread died"))


class Lane(Generic[T]):
    """Queue of requests whose items are prepared by the same function, with threads of its own.

    Scheduling is fair between requests: every other turn goes to the oldest request, the rest to the request with the
    fewest items left. So a single image behind a thousand overtakes most of them, requests of equal size are served
    first in, first out, and no request starves.

    :param prepare: function from one item to an array.
    :param threads: maximum number of items in preparation at the same time.
    :param name: prefix of the thread names.
    """

    def __init__(self, prepare: Callable[[T], np.ndarray], threads: int, name: str) -> None:
        self.prepare = prepare
        self.threads = threads
        self.running = 0
        self.workers = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._requests: list[deque[Item[T]]] = []  # in order of arrival
        self._oldest_first = True

    @property
    def waiting(self) -> bool:
        """Whether any item is queued, its preparation not started."""
        return bool(self._requests)

    def add(self, items: Sequence[Item[T]]) -> None:
        """Queue the items of one request."""
        if items:
            self._requests.append(deque(items))

    def drain(self) -> list[Item[T]]:
        """Remove and return all queued items."""
        items = [item for request in self._requests for item in request]
        self._requests.clear()
        return items

    def next(self) -> Item[T]:
        """Remove and return the next item; the lane must not be empty."""
        requests = self._requests
        place = 0 if self._oldest_first else min(range(len(requests)), key=lambda i: len(requests[i]))
        self._oldest_first = not self._oldest_first
        item = requests[place].popleft()
        if not requests[place]:
            del requests[place]
        return item
