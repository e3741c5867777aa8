"""A CLIP checkpoint in Hugging Face's layout -> a half of OpenAI's CLIP, by a map of keys.

Only safetensors are read (no pickle), only the half that is asked for, and a checkpoint whose numbers OpenAI's
architecture would get wrong (another activation, layer norm, preprocessing or vocabulary) is refused by name.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from clip_image_flow.errors import ModelError
from clip_image_flow.models.normalisation import MEAN, STD
from clip_wire.info import IMAGE, TEXT

if TYPE_CHECKING:
    from torch import Tensor, nn

FILES = _CONFIG, _WEIGHTS, _PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
_TOP = {
    "vision_model.embeddings.class_embedding": "class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "positional_embedding",
    "vision_model.pre_layrnorm.weight": "ln_pre.weight",  # the misspelling is theirs
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
_LOGIT_SCALE = "logit_scale"
_COMMON = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_VOCABULARY = 49408  # tokens of CLIP's byte pair encoding
_LAYER = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def download(repository: str, cache_dir: Path) -> Path:
    """The folder of `repository` (`organisation/name`) in the cache, fetched where it is not there.

    :raises ModelError: it does not exist, or cannot be reached.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT")
    try:
        return Path(snapshot_download(repository, cache_dir=cache_dir, allow_patterns=list(FILES), endpoint=endpoint))
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"model {repository!r}: the hub has no such repository, or HF_TOKEN may not read it"
        ) from error
    except Exception as error:  # whatever answers in the hub's place, and the HTTP client's own errors
        raise ModelError(
            f"model {repository!r} is not in {cache_dir} and cannot be downloaded ({_first_line(error)}); "
            "download it on a machine with network access and give its folder as pretrained_model_name_or_path"
        ) from error


def files(folder: Path) -> list[Path]:
    """What is read of a folder."""
    return [folder / file for file in FILES]


def downloaded(repository: str, cache_dir: Path) -> list[Path]:
    """The same of `repository` as far as it is in the cache; nothing is fetched."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(repository, file, cache_dir=cache_dir) for file in FILES]
    return [Path(file) for file in found if isinstance(file, str)]


def load(folder: Path, name: str, kind: str) -> nn.Module:
    """The image or the text half in `folder`, in fp32.

    :raises ModelError: a file is missing or broken, or the checkpoint is not OpenAI's architecture.
    """
    config = _text_config(folder, name) if kind == TEXT else _vision_config(folder, name)
    tensors = _tensors(folder, name, (*_PARTS[kind], _LOGIT_SCALE))
    scale = {key: tensors.pop(key) for key in (_LOGIT_SCALE,) if key in tensors}
    from clip_image_flow.models.openai_clip import with_logit_scale

    try:
        return with_logit_scale(_text(tensors, config) if kind == TEXT else _visual(tensors, config), scale)
    except (KeyError, RuntimeError, TypeError, ValueError, AssertionError, ArithmeticError) as error:
        raise ModelError(f"model {name!r}: the weights do not fit {_CONFIG}: {_first_line(error)}") from error


def _tensors(folder: Path, name: str, parts: tuple[str, ...]) -> dict[str, Tensor]:
    """The weights whose names begin with one of `parts`, in fp32."""
    try:
        with safe_open(folder / _WEIGHTS, framework="pt") as file:
            keys = [key for key in file.keys() if key.startswith(parts)]  # noqa: SIM118
            return {key: file.get_tensor(key).float() for key in keys}
    except FileNotFoundError as error:
        raise ModelError(f"model {name!r}: {folder} has no {_WEIGHTS}; pickled weights are not read") from error
    except SafetensorError as error:
        raise ModelError(f"model {name!r}: {folder / _WEIGHTS} is broken ({error}); copy it again") from error


def _visual(tensors: dict[str, Tensor], config: dict[str, Any]) -> nn.Module:
    from clip_image_flow.models.openai_clip import VisionTransformer

    layers = config["num_hidden_layers"]
    state = _to_openai(tensors, layers, _TOP, "vision_model")
    state["proj"] = tensors.pop("visual_projection.weight").T.contiguous()
    _check_empty(tensors)
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


def _text(tensors: dict[str, Tensor], config: dict[str, Any]) -> nn.Module:
    from clip_image_flow.models.text import ClipText

    state = _to_openai(tensors, config["num_hidden_layers"], _TOP_OF_TEXT, "text_model")
    state["text_projection"] = tensors.pop("text_projection.weight").T.contiguous()
    _check_empty(tensors)
    return ClipText(state, heads=config["num_attention_heads"], exact=True)


def _vision_config(folder: Path, name: str) -> dict[str, Any]:
    """The vision part of config.json, its gaps filled with Hugging Face's defaults (transformers, CLIPVisionConfig)."""
    whole = _json(folder / _CONFIG, name)
    kind = whole.get("model_type")
    if kind not in ("clip", "clip_vision_model"):
        raise ModelError(f"model {name!r} is a {kind!r} model; only 'clip' is served")
    config = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 32,
        **_COMMON,
        **(whole if kind == "clip_vision_model" else _part(whole, "vision_config", name)),
    }
    _check_common(config, name)
    if (folder / _PREPROCESSOR).is_file():
        wanted = _json(folder / _PREPROCESSOR, name)
        for key, ours in (("image_mean", MEAN), ("image_std", STD)):
            if key in wanted and not _close(wanted[key], ours):
                raise ModelError(f"model {name!r} wants {key} {wanted[key]}; OpenAI's CLIP has {list(ours)}")
    return config


