"""Prometheus metrics of an Executor, on the port of Jina's `--monitoring`; docs/monitoring.md lists them.

Only the items of requests are counted, not those of the self-check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from clip_image_flow.batching.lanes import Item
from clip_image_flow.errors import (
    BadDocument,
    Expired,
    NotFinite,
    QueueFull,
    RequestError,
    TooLarge,
    UnsupportedMedia,
)
from clip_wire.info import public_name

OK, CANCELLED, FAULT = "ok", "Cancelled", "Fault"
_ERRORS = (BadDocument, TooLarge, UnsupportedMedia, QueueFull, Expired, NotFinite)
OUTCOMES = (OK, *(kind.__name__ for kind in _ERRORS), CANCELLED, FAULT)
"""Values of the label `outcome`. `Fault` is any error other than a `RequestError`."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_BYTES = tuple(float(1 << power) for power in range(8, 27, 2))  # 256 bytes to 64 MiB


class Metrics:
    """Counts and times items.

    :param registry: Jina's registry of metrics.
    :param tower: `image` or `text`, a label of every metric.
    """

    def __init__(self, registry: CollectorRegistry, tower: str) -> None:
        self._registry = registry
        self._tower = tower
        ProcessCollector(registry=registry)
        items = Counter("clip_items", "Items by outcome", ("tower", "outcome"), registry=registry)
        # All outcomes exist from the start, so that the first error is an increase and not a new time series.
        self._items = {outcome: items.labels(tower, outcome) for outcome in OUTCOMES}
        self._wait = self._histogram("queue_wait_seconds", "Time an item waited in the queue", _SECONDS)
        self._prepare = self._histogram("prepare_seconds", "Time to decode and preprocess an item", _SECONDS)
        self._forward = self._histogram("forward_seconds", "Time of a forward pass", _SECONDS)
        self._batch = self._histogram("batch_items", "Items in a forward pass", _ITEMS)
        self._bytes = self._histogram("item_bytes", "Bytes of an item as it was sent", _BYTES)

    def serving(self, encoder: Any, failures: int) -> None:
        """Add the metrics of `encoder`: its model, its queue, and its failed self-checks.

        :param failures: number of failed self-checks; each one has ended a process.
        """
        Counter(
            "clip_self_check_failures", "Self-checks that found wrong embeddings", ("tower",), registry=self._registry
        ).labels(self._tower).inc(failures)
        info: Mapping[str, Any] = encoder.info
        Gauge(
            "clip_model_info",
            "Model being served; always 1",
            ("tower", "model", "fingerprint", "precision", "backend", "dim"),
            registry=self._registry,
        ).labels(
            self._tower,
            public_name(info["model"]),
            info.get("fingerprint", ""),
            info["precision"],
            info["backend"],
            info["dim"],
        ).set(1)
        self._gauge("clip_queue_items", "Items waiting or being processed", lambda: encoder.queue[0])
        most = "Maximum of these items; requests beyond it are refused"
        self._gauge("clip_queue_limit_items", most, lambda: encoder.queue[1])

    def refused(self, items: Sequence[Item[Any]], error: RequestError) -> None:
        """Count items that were not admitted to the queue."""
        self._items[_outcome(error)].inc(len(items))

    def computed(self, batch: Sequence[Item[Any]], seconds: float) -> None:
        """Observe a forward pass."""
        self._batch.observe(len(batch))
        self._forward.observe(seconds)

    def ended(self, item: Item[Any]) -> None:
        """Count and time an item that has its result."""
        result = item.result
        if result.cancelled():
            self._items[CANCELLED].inc()
        else:
            self._items[_outcome(result.exception())].inc()
        self._bytes.observe(item.weight)
        if item.prepared:
            self._prepare.observe(item.preparing)
        if item.waiting is not None:
            self._wait.observe(item.waiting)

    def _gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        Gauge(name, documentation, ("tower",), registry=self._registry).labels(self._tower).set_function(read)

    def _histogram(self, name: str, documentation: str, buckets: Sequence[float]) -> Histogram:
        family = Histogram(f"clip_{name}", documentation, ("tower",), buckets=buckets, registry=self._registry)
        return family.labels(self._tower)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return OK
    name = type(error).__name__
    return name if name in OUTCOMES else FAULT
