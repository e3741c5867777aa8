"""Embeddings as clients ask for their numbers: floating point, small integers, or one bit each."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_STEPS = 127  # of an integer for 1.0, the most that a number in a vector of length 1 can be


def _base64(vector: np.ndarray) -> str:
    """Little-endian float32, as OpenAI and Cohere send them."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _int8(vector: np.ndarray) -> np.ndarray:
    """Rounded to 1/127, so that products of such vectors are those of the originals times 127 squared, nearly."""
    return np.asarray(np.clip(np.rint(_STEPS * vector), -_STEPS, _STEPS), dtype=np.int16)


def _bits(vector: np.ndarray) -> np.ndarray:
    """Whether each number is 0 or more, eight to a byte, the first in the highest bit."""
    return np.asarray(np.packbits(vector >= 0), dtype=np.int16)


_WAYS: dict[str, Callable[[np.ndarray], Any]] = {
    "float": lambda vector: vector.tolist(),
    "base64": _base64,
    "int8": lambda vector: _int8(vector).tolist(),
    "uint8": lambda vector: (_int8(vector) + 128).tolist(),
    "binary": lambda vector: (_bits(vector) - 128).tolist(),
    "ubinary": lambda vector: _bits(vector).tolist(),
}
TYPES = tuple(_WAYS)


def as_type(vectors: Sequence[np.ndarray], name: str) -> list[Any]:
    """Each vector, float32 (dim,) of length 1, as JSON has it.

    :param name: one of `TYPES`: `float` and the integers are lists of dim numbers, `base64` is float32 in
        little-endian order, `binary` and `ubinary` are lists of dim / 8 bytes, -128 to 127 and 0 to 255.
    """
    return [_WAYS[name](vector) for vector in vectors]
