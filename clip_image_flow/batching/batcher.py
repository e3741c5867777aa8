"""One bounded queue over all requests, and the thread that runs the model.

The model thread takes what is there, up to the smallest `batch_size` among the items it takes, so that requests share
forward passes under load and nobody waits for a timer. While it computes, the items of about one more batch are
prepared (decoded, preprocessed) in worker threads; no further ahead, so that memory stays bounded.

Items that take longer to prepare than most have a lane of their own: no forward pass waits for them, and no other item.
They join the next one when they are ready.

Knows neither images nor models: `prepare` and `forward` are given.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

import numpy as np

from clip_image_flow.batching.lanes import Item, Lane
from clip_image_flow.batching.observer import Observer, follow, tell_computed
from clip_image_flow.errors import NotFinite, QueueFull, RequestError, TakesLonger, TooLarge

T = TypeVar("T")
logger = logging.getLogger(__name__)

# After this long without another item that is ready, or since the first was, a batch leaves without those that are not.
_STALLED_SECONDS, _LATE_SECONDS = 0.1, 0.5


class Batcher(Generic[T]):
    """Runs `forward(stack of prepare(item))` over items from many callers.

    :param prepare: one item -> array, called in `threads` worker threads; what it raises is the item's result, but
        `TakesLonger` hands the item on to `prepare_large`.
    :param forward: (b, ...) -> (b, dim), called in the one model thread; what it raises is the result of all b. A row
        with numbers that are not finite is no result: its item gets `NotFinite`.
    :param capacity: most items waiting or running at any time.
    :param max_batch_size: most items in one forward pass, whatever a caller asks for.
    :param patience: seconds that a batch which is not full waits for more items. Worth it only where a forward pass of
        many takes hardly longer than one of few, as on a GPU.
    :param prepare_large: the same as `prepare` for items that take longer, in as many threads again.
    :param is_large: whether an item takes longer, as far as that is known beforehand.
    :param weigh: bytes that an item holds.
    :param capacity_bytes: most of them at any time; an item that has more is let in alone.
    :param advice: what `NotFinite` says besides.
    :param on_death: called when the model thread has died of a fault in it. What waits ends in a RuntimeError then, and
        so does every `submit`.
    :param observer: is told what becomes of items.
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
        prepare_large: Callable[[T], np.ndarray] | None = None,
        is_large: Callable[[T], bool] = lambda _: False,
        weigh: Callable[[T], int] = lambda _: 0,
        capacity_bytes: int = 0,
        advice: str = "",
        on_death: Callable[[], object] = lambda: None,
        observer: Observer | None = None,
    ) -> None:
        self._forward = forward
        self._observer = observer
        self.capacity = capacity
        self._max_batch_size = max_batch_size
        self._patience = patience
        self._is_large = is_large
        self._weigh = weigh
        self._capacity_bytes = capacity_bytes
        self._advice = advice
        self._on_death = on_death
        self._most_ahead = max(max_batch_size, threads)
        self._small = Lane(prepare, threads + 1, "prepare")
        self._large = Lane(prepare_large or prepare, threads, "prepare-large")
        self._ahead: deque[Item[T]] = deque()  # what is next; it is prepared, or being prepared
        self._ready = 0  # of what the next batch may hold
        self._ready_since = self._ready_more_since = 0.0  # by the monotonic clock
        self._admitted = 0
        self._admitted_bytes = 0
        self._closed = self._dead = False
        self._changed = threading.Condition()
        self._model_thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._model_thread.start()

    @property
    def admitted(self) -> int:
        """How many items wait, or are prepared or computed, now."""
        return self._admitted

    def submit(
        self, contents: Sequence[T], *, batch_size: int, deadline: float | None = None, caller: object = None
    ) -> list[Future[np.ndarray]]:
        """Queue all of `contents`, or none of them.

        :param batch_size: most of them, and of their neighbours, in one forward pass.
        :param deadline: Unix time in seconds; what has not begun by then ends with `Expired`.
        :param caller: what the observer finds in each of them.
        :return: for each item a future of its row (dim,). Cancel those that nobody needs any more.
        :raises TooLarge: more than ever fits.
        :raises QueueFull: more than fits now.
        """
        batch_size = min(batch_size, self._max_batch_size)
        items = [Item(content, batch_size, deadline, self._weigh(content), caller) for content in contents]
        if self._observer:
            follow(self._observer, items)
        try:
            self._admit(items)
        except RequestError as error:
            if self._observer:
                self._observer.refused(items, error)
            raise
        return [item.result for item in items]

    def _admit(self, items: Sequence[Item[T]]) -> None:
        """Queue `items`, or raise what `submit` raises."""
        weight = sum(item.weight for item in items)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            if len(items) > self.capacity:
                raise TooLarge(f"the request has {len(items)} items; the queue holds {self.capacity}: send it in parts")
            if self._admitted + len(items) > self.capacity:
                raise QueueFull(f"the queue holds {self._admitted} of {self.capacity} items; try again later")
            if self._admitted_bytes and self._admitted_bytes + weight > self._capacity_bytes:
                most = self._capacity_bytes
                raise QueueFull(f"the queue holds {self._admitted_bytes} of {most} bytes of items; try again later")
            self._admitted += len(items)
            self._admitted_bytes += weight
            large = {item for item in items if self._is_large(item.content)}
            self._small.add([item for item in items if item not in large])
            self._large.add([item for item in items if item in large])
            self._look_ahead()
            self._changed.notify()

    def close(self) -> None:
        """Finish what is queued, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._model_thread.join()
        for lane in (self._small, self._large):
            lane.workers.shutdown()

    def _look_ahead(self) -> None:
        """Choose what is next, and have it prepared. Called with the lock held."""
        small, large = self._small, self._large
        while small.waiting and small.running < small.threads and len(self._ahead) < self._most_ahead:
            if item := self._begin(small):
                self._ahead.append(item)
        while large.waiting and large.running < large.threads:
            self._begin(large)

    def _begin(self, lane: Lane[T]) -> Item[T] | None:
        """Prepare the next item of a lane, if anybody wants it. Called with the lock held."""
        item = lane.next()
        if not (item.is_wanted() or item.claim()):
            self._release([item])
            return None
        lane.running += 1
        lane.workers.submit(self._prepare, lane, item)
        return item

    def _prepare(self, lane: Lane[T], item: Item[T]) -> None:
        """Prepare an item in a thread of its lane, and see what is next."""
        failure: Exception | None = None
        began = time.monotonic()
        try:
            item.array = lane.prepare(item.content)
        except Exception as error:
            failure = error
        item.prepared = time.monotonic()
        item.preparing += item.prepared - began
        with self._changed:
            lane.running -= 1
            if lane is self._large and not failure:
                self._ahead.appendleft(item)
            elif lane is self._small and failure:
                self._ahead.remove(item)
            if isinstance(failure, TakesLonger) and lane is self._small:
                self._large.add([item])
                failure = None
            elif failure:
                self._release([item])
            self._look_ahead()
            self._changed.notify()
        if self._dead:
            item.give_up()
        elif failure and item.claim():
            item.result.set_exception(failure)

    def _release(self, items: Sequence[Item[T]]) -> None:
        """Make room in the queue, before anyone hears of a result: the answer to it may be the next request."""
        with self._changed:
            self._admitted -= len(items)
            self._admitted_bytes -= sum(item.weight for item in items)

    def _run(self) -> None:
        batch: list[Item[T]] = []
        try:
            while batch := self._next_batch():
                self._compute(batch)
        except BaseException:
            logger.critical("the model thread died; nothing more is computed", exc_info=True)
            self._on_death()
            with self._changed:
                self._closed = self._dead = True
                waiting = [*batch, *self._ahead, *self._small.drain(), *self._large.drain()]
                self._ahead.clear()
            for item in waiting:
                item.give_up()

    def _next_batch(self) -> list[Item[T]]:
        """What is there, up to the batch size; empty only when closed."""
        with self._changed:
            while True:
                front, wait = self._front()
                if front and not wait:
                    self._ready = 0
                    batch = self._take(front)
                    self._look_ahead()
                    if batch:
                        return batch
                elif self._closed and not self._admitted:
                    return []
                else:
                    self._changed.wait(wait)

    def _front(self) -> tuple[list[Item[T]], float | None]:
        """What the next batch may hold, and the seconds that it should wait at most. Called with the lock held."""
        front: list[Item[T]] = []
        limit = self._max_batch_size
        for item in self._ahead:
            if len(front) < min(limit, item.batch_size):
                limit = min(limit, item.batch_size)
                front.append(item)
        ready = [item for item in front if item.array is not None]
        now = time.monotonic()
        if len(ready) != self._ready:
            self._ready_since, self._ready_more_since = (self._ready_since if self._ready else now), now
            self._ready = len(ready)
        if not ready:
            return [], None
        complete = len(ready) == len(front)
        if complete and (len(front) == limit or (self._closed and not self._small.waiting)):
            return ready, 0
        end = self._ready_since + self._patience
        if not complete or self._small.waiting:
            end = max(end, min(self._ready_since + _LATE_SECONDS, self._ready_more_since + _STALLED_SECONDS))
        return ready, max(0, end - now)

    def _take(self, front: Sequence[Item[T]]) -> list[Item[T]]:
        """Those of `front` that somebody still wants. Called with the lock held."""
        taken = set(front)
        self._ahead = deque(item for item in self._ahead if item not in taken)
        batch = [item for item in front if item.claim()]
        self._release([item for item in front if item not in batch])
        return batch

    def _compute(self, batch: list[Item[T]]) -> None:
        """Run one forward pass and answer every item of `batch`."""
        outcomes: list[tuple[Item[T], np.ndarray]] = []
        failure: Exception | None = None
        began = time.monotonic()
        try:
            rows = self._forward(np.stack([item.array for item in batch if item.array is not None]))
            outcomes = list(zip(batch, rows, strict=True))
        except Exception as error:
            logger.exception("a forward pass of %d items failed", len(batch))
            failure = error
        tell_computed(self._observer, batch, began, time.monotonic())
        self._release(batch)
        for item, row in outcomes:
            if np.isfinite(row).all():
                item.result.set_result(row)
            else:
                fault = NotFinite(f"the model gave numbers that are not finite{self._advice}")
                logger.error("%s", fault)
                item.result.set_exception(fault)
        if failure:
            for item in batch:
                item.result.set_exception(failure)
