"""Dynamic batching: one bounded queue for all requests, and the thread that runs the model.

The model thread takes the queued items, up to the smallest `batch_size` among them, so that requests share forward
passes under load and no request waits for a timer. During a forward pass, worker threads prepare (decode, preprocess)
the items of about one more batch; no further ahead, so that memory stays bounded.

Large items, which take longer to prepare than most, have a separate lane: no forward pass and no other item waits for
them. They join the next batch when they are prepared.

The batcher knows neither images nor models: `prepare` and `forward` are arguments.
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
from clip_image_flow.errors import NotFinite, QueueFull, RequestError, TakesLonger, TooLarge, bare

T = TypeVar("T")
logger = logging.getLogger(__name__)

# A batch starts without its unprepared items this long after its latest, or its first, item was prepared.
_STALLED_SECONDS, _LATE_SECONDS = 0.1, 0.5


class Batcher(Generic[T]):
    """Runs `forward(stack of prepare(item))` over items from many callers.

    :param prepare: function from one item to an array, called in `threads` worker threads; its exception becomes the
        item's result, but `TakesLonger` passes the item to `prepare_large`.
    :param forward: function from (b, ...) to (b, dim), called in the one model thread; its exception becomes the result
        of all b items. An item whose row contains NaN or infinity gets `NotFinite`.
    :param capacity: maximum number of items that are queued or running.
    :param max_batch_size: maximum number of items in one forward pass, even if a caller's `batch_size` is larger.
    :param threads: number of threads of each lane.
    :param patience: seconds that an incomplete batch waits for more items; useful only if a forward pass of many items
        takes hardly longer than one of few, as on a GPU.
    :param prepare_large: the same as `prepare` for large items, in as many additional threads.
    :param is_large: function that says whether an item is large, as far as known before its preparation.
    :param weigh: function from an item to its size in bytes.
    :param capacity_bytes: maximum size of all items, in bytes; a larger item is admitted alone.
    :param advice: text appended to the message of `NotFinite`.
    :param on_death: callback for the death of the model thread; queued items and later `submit` calls then fail with a
        RuntimeError.
    :param observer: observer of the items.
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
        self._ahead: deque[Item[T]] = deque()  # the next items, prepared or in preparation
        self._ready = 0  # prepared items among those of the next batch
        self._ready_since = self._ready_more_since = 0.0  # monotonic clock
        self._admitted = 0
        self._admitted_bytes = 0
        self._closed = self._dead = False
        self._changed = threading.Condition()
        self._model_thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._model_thread.start()

    @property
    def admitted(self) -> int:
        """Number of items that are queued, in preparation or in a forward pass."""
        return self._admitted

    def submit(
        self, contents: Sequence[T], *, batch_size: int, deadline: float | None = None, caller: object = None
    ) -> list[Future[np.ndarray]]:
        """Queue all of `contents`, or none of them.

        :param batch_size: maximum number of items in a forward pass that contains any of these.
        :param deadline: Unix time in seconds; items that have not started by then fail with `Expired`.
        :param caller: object that the observer finds in each item.
        :return: future of the row (dim,) of each item. Cancel those that are no longer needed.
        :raises TooLarge: there are more items than the queue can ever hold.
        :raises QueueFull: there are more items than the queue has room for now.
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
        """Queue `items`, or raise the errors of `submit`."""
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
        """Finish queued items, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._model_thread.join()
        for lane in (self._small, self._large):
            lane.workers.shutdown()

    def _look_ahead(self) -> None:
        """Pick the next items and start their preparation. Called with the lock held."""
        small, large = self._small, self._large
        while small.waiting and small.running < small.threads and len(self._ahead) < self._most_ahead:
            if item := self._begin(small):
                self._ahead.append(item)
        while large.waiting and large.running < large.threads:
            self._begin(large)

    def _begin(self, lane: Lane[T]) -> Item[T] | None:
        """Start to prepare a lane's next item, unless it is cancelled or expired. Called with the lock held."""
        item = lane.next()
        if not (item.is_wanted() or item.claim()):
            self._release([item])
            return None
        lane.running += 1
        lane.workers.submit(self._prepare, lane, item)
        return item

    def _prepare(self, lane: Lane[T], item: Item[T]) -> None:
        """Prepare an item in a thread of its lane, then start the next ones."""
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
            item.fail(failure)

    def _release(self, items: Sequence[Item[T]]) -> None:
        """Free room in the queue, before results are set: a caller may react to a result with its next request."""
        with self._changed:
            self._admitted -= len(items)
            self._admitted_bytes -= sum(item.weight for item in items)

    def _run(self) -> None:
        batch: list[Item[T]] = []
        try:
            while batch := self._next_batch():
                self._compute(batch)
                batch.clear()  # the next one may be hours away
        except BaseException:
            logger.critical("the model thread died; no more batches are computed", exc_info=True)
            self._on_death()
            with self._changed:
                self._closed = self._dead = True
                waiting = [*batch, *self._ahead, *self._small.drain(), *self._large.drain()]
                self._ahead.clear()
            for item in waiting:
                item.give_up()

    def _next_batch(self) -> list[Item[T]]:
        """Wait for the next batch; empty only when closed."""
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
        """Prepared items of the next batch, and the maximum seconds to wait for more. Called with the lock held."""
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
        """Remove `front` from the queue; return its items that are still wanted. Called with the lock held."""
        taken = set(front)
        self._ahead = deque(item for item in self._ahead if item not in taken)
        batch = [item for item in front if item.claim()]
        self._release([item for item in front if item not in batch])
        return batch

    def _compute(self, batch: list[Item[T]]) -> None:
        """Run one forward pass, and set the result of every item of `batch`."""
        outcomes: list[tuple[Item[T], np.ndarray]] = []
        failure: Exception | None = None
        began = time.monotonic()
        try:
            rows = self._forward(np.stack([item.array for item in batch if item.array is not None]))
            outcomes = list(zip(batch, rows, strict=True))
        except Exception as error:
            logger.exception("a forward pass of %d items failed", len(batch))
            failure = bare(error)
        tell_computed(self._observer, batch, began, time.monotonic())
        self._release(batch)
        for item, row in outcomes:
            if np.isfinite(row).all():
                item.result.set_result(row)
            else:
                fault = NotFinite(f"the model returned values that are not finite{self._advice}")
                logger.error("%s", fault)
                item.fail(fault)
        if failure:
            for item in batch:
                item.fail(failure)
