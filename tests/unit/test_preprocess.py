"""Preprocessing gives the numbers of `clip`'s own transform."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clip_image_flow.image import preprocess as module
from clip_image_flow.image.preprocess import Square, preprocess
from clip_image_flow.models.normalisation import MEAN, STD
from clip_image_flow.models.openai_clip import clip
from clip_image_flow.models.openclip.library import open_clip
from tests.conftest import photo


def pixels_of_clip(picture: Image.Image, n: int) -> np.ndarray:
    """What `clip`'s own transform makes of a picture, its normalisation undone: float (n, n, 3), 0 to 255."""
    values = clip.clip._transform(n)(picture).numpy().transpose(1, 2, 0)
    return 255 * (values * np.array(STD) + np.array(MEAN))


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
def test_every_pixel_is_that_of_clips_transform(size: tuple[int, int], n: int) -> None:
    picture = photo(*size)
    ours = preprocess(picture, Square(n))
    theirs = pixels_of_clip(picture, n)
    assert ours.shape == theirs.shape == (n, n, 3)
    assert ours.dtype == np.uint8
    assert np.abs(ours - theirs).max() <= 1e-3  # of one of 256 levels


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (64, 64), (90, 60), (61, 100), (640, 427), (427, 640), (5000, 900)])
@pytest.mark.parametrize("resize", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_every_pixel_is_that_of_open_clips_transform(size: tuple[int, int], resize: str, interpolation: str) -> None:
    picture = photo(*size)
    transform = open_clip.image_transform(
        64, False, (0.0,) * 3, (1.0,) * 3, resize_mode=resize, interpolation=interpolation, fill_color=127
    )
    theirs = 255 * transform(picture).numpy().transpose(1, 2, 0)
    assert np.abs(preprocess(picture, Square(64, resize, interpolation, 127)) - theirs).max() <= 1e-3


def test_the_shorter_side_is_kept_and_the_centre_is_cut_out() -> None:
    picture = Image.new("RGB", (192, 64), "black")
    picture.paste("white", (64, 0, 128, 64))
    assert preprocess(picture, Square(64)).min() == 255


def test_the_result_is_one_block_of_memory() -> None:
    assert preprocess(photo(), Square(64)).flags.c_contiguous


def test_the_picture_is_not_changed() -> None:
    picture = photo(100, 50)
    before = picture.tobytes()
    preprocess(picture, Square(64))
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
    values = preprocess(Image.new("RGB", size, (10, 200, 30)), Square(224))
    assert values.shape == (224, 224, 3)
    assert (values == [10, 200, 30]).all()
    assert max(largest) <= 224 * 224  # the whole would have 3.3 billion pixels


@pytest.mark.parametrize(
    "size", [(20, 900), (900, 20), (21, 901), (64, 65), (500, 499)], ids=lambda size: f"{size[0]}x{size[1]}"
)
@pytest.mark.parametrize("n", [64, 65])
def test_the_centre_alone_is_the_centre_of_the_whole(
    size: tuple[int, int], n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = photo(*size)
    whole = preprocess(picture, Square(n)).astype(int)
    monkeypatch.setattr(module, "_LARGEST_RESIZED", 0)
    levels = np.abs(preprocess(picture, Square(n)) - whole)
    assert levels.max() <= 2  # each of the two passes rounds
    assert levels.mean() <= 0.5
