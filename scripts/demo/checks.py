"""Checks of the demo's embeddings. A failed check raises `CheckFailed` with the document and the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# The same image runs through the same float32 network, but in other batch sizes and numbers of threads: the order of
# summation differs, which changes less than 1e-6 of the largest value. Different resizing, cropping, colours or
# normalization changes 1e-2 and more. These limits are far from both.
LEAST_COSINE = 0.9999
LARGEST_DEVIATION = 1e-4  # relative to the largest absolute value of the embedding

# Share of names whose image is in the top 5 of 48: by chance 0.10, and never 0.32 (five standard deviations).
LEAST_FOUND = 0.4
FOUND_WITHIN = 5


class CheckFailed(Exception):
    """A check of the embeddings failed."""


@dataclass(frozen=True)
class Agreement:
    """Difference between two sets of embeddings: the worst of all documents."""

    cosine: float
    deviation: float

    def __str__(self) -> str:
        return f"cosine >= {self.cosine:.7f}, largest difference {self.deviation:.1e}"


def check_embeddings(
    embeddings: Mapping[str, np.ndarray | None], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Check that every document has a finite float32 embedding of its shape.

    :param embeddings: document id -> embedding, in the order of the responses.
    :param shapes: document id -> expected shape, in the order of the requests.
    :return: `embeddings`, none of which is None.
    :raises CheckFailed: if an embedding is wrong.
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
    """Check that two sets of embeddings are equal up to the rounding of float32.

    :param what: name of the comparison in errors.
    :param embeddings: document id -> float32 (dim,) or (n, dim).
    :param expected: expected embeddings, in the same form.
    :raises CheckFailed: if they differ.
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
    """Check that texts find images better than chance; the limit is far below the recall of a trained model.

    :param pictures: (n, dim).
    :param texts: (n, dim); text i describes image i.
    :return: share of texts whose image is in the top `FOUND_WITHIN`.
    :raises CheckFailed: if the share is too low.
    """
    cosines = unit(texts) @ unit(pictures).T
    # Counts images below, not above: if all images are equal or NaN, nothing is found.
    beaten = (np.diag(cosines)[:, np.newaxis] > cosines).sum(axis=1)
    found = float((beaten >= len(texts) - FOUND_WITHIN).mean())
    if not found >= LEAST_FOUND:
        raise CheckFailed(
            f"of {len(texts)} names {found:.0%} find their picture among the first {FOUND_WITHIN}; chance finds "
            f"{FOUND_WITHIN / len(texts):.0%}, a trained model at least {LEAST_FOUND:.0%}"
        )
    return found


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale `rows` (..., dim) to length 1, in float64, so that the cosine of a vector with itself is 1.0000000."""
    exact = rows.astype(np.float64)
    return np.asarray(exact / np.linalg.norm(exact, axis=-1, keepdims=True))
