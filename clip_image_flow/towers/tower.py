"""One half of CLIP, for images or for texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clip_image_flow.models import ImagePreparation, Preparation

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Tower:
    """One half of CLIP: its module, its preprocessing and its cache.

    :param kind: `image` or `text`.
    :param load: function that loads a new module, in fp32 on the CPU. The module takes a batch of `item_dtype` and of
        the shape (b, *`item_shape`), down to (b, *`least_shape`), and returns float32 (b, `dim`). Its attributes
        `logit_scale` and `logit_bias` are those of `clip_image_flow.models.Checkpoint`.
    :param weights: function that returns the SHA-256 of the weights in hex; None if not known before they are loaded.
    :param cache: folder for a backend's converted models.
    :param prepared: function that returns the preprocessing of an item; call it after the module, or a conversion of
        it, is loaded.
    :param restriction: see `clip_image_flow.models.Checkpoint.restriction`.
    """

    kind: str
    load: Callable[[], nn.Module]
    weights: Callable[[], str | None]
    cache: Path
    prepared: Callable[[], Preparation] = ImagePreparation
    restriction: Callable[[], str] = str

    def fingerprint(self) -> str | None:
        """SHA-256 of the kind and the weights in hex, or None if `weights` returns None."""
        weights = self.weights()
        return hashlib.sha256(f"{self.kind} {weights}".encode()).hexdigest() if weights else None
