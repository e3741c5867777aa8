"""Text-to-image retrieval scores."""

from __future__ import annotations

import torch

CUTS = (1, 5, 10)


def recall(texts: torch.Tensor, images: torch.Tensor) -> dict[int, float]:
    """Return the recall at 1, 5 and 10: the share of queries whose image is in the top 1, 5 and 10.

    :param texts: unit vectors ``[count, dims]``.
    :param images: unit vectors ``[count, dims]``; row i is the correct image of text i.
    """
    similarity = texts @ images.T
    own = similarity.diagonal().unsqueeze(1)
    # Ties count against the query, so a constant encoder has recall 0.
    ranks = (similarity >= own).sum(dim=1) - 1
    return {cut: (ranks < cut).float().mean().item() for cut in CUTS}
