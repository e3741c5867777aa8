"""Lists images in one folder per class, and computes the accuracy of their classification."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}


def classes_in(folder: Path) -> dict[str, list[Path]]:
    """Return class name -> image files, from one folder per class; `_` in a folder's name stands for a space.

    :raises ValueError: if fewer than two folders have images.
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
    """Return the top-k accuracy for each k in `cuts`: k -> share of images, from 0 to 1.

    :param pictures: embeddings of the images, of length 1, float (n, dim).
    :param texts: embeddings of the classes, of length 1, float (k, dim).
    :param right: class index of each image.
    :param cuts: values of k.
    """
    scores = pictures @ texts.T
    own = scores[np.arange(len(right)), list(right)]
    better = (scores > own[:, np.newaxis]).sum(axis=1)
    return {cut: float((better < cut).mean()) for cut in cuts}
