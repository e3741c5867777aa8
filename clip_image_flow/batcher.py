"""One bounded queue over all requests, and the thread that runs the model.

The model thread takes what is there, up to the smallest `batch_size` among the items it takes, so that requests share
forward passes under load and nobody waits for a timer. While it computes, the items of about one more batch are
prepared (decoded, preprocessed) in worker threads; no further ahead, so that memory stays bounded.

Requests take turns in getting ahead: every other place goes to the oldest request, the rest to the one with the fewest
items left. So a single picture behind a thousand passes most of them, requests of one size come first in, first out,
and nobody starves.

Knows neither images nor models: `prepare` and `forward` are given.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from clip_image_flow.errors import Expired, QueueFull, TooLarge

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Item(Generic[T]):
    content: T
    batch_size: int
    deadline: float | None
    result: Future[np.ndarray] = field(default_factory=Future)
    prepared: Future[np.ndarray] | None = None

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


class Batcher(Generic[T]):
    """Runs `forward(stack of prepare(item))` over items from many callers.

    :param prepare: one item -> array, called in `threads` worker threads; what it raises is the item's result.
    :param forward: (b, ...) -> (b, dim), called in the one model thread; what it raises is the result of all b.
    :param capacity: most items waiting or running at any time.
    :param max_batch_size: most items in one forward pass, whatever a caller asks for.
    :param patience: seconds that a batch which is not full waits for more items. Worth it only where a forward pass of
        many takes hardly longer than one of few, as on a GPU.
    """

    def __init__(
        self,
        prepare: Callable[[T], np.ndarray],
        forward: Callable[[np.ndarray], np.ndarray],
        *,
        capacity: int,
        max_batch_size: int,
        threads: int,
        patience: float = 0.0,
    ) -> None:
        self._prepare = prepare
        self._forward = forward
        self._capacity = capacity
        self._max_batch_size = max_batch_size
        self._patience = patience
        self._most_ahead = max(max_batch_size, threads)
        self._waiting: list[deque[_Item[T]]] = []  # requests, as they came
        self._ahead: deque[_Item[T]] = deque()  # what is next; it is being prepared
        self._oldest_first = True
        self._admitted = 0
        self._closed = False
        self._changed = threading.Condition()
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
        self._model_thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._model_thread.start()

    def submit(
        self, contents: Sequence[T], *, batch_size: int, deadline: float | None = None
    ) -> list[Future[np.ndarray]]:
        """Queue all of `contents`, or none of them.

        :param batch_size: most of them, and of their neighbours, in one forward pass.
        :param deadline: Unix time in seconds; what has not begun by then ends with `Expired`.
        :return: for each item a future of its row (dim,). Cancel those that nobody needs any more.
        :raises TooLarge: more than ever fits.
        :raises QueueFull: more than fits now.
        """
        items = [_Item(content, min(batch_size, self._max_batch_size), deadline) for content in contents]
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            if len(items) > self._capacity:
                raise TooLarge(
                    f"the request has {len(items)} images; the queue holds {self._capacity}: send it in parts"
                )
            if self._admitted + len(items) > self._capacity:
                raise QueueFull(f"the queue holds {self._admitted} of {self._capacity} images; try again later")
            self._admitted += len(items)
            if items:
                self._waiting.append(deque(items))
            self._look_ahead()
            self._changed.notify()
        return [item.result for item in items]

    def close(self) -> None:
        """Finish what is queued, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._model_thread.join()
        self._workers.shutdown()

    def _look_ahead(self) -> None:
        """Choose what is next, and have it prepared. Called with the lock held."""
        while self._waiting and len(self._ahead) < self._most_ahead:
            place = 0 if self._oldest_first else min(range(len(self._waiting)), key=lambda i: len(self._waiting[i]))
            self._oldest_first = not self._oldest_first
            item = self._waiting[place].popleft()
            if not self._waiting[place]:
                del self._waiting[place]
            if item.is_wanted() or item.claim():
                item.prepared = self._workers.submit(self._prepare, item.content)
                self._ahead.append(item)
            else:
                self._release(1)

    def _release(self, items: int) -> None:
        """Make room in the queue, before anyone hears of a result: the answer to it may be the next request."""
        with self._changed:
            self._admitted -= items

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self._compute(batch)
        except BaseException:
            # Nobody would ever be answered again while health stayed green: let the supervisor start a fresh process.
            logger.critical("the model thread died; ending the process", exc_info=True)
            os._exit(70)  # EX_SOFTWARE

    def _next_batch(self) -> list[_Item[T]]:
        """What is there, up to the batch size; empty only when closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._ahead or self._closed)
                if not self._ahead:
                    return []
                if self._patience:
                    self._changed.wait_for(self._is_full, self._patience)
                batch = self._take()
                self._look_ahead()
                if batch:
                    return batch

    def _is_full(self) -> bool:
        return self._closed or len(self._ahead) >= self._max_batch_size

    def _take(self) -> list[_Item[T]]:
        """The first of what is ahead, and those after it that may share its batch. Called with the lock held."""
        batch: list[_Item[T]] = []
        rest: deque[_Item[T]] = deque()
        limit = self._max_batch_size
        for item in self._ahead:
            if len(batch) >= min(limit, item.batch_size):
                rest.append(item)
            elif item.claim():
                limit = min(limit, item.batch_size)
                batch.append(item)
            else:
                self._release(1)
        self._ahead = rest
        return batch

    def _compute(self, batch: list[_Item[T]]) -> None:
        """Run one forward pass and answer every item of `batch`."""
        outcomes: dict[_Item[T], np.ndarray | Exception] = {}
        arrays = []
        for item in batch:
            assert item.prepared is not None
            try:
                arrays.append(item.prepared.result())
            except Exception as error:
                outcomes[item] = error
        ready = [item for item in batch if item not in outcomes]
        if ready:
            try:
                outcomes.update(zip(ready, self._forward(np.stack(arrays)), strict=True))
            except Exception as error:
                logger.exception("a forward pass of %d images failed", len(ready))
                outcomes.update(dict.fromkeys(ready, error))
        self._release(len(batch))
        for item, outcome in outcomes.items():
            if isinstance(outcome, Exception):
                item.result.set_exception(outcome)
            else:
                item.result.set_result(outcome)
