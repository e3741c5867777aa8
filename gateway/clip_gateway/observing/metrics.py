"""Requests by how they ended, beside Jina's own metrics, which know only those that reached an executor."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """`clip_gateway_requests_total` and `clip_gateway_request_seconds`, on the port of Jina's `--monitoring`.

    :param registry: Jina's, or None where nothing is monitored.
    """

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._count: Counter | None = None
        self._seconds: Histogram | None = None
        if registry is not None:
            labels = ("protocol", "status", "error")
            self._count = Counter("clip_gateway_requests", "Requests by their end", labels, registry=registry)
            self._seconds = Histogram(
                "clip_gateway_request_seconds",
                "From a request's first byte to its answer",
                ("protocol",),
                buckets=_SECONDS,
                registry=registry,
            )

    def ended(self, protocol: str, status: int, error: str, seconds: float) -> None:
        """A request has ended.

        :param error: its name, or "".
        """
        if self._count and self._seconds:
            self._count.labels(protocol, status, error).inc()
            self._seconds.labels(protocol).observe(seconds)
