"""Checkpoints in the layout of Hugging Face's transformers: `config.json` and `model.safetensors`.

| module | what it loads |
|---|---|
| `clip` | CLIP, with any of its activations |
| `siglip` | SigLIP, and SigLIP 2 of fixed resolution, which has the same architecture |
| `preparation` | the preprocessing of images and texts |
| `tensors` | weights |

Only safetensors are read (no pickle), and only the requested half. Unsupported models are refused by name. No module
imports torch before weights are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_image_flow.errors import ModelError
from clip_image_flow.models import hub
from clip_image_flow.models.huggingface import clip, preparation, siglip
from clip_image_flow.models.json_files import read_object
from clip_image_flow.models.preparation import Preparation
from clip_image_flow.models.tokenizer_files import FILES as TOKENIZER_FILES
from clip_wire.info import IMAGE, TEXT

if TYPE_CHECKING:
    from torch import nn

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FILES = (CONFIG, WEIGHTS, preparation.PREPROCESSOR)
"""Files of a checkpoint that its fingerprint covers; the tokenizer is part of the text preprocessing."""
_KINDS: dict[str, Any] = {
    "clip": clip,
    "clip_vision_model": clip,
    "siglip": siglip,
    "siglip_vision_model": siglip,
}
_WITH_TEXT = ("clip", "siglip")
_NOT_SUPPORTED = {
    "siglip2": "SigLIP 2 of variable resolution (NaFlex)",
    "clip_text_model": "the text half of CLIP alone",
    "siglip_text_model": "the text half of SigLIP alone",
    "chinese_clip": "Chinese-CLIP, whose texts go through BERT",
    "altclip": "AltCLIP, whose texts go through XLM-RoBERTa",
    "metaclip_2": "MetaCLIP 2 in transformers' layout; OpenCLIP has it as ViT-H-14-worldwide",
}


def is_checkpoint(folder: Path, name: str) -> bool:
    """Whether `folder` has a config.json of transformers, of any model."""
    return (folder / CONFIG).is_file() and "model_type" in read_object(folder / CONFIG, name)


def files(folder: Path) -> list[Path]:
    """Paths of the checkpoint's files in `folder`."""
    return [folder / file for file in FILES]


def download(repository: str, cache_dir: Path) -> Path:
    """Download `repository` (`organisation/name`), unless it is cached, and return its folder in the cache.

    :raises ModelError: the repository does not exist, or the hub is unreachable.
    """
    folder = hub.download(repository, cache_dir, [*FILES, *TOKENIZER_FILES])
    if (folder / WEIGHTS).is_file():
        hub.check(folder / WEIGHTS, repository)
    return folder


def downloaded(repository: str, cache_dir: Path) -> list[Path]:
    """Paths of the files of `repository` that are in the cache; nothing is downloaded."""
    return hub.cached(repository, cache_dir, FILES)


def load(folder: Path, name: str, kind: str) -> nn.Module:
    """Load the image or the text half in `folder`, in fp32.

    :raises ModelError: a file is missing or corrupt, or the model is not supported.
    """
    prepared(folder, name, kind)  # raises early if the preprocessing is not supported
    config = read_object(folder / CONFIG, name)
    half: nn.Module = _module(config, name, kind).load(folder / WEIGHTS, config, name, kind)
    return half


def prepared(folder: Path, name: str, kind: str) -> Preparation:
    """Preprocessing of the images or texts of the checkpoint in `folder`.

    :raises ModelError: the preprocessing is not supported.
    """
    config = read_object(folder / CONFIG, name)
    module = _module(config, name, kind)
    if kind == IMAGE:
        return preparation.image(folder, name, module.IMAGES)
    return preparation.siglip_text(folder, name) if module is siglip else preparation.clip_text()


def _module(config: dict[str, Any], name: str, kind: str) -> Any:
    of = config.get("model_type")
    if of not in _KINDS or (kind == TEXT and of not in _WITH_TEXT):
        named = f" ({_NOT_SUPPORTED[of]})" if of in _NOT_SUPPORTED else ""
        supported = "clip and siglip" if kind == TEXT else "clip, clip_vision_model, siglip and siglip_vision_model"
        raise ModelError(
            f"model {name!r} is a {of!r} model{named}; of this layout {supported} are supported, SigLIP 2 of fixed "
            "resolution among them, and of OpenCLIP's layout what docs/choosing-a-model.md lists"
        )
    return _KINDS[of]
