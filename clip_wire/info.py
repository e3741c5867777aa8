"""Fields of the `/info` response, which is both the result of the endpoint and the tags of a document."""

from __future__ import annotations

from pathlib import PurePath
from typing import TypedDict

IMAGE, TEXT = "image", "text"


class Info(TypedDict, total=False):
    """Model and configuration of an Executor; numbers arrive as floats.

    `model` is the name or path that the Executor was started with, `dim` the length of its embeddings, `input_size` is
    in pixels, `context_length` in tokens, `backend` and `precision` are the engine and its number format, `version` is
    that of the library. `modality` is what it encodes, by default `image`. `checkpoint` is the SHA-256 of the weights
    in hex, the same for both halves of one model; `fingerprint` identifies everything that affects a vector, see
    `clip_image_flow.fingerprint`. `started` is the Unix time in seconds at which the Executor began to serve.
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
    started: float


class MadeBy(TypedDict, total=False):
    """Fields that an Executor returns with its vectors: the model's name, and `Info.fingerprint`."""

    model: str
    fingerprint: str


def public_name(model: str) -> str:
    """Return the model name that clients see: of a path only the file name, to hide the directory."""
    architecture, separator, weights = model.rpartition("::")
    return architecture + separator + (PurePath(weights).name if weights.startswith("/") else weights)
