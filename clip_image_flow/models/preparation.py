"""What a model wants done with a picture or a text before it sees it, as its checkpoint says.

Nothing here imports torch: a model that was converted before is prepared for from its configuration alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_image_flow.models.normalisation import MEAN, STD

RESIZE_MODES = {"shortest": "shortest side", "squash": "both sides", "longest": "longest side"}
"""How a picture becomes a square: by its shortest side and cut, squashed, or by its longest side and padded."""
INTERPOLATIONS = ("bicubic", "bilinear")
CLEANINGS = ("lower", "whitespace", "canonicalize", "siglip", "lowercase")
"""What is done to a text before it is split into tokens; `clip_image_flow.text.cleaning` has them."""


@dataclass(frozen=True)
class ImagePreparation:
    """How a picture becomes the model's input; by default as OpenAI's models want it.

    :param resize: one of `RESIZE_MODES`.
    :param interpolation: one of `INTERPOLATIONS`.
    :param mean: of red, green and blue, that the network takes off, in units of full intensity.
    :param std: of the same, that it divides by.
    :param fill: the grey level, 0 to 255, that `longest` pads with.
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
    """How a text becomes tokens; by default as OpenAI's models want it.

    :param tokenizer: a tokenizer.json as the package `tokenizers` reads it; None for CLIP's byte pair encoding.
    :param cleaning: one of `CLEANINGS`.
    :param special: of CLIP's encoding, what stands for the start and the end where a text itself has it.
    :param pad: of a tokenizer.json, the token behind the end of a text, as it is written.
    :param erased: tokens of it that become 0.
    :param shortens: whether what stands behind the end of a text changes nothing, so that rows may end there.
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
