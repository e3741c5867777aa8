"""The body of `POST /v1/embeddings`: OpenAI's, with data URIs of images where OpenAI has texts."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import ConstrainedList, Extra, Field, root_validator, validator

from clip_gateway.http.schemas.body import Body
from clip_gateway.problems import Problem
from clip_wire.errors import BadDocument, BadParameter, Malformed

_URI = re.compile(r"data:|[a-zA-Z][a-zA-Z0-9+.-]*://")


class _Several(ConstrainedList):
    """A list of at least one, which is what its schema says."""

    item_type = str
    __args__ = (str,)
    min_items = 1


class EmbeddingsBody(Body):
    """What is to be encoded, and how."""

    # In the order in which they are checked. `Any` is what somebody else checks: `normalize` the executor, by its own
    # words, `model` whoever knows what is served.

    dimensions: Any = Field(None, description="refused: embeddings come in the model's own length")
    modality: Literal["image"] = "image"
    input: _Several | str = Field(..., description="data URIs of images")
    encoding_format: Literal["float", "base64"] = "float"
    model: Any = Field(None, type="string", description="the one of /v1/models, or nothing")
    normalize: Any = Field(None, type="boolean", description="scale each embedding to length 1")
    user: Any = Field(None, type="string", description="changes nothing")

    class Config:
        """Of pydantic."""

        extra = Extra.forbid

    @property
    def uris(self) -> list[str]:
        """The inputs, one or several."""
        return [self.input] if isinstance(self.input, str) else list(self.input)

    @root_validator(pre=True)
    def _known(cls, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N805
        if unknown := values.keys() - cls.__fields__.keys():
            known = ", ".join(sorted(cls.__fields__))
            raise Problem(BadParameter, f"unknown member {min(unknown)[:100]!r}; there are {known}")
        return {"input": None, **values}

    @validator("dimensions", pre=True)
    def _no_dimensions(cls, value: Any) -> Any:  # noqa: N805
        if value is not None:
            raise Problem(BadParameter, "dimensions: embeddings come in the model's own length; leave it out")
        return value

    @validator("modality", pre=True)
    def _images(cls, value: Any) -> Any:  # noqa: N805
        if value != "image":
            raise Problem(BadParameter, "modality must be 'image', the one that is encoded here")
        return value

    @validator("input", pre=True)
    def _uris(cls, value: Any) -> Any:  # noqa: N805
        uris = [value] if isinstance(value, str) else value
        if not isinstance(uris, list) or not uris:
            raise Problem(Malformed, "input must be a data URI or a list of them, at least one")
        for i, uri in enumerate(uris):
            if not isinstance(uri, str) or not _URI.match(uri):
                raise Problem(
                    BadDocument, "images are encoded here: send a data URI (data:image/jpeg;base64,...)", f"input[{i}]"
                )
        return uris

    @validator("encoding_format", pre=True)
    def _format(cls, value: Any) -> Any:  # noqa: N805
        asked = value or "float"
        if asked not in ("float", "base64"):
            raise Problem(BadParameter, f"encoding_format must be float or base64, not {str(asked)[:100]!r}")
        return asked
