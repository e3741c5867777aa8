"""The body of `POST /v2/embed`, compatible with Cohere's clients."""

from __future__ import annotations

from typing import Any

from pydantic import Field, validator

from clip_gateway.http.schemas.body import StrictBody, as_uri, filled
from clip_gateway.http.schemas.item import Item
from clip_gateway.http.vectors import TYPES
from clip_gateway.problems import Problem
from clip_wire.errors import BadDocument, BadParameter, Malformed
from clip_wire.info import IMAGE, TEXT

_CHANGES_NOTHING = "ignored"


class EmbedBody(StrictBody):
    """Texts, images, or inputs of either, and the types of their embeddings."""

    texts: Any = Field(None, type="array", items={"type": "string"})
    images: Any = Field(None, type="array", items={"type": "string"}, description="data URIs or base64")
    inputs: Any = Field(None, type="array", items={"type": "object"}, description="each with `content` of one part")
    embedding_types: Any = Field(
        None, type="array", items={"enum": list(TYPES)}, description="types of the embeddings; default float"
    )
    output_dimension: Any = Field(None, type="integer", description="must equal the model's dim")
    truncate: Any = Field(None, enum=["END"], description="texts that are too long are truncated at the end")
    model: Any = Field(None, type="string", description="model name of /v1/models; optional")
    input_type: Any = Field(None, type="string", description=_CHANGES_NOTHING)
    max_tokens: Any = Field(None, type="integer", description=_CHANGES_NOTHING)
    priority: Any = Field(None, type="integer", description=_CHANGES_NOTHING)

    @validator("embedding_types", pre=True)
    def _types(cls, value: Any) -> Any:  # noqa: N805
        asked = value or ["float"]
        if not isinstance(asked, list) or (unknown := [str(one) for one in asked if one not in TYPES]):
            wrong = f"not {unknown[0][:100]!r}" if isinstance(asked, list) else "a list"
            raise Problem(BadParameter, f"embedding_types must be of {', '.join(TYPES)}, {wrong}")
        return list(dict.fromkeys(asked))

    @validator("truncate", pre=True)
    def _truncate(cls, value: Any) -> Any:  # noqa: N805
        if value not in (None, "END"):
            raise Problem(
                BadParameter,
                f"truncate: {str(value)[:20]}: texts are truncated at the end, or rejected with the executor's option "
                "truncate: false; send END or omit it",
            )
        return value

    @property
    def items(self) -> list[Item]:
        """Images and texts to encode, in order.

        :raises Problem: if the body has not exactly one of texts, images and inputs, or an invalid one.
        """
        given = {name: value for name in ("texts", "images", "inputs") if (value := getattr(self, name)) is not None}
        if len(given) != 1:
            raise Problem(Malformed, f"send one of texts, images and inputs, not {', '.join(given) or 'none of them'}")
        [(name, values)] = given.items()
        if not isinstance(values, list) or not values:
            raise Problem(Malformed, f"{name} must be a list, of at least one")
        read = {"texts": _text, "images": _image, "inputs": _input}[name]
        return [read(f"{name}[{i}]", value) for i, value in enumerate(values)]


def _text(place: str, value: Any) -> Item:
    return Item(place, TEXT, filled(value, place))


def _image(place: str, value: Any) -> Item:
    if not isinstance(value, str) or not value:
        raise Problem(BadDocument, "send an image as a data URI (data:image/jpeg;base64,...)", place)
    return Item(place, IMAGE, as_uri(value))


def _input(place: str, value: Any) -> Item:
    """Return an item of `inputs`; CLIP has no joint embedding of a text and an image."""
    parts = value.get("content") if isinstance(value, dict) else None
    if not isinstance(parts, list) or len(parts) != 1 or not isinstance(parts[0], dict):
        raise Problem(BadDocument, "content must have one part, a text or an image: CLIP has no joint embedding", place)
    [part] = parts
    if part.get("type") == "text":
        return _text(place, part.get("text"))
    if part.get("type") == "image_url":
        url = part.get("image_url")
        return _image(place, url.get("url") if isinstance(url, dict) else url)
    raise Problem(BadDocument, f"a part is of type text or image_url, not {str(part.get('type'))[:40]!r}", place)
