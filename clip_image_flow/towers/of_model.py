"""Finds the towers of a model by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from clip_image_flow import models
from clip_image_flow.towers.tower import Tower
from clip_wire.info import IMAGE, TEXT

if TYPE_CHECKING:
    from torch import nn


def image_tower(model: str, cache_dir: str | None = None) -> Tower:
    """The image tower of the model called `model`, not loaded yet."""

    def module(checkpoint: models.Checkpoint) -> nn.Module:
        from clip_image_flow.towers.image import ImageTower

        visual = checkpoint.load().visual
        prepared = checkpoint.prepared(IMAGE)
        assert isinstance(prepared, models.ImagePreparation)
        return ImageTower(visual, prepared.mean, prepared.std)

    return _tower(IMAGE, model, cache_dir, module)


def text_tower(model: str, cache_dir: str | None = None) -> Tower:
    """The text tower of the model called `model`, not loaded yet."""

    def module(checkpoint: models.Checkpoint) -> nn.Module:
        from clip_image_flow.towers.text import TextTower

        return TextTower(checkpoint.load_text())

    return _tower(TEXT, model, cache_dir, module)


def _tower(kind: str, model: str, cache_dir: str | None, module: Callable[[models.Checkpoint], nn.Module]) -> Tower:
    checkpoint = models.resolve(model, cache_dir)
    return Tower(
        kind,
        lambda: module(checkpoint),
        checkpoint.fingerprint,
        models.cache_directory(cache_dir),
        lambda: checkpoint.prepared(kind),
        checkpoint.restriction,
    )
