"""Observer of a batcher, for metrics and traces."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any
from weakref import ref

from clip_image_flow.batching.lanes import Item
from clip_image_flow.errors import RequestError

logger = logging.getLogger(__name__)


class Observer:
    """Callbacks for the progress of items. All methods do nothing here: a subclass overrides those it needs.

    The methods are called in the batcher's threads, so the time that they take adds to an item's latency. Their
    exceptions are logged, and do not affect items.
    """

    def refused(self, items: Sequence[Item[Any]], error: RequestError) -> None:
        """Called when the items of one request were not admitted to the queue."""

    def computed(self, batch: Sequence[Item[Any]], began: float, ended: float) -> None:
        """Called after a forward pass over `batch`, successful or not, before any of its items has its result.

        :param began: start, in seconds of `time.monotonic()`.
        :param ended: end, on the same clock.
        """

    def ended(self, item: Item[Any]) -> None:
        """Called when an item has its result: a row or an exception, or none if it was cancelled.

        Afterwards the item has no `caller`.
        """


def follow(observer: Observer, items: Sequence[Item[Any]]) -> None:
    """Register `observer.ended` as the first callback of each item's future."""
    for item in items:
        # A weak reference: futures keep their callbacks, and the item has the image.
        item.result.add_done_callback(partial(_ended, observer, ref(item)))


def _ended(observer: Observer, reference: ref[Item[Any]], _: Future[Any]) -> None:
    if item := reference():
        observer.ended(item)  # `Future` logs its exceptions
        item.caller = None  # which may refer to the item


def tell_computed(observer: Observer | None, batch: Sequence[Item[Any]], began: float, ended: float) -> None:
    """Record the forward pass in the items of `batch`, and call `observer.computed`."""
    for item in batch:
        item.forward = began, ended
    try:
        if observer:
            observer.computed(batch, began, ended)
    except Exception:  # an observer's fault must not cost the items their rows
        logger.exception("the observer failed")
