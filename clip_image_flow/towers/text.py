"""CLIP's text tower, as an engine is given it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class TextTower(nn.Module):
    """Tokens, int32 (b, n) with n up to the context length -> (b, dim).

    :param text: `clip_image_flow.models.text.ClipText`.
    """

    item_dtype = "int32"
    least_shape: tuple[int, ...] = (1,)

    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        network: Any = text  # a Module has no types for its attributes
        self.text = network
        context, _ = network.positional_embedding.shape
        self.item_shape: tuple[int, ...] = (context,)
        self.dim: int = network.text_projection.shape[1]
        self.logit_scale: float | None = network.logit_scale

    def forward(self, tokens: Tensor) -> Tensor:
        embeddings: Tensor = self.text(tokens)
        return embeddings
