"""OpenAI's weights under the names of transformers' CLIPModel (modeling_clip.py), as both halves have them."""

from __future__ import annotations

from torch import Tensor

# transformers' name of a part of a layer -> OpenAI's.
_PARTS = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def half_weights(
    ours: dict[str, Tensor], half: str, layers: int, norms: dict[str, str], others: dict[str, Tensor]
) -> dict[str, Tensor]:
    """All weights of a half, as safetensors takes them: none shares memory with another.

    :param half: `vision_model` or `text_model`.
    :param norms: transformers' name of a norm -> OpenAI's.
    :param others: weights outside norms and layers, under their own names.
    """
    theirs = dict(others)
    for kind in ("weight", "bias"):
        for their_name, our_name in norms.items():
            theirs[f"{half}.{their_name}.{kind}"] = ours[f"{our_name}.{kind}"]
        for i in range(layers):
            layer, block = f"{half}.encoder.layers.{i}", f"transformer.resblocks.{i}"
            for name, part in zip("qkv", ours[f"{block}.attn.in_proj_{kind}"].chunk(3), strict=True):
                theirs[f"{layer}.self_attn.{name}_proj.{kind}"] = part
            for their_name, our_name in _PARTS.items():
                theirs[f"{layer}.{their_name}.{kind}"] = ours[f"{block}.{our_name}.{kind}"]
    return {name: tensor.contiguous().clone() for name, tensor in theirs.items()}
