"""Preprocessing of images and texts, as a checkpoint's configuration describes it.

This module does not import torch: for a converted model only the configuration is read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_image_flow.models.normalisation import MEAN, STD

RESIZE_MODES = {"shortest": "shortest side", "squash": "both sides", "longest": "longest side"}
"""How an image becomes a square: resized by its shortest side and cropped, squashed, or by its longest and padded."""
INTERPOLATIONS = ("bicubic", "bilinear")
CLEANINGS = ("lower", "whitespace", "canonicalize", "siglip", "lowercase")
"""Text cleaning before tokenization; implemented in `clip_image_flow.text.cleaning`."""


@dataclass(frozen=True)
class ImagePreparation:
    """Preprocessing of images; the default is that of OpenAI's models.

    :param resize: one of `RESIZE_MODES`.
    :param interpolation: one of `INTERPOLATIONS`.
    :param mean: mean of red, green and blue, from 0 to 1.
    :param std: standard deviation of red, green and blue, on the same scale.
    :param fill: grey level of the padding with `longest`, 0 to 255.
    """

    resize: str = "shortest"
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    fill: int = 0

    def described(self) -> dict[str, Any]:
        """What changes a vector of it, as a fingerprint has it."""
        around: dict[str, dict[str, Any]] = {
            "shortest": {"crop": "centre"},
            "squash": {},
            "longest": {"fill": self.fill},
        }
        return {
            "resize": f"{RESIZE_MODES[self.resize]}, {self.interpolation}",
            "mean": self.mean,
            "std": self.std,
            **around[self.resize],
        }


@dataclass(frozen=True)
class TextPreparation:
    """Preprocessing of texts; the default is that of OpenAI's models.

    :param tokenizer: tokenizer.json for the package `tokenizers`; None for CLIP's byte pair encoding.
    :param cleaning: one of `CLEANINGS`.
    :param special: special tokens of CLIP's encoding for the start and the end of text.
    :param pad: padding token of a tokenizer.json.
    :param erased: tokens of a tokenizer.json that are replaced by 0.
    :param shortens: whether tokens after the end of text have no effect, so that rows may be cut there.
    """

    tokenizer: Path | None = None
    cleaning: str = "lower"
    special: tuple[str, str] = ("<|startoftext|>", "<|endoftext|>")
    pad: str | None = None
    erased: tuple[str, ...] = ()
    shortens: bool = True

    def described(self) -> dict[str, Any]:
        """What changes a vector of it, as a fingerprint has it."""
        usual = TextPreparation()
        more: dict[str, Any] = {
            key: getattr(self, key) for key in ("special", "pad", "erased") if getattr(self, key) != getattr(usual, key)
        }
        if self.tokenizer:
            tokens = f"tokenizer.json {hashlib.sha256(self.tokenizer.read_bytes()).hexdigest()}"
        else:
            tokens = "CLIP's byte pair encoding, 49408 tokens"
        return {"tokens": tokens, "case": self.cleaning, **more}


Preparation = ImagePreparation | TextPreparation
