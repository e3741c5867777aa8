"""CLIP's text tower as a module that an engine runs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class TextTower(nn.Module):
    """Encodes tokens, int32 (b, n) with n up to the context length, to embeddings (b, dim).

    :param text: text half, see `clip_image_flow.models.Checkpoint`.
    """

    item_dtype = "int32"

    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        network: Any = text  # a Module has no types for its attributes
        self.text = network
        self.item_shape: tuple[int, ...] = (network.context_length,)
        self.least_shape: tuple[int, ...] = (1,) if network.shortens else self.item_shape
        self.dim: int = network.output_dim
        self.logit_scale: float | None = network.logit_scale
        self.logit_bias: float | None = network.logit_bias
        self.mixed_precision: bool = getattr(network, "mixed_precision", False)

    def forward(self, tokens: Tensor) -> Tensor:
        embeddings: Tensor = self.text(tokens)
        return embeddings
