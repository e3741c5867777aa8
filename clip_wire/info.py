"""What `/info` answers, as the result of an endpoint and as one document's tags."""

from __future__ import annotations

from pathlib import PurePath
from typing import TypedDict

IMAGE, TEXT = "image", "text"


class Info(TypedDict, total=False):
    """What runs in an Executor; numbers arrive as floats.

    `model` is the name or path that the Executor was started with, `dim` the length of its embeddings, `input_size` is
    in pixels a side, `context_length` in tokens, `backend` and `precision` are what it computes with, `version` is that
    of the library. `modality` is what it encodes, `image` where it does not say. `checkpoint` is the SHA-256 of the
    weights, in hex, the same for both halves of one model; `fingerprint` names what makes a vector so, see
    `clip_image_flow.fingerprint`.
    """

    model: str
    dim: int
    input_size: int
    context_length: int
    backend: str
    precision: str
    version: str
    modality: str
    checkpoint: str
    fingerprint: str


class MadeBy(TypedDict, total=False):
    """What an Executor returns with vectors that it made: the model by its name, and its `Info.fingerprint`."""

    model: str
    fingerprint: str


def public_name(model: str) -> str:
    """The model by the name that callers see: a file goes by its last name, where it lies is nobody's business."""
    architecture, separator, weights = model.rpartition("::")
    return architecture + separator + (PurePath(weights).name if weights.startswith("/") else weights)
