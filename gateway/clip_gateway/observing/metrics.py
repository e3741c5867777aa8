"""Metrics of the gateway, in addition to Jina's own, which count only requests that reached an executor.

The gauges of `watch` are computed during a scrape, and cost requests nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from clip_gateway.observing.certificate import expires

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class _Slots(Protocol):
    limit: int

    @property
    def taken(self) -> int: ...


class _Budget(Protocol):
    limit: int
    held: int


class _Executors(Protocol):
    @property
    def names(self) -> Sequence[str]: ...

    @property
    def missing(self) -> Sequence[str]: ...


class Metrics:
    """Exports the gateway's metrics of `docs/monitoring.md`, on the port of Jina's `--monitoring`.

    :param registry: Jina's registry, or None if monitoring is off.
    :param certificate_file: PEM file of the gateway's TLS certificate, or None.
    """

    def __init__(self, registry: CollectorRegistry | None, certificate_file: str | None = None) -> None:
        self._registry = registry
        self._count: Counter | None = None
        self._seconds: Histogram | None = None
        if registry is None:
            return
        ProcessCollector(registry=registry)
        labels = ("protocol", "status", "error")
        self._count = Counter("clip_gateway_requests", "Requests by outcome", labels, registry=registry)
        self._seconds = Histogram(
            "clip_gateway_request_seconds",
            "Time from a request's first byte to its response",
            ("protocol",),
            buckets=_SECONDS,
            registry=registry,
        )
        if certificate_file and (end := expires(certificate_file)):
            name = "clip_gateway_certificate_expiry_timestamp_seconds"
            Gauge(name, "End of the certificate in use, in Unix time", registry=registry).set(end)

    def watch(self, slots: _Slots, budget: _Budget, executors: _Executors) -> None:
        """Export gauges of slots and bytes in use, and of the executors that answer."""
        self._gauge("requests_under_way", "Requests in progress", lambda: slots.taken)
        self._gauge("requests_limit", "Maximum of requests in progress; those beyond it get a 429", lambda: slots.limit)
        self._gauge("held_bytes", "Bytes of bodies, messages and unread responses", lambda: budget.held)
        self._gauge("held_limit_bytes", "Maximum of these bytes; requests beyond it get a 429", lambda: budget.limit)
        if self._registry is not None:
            labels = ("executor",)
            up = Gauge(
                "clip_gateway_executor_up",
                "Whether a replica of the executor responds",
                labels,
                registry=self._registry,
            )
            for name in executors.names:
                up.labels(name).set_function(partial(_answers, executors, name))

    def _gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        if self._registry is not None:
            Gauge(f"clip_gateway_{name}", documentation, registry=self._registry).set_function(read)

    def ended(self, protocol: str, status: int, error: str, seconds: float) -> None:
        """Count a request that has ended.

        :param protocol: `HTTP` or `gRPC`.
        :param status: HTTP status code.
        :param error: name of the error, or "".
        :param seconds: duration of the request in seconds.
        """
        if self._count and self._seconds:
            self._count.labels(protocol, status, error).inc()
            self._seconds.labels(protocol).observe(seconds)


def _answers(executors: _Executors, name: str) -> float:
    return float(name not in executors.missing)
