"""Writes checkpoints of each family in OpenCLIP's layout, with random weights, and encodes with `open_clip` itself."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from clip_image_flow.models.openclip.library import open_clip

CLIP_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
CLIP_VISION = {"image_size": 64, "patch_size": 16, "width": 64, "head_width": 32, "layers": 2}
SIGLIP_TEXT = {
    "context_length": 16,
    "vocab_size": 320,
    "hf_tokenizer_name": "acme/tokenizer",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "width": 64,
    "heads": 2,
    "layers": 2,
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
    "act_kwargs": {"approximate": "tanh"},
}
OPENAIS = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
SIGLIPS = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
MOBILE = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "resize_mode": "shortest"}


def timm_vision(name: str, size: int, pool: str, proj: str | None) -> dict[str, Any]:
    return {
        "image_size": size,
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": pool,
        "timm_proj": proj,
    }


def clip_like(**changes: Any) -> dict[str, Any]:
    return {"embed_dim": 32, "vision_cfg": CLIP_VISION, "text_cfg": CLIP_TEXT, **changes}


# All code paths of each family, with small models where possible: those of timm have the sizes that their names imply.
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ViT-B-32 gelu": (clip_like(), OPENAIS),
    "ViT-B-32 quickgelu": (clip_like(quick_gelu=True), OPENAIS),
    "ViT-B-16": (clip_like(vision_cfg={**CLIP_VISION, "patch_size": 8, "layers": 3}), OPENAIS),
    "layer scale": (clip_like(vision_cfg={**CLIP_VISION, "ls_init_value": 0.1}), OPENAIS),
    "CLIPA": (
        clip_like(
            vision_cfg={**CLIP_VISION, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
            text_cfg={**CLIP_TEXT, "no_causal_mask": True, "pool_type": "last", "context_length": 32},
        ),
        {"interpolation": "bilinear", "resize_mode": "squash"},
    ),
    "padded": (clip_like(), {"resize_mode": "longest", "fill_color": 127, "interpolation": "bicubic"}),
    "RN50": (clip_like(vision_cfg={"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64}), OPENAIS),
    "SigLIP 2": (
        {
            "embed_dim": 768,
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": timm_vision("vit_base_patch32_siglip_256", 256, "map", "none"),
            "text_cfg": SIGLIP_TEXT,
        },
        SIGLIPS,
    ),
    "MobileCLIP2-S0": (
        {
            "embed_dim": 32,
            "custom_text": True,
            "vision_cfg": timm_vision("fastvit_mci0", 256, "avg", None),
            "text_cfg": {**CLIP_TEXT, "no_causal_mask": True},
        },
        MOBILE,
    ),
    "ConvNeXt": (
        {"embed_dim": 32, "vision_cfg": timm_vision("convnext_atto", 64, "", "linear"), "text_cfg": CLIP_TEXT},
        OPENAIS,
    ),
    "EVA02": (
        {
            "embed_dim": 32,
            "custom_text": True,
            "vision_cfg": timm_vision("eva02_tiny_patch14_224", 224, "token", None),
            "text_cfg": CLIP_TEXT,
        },
        OPENAIS,
    ),
    "class token of timm": (
        {
            "embed_dim": 32,
            "custom_text": True,
            "vision_cfg": timm_vision("vit_tiny_patch16_224", 224, "token", None),
            "text_cfg": CLIP_TEXT,
        },
        OPENAIS,
    ),
    "CoCa": (
        clip_like(
            custom_text=True,
            vision_cfg={
                **CLIP_VISION,
                "attentional_pool": True,
                "attn_pooler_heads": 2,
                "attn_pooler_queries": 8,
                "output_tokens": True,
            },
            text_cfg={**CLIP_TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
            multimodal_cfg={**CLIP_TEXT, "context_length": 76, "layers": 1, "attn_pooler_heads": 2},
        ),
        OPENAIS,
    ),
}


def randomise(model: Any) -> None:
    """Add noise to all weights, including biases and norms, so that the activations stay in a usual range."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.02 if parameter.ndim > 1 else 0.1))
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        for module in norms:
            module.momentum = 1.0
        if norms:  # set to the statistics of random images, so that embeddings of images differ after many layers
            size = model.visual.image_size
            side = size if isinstance(size, int) else size[0]
            model.train().visual(torch.randn(4, 3, side, side))


def random_model(model_cfg: dict[str, Any], seed: int = 0) -> Any:
    """Return `open_clip`'s model of an architecture, with random weights."""
    config = copy.deepcopy(model_cfg)
    custom = config.pop("custom_text", False)
    torch.manual_seed(seed)
    whole = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    model = whole(**config)
    randomise(model)
    with torch.no_grad():
        model.logit_scale.fill_(float(np.log(20.0)))
    return model.eval()


def save_checkpoint(folder: Path, model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any], *, seed: int = 0) -> Path:
    """Write a directory in the layout of `open_clip.push_to_hf_hub`; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    state = random_model(model_cfg, seed).state_dict()
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in state.items()}, folder / "open_clip_model.safetensors"
    )
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


class Reference:
    """Encodes with `open_clip` itself and the model in a directory."""

    def __init__(self, folder: Path) -> None:
        name = f"local-dir:{folder}"
        self.model, self.transform = open_clip.create_model_from_pretrained(name)
        self.tokenizer = open_clip.get_tokenizer(name)
        self.model.eval()

    def images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return embeddings of images, float32 (n, dim), not scaled to length 1."""
        with torch.inference_mode():
            batch = torch.stack([self.transform(picture) for picture in pictures])
            return self._raw(self.model.encode_image, batch)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return embeddings of texts, float32 (n, dim), not scaled to length 1."""
        with torch.inference_mode():
            return self._raw(self.model.encode_text, self.tokenizer(list(texts)))

    def _raw(self, encode: Any, batch: torch.Tensor) -> np.ndarray:
        return np.asarray(encode(batch, normalize=False).numpy())
