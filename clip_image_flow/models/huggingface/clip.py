"""Loads CLIP in transformers' layout into OpenAI's modules, by a map of keys, with the configured activation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_image_flow.errors import ModelError
from clip_image_flow.models.huggingface import tensors as weights
from clip_image_flow.models.json_files import part
from clip_image_flow.models.preparation import ImagePreparation
from clip_wire.info import IMAGE, TEXT

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGES = ImagePreparation()
_TOP = {
    "vision_model.embeddings.class_embedding": "class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "positional_embedding",
    "vision_model.pre_layrnorm.weight": "ln_pre.weight",  # misspelled in transformers
    "vision_model.pre_layrnorm.bias": "ln_pre.bias",
    "vision_model.post_layernorm.weight": "ln_post.weight",
    "vision_model.post_layernorm.bias": "ln_post.bias",
}
_TOP_OF_TEXT = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
_PARTS = {IMAGE: ("vision_model.", "visual_projection."), TEXT: ("text_model.", "text_projection.")}
_COMMON = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_VOCABULARY = 49408  # tokens of CLIP's byte pair encoding


def load(file: Path, whole: dict[str, Any], name: str, kind: str) -> nn.Module:
    """Load the image or the text half in `file`, in fp32.

    :param file: safetensors file.
    :param whole: content of config.json.
    :param name: name of the model in error messages.
    :param kind: `image` or `text`.
    :raises ModelError: the weights are missing or corrupt, or do not fit the configuration.
    """
    config = _text_config(whole, name) if kind == TEXT else _vision_config(whole, name)
    activation = _activation(config["hidden_act"], name)
    found, logits = weights.read(file, _PARTS[kind], name)
    from clip_image_flow.models.openai_clip import with_logit_scale

    with weights.fitting(name):
        half = _text(found, config) if kind == TEXT else _visual(found, config)
        _change(half, activation, float(config["layer_norm_eps"]))
        return with_logit_scale(half, logits)


def _visual(found: dict[str, Tensor], config: dict[str, Any]) -> nn.Module:
    from clip_image_flow.models.openai_clip import VisionTransformer

    layers = config["num_hidden_layers"]
    state = _to_openai(found, layers, _TOP, "vision_model")
    state["proj"] = found.pop("visual_projection.weight").T.contiguous()
    weights.check_empty(found)
    visual: nn.Module = VisionTransformer(
        input_resolution=config["image_size"],
        patch_size=config["patch_size"],
        width=config["hidden_size"],
        layers=layers,
        heads=config["num_attention_heads"],
        output_dim=state["proj"].shape[1],
    )
    visual.load_state_dict(state)
    return visual.eval()


def _text(found: dict[str, Tensor], config: dict[str, Any]) -> nn.Module:
    from clip_image_flow.models.text import ClipText

    state = _to_openai(found, config["num_hidden_layers"], _TOP_OF_TEXT, "text_model")
    state["text_projection"] = found.pop("text_projection.weight").T.contiguous()
    weights.check_empty(found)
    return ClipText(state, heads=config["num_attention_heads"], exact=True)


def _vision_config(whole: dict[str, Any], name: str) -> dict[str, Any]:
    """The vision part of config.json, completed with the defaults of transformers' CLIPVisionConfig."""
    alone = whole.get("model_type") == "clip_vision_model"
    return {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 32,
        **_COMMON,
        **(whole if alone else part(whole, "vision_config", Path("config.json"), name)),
    }


def _text_config(whole: dict[str, Any], name: str) -> dict[str, Any]:
    """The text part of config.json, completed with the defaults of transformers' CLIPTextConfig."""
    config = {
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "vocab_size": _VOCABULARY,
        **_COMMON,
        **part(whole, "text_config", Path("config.json"), name),
    }
    if config["vocab_size"] != _VOCABULARY:
        raise ModelError(f"model {name!r} has a vocabulary of {config['vocab_size']}; OpenAI's CLIP has {_VOCABULARY}")
    return config


def _activation(called: Any, name: str) -> Callable[[], nn.Module]:
    from torch import nn

    from clip_image_flow.models.openai_clip import clip

    known: dict[str, Callable[[], nn.Module]] = {
        "quick_gelu": clip.model.QuickGELU,
        "gelu": nn.GELU,
        "gelu_pytorch_tanh": lambda: nn.GELU(approximate="tanh"),
        "gelu_new": lambda: nn.GELU(approximate="tanh"),
    }
    if called not in known:
        raise ModelError(f"model {name!r} uses the activation {called!r}; supported: {', '.join(known)}")
    return known[called]


def _change(half: nn.Module, activation: Callable[[], nn.Module], eps: float) -> None:
    """Replace the activations of OpenAI's module `half`, and the epsilon of its layer norms."""
    from clip_image_flow.models.openai_clip import LayerNorm, clip

    for module in list(half.modules()):
        if isinstance(module, LayerNorm):
            module.eps = eps
        for called, child in module.named_children():
            if isinstance(child, clip.model.QuickGELU):
                setattr(module, called, activation())


def _to_openai(rest: dict[str, Tensor], layers: int, top: dict[str, str], half: str) -> dict[str, Tensor]:
    """Rename Hugging Face's keys to OpenAI's; remove the renamed weights from `rest`."""
    state = weights.moved(rest, top)
    for i in range(layers):
        theirs, ours = f"{half}.encoder.layers.{i}", f"transformer.resblocks.{i}"
        state |= weights.layer(rest, theirs, ours, weights.RESIDUAL_BLOCK, "attn.in_proj_{}")
    return state
