"""What waits to be prepared, and the threads that prepare it."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from clip_image_flow.errors import Expired

T = TypeVar("T")


@dataclass(eq=False)
class Item(Generic[T]):
    """One item on its way.

    :param batch_size: most items in its forward pass.
    :param deadline: Unix time in seconds, after which nobody wants it.
    :param weight: bytes that it holds.
    :param caller: whoever submitted it may leave something here for an `Observer`.
    :param array: what was prepared of it, once that is done.
    :param queued: when it was submitted, by the monotonic clock in seconds.
    :param prepared: when its preparing ended, by that clock.
    :param preparing: seconds in a thread that prepares, in both lanes together.
    :param forward: when its forward pass began and ended, by that clock.
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
        """Seconds from `submit` to the forward pass in which nothing was done with it; None before that."""
        return None if self.forward is None else max(0.0, self.forward[0] - self.queued - self.preparing)

    def is_wanted(self) -> bool:
        """Whether somebody waits for this item, in time."""
        return not self.result.cancelled() and (self.deadline is None or time.time() <= self.deadline)

    def claim(self) -> bool:
        """Whether somebody still waits for this item; from now on nobody can call it off."""
        if not self.result.set_running_or_notify_cancel():
            return False
        if not self.is_wanted():
            self.result.set_exception(Expired("the time limit passed while the request waited for its turn"))
            return False
        return True

    def give_up(self) -> None:
        """Answer an item that will not be computed, where it has no answer yet."""
        with contextlib.suppress(InvalidStateError):
            self.result.set_exception(RuntimeError("the model thread died"))


class Lane(Generic[T]):
    """Requests whose items are prepared in one way, by threads that are busy with nothing else.

    Requests take turns in getting ahead: every other place goes to the oldest request, the rest to the one with the
    fewest items left. So a single picture behind a thousand passes most of them, requests of one size come first in,
    first out, and nobody starves.

    :param prepare: one item -> array.
    :param threads: that prepare at the same time.
    """

    def __init__(self, prepare: Callable[[T], np.ndarray], threads: int, name: str) -> None:
        self.prepare = prepare
        self.threads = threads
        self.running = 0
        self.workers = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._requests: list[deque[Item[T]]] = []  # as they came
        self._oldest_first = True

    @property
    def waiting(self) -> bool:
        """Whether there is anything that is not being prepared yet."""
        return bool(self._requests)

    def add(self, items: Sequence[Item[T]]) -> None:
        """The items of one request."""
        if items:
            self._requests.append(deque(items))

    def drain(self) -> list[Item[T]]:
        """What waits, which waits no more."""
        items = [item for request in self._requests for item in request]
        self._requests.clear()
        return items

    def next(self) -> Item[T]:
        """Whose turn it is, of what is waiting."""
        requests = self._requests
        place = 0 if self._oldest_first else min(range(len(requests)), key=lambda i: len(requests[i]))
        self._oldest_first = not self._oldest_first
        item = requests[place].popleft()
        if not requests[place]:
            del requests[place]
        return item
