"""CLIP's image tower as a module that includes normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clip_image_flow.models.normalisation import MEAN, STD


class ImageTower(nn.Module):
    """Encodes RGB images, uint8 (b, n, n, 3), to embeddings (b, dim).

    The module does the steps of `clip`'s ToTensor and Normalize before the network.

    :param visual: image half, (b, 3, n, n) -> (b, dim), see `clip_image_flow.models.Checkpoint`.
    :param mean: see `clip_image_flow.models.ImagePreparation`.
    :param std: see there.
    """

    item_dtype = "uint8"

    def __init__(self, visual: nn.Module, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__()
        network: Any = visual  # a Module has no types for its attributes
        self.visual = network
        self.item_shape: tuple[int, ...] = (network.input_resolution, network.input_resolution, 3)
        self.least_shape = self.item_shape
        self.dim: int = network.output_dim
        self.logit_scale: float | None = network.logit_scale
        self.logit_bias: float | None = network.logit_bias
        self.mixed_precision: bool = getattr(network, "mixed_precision", False)
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        # The tensor cores of a GPU use channels last, which is also the layout of the input.
        layout = torch.channels_last if pixels.is_cuda else torch.contiguous_format
        values = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout)
        values = values.div_(255).sub_(self.mean).div_(self.std)
        embeddings: Tensor = self.visual(values.to(self._first_weights().dtype))
        return embeddings

    def _first_weights(self) -> Tensor:
        """Weights of the first convolution."""
        return next(part.weight for part in self.visual.modules() if isinstance(part, nn.Conv2d))
