"""Pictures in a folder per class, and how often the right class comes first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}


def classes_in(folder: Path) -> dict[str, list[Path]]:
    """Name of a class -> its pictures: one folder each, whose name is the class's with `_` for a space.

    :raises ValueError: there are fewer than two of them with pictures.
    """
    found: dict[str, list[Path]] = {}
    for one in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(file for file in one.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if files:
            found[one.name.replace("_", " ")] = files
    if len(found) < 2:
        raise ValueError(f"{folder} has {len(found)} folders with pictures; one for each class is needed, two or more")
    return found


def accuracy(pictures: np.ndarray, texts: np.ndarray, right: Sequence[int], cuts: Sequence[int]) -> dict[int, float]:
    """Which share of the pictures has its class among the first 1, 5, ... of all.

    :param pictures: vectors of length 1, float (n, dim).
    :param texts: the same of the classes, float (k, dim).
    :param right: of each picture, its class.
    :param cuts: how many of the first count.
    """
    scores = pictures @ texts.T
    own = scores[np.arange(len(right)), list(right)]
    better = (scores > own[:, np.newaxis]).sum(axis=1)
    return {cut: float((better < cut).mean()) for cut in cuts}
