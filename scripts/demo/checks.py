"""What must hold of the demo's embeddings. A check raises `CheckFailed`, which names the document and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# The same picture goes through the same float32 network, but alone or in a batch, and with another number of threads:
# sums are then taken in another order, which is worth less than 1e-6 of the largest value. A picture that was resized,
# cropped, coloured or normalised otherwise is off by 1e-2 and more. This bar is far from both.
LEAST_COSINE = 0.9999
LARGEST_DEVIATION = 1e-4  # of the largest absolute value of the embedding

# Names that find their picture among the first five of 48: by chance 0.10, and never 0.32 (five standard deviations).
LEAST_FOUND = 0.4
FOUND_WITHIN = 5


class CheckFailed(Exception):
    """A result is wrong."""


@dataclass(frozen=True)
class Agreement:
    """How near two sets of embeddings are: the worst of all documents."""

    cosine: float
    deviation: float

    def __str__(self) -> str:
        return f"cosine >= {self.cosine:.7f}, largest difference {self.deviation:.1e}"


def check_embeddings(
    embeddings: Mapping[str, np.ndarray | None], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Every document came back with finite float32 numbers of its shape.

    :param embeddings: document id -> its embedding, in the order of the answers.
    :param shapes: document id -> the shape it must have, in the order of the documents that were sent.
    :return: `embeddings`, none of which is None.
    """
    if list(embeddings) != list(shapes):
        raise CheckFailed(f"of {len(shapes)} documents {len(embeddings)} came back, or they came in another order")
    checked = {}
    for document, embedding in embeddings.items():
        if embedding is None:
            raise CheckFailed(f"document {document!r} came back without an embedding")
        if embedding.shape != shapes[document]:
            raise CheckFailed(f"document {document!r} has the shape {embedding.shape}, not {shapes[document]}")
        if embedding.dtype != np.float32:
            raise CheckFailed(f"document {document!r} has the dtype {embedding.dtype}, not float32")
        if not np.isfinite(embedding).all():
            raise CheckFailed(f"document {document!r} has values that are not finite")
        if not embedding.any(axis=-1).all():
            raise CheckFailed(f"document {document!r} has an embedding of zeros")
        checked[document] = embedding
    return checked


def check_agreement(what: str, embeddings: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> Agreement:
    """Two ways to embed the same documents agree up to float32's rounding.

    :param what: the two ways, for the message.
    :param embeddings: document id -> float32 (dim,) or (n, dim).
    :param expected: the same of the other way.
    """
    worst = Agreement(1.0, 0.0)
    for document, wanted in expected.items():
        got = embeddings[document]
        if got.shape != wanted.shape:
            raise CheckFailed(f"{what}: document {document!r} has the shapes {got.shape} and {wanted.shape}")
        cosine = float((unit(got) * unit(wanted)).sum(axis=-1).min())
        deviation = float(np.abs(got - wanted).max())
        limit = LARGEST_DEVIATION * float(np.abs(wanted).max())
        if not (cosine >= LEAST_COSINE and deviation <= limit):  # so that NaN fails too
            raise CheckFailed(
                f"{what}: document {document!r} differs: cosine {cosine:.6f} (at least {LEAST_COSINE}), "
                f"largest difference {deviation:.2e} (at most {limit:.2e})"
            )
        worst = Agreement(min(worst.cosine, cosine), max(worst.deviation, deviation))
    return worst


def check_search(pictures: np.ndarray, texts: np.ndarray) -> float:
    """Words find pictures better than chance: a floor, far below what a trained model does.

    :param pictures: (n, dim).
    :param texts: (n, dim); text i names picture i.
    :return: the share of texts whose picture is among the first `FOUND_WITHIN`.
    """
    cosines = unit(texts) @ unit(pictures).T
    # Not "fewer are above it": where all pictures look alike, or are NaN, nothing was found.
    beaten = (np.diag(cosines)[:, np.newaxis] > cosines).sum(axis=1)
    found = float((beaten >= len(texts) - FOUND_WITHIN).mean())
    if not found >= LEAST_FOUND:
        raise CheckFailed(
            f"of {len(texts)} names {found:.0%} find their picture among the first {FOUND_WITHIN}; chance finds "
            f"{FOUND_WITHIN / len(texts):.0%}, a trained model at least {LEAST_FOUND:.0%}"
        )
    return found


def unit(rows: np.ndarray) -> np.ndarray:
    """`rows` (..., dim) scaled to length 1, in float64: the cosine of a vector with itself is then 1.0000000."""
    exact = rows.astype(np.float64)
    return np.asarray(exact / np.linalg.norm(exact, axis=-1, keepdims=True))
