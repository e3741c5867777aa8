"""Jina's metrics with two names, as the gateway and Executors export them."""

from __future__ import annotations

from typing import Any


def apart(metric: Any, old: str | None) -> list[Any]:
    """Return a metric of `prometheus_client`, and one with its samples under its old name, if it has one.

    Jina adds the samples of the old name to the new metric, where `promtool check metrics` reports them as samples
    without a help text.
    """
    if not old:
        return [metric]
    twin = type(metric)(old, f"The old name of {metric.name}", "summary")
    for sample in metric.samples:
        twin.add_sample(sample.name.replace(metric.name, old), sample.labels, sample.value)
    return [metric, twin]