def _text_config(folder: Path, name: str) -> dict[str, Any]:
    """The text part of config.json, its gaps filled with Hugging Face's defaults (transformers, CLIPTextConfig)."""
    whole = _json(folder / _CONFIG, name)
    if (kind := whole.get("model_type")) != "clip":
        raise ModelError(f"model {name!r} is a {kind!r} model; texts are encoded with 'clip' alone")
    config = {
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "vocab_size": _VOCABULARY,
        **_COMMON,
        **_part(whole, "text_config", name),
    }
    _check_common(config, name)
    if config["vocab_size"] != _VOCABULARY:
        raise ModelError(f"model {name!r} has a vocabulary of {config['vocab_size']}; OpenAI's CLIP has {_VOCABULARY}")
    return config


def _part(whole: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    part = whole.get(key) or {}
    if not isinstance(part, dict):
        raise ModelError(f"model {name!r}: the {key} of {_CONFIG} must be an object, not {part!r}")
    return part


def _check_common(config: dict[str, Any], name: str) -> None:
    """Both halves of OpenAI's CLIP have one activation and one epsilon."""
    if config["hidden_act"] != "quick_gelu":
        raise ModelError(f"model {name!r} uses the activation {config['hidden_act']!r}; OpenAI's CLIP has 'quick_gelu'")
    if config["layer_norm_eps"] != 1e-5:
        raise ModelError(f"model {name!r} uses layer_norm_eps {config['layer_norm_eps']}; OpenAI's CLIP has 1e-05")


def _close(value: Any, ours: tuple[float, ...]) -> bool:
    """Whether `value`, as JSON gave it, is the same list of numbers as `ours`."""
    numbers = isinstance(value, list) and all(isinstance(one, int | float) for one in value)
    return numbers and len(value) == len(ours) and bool(np.allclose(value, ours, rtol=0, atol=1e-4))


def _to_openai(rest: dict[str, Tensor], layers: int, top: dict[str, str], half: str) -> dict[str, Tensor]:
    """Hugging Face's keys -> OpenAI's; query, key and value become one matrix. `rest` keeps what is not taken."""
    import torch

    state = {ours: rest.pop(theirs) for theirs, ours in top.items()}
    for layer in range(layers):
        theirs, ours = f"{half}.encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for kind in ("weight", "bias"):
            parts = [rest.pop(f"{theirs}.self_attn.{part}_proj.{kind}") for part in "qkv"]
            state[f"{ours}.attn.in_proj_{kind}"] = torch.cat(parts)
            for their_name, our_name in _LAYER.items():
                state[f"{ours}.{our_name}.{kind}"] = rest.pop(f"{theirs}.{their_name}.{kind}")
    return state


def _check_empty(rest: dict[str, Tensor]) -> None:
    """Weights without a place are somebody else's architecture."""
    if unknown := [key for key in rest if not key.endswith(".position_ids")]:  # which are 0, 1, 2, ...
        raise KeyError(f"no place for {min(unknown)}")


def _json(file: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"model {name!r}: {file.parent} has no {file.name}") from error
    except ValueError as error:
        raise ModelError(f"model {name!r}: {file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"model {name!r}: {file} is not a JSON object")
    return content


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
