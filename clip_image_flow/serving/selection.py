"""Traversal paths -> what is to be encoded of each document, and the embeddings back onto the documents.

What a document is, decides what it gets, and from whom:

1. one with chunks of modality `image` gets a row for each of them, in chunk order, from the image encoder;
2. else one whose own content is an image (tensor, blob or URI) gets one vector from the image encoder;
3. else one whose own content is a text gets one vector from the text encoder;
4. else (another modality, nothing) it is left as it is.

So the two encoders can stand in one Flow, in any order. A picture with a caption is a picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from docarray import Document, DocumentArray

from clip_image_flow.errors import BadParameter, RequestError, TooLarge
from clip_image_flow.image.reader import Content
from clip_image_flow.text.tokens import Text
from clip_wire.info import IMAGE, TEXT


@dataclass(frozen=True)
class SelectedItem:
    """One image or text to encode, and where it stands: `place` is "" for a document's own content, else "chunk K"."""

    document_id: str
    place: str
    content: Content | None


@dataclass(frozen=True)
class Target:
    """A document that gets an embedding, made of the items at `rows`."""

    document: Document
    rows: list[int]
    stacked: bool  # (n, dim), else (dim,)


@dataclass
class Selection:
    """The items that one request asks for, each once however often the paths reach it.

    :param targets: the documents that get embeddings.
    :param holders: for each of `items`, the document or chunk that it stands in.
    """

    items: list[SelectedItem] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    holders: list[Document] = field(default_factory=list)
    _rows: dict[int, int] = field(default_factory=dict)  # by identity: ids need not be unique within a request

    def row(self, holder: Document, document_id: str, place: str, content: Content | None) -> int:
        """Where in `items` the item of `holder` stands, which is put there the first time."""
        if id(holder) not in self._rows:
            self._rows[id(holder)] = len(self.items)
            self.items.append(SelectedItem(document_id, place, content))
            self.holders.append(holder)
        return self._rows[id(holder)]

    def write(self, results: Sequence[np.ndarray | RequestError]) -> None:
        """Put the embeddings onto the documents, and `tags["truncated"]` where a text was cut.

        :param results: for each of `items`, float32 (dim,) or the error that its document gets in `tags["error"]`.
        """
        for target in self.targets:
            own = [results[row] for row in target.rows]
            rows = [result for result in own if not isinstance(result, RequestError)]
            if len(rows) == len(own):
                target.document.embedding = np.stack(rows) if target.stacked else rows[0]
            else:
                target.document.embedding = None
                target.document.tags["error"] = next(repr(r) for r in own if isinstance(r, RequestError))
        for item, holder in zip(self.items, self.holders, strict=True):
            if isinstance(item.content, Text) and item.content.truncated:
                holder.tags["truncated"] = True

    def drop_images(self) -> None:
        """Clear the images; a URI that only says where one is stays.

        What is left of a picture may look like something else, its caption for one, so it says that it was an image.
        """
        for item, holder in zip(self.items, self.holders, strict=True):
            if isinstance(item.content, Text):
                continue
            holder.pop("tensor", "blob")
            if (holder.uri or "")[:5].lower() == "data:":
                holder.pop("uri")
            holder.modality = IMAGE


def select_images(docs: DocumentArray, traversal_paths: str, max_documents: int) -> Selection:
    """The images at `traversal_paths` of `docs`.

    :raises BadParameter: when the paths do not fit the documents.
    :raises TooLarge: when they reach more than `max_documents` documents.
    """
    selection = Selection()
    for document in _at(docs, traversal_paths, max_documents):
        if chunks := [(k, chunk) for k, chunk in enumerate(document.chunks) if chunk.modality == IMAGE]:
            rows = [selection.row(chunk, document.id, f"chunk {k}", _image_of(chunk)) for k, chunk in chunks]
            selection.targets.append(Target(document, rows, stacked=True))
        elif _is_image(document):
            rows = [selection.row(document, document.id, "", _image_of(document))]
            selection.targets.append(Target(document, rows, stacked=False))
    return selection


def select_texts(docs: DocumentArray, traversal_paths: str, max_documents: int) -> Selection:
    """The texts at `traversal_paths` of `docs`.

    :raises BadParameter: as `select_images`.
    :raises TooLarge: as `select_images`.
    """
    selection = Selection()
    for document in _at(docs, traversal_paths, max_documents):
        if _is_text(document):
            rows = [selection.row(document, document.id, "", Text(document.text))]
            selection.targets.append(Target(document, rows, stacked=False))
    return selection


def _at(docs: DocumentArray, traversal_paths: str, max_documents: int) -> Iterator[Document]:
    """The documents at the paths, each once."""
    try:
        documents = docs[traversal_paths]
    # A slice of step 0, an attribute of a document that has none, or one that describes itself wrongly.
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadParameter(f"traversal_paths {traversal_paths!r} does not fit the documents: {error}") from error
    if len(documents) > max_documents:
        raise TooLarge(f"{len(documents)} documents at {traversal_paths!r}; at most {max_documents} go in one request")
    yield from {id(document): document for document in documents}.values()


def _is_image(document: Document) -> bool:
    """Whether the document's own content is an image, or says that it is one."""
    if document.modality:
        return bool(document.modality == IMAGE)
    return _image_of(document) is not None or (document.mime_type or "").startswith("image/")


def _is_text(document: Document) -> bool:
    """Whether the document's own content is a text, and it is no picture with a caption."""
    if not document.text or document.modality not in ("", TEXT):
        return False
    return not (_is_image(document) or any(chunk.modality == IMAGE for chunk in document.chunks))


def _image_of(document: Document) -> Content | None:
    """The document's own picture: a tensor, encoded bytes or a URI; None where it has neither."""
    if document.tensor is not None:
        return np.asarray(document.tensor)
    if document.blob:
        return bytes(document.blob)
    # Beside a text the URI says where that came from, unless it is said to be a picture's.
    is_picture = document.modality == IMAGE or (document.mime_type or "").startswith("image/")
    if document.uri and (is_picture or not document.text):
        return str(document.uri)
    return None
