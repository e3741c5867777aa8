"""Preprocessing gives the numbers of `clip`'s own transform."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clip_image_flow import preprocess as module
from clip_image_flow.openai_clip import clip
from clip_image_flow.preprocess import MEAN, STD, preprocess
from tests.conftest import photo

ONE_LEVEL = 1 / 255 / STD  # what one of 256 levels is after normalising, per channel


@pytest.mark.parametrize(
    "size",
    [
        (1, 1),
        (1, 7),
        (224, 224),
        (224, 300),
        (223, 225),
        (225, 223),
        (227, 341),
        (341, 227),
        (640, 427),
        (427, 640),
        (100, 100),
        (3, 1000),
        (10_000, 20),
    ],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
@pytest.mark.parametrize("n", [64, 224, 225])
def test_every_pixel_is_within_rounding_of_clips_transform(size: tuple[int, int], n: int) -> None:
    picture = photo(*size)
    ours = preprocess(picture, n)
    theirs = clip.clip._transform(n)(picture).numpy()
    assert ours.shape == theirs.shape == (3, n, n)
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 1e-6


def test_the_shorter_side_is_kept_and_the_centre_is_cut_out() -> None:
    picture = Image.new("RGB", (192, 64), "black")
    picture.paste("white", (64, 0, 128, 64))
    assert np.allclose(preprocess(picture, 64), (1 - MEAN) / STD, atol=1e-6)


def test_the_result_is_one_block_of_memory() -> None:
    assert preprocess(photo(), 64).flags.c_contiguous


def test_the_picture_is_not_changed() -> None:
    picture = photo(100, 50)
    before = picture.tobytes()
    preprocess(picture, 64)
    assert (picture.size, picture.tobytes()) == ((100, 50), before)


@pytest.mark.parametrize("size", [(3, 200_000), (200_000, 3)], ids=["tall", "wide"])
def test_of_an_extreme_picture_only_the_centre_is_resized(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = []
    original = Image.Image.resize

    def resize(self: Image.Image, size: tuple[int, int], *args: object, **kwargs: object) -> Image.Image:
        largest.append(size[0] * size[1])
        return original(self, size, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "resize", resize)
    values = preprocess(Image.new("RGB", size, (10, 200, 30)), 224)
    assert values.shape == (3, 224, 224)
    colour = np.array([10, 200, 30], dtype=np.float32).reshape(3, 1, 1) / 255
    assert np.allclose(values, (colour - MEAN) / STD, atol=1e-5)
    assert max(largest) <= 224 * 224  # the whole would have 3.3 billion pixels


@pytest.mark.parametrize(
    "size", [(20, 900), (900, 20), (21, 901), (64, 65), (500, 499)], ids=lambda size: f"{size[0]}x{size[1]}"
)
@pytest.mark.parametrize("n", [64, 65])
def test_the_centre_alone_is_the_centre_of_the_whole(
    size: tuple[int, int], n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = photo(*size)
    whole = preprocess(picture, n)
    monkeypatch.setattr(module, "_LARGEST_RESIZED", 0)
    levels = np.abs(preprocess(picture, n) - whole) / ONE_LEVEL
    assert levels.max() <= 2.01  # each of the two passes rounds
    assert levels.mean() <= 0.5
