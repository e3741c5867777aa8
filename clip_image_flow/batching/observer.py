"""What a batcher tells of its work, to whoever measures it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from clip_image_flow.batching.lanes import Item
from clip_image_flow.errors import RequestError

logger = logging.getLogger(__name__)


class Observer:
    """Is told what becomes of items. It does nothing here: a subclass overrides what it wants to know.

    Its methods are called in the threads that do the work, so what they take is added to an item's latency. What they
    raise is logged, and harms no item.
    """

    def refused(self, items: Sequence[Item[Any]], error: RequestError) -> None:
        """The items of one request did not come into the queue."""

    def computed(self, batch: Sequence[Item[Any]], began: float, ended: float) -> None:
        """A forward pass over `batch` has ended, well or not, and no item of it has its result yet.

        :param began: by `time.monotonic()`, in seconds; `ended` too.
        """

    def ended(self, item: Item[Any]) -> None:
        """An item has its result: a row, an exception, or nothing where it was cancelled."""


def follow(observer: Observer, items: Sequence[Item[Any]]) -> None:
    """Have `observer` hear of the end of each of `items`, before anyone else does."""
    for item in items:
        item.result.add_done_callback(partial(_ended, observer, item))


def _ended(observer: Observer, item: Item[Any], _: Future[Any]) -> None:
    observer.ended(item)  # `Future` logs what it raises


def tell_computed(observer: Observer | None, batch: Sequence[Item[Any]], began: float, ended: float) -> None:
    """Note the forward pass of `batch` in its items, and tell `observer`."""
    for item in batch:
        item.forward = began, ended
    try:
        if observer:
            observer.computed(batch, began, ended)
    except Exception:  # whatever it is, the items have their rows
        logger.exception("an observer failed")
