"""Passes the events of an Executor's batcher to metrics, traces, and the request that an item belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clip_image_flow.batching.lanes import Item
from clip_image_flow.batching.observer import Observer
from clip_image_flow.errors import RequestError
from clip_image_flow.serving.metrics import Metrics
from clip_image_flow.serving.tracing import Traces
from clip_wire.work import Work


@dataclass
class Asked:
    """One request: the `caller` of its items.

    :param context: OpenTelemetry context, or None.
    :param last: computed item that got its result last; None before.
    :param batch: span of that item's forward pass, or None.
    """

    context: Any = None
    last: Item[Any] | None = None
    batch: Any = None

    def work(self, items: int) -> Work:
        """Timings of the request, in milliseconds; without them if no item was computed.

        :param items: number of items of the request.
        """
        if self.last is None or self.last.forward is None:
            return Work(items)
        began, ended = self.last.forward
        waiting = self.last.waiting or 0.0
        return Work(items, 1000 * waiting, 1000 * self.last.preparing, 1000 * (ended - began))


class ServingObserver(Observer):
    """Observer that feeds metrics and traces. Items without a request, those of the self-check, are ignored.

    :param metrics: metrics, or None without monitoring.
    :param traces: traces, or None without tracing.
    """

    def __init__(self, metrics: Metrics | None, traces: Traces | None) -> None:
        self._metrics = metrics
        self._traces = traces

    def refused(self, items: Sequence[Item[Any]], error: RequestError) -> None:
        if self._metrics and items and items[0].caller:
            self._metrics.refused(items, error)

    def computed(self, batch: Sequence[Item[Any]], began: float, ended: float) -> None:
        asked = [item.caller for item in batch if isinstance(item.caller, Asked)]
        if not asked:
            return
        if self._metrics:
            self._metrics.computed(batch, ended - began)
        if self._traces:
            span = self._traces.batch([one.context for one in asked], len(batch), began, ended)
            for one in asked:
                one.batch = span

    def ended(self, item: Item[Any]) -> None:
        if not isinstance(asked := item.caller, Asked):
            return
        if item.forward:
            asked.last = item
        if self._metrics:
            self._metrics.ended(item)
