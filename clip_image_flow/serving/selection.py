"""Traversal paths -> the images of each document, and the embeddings back onto the documents.

What a document is, decides what it gets:

1. one with chunks of modality `image`: a row for each of them, in chunk order;
2. else one whose own content is an image (tensor, blob or URI): one vector;
3. else (text, another modality, nothing) it is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from docarray import Document, DocumentArray

from clip_image_flow.errors import BadParameter, RequestError, TooLarge
from clip_image_flow.image.reader import Content
from clip_wire.info import IMAGE


@dataclass(frozen=True)
class SelectedImage:
    """One image to encode, and where it stands: `place` is "" for a document's own content, else "chunk K"."""

    document_id: str
    place: str
    content: Content | None


@dataclass(frozen=True)
class Target:
    """A document that gets an embedding, made of the images at `rows`."""

    document: Document
    rows: list[int]
    stacked: bool  # (n, dim), else (dim,)


@dataclass
class Selection:
    """The images that one request asks for, each once however often the paths reach it.

    :param targets: the documents that get embeddings.
    :param holders: for each of `images`, the document or chunk that it stands in.
    """

    images: list[SelectedImage] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    holders: list[Document] = field(default_factory=list)

    def write(self, results: Sequence[np.ndarray | RequestError]) -> None:
        """Put the embeddings onto the documents.

        :param results: for each of `images`, float32 (dim,) or the error that its document gets in `tags["error"]`.
        """
        for target in self.targets:
            own = [results[row] for row in target.rows]
            rows = [result for result in own if not isinstance(result, RequestError)]
            if len(rows) == len(own):
                target.document.embedding = np.stack(rows) if target.stacked else rows[0]
            else:
                target.document.embedding = None
                target.document.tags["error"] = next(repr(r) for r in own if isinstance(r, RequestError))

    def drop_content(self) -> None:
        """Clear the images; a URI that only says where one is stays."""
        for holder in self.holders:
            holder.pop("tensor", "blob")
            if (holder.uri or "")[:5].lower() == "data:":
                holder.pop("uri")


def select(docs: DocumentArray, traversal_paths: str, max_documents: int) -> Selection:
    """The images at `traversal_paths` of `docs`.

    :raises BadParameter: when the paths do not fit the documents.
    :raises TooLarge: when they reach more than `max_documents` documents.
    """
    try:
        documents = docs[traversal_paths]
    # A slice of step 0, an attribute of a document that has none, or one that describes itself wrongly.
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadParameter(f"traversal_paths {traversal_paths!r} does not fit the documents: {error}") from error
    if len(documents) > max_documents:
        raise TooLarge(f"{len(documents)} documents at {traversal_paths!r}; at most {max_documents} go in one request")

    selection = Selection()
    targets: set[int] = set()
    rows: dict[int, int] = {}  # by identity: ids need not be unique within a request

    def row(holder: Document, document_id: str, place: str) -> int:
        if id(holder) not in rows:
            rows[id(holder)] = len(selection.images)
            selection.images.append(SelectedImage(document_id, place, _content(holder)))
            selection.holders.append(holder)
        return rows[id(holder)]

    for document in documents:
        if id(document) in targets:
            continue
        targets.add(id(document))
        chunks = [(k, chunk) for k, chunk in enumerate(document.chunks) if chunk.modality == IMAGE]
        if chunks:
            own = [row(chunk, document.id, f"chunk {k}") for k, chunk in chunks]
            selection.targets.append(Target(document, own, stacked=True))
        elif _is_image(document):
            selection.targets.append(Target(document, [row(document, document.id, "")], stacked=False))
    return selection


def _is_image(document: Document) -> bool:
    """Whether the document's own content is an image, or says that it is one."""
    if document.modality:
        return bool(document.modality == IMAGE)
    return _content(document) is not None or (document.mime_type or "").startswith("image/")


def _content(document: Document) -> Content | None:
    """The document's own picture: a tensor, encoded bytes or a URI; None where it has neither."""
    if document.tensor is not None:
        return np.asarray(document.tensor)
    if document.blob:
        return bytes(document.blob)
    if document.uri and not document.text:
        return str(document.uri)
    return None
