"""Halves of OpenCLIP's and other models, with the attributes that a tower needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def logit(state: Mapping[str, Tensor], key: str) -> float | None:
    """`logit_scale` (not its logarithm) or `logit_bias` of the weights; None if they have none.

    :raises ValueError: the value is not finite.
    """
    if key not in state:
        return None
    value = state[key].detach().float().reshape(())
    found = float(value.exp() if key == "logit_scale" else value)
    if not math.isfinite(found):
        raise ValueError(f"{key} is {found}")
    return found


def as_half(
    module: nn.Module, state: Mapping[str, Tensor], *, output_dim: int, input_resolution: int | None = None
) -> nn.Module:
    """Set the attributes of a half, see `Checkpoint`, and return `module` in fp32.

    :param state: weights, with `logit_scale` and `logit_bias` if the model has them.
    :param output_dim: length of an embedding.
    :param input_resolution: of an image half, pixels per side.
    """
    half: Any = module.float().eval().requires_grad_(False)
    half.logit_scale, half.logit_bias = logit(state, "logit_scale"), logit(state, "logit_bias")
    half.output_dim = output_dim
    half.mixed_precision = True
    if input_resolution is not None:
        half.input_resolution = input_resolution
    return module


class Text(nn.Module):
    """OpenCLIP's text half without its image half: tokens, int (b, n) -> (b, dim).

    n may be less than the context length if attention is causal and the embedding is at the end of text: then tokens
    after the end have no effect.

    :param parts: `open_clip.transformer.TextTransformer`, or `open_clip.CLIP`, which has the same parts.
    """

    def __init__(self, parts: Any) -> None:
        super().__init__()
        self.transformer = parts.transformer
        self.token_embedding = parts.token_embedding
        self.positional_embedding = parts.positional_embedding
        self.ln_final = parts.ln_final
        self.text_projection = parts.text_projection
        self.register_buffer("attn_mask", parts.attn_mask, persistent=False)
        self.attn_mask: Tensor | None
        self.pool: str = getattr(parts, "text_pool_type", None) or parts.pool_type
        end = getattr(parts, "text_eos_id", None)
        self.end: int = parts.eos_id if end is None else end
        self.context_length: int = parts.context_length
        self.shortens = self.attn_mask is not None and self.pool == "argmax"
        _, width = self.positional_embedding.shape
        projection = self.text_projection
        if projection is None:
            self.output_dim = width
        else:
            self.output_dim = projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1]

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        mask = None if self.attn_mask is None else self.attn_mask[:length, :length]
        rows = self.transformer(self.token_embedding(tokens) + self.positional_embedding[:length], attn_mask=mask)
        items = torch.arange(len(tokens), device=tokens.device)
        return self.projected(self.ln_final(rows[items, self.ends(tokens)]))

    def ends(self, tokens: Tensor) -> Tensor:
        """Position of the embedding of each text: (b, n) -> (b,)."""
        if self.pool == "first":
            return torch.zeros_like(tokens[:, 0])
        if self.pool == "last":
            return torch.full_like(tokens[:, 0], tokens.shape[1] - 1)
        return (tokens if self.pool == "argmax" else (tokens == self.end).int()).argmax(dim=-1)

    def projected(self, rows: Tensor) -> Tensor:
        """Text projection: (b, width) -> (b, dim)."""
        projection = self.text_projection
        if projection is None:
            return rows
        embeddings: Tensor = projection(rows) if isinstance(projection, nn.Linear) else rows @ projection
        return embeddings


class FirstOf(nn.Module):
    """Returns the first of several outputs: CoCa's halves return their tokens too.

    :param whole: module that returns a tuple.
    """

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, batch: Tensor) -> Tensor:
        embeddings: Tensor = self.whole(batch)[0]
        return embeddings
