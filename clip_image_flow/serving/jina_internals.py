"""Uses of Jina's private names, each with its reason. A test checks that Jina 3.34.0 has them."""

from __future__ import annotations

from functools import wraps
from typing import Any

from jina.serve.monitoring import _SummaryDeprecated
from jina.serve.runtimes.worker.request_handling import WorkerRequestHandler
from jina.types.request.data import DataRequest
from prometheus_client import Metric, Summary

from clip_image_flow.errors import BadDocument, first_line
from clip_wire.old_names import apart
from clip_wire.parameters import PINNED, UNREAD


def refuse_bad_documents() -> None:
    """Make this process refuse documents in `docs_bytes`, and report those that DocArray cannot read.

    `docs_bytes` is a pickle, which can run code when it is read. The gateway refuses it too; this protects an
    Executor's own port. DocArray raises errors that look like faults of the server, such as a ValueError for an
    infinite number in a tag.
    """
    content = DataRequest._DataContent
    if isinstance(content.docs, _CheckedDocuments):
        return
    read = content.docs
    content.docs = _CheckedDocuments(read.fget, read.fset)


def describe_old_summaries() -> None:
    """Export Jina's metrics of two names as two metrics, each with its help text; see `clip_wire.old_names`."""
    _SummaryDeprecated.collect = _both_names


def _both_names(summary: Any) -> list[Metric]:
    (metric,) = Summary.collect(summary)
    return apart(metric, summary._old_name)


class _CheckedDocuments(property):
    """Jina's property `docs` of a request: refuses pickles, and raises BadDocument for what cannot be read."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is not None and instance._content.WhichOneof("documents") == "docs_bytes":
            raise BadDocument("send documents as `docs`; `docs_bytes` is not read")
        try:
            return super().__get__(instance, owner)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadDocument(f"the documents cannot be read: {first_line(error)}") from error


def call_around_requests() -> None:
    """Make this process call two methods of its Executor, if it has them, around each request.

    `refusal(fingerprints)` is called before the documents are parsed, with the fingerprints that the gateway pinned,
    and returns the error or None. In an endpoint it would be too late: by then Jina has parsed the documents, and
    returns all of them. `answered(count)` is called when the documents are no longer needed, with the request's size in
    bytes. An Executor without a name gets that of its class.
    """
    process = WorkerRequestHandler.process_data
    if hasattr(process, "__wrapped__"):
        return

    @wraps(process)
    async def process_data(self: Any, requests: list[DataRequest], context: Any, *more: Any, **named: Any) -> Any:
        # `jina executor` without `--name` leaves it None, under which Jina cannot store what an endpoint returns.
        self.args.name = self.args.name or type(self._executor).__name__
        count = len(requests[0].buffer or b"")  # None once it is parsed
        fields = requests[0].proto_wo_data.parameters.fields
        refusal = getattr(self._executor, "refusal", None)
        error = refusal(fields[PINNED].string_value) if refusal and PINNED in fields else None
        if error:
            answer = DataRequest()
            answer.header.CopyFrom(requests[0].header)
            answer.add_exception(error, self._executor)
            context.set_trailing_metadata((("is-error", "true"), (UNREAD, "true")))
            return answer
        try:
            return await process(self, requests, context, *more, **named)
        finally:
            if answered := getattr(self._executor, "answered", None):
                answered(count)

    WorkerRequestHandler.process_data = process_data
