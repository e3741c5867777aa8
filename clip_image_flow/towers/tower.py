"""One half of CLIP, whatever it reads."""

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
    """One half of CLIP, as a backend is given it.

    :param kind: what it reads, `image` or `text`.
    :param load: its module, each time a new one, in fp32 on the CPU. The module takes a batch as it is sent to the
        engine, of `item_dtype` and shape (b, *`item_shape`), or down to (b, *`least_shape`), and gives float32
        (b, `dim`). Its `logit_scale` and `logit_bias` are those of `clip_image_flow.models.Checkpoint.read`.
    :param weights: SHA-256 of the weights, in hex; None where that cannot be known before they are loaded.
    :param cache: folder in which a backend may keep what it makes of them.
    :param prepared: what is done with an item before; to be asked once the module was loaded, or a conversion of it.
    :param restriction: see `clip_image_flow.models.Checkpoint.restriction`.
    """

    kind: str
    load: Callable[[], nn.Module]
    weights: Callable[[], str | None]
    cache: Path
    prepared: Callable[[], Preparation] = ImagePreparation
    restriction: Callable[[], str] = str

    def fingerprint(self) -> str | None:
        """Names this half of these very weights: a SHA-256 of both, in hex; None where `weights` has none."""
        weights = self.weights()
        return hashlib.sha256(f"{self.kind} {weights}".encode()).hexdigest() if weights else None
