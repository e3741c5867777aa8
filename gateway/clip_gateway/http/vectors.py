"""Converts embeddings to the types that clients request: float, base64, integers, or bits."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_STEPS = 127  # integer value of 1.0, the maximum in a vector of length 1


def _base64(vector: np.ndarray) -> str:
    """Encode as little-endian float32 in base64, as OpenAI and Cohere do."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _int8(vector: np.ndarray) -> np.ndarray:
    """Multiply by 127 and round, so that dot products are about 127 squared times the original ones."""
    return np.asarray(np.clip(np.rint(_STEPS * vector), -_STEPS, _STEPS), dtype=np.int16)


def _bits(vector: np.ndarray) -> np.ndarray:
    """Pack one bit per number, set if it is 0 or more, eight per byte, most significant bit first."""
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
    """Convert each vector to a JSON value.

    :param vectors: float32 (dim,), of length 1.
    :param name: one of `TYPES`: `float` and the integers are lists of dim numbers, `base64` is float32 in
        little-endian order, `binary` and `ubinary` are lists of dim / 8 bytes, -128 to 127 and 0 to 255.
    """
    return [_WAYS[name](vector) for vector in vectors]
