"""Text-to-image retrieval scores."""

from __future__ import annotations

import torch

CUTS = (1, 5, 10)


def recall(texts: torch.Tensor, images: torch.Tensor) -> dict[int, float]:
    """Share of queries whose own picture is among the first 1, 5 and 10.

    :param texts: unit vectors ``[count, dims]``.
    :param images: unit vectors ``[count, dims]``, row by row the right answers.
    """
    similarity = texts @ images.T
    own = similarity.diagonal().unsqueeze(1)
    # Ties count against the query, so a constant encoder scores nothing.
    ranks = (similarity >= own).sum(dim=1) - 1
    return {cut: (ranks < cut).float().mean().item() for cut in CUTS}
