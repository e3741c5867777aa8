"""CLIP's vision transformer laid out for OpenVINO: the numbers of `clip.model.VisionTransformer`, in less work.

- The tokens of all pictures are the rows of one matrix (b * tokens, width). Linear layers are then plain matrix
  products, for which OpenVINO has its fastest kernels, and nothing stands between one and the QuickGELU behind it, so
  that the two become one.
- Pictures come first. `clip` puts tokens first, and each layer turns them round and back.
- The embedding is made of the class token alone, so the last block computes nothing but that token, once it has the
  keys and values of all: 6 % of ViT-B/32's multiplications are spared.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from clip_image_flow.models.openai_clip import VisionTransformer


def laid_out(module: nn.Module) -> nn.Module:
    """What OpenVINO is given in place of `module`, which is changed; a ModifiedResNet is good as it is."""
    if isinstance(module, VisionTransformer):
        return _Rows(module)
    for name, part in module.named_children():
        if isinstance(part, VisionTransformer):
            setattr(module, name, _Rows(part))
    return module


class _Rows(nn.Module):
    """float32 (b, 3, n, n) -> (b, dim), with the weights of `visual`."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual = visual
        self.conv1 = visual.conv1  # whose type the pictures take
        self._tokens, self._width = visual.positional_embedding.shape

    def forward(self, images: Tensor) -> Tensor:
        visual = self.visual
        patches = visual.conv1(images).flatten(2).transpose(1, 2)  # (b, tokens - 1, width)
        first = visual.class_embedding.expand(patches.shape[0], 1, -1)
        tokens = torch.cat([first, patches], dim=1) + visual.positional_embedding
        rows = visual.ln_pre(tokens).reshape(-1, self._width)
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            rows = self._rest(block, rows, *self._projected(block, rows))
        query, keys, values = self._projected(last, rows)
        rows = self._rest(last, self._class_tokens(rows), query[:, :, :1], keys, values)
        embeddings: Tensor = visual.ln_post(rows) @ visual.proj
        return embeddings

    def _class_tokens(self, rows: Tensor) -> Tensor:
        """(b * tokens, width) -> (b, width)."""
        return rows.reshape(-1, self._tokens, self._width)[:, 0]

    def _projected(self, block: Any, rows: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values of all tokens, each (b, heads, tokens, width / heads)."""
        attention = block.attn
        together = functional.linear(block.ln_1(rows), attention.in_proj_weight, attention.in_proj_bias)
        heads = attention.num_heads
        split = together.reshape(-1, self._tokens, 3, heads, self._width // heads)
        return split.permute(2, 0, 3, 1, 4).unbind(0)

    def _rest(self, block: Any, rows: Tensor, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """What a block does behind its projections: (b * q, width) for the q tokens that ask."""
        scale = (self._width // block.attn.num_heads) ** -0.5
        weights = torch.softmax((query * scale) @ keys.transpose(-2, -1), dim=-1)
        rows = rows + block.attn.out_proj((weights @ values).transpose(1, 2).reshape(-1, self._width))
        behind: Tensor = rows + block.mlp(block.ln_2(rows))
        return behind
