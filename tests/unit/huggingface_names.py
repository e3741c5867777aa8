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


def layer_weights(ours: dict[str, Tensor], half: str, layers: int) -> dict[str, Tensor]:
    """Those of the transformer of a half, `vision_model` or `text_model`."""
    theirs: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        for i in range(layers):
            layer, block = f"{half}.encoder.layers.{i}", f"transformer.resblocks.{i}"
            for name, part in zip("qkv", ours[f"{block}.attn.in_proj_{kind}"].chunk(3), strict=True):
                theirs[f"{layer}.self_attn.{name}_proj.{kind}"] = part
            for their_name, our_name in _PARTS.items():
                theirs[f"{layer}.{their_name}.{kind}"] = ours[f"{block}.{our_name}.{kind}"]
    return theirs


def saved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same as safetensors takes them: none shares memory with another."""
    return {name: tensor.contiguous().clone() for name, tensor in weights.items()}
