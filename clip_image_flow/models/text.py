"""The text half of OpenAI's CLIP, apart from its image half: `clip.model.CLIP` has both in one module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clip_image_flow.models.openai_clip import LayerNorm, Transformer, convert_weights

_HEAD_WIDTH = 64  # of every head, as `build_model` of https://github.com/openai/CLIP/blob/main/clip/model.py has it
_LAYER = "transformer.resblocks."


class ClipText(nn.Module):
    """Tokens, int (b, n) with n up to the context length -> (b, dim), as `clip.model.CLIP.encode_text`.

    The embedding stands at the end of text, the token with the highest number. Attention looks back alone, so that
    what follows the end of text changes nothing, and rows need be no longer than the longest text.

    :param state: the weights by the names that `clip.model.CLIP` has for them; those of the image half are ignored.
    :param heads: of a layer's attention; by default of 64 numbers each, as all of OpenAI's are.
    :param exact: keep the weights as they are; else those that `clip` rounds to fp16 are rounded.
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
        """(b, n) -> (b,), where the embedding of each text stands."""
        return tokens.argmax(dim=-1)

    def projected(self, rows: Tensor) -> Tensor:
        """(b, width) -> (b, dim)."""
        return rows @ self.text_projection
