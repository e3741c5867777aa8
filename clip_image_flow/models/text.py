"""The text half of OpenAI's CLIP without its image half: `clip.model.CLIP` has both in one module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clip_image_flow.models.openai_clip import LayerNorm, Transformer, convert_weights

_HEAD_WIDTH = 64  # as in `build_model` of https://github.com/openai/CLIP/blob/main/clip/model.py
_LAYER = "transformer.resblocks."


class ClipText(nn.Module):
    """Encodes tokens, int (b, n) with n up to the context length, to (b, dim), as `clip.model.CLIP.encode_text`.

    The embedding is at the end of text, the token with the highest id. Attention is causal, so tokens after the end of
    text have no effect, and rows need not be longer than the longest text.

    :param state: weights by their names in `clip.model.CLIP`; those of the image half are ignored.
    :param heads: number of attention heads; by default heads of width 64, as in all of OpenAI's models.
    :param exact: whether to keep the weights unchanged; else those that `clip` rounds to fp16 are rounded.
    :raises KeyError: weights are missing.
    """

    def __init__(self, state: Mapping[str, Tensor], *, heads: int | None = None, exact: bool = False) -> None:
        super().__init__()
        context, width = state["positional_embedding"].shape
        blocks = {name.split(".")[2] for name in state if name.startswith(_LAYER)}
        mask = torch.full((context, context), float("-inf")).triu_(1)
        self.transformer = Transformer(width, len(blocks), heads or width // _HEAD_WIDTH, attn_mask=mask)
        self.token_embedding = nn.Embedding(state["token_embedding.weight"].shape[0], width)
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, state["text_projection"].shape[1]))
        self.context_length: int = context
        self.output_dim: int = state["text_projection"].shape[1]
        self.shortens = True
        if not exact:
            convert_weights(self)
        self.load_state_dict({name: state[name] for name in self.state_dict()})
        self.float().eval()

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        places: Any = self.positional_embedding
        rows = (self.token_embedding(tokens) + places[:length]).to(self.text_projection.dtype).permute(1, 0, 2)
        items = torch.arange(len(tokens), device=tokens.device)
        return self.projected(self.ln_final(self.transformer(rows)[self.ends(tokens), items]))

    def ends(self, tokens: Tensor) -> Tensor:
        """Position of the embedding of each text: (b, n) -> (b,)."""
        return tokens.argmax(dim=-1)

    def projected(self, rows: Tensor) -> Tensor:
        """Text projection: (b, width) -> (b, dim)."""
        return rows @ self.text_projection
