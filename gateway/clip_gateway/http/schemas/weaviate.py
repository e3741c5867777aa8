"""The body of `POST /vectorize`, in the format of Weaviate's module multi2vec-clip."""

from __future__ import annotations

from typing import Any

from pydantic import Field, validator

from clip_gateway.http.schemas.body import StrictBody, as_uri, filled
from clip_gateway.http.schemas.item import Item
from clip_gateway.problems import Problem
from clip_wire.errors import Malformed
from clip_wire.info import IMAGE, TEXT


class VectorizeBody(StrictBody):
    """Any number of texts and images."""

    texts: list[str] = Field(None, description="texts")
    images: list[str] = Field(None, description="images in base64")

    @validator("texts", "images", pre=True, always=True)
    def _strings(cls, value: Any, field: Any) -> Any:  # noqa: N805
        if not isinstance(value or [], list):
            raise Problem(Malformed, f"{field.name} must be a list of strings")
        return [filled(content, f"{field.name}[{i}]") for i, content in enumerate(value or [])]

    @property
    def items(self) -> list[Item]:
        """Items to encode: the texts, then the images."""
        texts = [Item(f"texts[{i}]", TEXT, text) for i, text in enumerate(self.texts)]
        return texts + [Item(f"images[{i}]", IMAGE, as_uri(image)) for i, image in enumerate(self.images)]
