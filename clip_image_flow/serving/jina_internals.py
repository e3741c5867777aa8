"""Names of Jina that it does not promise to keep, each with its reason. A test looks whether Jina 3.34.0 has them."""

from __future__ import annotations

from typing import Any

from jina.types.request.data import DataRequest

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


class _WithoutPickles(property):
    """Jina's `docs` of a request, for documents that are no pickle."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is not None and instance._content.WhichOneof("documents") == "docs_bytes":
            raise BadDocument("send documents as `docs`; `docs_bytes` is not read")
        return super().__get__(instance, owner)
