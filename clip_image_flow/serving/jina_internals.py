"""Names of Jina that it does not promise to keep, each with its reason. A test looks whether Jina 3.34.0 has them."""

from __future__ import annotations

from functools import wraps
from typing import Any

from jina.serve.monitoring import _SummaryDeprecated
from jina.serve.runtimes.worker.request_handling import WorkerRequestHandler
from jina.types.request.data import DataRequest
from prometheus_client import Metric, Summary

from clip_image_flow.errors import BadDocument
from clip_wire.old_names import apart
from clip_wire.parameters import PINNED, UNREAD


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
    """Have Jina's metrics of two names be two metrics, each with its help text; see `clip_wire.old_names`."""
    _SummaryDeprecated.collect = _both_names


def _both_names(summary: Any) -> list[Metric]:
    (metric,) = Summary.collect(summary)
    return apart(metric, summary._old_name)


class _WithoutPickles(property):
    """Jina's `docs` of a request, for documents that are no pickle."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is not None and instance._content.WhichOneof("documents") == "docs_bytes":
            raise BadDocument("send documents as `docs`; `docs_bytes` is not read")
        return super().__get__(instance, owner)


def refuse_unread() -> None:
    """Have this process ask the `refusal` of its Executor, where it has one, before it reads a request's documents.

    An Executor that was given no name has that of its class. In an endpoint a refusal would be too late: Jina has made
    a DocumentArray of them by then, and sends all of them back. `refusal(fingerprints)` takes what the gateway pinned
    and returns the error, or None.
    """
    process = WorkerRequestHandler.process_data
    if hasattr(process, "__wrapped__"):
        return

    @wraps(process)
    async def process_data(self: Any, requests: list[DataRequest], context: Any, *more: Any, **named: Any) -> Any:
        # By None, the name of `jina executor` without `--name`, Jina cannot file what an endpoint returns.
        self.args.name = self.args.name or type(self._executor).__name__
        fields = requests[0].proto_wo_data.parameters.fields
        refusal = getattr(self._executor, "refusal", None)
        error = refusal(fields[PINNED].string_value) if refusal and PINNED in fields else None
        if error:
            answer = DataRequest()
            answer.header.CopyFrom(requests[0].header)
            answer.add_exception(error, self._executor)
            context.set_trailing_metadata((("is-error", "true"), (UNREAD, "true")))
            return answer
        return await process(self, requests, context, *more, **named)

    WorkerRequestHandler.process_data = process_data
