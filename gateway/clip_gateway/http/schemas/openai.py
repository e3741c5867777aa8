"""The body of `POST /v1/embeddings`: OpenAI's format, and its extensions by Jina, vLLM and infinity.

| service | format |
|---|---|
| OpenAI | `input` is a string or a list of strings; a data URI is an image |
| infinity | the same, with `modality` for all inputs |
| Jina, SGLang | `input` is a list of `{"text"}`, `{"image"}`, `{"bytes"}` or `{"url"}` |
| vLLM | `messages` is a conversation, or a list of them, each with one part: a text or an `image_url` |
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, validator

from clip_gateway.http.schemas.body import StrictBody, as_uri, is_uri
from clip_gateway.http.schemas.item import Item
from clip_gateway.http.vectors import TYPES
from clip_gateway.problems import Problem
from clip_wire.errors import BadDocument, BadParameter, Malformed
from clip_wire.info import IMAGE, TEXT

_CHANGES_NOTHING = "ignored"
_NO_TOKENS = "token arrays are not supported: set check_embedding_ctx_length=False in the client to send strings"
_SEVERAL = "send one text or one image per embedding: CLIP has no joint embedding"
_KINDS = {"text": TEXT, "image": IMAGE, "bytes": IMAGE, "url": IMAGE}
# The format of NVIDIA's load generator.
_IMG = re.compile(r"""<img src=["']([^"']+)["']\s*/?>""")


class EmbeddingsBody(StrictBody):
    """Images and texts to encode, and the type of their embeddings."""

    # In the order in which they are checked. `Any` fields are checked elsewhere: `normalize` by the executor, `model`
    # and `dimensions` against the served models.

    dimensions: Any = Field(None, type="integer", description="must equal the model's dim")
    modality: Literal["image", "text"] | None = Field(
        None,
        description="of all inputs; by default a URI (data:... or scheme://...) is an image, else a text",
    )
    input: Any = Field(None, description="a text, a data URI, {text}, {image}, or a list of them")
    messages: Any = Field(None, type="array", description="a conversation of one message with one part, or a list")
    encoding_format: Any = Field(None, enum=list(TYPES), description="type of the embeddings; default float")
    embedding_type: Any = Field(None, enum=list(TYPES), description="same as encoding_format")
    encoding_type: Any = Field(None, enum=list(TYPES), description="same as encoding_format")
    model: Any = Field(None, type="string", description="model name of /v1/models; optional")
    normalize: Any = Field(None, type="boolean", description="false: the model's own numbers, not of length 1")
    normalized: Any = Field(None, type="boolean", description="same as normalize")
    user: Any = Field(None, type="string", description=_CHANGES_NOTHING)
    task: Any = Field(None, type="string", description=_CHANGES_NOTHING)
    late_chunking: Any = Field(None, type="boolean", description=_CHANGES_NOTHING)
    truncate: Any = Field(None, type="boolean", description=_CHANGES_NOTHING)
    input_type: Any = Field(None, type="string", description=_CHANGES_NOTHING)

    @validator("modality", pre=True)
    def _modality(cls, value: Any) -> Any:  # noqa: N805
        if value not in (None, IMAGE, TEXT):
            raise Problem(BadParameter, f"modality must be 'image' or 'text', not {str(value)[:100]!r}")
        return value

    @validator("encoding_format", "embedding_type", "encoding_type", pre=True)
    def _type(cls, value: Any, field: Any) -> Any:  # noqa: N805
        asked = value[0] if isinstance(value, list) and len(value) == 1 else value
        if asked and asked not in TYPES:
            raise Problem(BadParameter, f"{field.name} must be one of {', '.join(TYPES)}, not {str(asked)[:100]!r}")
        return asked

    @property
    def type(self) -> str:
        """Type of the embeddings, one of `vectors.TYPES`."""
        return str(self.encoding_format or self.embedding_type or self.encoding_type or "float")

    @property
    def is_unit(self) -> Any:
        """Whether embeddings are scaled to length 1."""
        asked = self.normalize if self.normalize is not None else self.normalized
        return True if asked is None else asked

    @property
    def items(self) -> list[Item]:
        """Images and texts to encode, in order.

        :raises Problem: if there is none, or an invalid one.
        """
        if self.messages is not None:
            if self.input is not None:
                raise Problem(Malformed, "send input or messages, not both")
            return [_conversation(place, one) for place, one in _conversations(self.messages)]
        given = self.input if isinstance(self.input, list) else [self.input]
        if not given or self.input is None:
            raise Problem(Malformed, "input must be a text, a data URI or a list of them, at least one")
        if _is_conversation(given) or all(_is_conversation(one) for one in given):
            return [_conversation(place, one) for place, one in _conversations(given, "input")]
        if len(given) > 1 and all(isinstance(one, int) for one in given):
            raise Problem(BadDocument, _NO_TOKENS, "input")
        return [_item(f"input[{i}]", one, self.modality) for i, one in enumerate(given)]


def _item(place: str, given: Any, modality: str | None) -> Item:
    """Return one input: a string, or an object with one of the fields in `_KINDS`."""
    if isinstance(given, int) or (isinstance(given, list) and all(isinstance(part, int) for part in given)):
        raise Problem(BadDocument, _NO_TOKENS, place)
    if isinstance(given, dict):
        named = [(key, value) for key, value in given.items() if key in _KINDS and value is not None]
        if len(named) != 1:
            raise Problem(BadDocument, f"send one of {', '.join(_KINDS)}; {_SEVERAL}", place)
        [(key, content)] = named
        if not isinstance(content, str) or not content:
            raise Problem(BadDocument, f"{key} must be a string that is not empty", place)
        return Item(place, _KINDS[key], as_uri(content) if _KINDS[key] == IMAGE else content)
    if not isinstance(given, str):
        raise Problem(
            BadDocument, "send a string: a text, or a data URI of an image (data:image/jpeg;base64,...)", place
        )
    if not given:
        raise Problem(BadDocument, "this is empty: send a text, or a data URI of an image", place)
    if modality != TEXT and (wrapped := _IMG.fullmatch(given)):
        given = wrapped[1]
    if modality == IMAGE and not is_uri(given):
        raise Problem(BadDocument, "images are encoded here: send a data URI (data:image/jpeg;base64,...)", place)
    return Item(place, modality or (IMAGE if is_uri(given) else TEXT), given)


def _is_conversation(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(isinstance(one, dict) and "role" in one for one in given)


def _conversations(given: Any, name: str = "messages") -> list[tuple[str, Any]]:
    """Return the name of each conversation in errors, and its messages."""
    if _is_conversation(given):
        return [(name, given)]
    if not isinstance(given, list) or not given or not all(_is_conversation(one) for one in given):
        raise Problem(Malformed, f"{name} must be a list of messages, each with role and content, or a list of such")
    return [(f"{name}[{i}]", one) for i, one in enumerate(given)]


def _conversation(place: str, messages: list[dict[str, Any]]) -> Item:
    """Return the only part of a conversation."""
    parts: list[Any] = []
    for message in messages:
        content = message.get("content")
        parts += content if isinstance(content, list) else [content]
    if len(parts) != 1:
        raise Problem(BadDocument, _SEVERAL, place)
    [part] = parts
    if isinstance(part, dict) and part.get("type") == "image_url":
        url = part.get("image_url")
        return _item(place, {"image": url.get("url") if isinstance(url, dict) else url}, None)
    if isinstance(part, dict) and part.get("type") == "text":
        part = part.get("text")
    return _item(place, {"text": part}, None)
