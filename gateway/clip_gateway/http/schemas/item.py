"""The common form of an image or text in a request body."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One image or text to encode.

    :param id: name of the item in errors.
    :param modality: `image` or `text`.
    :param content: text, URI of an image, or bytes of an image file.
    """

    id: str
    modality: str
    content: str | bytes
