"""Transformers rewritten for OpenVINO: the same numbers with less work.

- The tokens of all items are the rows of one matrix (b * tokens, width). Linear layers are then plain matrix products,
  for which OpenVINO has its fastest kernels, and it fuses each of them with the activation that follows.
- The batch dimension comes first. `clip` puts tokens first, and each layer transposes them back and forth.
- For texts with causal attention, only the tokens up to the end of text are rows.
- If the embedding comes from one token, the class token of an image or the end of a text, the last block computes only
  that token, after the keys and values of all: this saves 6 % of ViT-B/32's multiplications.

This applies to the plain transformers of `clip` and of OpenCLIP, which have the same structure, and to those of timm.
OpenVINO converts all other modules as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from clip_image_flow.backends.openvino import timm_blocks
from clip_image_flow.models.halves import Text
from clip_image_flow.models.openai_clip import VisionTransformer, clip
from clip_image_flow.models.text import ClipText

_STEP = 8  # the number of text rows is rounded up to a multiple of it


def laid_out(module: nn.Module) -> nn.Module:
    """A module for OpenVINO that replaces `module`, which is changed in place."""
    if isinstance(module, VisionTransformer) or _is_plain_vision(module):
        return _VisionRows(module)
    if isinstance(module, ClipText) or (isinstance(module, Text) and _are_plain(module.transformer)):
        return _TextRows(module)
    if timm_blocks.is_plain(module):
        return timm_blocks.VisionRows(module)
    if timm_blocks.has_branches(module):
        return timm_blocks.merged(module)
    for name, part in module.named_children():
        setattr(module, name, laid_out(part))
    return module


def _is_plain_vision(module: Any) -> bool:
    """Whether this is OpenCLIP's vision transformer, with the class token as its embedding."""
    return (
        timm_blocks.called(module) == "open_clip.transformer.VisionTransformer"
        and module.attn_pool is None
        and module.pool_type == "tok"
        and module.proj is not None
        and not module.output_tokens
        and _are_plain(module.transformer)
    )


def _are_plain(transformer: Any) -> bool:
    """Whether all blocks of a transformer have the structure of `clip.model.ResidualAttentionBlock`."""
    return all(
        isinstance(block, clip.model.ResidualAttentionBlock)
        or (
            timm_blocks.called(block) == "open_clip.transformer.ResidualAttentionBlock"
            and not hasattr(block, "ln_1_kv")
        )
        for block in transformer.resblocks
    )


