"""timm's image towers rewritten for OpenVINO: vision transformers as rows, reparameterizable networks merged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def is_plain(module: Any) -> bool:
    """Whether this is timm's vision transformer with plain blocks, and its embedding is the class token or comes from
    attention pooling, as in SigLIP."""
    if called(module) != "timm.models.vision_transformer.VisionTransformer" or module.pos_embed is None:
        return False
    pool = module.attn_pool
    pooled = (
        called(pool) == "timm.layers.attention_pool.AttentionPoolLatent"
        and pool.latent_len == 1
        and pool.pool == "token"
        and pool.pos_embed is None
        and pool.mlp is not None
    )
    return (
        (pooled or (pool is None and module.global_pool == "token"))
        and not module.dynamic_img_size
        and all(_is_plain_block(block) for block in module.blocks)
    )


def _is_plain_block(block: Any) -> bool:
    return (
        called(block) == "timm.models.vision_transformer.Block"
        and called(block.attn) == "timm.layers.attention.Attention"
        and block.attn.gate is None
        and called(block.mlp) == "timm.layers.mlp.Mlp"
    )


def has_branches(module: nn.Module) -> bool:
    """Whether this is a timm network whose training-time branches can be merged into one layer, as in MobileCLIP."""
    of_timm = called(module).startswith("timm.models.")
    return of_timm and any(hasattr(part, "reparameterize") for part in module.modules())


def merged(module: nn.Module) -> nn.Module:
    """The same network with its branches merged (reparameterized), in place."""
    from timm.utils.model import reparameterize_model

    found: nn.Module = reparameterize_model(module, inplace=True)
    return found


def called(module: Any) -> str:
    """Full name of a module's class, which is compared without an import of its package."""
    return f"{type(module).__module__}.{type(module).__qualname__}"


class VisionRows(nn.Module):
    """Encodes images, float32 (b, 3, n, n), to (b, dim), with the weights of `trunk`.

    :param trunk: vision transformer for which `is_plain` is true.
    """

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self.trunk = trunk
        _, tokens, self._width = trunk.pos_embed.shape
        self._prefix: int = trunk.num_prefix_tokens
        self._tokens = tokens + (self._prefix if trunk.no_embed_class else 0)

    def forward(self, images: Tensor) -> Tensor:
        trunk = self.trunk
        embedded = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(images)))  # noqa: SLF001  # no public name
        rows = embedded.reshape(-1, self._width)
        *blocks, last = trunk.blocks
        for block in blocks:
            rows = _rest(block, rows, *_projected(block, rows, self._tokens))
        query, keys, values = _projected(last, rows, self._tokens)
        if trunk.attn_pool is None:
            first = rows.reshape(-1, self._tokens, self._width)[:, 0]
            rows = trunk.norm(_rest(last, first, query[:, :, :1], keys, values))
        else:
            rows = self._pooled(trunk.norm(_rest(last, rows, query, keys, values)))
        embeddings: Tensor = trunk.head(trunk.fc_norm(rows))
        return embeddings

    def _pooled(self, rows: Tensor) -> Tensor:
        """Attention pooling with one query: (b * tokens, width) -> (b, width)."""
        pool, tokens = self.trunk.attn_pool, self._tokens
        if self._prefix and not self.trunk.pool_include_prefix:
            rows = rows.reshape(-1, tokens, self._width)[:, self._prefix :].reshape(-1, self._width)
            tokens -= self._prefix
        split = pool.kv(rows).reshape(-1, tokens, 2, pool.num_heads, pool.head_dim)
        keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
        query = pool.q_norm(pool.q(pool.latent).reshape(1, 1, pool.num_heads, pool.head_dim).transpose(1, 2))
        seen = pool.proj(_attended(query * pool.scale, pool.k_norm(keys), values))
        behind: Tensor = seen + pool.mlp(pool.norm(seen))
        return behind


def _projected(block: Any, rows: Tensor, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of all tokens, each (b, heads, tokens, width / heads)."""
    attention = block.attn
    split = attention.qkv(block.norm1(rows)).reshape(-1, tokens, 3, attention.num_heads, attention.head_dim)
    query, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
    return attention.q_norm(query), attention.k_norm(keys), values


def _rest(block: Any, rows: Tensor, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The rest of a block after its projections: (b * q, width) for the q tokens of `query`."""
    attention = block.attn
    seen = attention.proj(attention.norm(_attended(query * attention.scale, keys, values)))
    rows = rows + block.ls1(seen)
    behind: Tensor = rows + block.ls2(block.mlp(block.norm2(rows)))
    return behind


def _attended(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention without projections: (b, heads, q, d) -> (b * q, heads * d)."""
    weights = torch.softmax(query @ keys.transpose(-2, -1), dim=-1)
    return (weights @ values).transpose(1, 2).reshape(-1, values.shape[1] * values.shape[3])
