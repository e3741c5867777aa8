"""The body of `POST /rank`: an image, and texts to compare it with."""

from __future__ import annotations

from typing import Any

from pydantic import Field, validator

from clip_gateway.http.schemas.body import Several, StrictBody, filled, is_uri
from clip_gateway.problems import Problem
from clip_wire.errors import BadDocument, Malformed


class RankBody(StrictBody):
    """An image and the texts to compare it with."""

    image: str = Field(..., description="a data URI")
    texts: Several = Field(..., description="labels, or sentences such as 'a photo of a cat'")

    @validator("image", pre=True)
    def _image(cls, value: Any) -> Any:  # noqa: N805
        if not isinstance(value, str) or not is_uri(value):
            raise Problem(BadDocument, "send a data URI of an image (data:image/jpeg;base64,...)", "image")
        return value

    @validator("texts", pre=True)
    def _texts(cls, value: Any) -> Any:  # noqa: N805
        if not isinstance(value, list) or not value:
            raise Problem(Malformed, "texts must be a list of strings, at least one")
        return [filled(text, f"texts[{i}]") for i, text in enumerate(value)]
