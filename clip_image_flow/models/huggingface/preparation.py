"""Preprocessing of transformers' checkpoints: `preprocessor_config.json` and the tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from clip_image_flow.errors import ModelError
from clip_image_flow.models import tokenizer_files
from clip_image_flow.models.json_files import read_object
from clip_image_flow.models.normalisation import MEAN, STD
from clip_image_flow.models.preparation import ImagePreparation, TextPreparation

PREPROCESSOR = "preprocessor_config.json"
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_CLEANINGS = {"Siglip": "siglip", "Gemma": "lowercase", "Siglip2": "lowercase"}
"""Text cleaning by the name of a tokenizer's class, without `Tokenizer` or `TokenizerFast`.

SigLIP 2 was trained with texts in lower case, although Gemma's tokenizer itself keeps upper case.
"""


def image(folder: Path, name: str, usual: ImagePreparation) -> ImagePreparation:
    """Image preprocessing from `preprocessor_config.json`; the number of pixels comes from the model.

    :param folder: folder of the checkpoint.
    :param name: name of the model in error messages.
    :param usual: defaults for missing settings.
    :raises ModelError: a setting is not supported.
    """
    if not (folder / PREPROCESSOR).is_file():
        return usual
    wanted = read_object(folder / PREPROCESSOR, name)
    for key in ("do_resize", "do_rescale"):
        if wanted.get(key) is False:
            raise ModelError(f"model {name!r} has {key} false; images are always resized and scaled")
    factor = wanted.get("rescale_factor", 1 / 255)
    if not isinstance(factor, int | float) or abs(factor * 255 - 1) > 1e-3:
        raise ModelError(f"model {name!r} has rescale_factor {factor!r}; supported: 1/255")
    interpolation = _INTERPOLATIONS.get(wanted.get("resample", 3))
    if interpolation is None:
        raise ModelError(f"model {name!r} has resample {wanted['resample']!r}; supported: 2 (bilinear) and 3 (bicubic)")
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if wanted.get("do_normalize") is not False:
        mean = _three(wanted, "image_mean", usual.mean, MEAN, name)
        std = _three(wanted, "image_std", usual.std, STD, name)
    return ImagePreparation(_resize(wanted, usual.resize, name), interpolation, mean, std)


def clip_text() -> TextPreparation:
    """Text preprocessing of CLIP: its own byte pair encoding, equal to the tokenizer.json of all its checkpoints."""
    return TextPreparation()


def siglip_text(folder: Path, name: str) -> TextPreparation:
    """Text preprocessing of SigLIP, from its tokenizer.

    :raises ModelError: there is no tokenizer.json, or it belongs to another model family.
    """
    found = tokenizer_files.read(folder, name)
    family = found.kind.removesuffix("Fast").removesuffix("Tokenizer")
    if family not in _CLEANINGS or found.pad is None:
        raise ModelError(
            f"model {name!r}: {tokenizer_files.CONFIG} names the class {found.kind!r} and the pad_token {found.pad!r}; "
            f"SigLIP's tokenizers are {', '.join(f'{known}Tokenizer' for known in _CLEANINGS)}"
        )
    return TextPreparation(tokenizer=found.path, cleaning=_CLEANINGS[family], pad=found.pad, shortens=False)


def _resize(wanted: dict[str, Any], usual: str, name: str) -> str:
    """One of `RESIZE_MODES`: a `size` of one number is the length of the shorter side, followed by a centre crop."""
    size, crop = wanted.get("size"), wanted.get("crop_size")
    if size is None:
        return usual
    shortest = size.get("shortest_edge") if isinstance(size, dict) else size if isinstance(size, int) else None
    cut = {crop} if isinstance(crop, int) else set(crop.values()) if isinstance(crop, dict) else {None}
    if shortest is not None:
        if not wanted.get("do_center_crop", True) or not cut <= {shortest, None}:
            raise ModelError(
                f"model {name!r} has size {size} and crop_size {crop} with do_center_crop "
                f"{wanted.get('do_center_crop', True)}; supported: a center crop as wide as the shorter side"
            )
        return "shortest" if usual == "shortest" or "do_center_crop" in wanted else usual
    if isinstance(size, dict) and size.keys() >= {"height", "width"} and size["height"] == size["width"]:
        if wanted.get("do_center_crop") and not cut <= {size["height"], None}:
            raise ModelError(f"model {name!r} has size {size} and crop_size {crop}, which are not the same square")
        return "squash"
    raise ModelError(f"model {name!r} has images of size {size}; supported: squares")


def _three(
    wanted: dict[str, Any], key: str, usual: tuple[float, ...], openais: tuple[float, ...], name: str
) -> tuple[float, ...]:
    """The three numbers called `key`; rounded values of OpenAI's are replaced by the exact ones."""
    if key not in wanted:
        return usual
    value = wanted[key]
    numbers = (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in value)
    )
    if not numbers or (key == "image_std" and min(value) <= 0):
        raise ModelError(f"model {name!r} has {key} {value!r}; supported: three numbers")
    return openais if np.allclose(value, openais, rtol=0, atol=1e-4) else tuple(float(one) for one in value)
