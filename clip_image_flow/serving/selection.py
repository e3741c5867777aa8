"""Selects the items to encode at the traversal paths, and sets the embeddings of the documents.

The content of a document decides which encoder encodes it:

1. a document with chunks of modality `image` gets a row for each of them, in chunk order, from the image encoder;
2. else a document whose own content is an image (tensor, blob or URI) gets one vector from the image encoder;
3. else a document whose own content is a text gets one vector from the text encoder;
4. else (another modality, no content) the document is unchanged.

So a Flow can have both encoders, in any order. An image with a caption is an image.
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
    """One image or text to encode.

    :param document_id: id of the document at the traversal paths.
    :param place: "" for the document's own content, else "chunk K".
    :param content: image or text; None if a document of modality `image` has no content.
    """

    document_id: str
    place: str
    content: Content | None


@dataclass(frozen=True)
class Target:
    """A document that gets an embedding.

    :param rows: indices of its items in `Selection.items`.
    :param stacked: whether the embedding has the shape (n, dim), else (dim,).
    """

    document: Document
    rows: list[int]
    stacked: bool


@dataclass
class Selection:
    """The items to encode of one request, without duplicates even if the paths overlap.

    :param items: images or texts to encode.
    :param targets: documents that get embeddings.
    :param holders: for each of `items`, the document or chunk that contains it.
    """

    items: list[SelectedItem] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    holders: list[Document] = field(default_factory=list)
    _rows: dict[int, int] = field(default_factory=dict)  # by identity: ids need not be unique within a request

    def row(self, holder: Document, document_id: str, place: str, content: Content | None) -> int:
        """Index in `items` of the item of `holder`, which is appended on the first call."""
        if id(holder) not in self._rows:
            self._rows[id(holder)] = len(self.items)
            self.items.append(SelectedItem(document_id, place, content))
            self.holders.append(holder)
        return self._rows[id(holder)]

    def write(self, results: Sequence[np.ndarray | RequestError]) -> None:
        """Set the embeddings of the documents, and `tags["truncated"]` of a text that was cut.

        :param results: for each of `items`, float32 (dim,) or the error for its document's `tags["error"]`.
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
        """Clear the images; a URI stays unless it contains the image itself (`data:`).

        The rest of a document may look like another modality, its caption like a text, so its modality becomes `image`.
        """
        for item, holder in zip(self.items, self.holders, strict=True):
            if isinstance(item.content, Text):
                continue
            holder.pop("tensor", "blob")
            if (holder.uri or "")[:5].lower() == "data:":
                holder.pop("uri")
            holder.modality = IMAGE


def select_images(docs: DocumentArray, traversal_paths: str, max_documents: int) -> Selection:
    """Select the images at `traversal_paths` of `docs`.

    :raises BadParameter: the paths do not fit the documents.
    :raises TooLarge: the paths select more than `max_documents` documents.
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
    """Select the texts at `traversal_paths` of `docs`.

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
    """The documents at the paths, without duplicates."""
    try:
        documents = docs[traversal_paths]
    # A slice of step 0, an attribute that a document lacks, or a document with a wrong description of itself.
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadParameter(f"traversal_paths {traversal_paths!r} does not fit the documents: {error}") from error
    if len(documents) > max_documents:
        raise TooLarge(f"{len(documents)} documents at {traversal_paths!r}; at most {max_documents} go in one request")
    yield from {id(document): document for document in documents}.values()


def _is_image(document: Document) -> bool:
    """Whether the document's own content is an image, or is declared as one by modality or MIME type."""
    if document.modality:
        return bool(document.modality == IMAGE)
    return _image_of(document) is not None or (document.mime_type or "").startswith("image/")


def _is_text(document: Document) -> bool:
    """Whether the document's own content is a text, and not the caption of an image."""
    if not document.text or document.modality not in ("", TEXT):
        return False
    return not (_is_image(document) or any(chunk.modality == IMAGE for chunk in document.chunks))


def _image_of(document: Document) -> Content | None:
    """The document's own image: a tensor, encoded bytes or a URI; None if it has none of them."""
    if document.tensor is not None:
        return np.asarray(document.tensor)
    if document.blob:
        return bytes(document.blob)
    # The URI of a document with a text is the source of the text, unless the document is declared as an image.
    is_picture = document.modality == IMAGE or (document.mime_type or "").startswith("image/")
    if document.uri and (is_picture or not document.text):
        return str(document.uri)
    return None
