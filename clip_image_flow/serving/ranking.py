"""Scores and sorts the matches of a document by cosine similarity and the model's logit scale.

The score is a softmax over the matches, as in `clip.model.CLIP.forward`
(https://github.com/openai/CLIP/blob/main/clip/model.py). For models with a logit bias it is a sigmoid of each match, as
in https://arxiv.org/abs/2303.15343: the probability that the match fits, independent of the others. Names and order are
those of clip-as-service.
"""

from __future__ import annotations

import numpy as np
from docarray import Document, DocumentArray

from clip_image_flow.errors import BadDocument
from clip_wire.endpoints import COSINE, SCORE


def rank(docs: DocumentArray, logit_scale: float, logit_bias: float | None = None) -> None:
    """Score and sort the matches of each document, best first.

    A document is unchanged until it and its matches have embeddings: in a Flow with several encoders the last one
    scores. Matches that could not be encoded, with the reason in `tags["error"]`, come last and have no scores.

    :param docs: documents with matches.
    :param logit_scale: factor of the cosine similarities.
    :param logit_bias: summand of the scaled similarities before a sigmoid; None for a softmax.
    :raises BadDocument: a document or a match has several vectors.
    """
    for document in docs:
        matches = [match for match in document.matches if match.embedding is not None]
        others = [match for match in document.matches if match.embedding is None]
        if document.embedding is None or not matches or not all("error" in match.tags for match in others):
            continue
        query = _unit(document, document)
        cosines = np.array([query @ _unit(match, document) for match in matches])
        logits = logit_scale * cosines
        operation, scores = "softmax", _softmax(logits)
        if logit_bias is not None:
            operation, scores = "sigmoid", _sigmoid(logits + logit_bias)
        for match, cosine, score in zip(matches, cosines, scores, strict=True):
            match.scores[SCORE].value, match.scores[SCORE].op_name = float(score), operation
            match.scores[COSINE].value, match.scores[COSINE].op_name = float(cosine), "cosine"
        document.matches = [*(matches[i] for i in np.argsort(-cosines, kind="stable")), *others]


def _unit(document: Document, root: Document) -> np.ndarray:
    """The embedding of `document` scaled to length 1, float64 (dim,)."""
    embedding = np.asarray(document.embedding, dtype=np.float64)
    if embedding.ndim != 1:
        raise BadDocument(f"{len(embedding)} embeddings; /rank takes one per document", document.id or root.id)
    return embedding / (np.linalg.norm(embedding) or 1.0)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())
