"""OpenTelemetry spans of a request in an Executor, beside Jina's own; only with `tracing: true`.

An item is queued, prepared, queued again and computed, in threads that know no request. So the batcher takes the times,
and the spans of a request are created from them once it is answered: those of the item that finished last, which
determined the latency.

A forward pass serves several requests. It is a span of its own, `forward pass`, with a link to each request, and each
request has a span `forward` with a link back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Link, SpanContext, Tracer, get_current_span

from clip_image_flow.batching.lanes import Item


class Traces:
    """Creates the spans.

    :param tracer: tracer of the Executor.
    :param tower: `image` or `text`.
    """

    def __init__(self, tracer: Tracer, tower: str) -> None:
        self._tracer = tracer
        self._tower = tower

    def batch(self, contexts: Iterable[Any], items: int, began: float, ended: float) -> SpanContext:
        """Create the span of a forward pass, in a trace of its own.

        :param contexts: OpenTelemetry contexts of the items' requests.
        :param items: number of items of the forward pass.
        :param began: start, in seconds of the monotonic clock.
        :param ended: end, on the same clock.
        """
        requests = {link.context.span_id: link for link in map(_link, contexts) if link.context.is_valid}
        sampled = [link for link in requests.values() if link.context.trace_flags.sampled]
        if not sampled:  # no sampled trace would link to it
            return INVALID_SPAN_CONTEXT
        span = self._tracer.start_span(
            "forward pass",
            context=Context(),  # no parent: it belongs to several requests
            attributes={"clip.tower": self._tower, "clip.batch.items": items, "clip.batch.requests": len(requests)},
            links=list(requests.values()),
            start_time=_unix(began),
        )
        span.end(_unix(ended))
        return span.get_span_context()

    def request(self, context: Any, item: Item[Any], batch: SpanContext | None) -> None:
        """Create the spans of an answered request: `queue`, `prepare`, `batch queue` and `forward`.

        :param context: OpenTelemetry context of the request.
        :param item: item that finished last.
        :param batch: span of its forward pass, or None.
        """
        if item.forward is None:
            return
        forward, ended = item.forward
        prepare = item.prepared - item.preparing
        self._span("queue", context, item.queued, prepare)
        self._span("prepare", context, prepare, item.prepared)
        self._span("batch queue", context, item.prepared, forward)
        links = [Link(batch)] if batch and batch.is_valid else []
        self._span("forward", context, forward, ended, links)

    def _span(self, name: str, context: Any, began: float, ended: float, links: Iterable[Link] = ()) -> None:
        attributes = {"clip.tower": self._tower}
        span = self._tracer.start_span(
            name, context=context, attributes=attributes, links=list(links), start_time=_unix(began)
        )
        span.end(_unix(max(began, ended)))


def _link(context: Any) -> Link:
    return Link(get_current_span(context).get_span_context())


def _unix(monotonic: float) -> int:
    """Convert a time of the monotonic clock, in seconds, to Unix time in nanoseconds."""
    return time.time_ns() - int(1e9 * (time.monotonic() - monotonic))
