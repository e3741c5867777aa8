"""Describes a checkpoint of OpenCLIP's: its architecture, preprocessing and files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_image_flow.errors import ModelError
from clip_image_flow.models import tokenizer_files
from clip_image_flow.models.json_files import part, read_object
from clip_image_flow.models.normalisation import MEAN, STD
from clip_image_flow.models.openclip import architectures
from clip_image_flow.models.preparation import (
    CLEANINGS,
    INTERPOLATIONS,
    RESIZE_MODES,
    ImagePreparation,
    Preparation,
    TextPreparation,
)
from clip_wire.info import IMAGE

CONFIG = "open_clip_config.json"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
)
"""File names of weights in a folder, in order of preference."""
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_SPECIAL = ("<start_of_text>", "<end_of_text>")


@dataclass(frozen=True)
class Description:
    """A checkpoint whose files are on disk.

    :param name: name of the model in error messages.
    :param model_cfg: architecture, as `open_clip` takes it.
    :param preprocess_cfg: image preprocessing, as in open_clip_config.json; defaults are those of OpenAI's models.
    :param weights: file of weights.
    :param tokenizer: folder of tokenizer.json; None for CLIP's byte pair encoding.
    """

    name: str
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]
    weights: Path
    tokenizer: Path | None

    def __post_init__(self) -> None:
        check_architecture(self.model_cfg, self.name)

    def built(self) -> str:
        """JSON of the architecture and preprocessing, which the weight file does not contain."""
        return json.dumps([self.model_cfg, self.preprocess_cfg], sort_keys=True, separators=(",", ":"))

    def prepared(self, kind: str) -> Preparation:
        """Preprocessing of images or texts.

        :raises ModelError: the preprocessing is not supported.
        """
        return self._image() if kind == IMAGE else self._text()

    def _image(self) -> ImagePreparation:
        wanted = {key: value for key, value in self.preprocess_cfg.items() if value is not None}
        resize = wanted.get("resize_mode", "shortest")
        interpolation = wanted.get("interpolation", "bicubic")
        if interpolation == "random":  # for training only
            interpolation = "bicubic"
        if resize not in RESIZE_MODES or interpolation not in INTERPOLATIONS or wanted.get("mode", "RGB") != "RGB":
            raise ModelError(
                f"model {self.name!r} needs images in {wanted.get('mode', 'RGB')}, resized by {resize!r} and "
                f"{interpolation!r}; supported: RGB, {', '.join(RESIZE_MODES)}, and {', '.join(INTERPOLATIONS)}"
            )
        fill = wanted.get("fill_color", 0)
        if not isinstance(fill, int) or not 0 <= fill <= 255:
            raise ModelError(f"model {self.name!r} has fill_color {fill!r}; supported: 0 to 255")
        return ImagePreparation(
            resize,
            interpolation,
            self._three(wanted, "mean", MEAN),
            self._three(wanted, "std", STD),
            fill if resize == "longest" else 0,
        )

    def _three(self, wanted: dict[str, Any], key: str, usual: tuple[float, ...]) -> tuple[float, ...]:
        value = wanted.get(key, usual)
        if isinstance(value, int | float):
            value = [value] * 3
        numbers = isinstance(value, list | tuple) and all(isinstance(one, int | float) for one in value)
        if not numbers or len(value) != 3 or (key == "std" and min(value) <= 0):
            raise ModelError(f"model {self.name!r} has {key} {value!r}; supported: three numbers")
        return tuple(float(one) for one in value)

    def _text(self) -> TextPreparation:
        text = part(self.model_cfg, "text_cfg", Path(CONFIG), self.name)
        options = text.get("tokenizer_kwargs") or {}
        plain = not text.get("no_causal_mask") and text.get("pool_type", "argmax") == "argmax"
        shortens = plain and not text.get("embed_cls")
        cleaning = options.get("clean", "whitespace" if self.tokenizer else "lower")
        if cleaning not in CLEANINGS:
            raise ModelError(f"model {self.name!r} needs texts cleaned by {cleaning!r}; supported: {CLEANINGS}")
        if not self.tokenizer:
            return TextPreparation(cleaning=cleaning, special=_SPECIAL, shortens=shortens)
        found = tokenizer_files.read(self.tokenizer, self.name)
        if found.pad is None or (options.get("strip_sep_token") and found.separator is None):
            raise ModelError(f"model {self.name!r}: {self.tokenizer} does not name the pad_token and sep_token it has")
        return TextPreparation(
            tokenizer=found.path,
            cleaning=cleaning,
            pad=found.pad,
            erased=(found.separator,) if options.get("strip_sep_token") and found.separator else (),
            shortens=False,
        )


def check_architecture(model_cfg: dict[str, Any], name: str) -> None:
    """Check that a model's architecture is supported.

    :raises ModelError: the architecture is not supported.
    """
    if why := architectures.why_not(model_cfg):
        served = ", ".join(architectures.served())
        raise ModelError(f"model {name!r} cannot be used: {why}. Supported: {served}")


def of_folder(folder: Path, name: str, weights: Path | None = None) -> Description:
    """Describe the checkpoint in `folder`: open_clip_config.json, weights, and possibly tokenizer.json.

    :param name: name of the model in error messages.
    :param weights: file of weights; by default it is found by its name.
    :raises ModelError: a file is missing, or the model is not supported.
    """
    whole = read_object(folder / CONFIG, name)
    model_cfg = part(whole, "model_cfg", folder / CONFIG, name)
    if not model_cfg:
        raise ModelError(f"model {name!r}: {folder / CONFIG} has no model_cfg")
    uses_tokenizer = bool(part(model_cfg, "text_cfg", folder / CONFIG, name).get("hf_tokenizer_name"))
    return Description(
        name,
        model_cfg,
        part(whole, "preprocess_cfg", folder / CONFIG, name),
        weights or weights_in(folder, name),
        folder if uses_tokenizer else None,
    )


def weights_in(folder: Path, name: str) -> Path:
    """Find the file of weights in `folder`.

    :raises ModelError: there is none, or there are several without a name from `WEIGHTS`.
    """
    for known in WEIGHTS:
        if (folder / known).is_file():
            return folder / known
    found = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if len(found) == 1:
        return found[0]
    has = f"has {', '.join(file.name for file in found)}" if found else "has no weights"
    raise ModelError(f"model {name!r}: {folder} {has}; one file is needed, such as {WEIGHTS[0]}")
