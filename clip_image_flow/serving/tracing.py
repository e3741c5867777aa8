"""Spans of what happens to a request in an Executor, beside Jina's own; nothing of it is on without `tracing: true`.

An item waits, is prepared, waits for its turn and is computed, in threads that know no request. So the times are taken
by the batcher, and a request's spans are made of them once it has its answer: those of the item that was answered last,
since nothing else held the request up.

A forward pass serves several requests. It is a span of its own, `forward pass`, with a link to each of them, and each
has a span `forward` with a link back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Link, SpanContext, Tracer, get_current_span

from clip_image_flow.batching.lanes import Item


class Traces:
    """Makes the spans.

    :param tracer: Jina's, of the Executor.
    :param tower: `image` or `text`.
    """

    def __init__(self, tracer: Tracer, tower: str) -> None:
        self._tracer = tracer
        self._tower = tower

    def batch(self, contexts: Iterable[Any], items: int, began: float, ended: float) -> SpanContext:
        """The span of a forward pass, a trace of its own.

        :param contexts: OpenTelemetry's, of the items' requests.
        :param began: by the monotonic clock, in seconds; `ended` too.
        """
        requests = {link.context.span_id: link for link in map(_link, contexts) if link.context.is_valid}
        sampled = [link for link in requests.values() if link.context.trace_flags.sampled]
        if not sampled:  # nobody would find it
            return INVALID_SPAN_CONTEXT
        span = self._tracer.start_span(
            "forward pass",
            context=Context(),  # no parent: it belongs to all of them
            attributes={"clip.tower": self._tower, "clip.batch.items": items, "clip.batch.requests": len(requests)},
            links=list(requests.values()),
            start_time=_unix(began),
        )
        span.end(_unix(ended))
        return span.get_span_context()

    def request(self, context: Any, item: Item[Any], batch: SpanContext | None) -> None:
        """The spans of a request that has its answer: `queue`, `prepare`, `batch queue` and `forward`.

        :param item: the one that was answered last.
        :param batch: the span of its forward pass.
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
    """A time of the monotonic clock in seconds, as Unix time in nanoseconds."""
    return time.time_ns() - int(1e9 * (time.monotonic() - monotonic))
