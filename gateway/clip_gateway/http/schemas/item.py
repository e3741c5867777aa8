"""One thing to encode, as every body comes down to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One image or text.

    :param id: its name in errors.
    :param modality: `image`, whose content is a URI or a file's bytes, or `text`.
    """

    id: str
    modality: str
    content: str | bytes