class _VisionRows(nn.Module):
    """Encodes images, float32 (b, 3, n, n), to (b, dim), with the weights of `visual`."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual = visual
        self._tokens, self._width = visual.positional_embedding.shape

    def forward(self, images: Tensor) -> Tensor:
        visual = self.visual
        patches = visual.conv1(images).flatten(2).transpose(1, 2)  # (b, tokens - 1, width)
        first = visual.class_embedding.expand(patches.shape[0], 1, -1)
        tokens = torch.cat([first, patches], dim=1) + visual.positional_embedding
        rows = visual.ln_pre(tokens).reshape(-1, self._width)
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            rows = _rest(block, rows, *_projected(block, rows, self._tokens))
        query, keys, values = _projected(last, rows, self._tokens)
        rows = _rest(last, self._class_tokens(rows), query[:, :, :1], keys, values)
        embeddings: Tensor = visual.ln_post(rows) @ visual.proj
        return embeddings

    def _class_tokens(self, rows: Tensor) -> Tensor:
        """(b * tokens, width) -> (b, width)."""
        return rows.reshape(-1, self._tokens, self._width)[:, 0]


class _TextRows(nn.Module):
    """Encodes tokens, int (b, n), to (b, dim), with the weights of `text`.

    With causal attention, tokens after the end of a text have no effect. Then the rows are the tokens of the texts
    without padding, and only attention sees them as a batch of (b, n): linear layers, which are nearly all of the work,
    compute no padding.
    """

    def __init__(self, text: Any) -> None:
        super().__init__()
        self.text = text
        _, self._width = text.positional_embedding.shape

    def forward(self, tokens: Tensor) -> Tensor:
        text, width = self.text, self._width
        length = tokens.shape[1]
        end = text.ends(tokens)
        *blocks, last = text.transformer.resblocks
        whole = text.attn_mask if isinstance(text, Text) else last.attn_mask
        mask = None if whole is None else whole[:length, :length]
        places = torch.arange(length)
        rows_of, places_of = None, None  # every token is a row
        if text.shortens:
            rows_of, places_of = _packed(places <= end.unsqueeze(1))
        own = tokens.reshape(-1) if rows_of is None else tokens.reshape(-1)[rows_of]
        at = places.repeat(tokens.shape[0]) if rows_of is None else rows_of % length
        rows = text.token_embedding(own) + text.positional_embedding[at]
        for block in blocks:
            rows = _rest(block, rows, *_projected(block, rows, length, places_of), mask=mask, rows_of=rows_of)
        query, keys, values = _projected(last, rows, length, places_of)
        ends = end.reshape(-1, 1, 1).expand(-1, 1, width)
        asking = query.transpose(1, 2).reshape(-1, length, width).gather(1, ends)  # (b, 1, width)
        heads = last.attn.num_heads
        query = asking.reshape(-1, 1, heads, width // heads).transpose(1, 2)
        unpacked = rows if places_of is None else rows[places_of]
        rows = unpacked.reshape(-1, length, width).gather(1, ends).reshape(-1, width)
        of_ends = None if mask is None else mask[end].reshape(-1, 1, 1, length)
        rows = _rest(last, rows, query, keys, values, mask=of_ends)
        embeddings: Tensor = text.projected(text.ln_final(rows))
        return embeddings


def _packed(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Indices that pack the tokens of a padded batch into rows, and unpack them.

    :param counts: mask of the tokens without padding, bool (b, n).
    :return: indices into b * n, whose number is rounded up to a multiple of `_STEP`, since OpenVINO prepares kernels
        for each new number; and indices into those, (b * n,), which for padding point to any other token.
    """
    flat = counts.reshape(-1)
    missing = torch.arange(_STEP - 1) < (-flat.sum()) % _STEP
    rows_of = torch.cat([flat, missing]).nonzero().squeeze(1)
    return rows_of.clamp(max=flat.shape[0] - 1), (flat.to(torch.int32).cumsum(0) - 1).clamp(min=0)


def _projected(block: Any, rows: Tensor, tokens: int, places_of: Tensor | None = None) -> tuple[Tensor, ...]:
    """Queries, keys and values of all tokens, each (b, heads, tokens, width / heads).

    :param places_of: see `_packed`; None if every token is a row.
    """
    attention = block.attn
    together = functional.linear(block.ln_1(rows), attention.in_proj_weight, attention.in_proj_bias)
    together = together if places_of is None else together[places_of]
    heads, width = attention.num_heads, attention.embed_dim
    split = together.reshape(-1, tokens, 3, heads, width // heads)
    return split.permute(2, 0, 3, 1, 4).unbind(0)


def _rest(
    block: Any,
    rows: Tensor,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    mask: Tensor | None = None,
    rows_of: Tensor | None = None,
) -> Tensor:
    """The rest of a block after its projections: (b * q, width) for the q tokens of `query`.

    :param mask: mask added to the scores, broadcast to their shape (b, heads, q, tokens).
    :param rows_of: see `_packed`; None if every token is a row.
    """
    width = block.attn.embed_dim
    scale = (width // block.attn.num_heads) ** -0.5
    scores = (query * scale) @ keys.transpose(-2, -1)
    weights = torch.softmax(scores if mask is None else scores + mask, dim=-1)
    seen = (weights @ values).transpose(1, 2).reshape(-1, width)
    seen = block.attn.out_proj(seen if rows_of is None else seen[rows_of])
    rows = rows + _scaled(block, "ls_1", seen)
    behind: Tensor = rows + _scaled(block, "ls_2", block.mlp(block.ln_2(rows)))
    return behind


def _scaled(block: Any, name: str, rows: Tensor) -> Tensor:
    """`rows` after the block's LayerScale called `name`, which some of OpenCLIP's models have."""
    scale = getattr(block, name, None)
    scaled: Tensor = rows if scale is None else scale(rows)
    return scaled
