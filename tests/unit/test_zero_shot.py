"""Zero-shot classification: what counts as right, and which pictures are whose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.zero_shot.pictures import accuracy, classes_in


def test_a_picture_is_right_when_few_classes_are_nearer() -> None:
    texts = np.eye(3)
    pictures = np.array([[1, 0, 0], [0, 0.9, 0.4], [0.8, 0.5, 0.3]])
    assert accuracy(pictures, texts, [0, 1, 2], (1, 2, 3)) == pytest.approx({1: 2 / 3, 2: 2 / 3, 3: 1.0})


def test_folders_are_classes(tmp_path: Path) -> None:
    for name in ("red_apple/1.jpg", "red_apple/deep/2.PNG", "dog/3.webp", "dog/notes.txt", "empty/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = classes_in(tmp_path)
    assert {name: [file.name for file in files] for name, files in found.items()} == {
        "dog": ["3.webp"],
        "red apple": ["1.jpg", "2.PNG"],
    }


def test_one_class_is_too_few(tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "1.jpg").touch()
    with pytest.raises(ValueError, match="has 1 folders with pictures; one for each class is needed"):
        classes_in(tmp_path)
