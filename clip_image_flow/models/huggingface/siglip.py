"""Loads SigLIP in transformers' layout into timm's vision and OpenCLIP's text transformer, by a map of keys.

OpenCLIP itself uses these modules for SigLIP. SigLIP 2 of fixed resolution has the same architecture, and transformers
calls it `siglip` too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_image_flow.errors import ModelError
from clip_image_flow.models.huggingface import tensors as weights
from clip_image_flow.models.json_files import part
from clip_image_flow.models.preparation import ImagePreparation
from clip_wire.info import IMAGE, TEXT

if TYPE_CHECKING:
    from torch import Tensor, nn

_HALF = (0.5, 0.5, 0.5)
IMAGES = ImagePreparation("squash", "bicubic", _HALF, _HALF)
_ACTIVATIONS = {"gelu": "none", "gelu_pytorch_tanh": "tanh", "gelu_new": "tanh"}  # `approximate` of torch's GELU
_PARTS = {IMAGE: "vision_model.", TEXT: "text_model."}
_COMMON = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_COMMON_MORE = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
_PARTS_OF_VISION = {
    "embeddings.patch_embedding": "patch_embed.proj",
    "post_layernorm": "norm",
    "head.attention.out_proj": "attn_pool.proj",
    "head.layernorm": "attn_pool.norm",
    "head.mlp.fc1": "attn_pool.mlp.fc1",
    "head.mlp.fc2": "attn_pool.mlp.fc2",
}
_PARTS_OF_TEXT = {"final_layer_norm": "ln_final", "head": "text_projection"}
_LAYER_OF_VISION = {
    "self_attn.out_proj": "attn.proj",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def load(file: Path, whole: dict[str, Any], name: str, kind: str) -> nn.Module:
    """Load the image or the text half in `file`, in fp32.

    :param file: safetensors file.
    :param whole: content of config.json.
    :param name: name of the model in error messages.
    :param kind: `image` or `text`.
    :raises ModelError: the weights are missing or corrupt, or do not fit the configuration.
    """
    config = _config(whole, name, kind)
    found, logits = weights.read(file, (_PARTS[kind],), name)
    rest = {key.removeprefix(_PARTS[kind]): tensor for key, tensor in found.items()}
    from clip_image_flow.models.halves import as_half
    from clip_image_flow.models.openclip.library import open_clip  # noqa: F401  # its error says what to install

    with weights.fitting(name):
        if kind == TEXT:
            text = _text(rest, config)
            return as_half(text, logits, output_dim=text.output_dim)
        return as_half(
            _visual(rest, config), logits, input_resolution=config["image_size"], output_dim=config["hidden_size"]
        )


def _config(whole: dict[str, Any], name: str, kind: str) -> dict[str, Any]:
    """A part of config.json, completed with the defaults of transformers' SiglipVisionConfig or SiglipTextConfig."""
    alone = whole.get("model_type") == "siglip_vision_model"
    own = whole if alone else part(whole, "text_config" if kind == TEXT else "vision_config", Path("config.json"), name)
    config = {**_COMMON, **_COMMON_MORE, "image_size": 224, "patch_size": 16, **own}
    if config["hidden_act"] not in _ACTIVATIONS:
        raise ModelError(
            f"model {name!r} uses the activation {config['hidden_act']!r}; supported: {', '.join(_ACTIVATIONS)}"
        )
    if not config.get("vision_use_head", True):
        raise ModelError(f"model {name!r} has vision_use_head false; only SigLIP with attention pooling is supported")
    return config


def _visual(rest: dict[str, Tensor], config: dict[str, Any]) -> nn.Module:
    from functools import partial

    from timm.models.vision_transformer import VisionTransformer
    from torch import nn

    width, layers = config["hidden_size"], config["num_hidden_layers"]
    state = weights.moved(rest, _of_both(_PARTS_OF_VISION))
    state["pos_embed"] = rest.pop("embeddings.position_embedding.weight").unsqueeze(0)
    state["attn_pool.latent"] = rest.pop("head.probe")
    for kind in ("weight", "bias"):
        together = rest.pop(f"head.attention.in_proj_{kind}")
        state[f"attn_pool.q.{kind}"], state[f"attn_pool.kv.{kind}"] = together[:width], together[width:]
    for i in range(layers):
        state |= weights.layer(rest, f"encoder.layers.{i}", f"blocks.{i}", _LAYER_OF_VISION, "attn.qkv.{}")
    weights.check_empty(rest)
    visual: nn.Module = VisionTransformer(
        img_size=config["image_size"],
        patch_size=config["patch_size"],
        num_classes=0,
        global_pool="map",
        class_token=False,
        embed_dim=width,
        depth=layers,
        num_heads=config["num_attention_heads"],
        mlp_ratio=_ratio(config),
        norm_layer=partial(nn.LayerNorm, eps=config["layer_norm_eps"]),
        act_layer=partial(nn.GELU, approximate=_ACTIVATIONS[config["hidden_act"]]),
        weight_init="skip",
    )
    visual.load_state_dict(state)
    return visual.eval()


def _text(rest: dict[str, Tensor], config: dict[str, Any]) -> Any:
    from functools import partial

    from open_clip.transformer import LayerNorm, TextTransformer
    from torch import nn

    from clip_image_flow.models.halves import Text

    names = _of_both(_PARTS_OF_TEXT) | {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
    }
    state = weights.moved(rest, names)
    for i in range(config["num_hidden_layers"]):
        theirs, ours = f"encoder.layers.{i}", f"transformer.resblocks.{i}"
        state |= weights.layer(rest, theirs, ours, weights.RESIDUAL_BLOCK, "attn.in_proj_{}")
    weights.check_empty(rest)
    text = TextTransformer(
        context_length=len(state["positional_embedding"]),
        vocab_size=len(state["token_embedding.weight"]),
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        layers=config["num_hidden_layers"],
        mlp_ratio=_ratio(config),
        output_dim=len(state["text_projection.weight"]),
        no_causal_mask=True,
        pool_type="last",
        proj_bias=True,
        norm_layer=partial(LayerNorm, eps=config["layer_norm_eps"]),
        act_layer=partial(nn.GELU, approximate=_ACTIVATIONS[config["hidden_act"]]),
    )
    text.load_state_dict(state)
    return Text(text)


def _ratio(config: dict[str, Any]) -> float:
    """The MLP ratio: the width times it, rounded down, is the inner width."""
    return float((config["intermediate_size"] + 0.5) / config["hidden_size"])


def _of_both(parts: dict[str, str]) -> dict[str, str]:
    """The map from theirs to ours for the weights and biases of `parts`."""
    return {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in parts.items() for kind in ("weight", "bias")}
