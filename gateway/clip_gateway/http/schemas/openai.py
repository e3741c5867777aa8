"""The body of `POST /v1/embeddings`: OpenAI's, with data URIs of images beside the texts."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, validator

from clip_gateway.http.schemas.body import Several, StrictBody, is_uri
from clip_gateway.problems import Problem
from clip_wire.errors import BadDocument, BadParameter, Malformed
from clip_wire.info import IMAGE, TEXT


class EmbeddingsBody(StrictBody):
    """What is to be encoded, and how."""

    # In the order in which they are checked. `Any` is what somebody else checks: `normalize` the executor, by its own
    # words, `model` whoever knows what is served.

    dimensions: Any = Field(None, description="refused: embeddings come in the model's own length")
    modality: Literal["image", "text"] | None = Field(
        None, description="of every input; else a URI (data:... or scheme://...) is an image, and the rest are texts"
    )
    input: Several | str = Field(..., description="texts, and data URIs of images")
    encoding_format: Literal["float", "base64"] = "float"
    model: Any = Field(None, type="string", description="the one of /v1/models, or nothing")
    normalize: Any = Field(None, type="boolean", description="scale each embedding to length 1")
    user: Any = Field(None, type="string", description="changes nothing")

    @property
    def inputs(self) -> list[tuple[str, str]]:
        """The modality and the content of each."""
        given = [self.input] if isinstance(self.input, str) else self.input
        return [(self.modality or (IMAGE if is_uri(content) else TEXT), content) for content in given]

    @validator("dimensions", pre=True)
    def _no_dimensions(cls, value: Any) -> Any:  # noqa: N805
        if value is not None:
            raise Problem(BadParameter, "dimensions: embeddings come in the model's own length; leave it out")
        return value

    @validator("modality", pre=True)
    def _modality(cls, value: Any) -> Any:  # noqa: N805
        if value not in (None, IMAGE, TEXT):
            raise Problem(BadParameter, f"modality must be 'image' or 'text', not {str(value)[:100]!r}")
        return value

    @validator("input", pre=True)
    def _strings(cls, value: Any, values: dict[str, Any]) -> Any:  # noqa: N805
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not given:
            raise Problem(Malformed, "input must be a text, a data URI or a list of them, at least one")
        for i, content in enumerate(given):
            if wrong := _what_is_wrong(content, values.get("modality")):
                raise Problem(BadDocument, wrong, f"input[{i}]")
        return given

    @validator("encoding_format", pre=True)
    def _format(cls, value: Any) -> Any:  # noqa: N805
        asked = value or "float"
        if asked not in ("float", "base64"):
            raise Problem(BadParameter, f"encoding_format must be float or base64, not {str(asked)[:100]!r}")
        return asked


def _what_is_wrong(content: Any, modality: str | None) -> str:
    """With one input; "" for nothing."""
    if isinstance(content, int) or (isinstance(content, list) and all(isinstance(part, int) for part in content)):
        return "tokens are not read here: set check_embedding_ctx_length=False in the client, which then sends strings"
    if not isinstance(content, str):
        return "send a string: a text, or a data URI of an image (data:image/jpeg;base64,...)"
    if not content:
        return "this is empty: send a text, or a data URI of an image"
    if modality == IMAGE and not is_uri(content):
        return "images are encoded here: send a data URI (data:image/jpeg;base64,...)"
    return ""
