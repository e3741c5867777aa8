"""Names of Jina that it does not promise to keep, each with its reason. A test looks whether Jina 3.34.0 has them."""

from __future__ import annotations

from typing import Any

from jina.serve.monitoring import _SummaryDeprecated
from jina.types.request.data import DataRequest
from prometheus_client import Metric, Summary

from clip_image_flow.errors import BadDocument


def refuse_pickles() -> None:
    """Have this process read no documents that came as `docs_bytes`: a pickle, which runs as code where it is read.

    The gateway refuses them too; this is for whoever reaches an Executor's port.
    """
    content = DataRequest._DataContent
    if isinstance(content.docs, _WithoutPickles):
        return
    read = content.docs
    content.docs = _WithoutPickles(read.fget, read.fset)


def describe_old_summaries() -> None:
    """Have Jina's metrics of two names be two metrics, each with its help text.

    Jina adds the samples of the old name to the new one's, where Prometheus' own check (`promtool check metrics`) finds
    them without a word on what they are.
    """
    _SummaryDeprecated.collect = _both_names


def _both_names(summary: Any) -> list[Metric]:
    (metric,) = Summary.collect(summary)
    if not (old := summary._old_name):
        return [metric]
    twin = Metric(old, f"The old name of {metric.name}", "summary")
    for sample in metric.samples:
        twin.add_sample(sample.name.replace(metric.name, old), sample.labels, sample.value)
    return [metric, twin]


class _WithoutPickles(property):
    """Jina's `docs` of a request, for documents that are no pickle."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is not None and instance._content.WhichOneof("documents") == "docs_bytes":
            raise BadDocument("send documents as `docs`; `docs_bytes` is not read")
        return super().__get__(instance, owner)
