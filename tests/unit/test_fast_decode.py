"""`decode: fast`: nearly the same picture and the same embedding, from a fraction of the pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_flow import ImageEncoder
from clip_image_flow.errors import BadDocument, ConfigError, TooLarge
from clip_image_flow.image.preprocess import Square, preprocess
from clip_image_flow.image.reader import ImageReader
from clip_image_flow.image.uris import UriReader
from clip_image_flow.models import EMBEDDED
from tests.conftest import encoded, photo
from tests.unit.test_backends import cosines, load

READER = ImageReader(max_bytes=10_000_000, max_pixels=10_000_000, uris=UriReader())


@pytest.mark.parametrize(
    ("size", "at_least", "expected"),
    [
        ((1600, 1200), None, (1600, 1200)),
        ((1600, 1200), 150, (200, 150)),
        ((1600, 1200), 151, (400, 300)),
        ((1200, 1600), 400, (600, 800)),
        ((1600, 1200), 601, (1600, 1200)),
        ((100, 80), 336, (100, 80)),
    ],
)
def test_a_jpeg_is_decoded_no_smaller_than_asked(
    size: tuple[int, int], at_least: int | None, expected: tuple[int, int]
) -> None:
    assert READER.read(encoded(photo(*size), "JPEG"), at_least).size == expected


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_other_formats_are_decoded_whole(format: str) -> None:
    data = encoded(photo(800, 600), format)
    assert READER.read(data, 50).tobytes() == READER.read(data).tobytes()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_colours_are_the_same(mode: str) -> None:
    data = encoded(Image.new("RGB", (800, 600), (10, 200, 30)).convert(mode), "JPEG", quality=95)
    exact, fast = (np.asarray(READER.read(data, at_least)).astype(int) for at_least in (None, 100))
    assert fast.shape == (150, 200, 3)
    assert np.abs(exact[::4, ::4] - fast).max() <= 1


def test_the_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    data = encoded(photo(800, 400), "JPEG", exif=exif.tobytes())
    assert READER.read(data, 100).size == (100, 200)


def test_limits_count_the_declared_size() -> None:
    with pytest.raises(TooLarge, match="4000 x 3000 pixels"):
        READER.read(encoded(Image.new("L", (4000, 3000)), "JPEG"), 100)


def test_a_truncated_picture_is_still_an_error() -> None:
    data = encoded(photo(800, 600), "JPEG")
    with pytest.raises(BadDocument, match="cannot be decoded"):
        READER.read(data[: len(data) // 2], 100)


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (224, 224), (300, 224), (1000, 30)])
def test_resizing_the_centre_alone_is_within_one_level(size: tuple[int, int]) -> None:
    picture = photo(*size)
    exact, fast = (preprocess(picture, Square(224), exact=exact).astype(int) for exact in (True, False))
    assert np.abs(exact - fast).max() <= 1


@pytest.mark.parametrize(("precision", "exact"), [("fp32", True), ("bf16", False)])
def test_below_fp32_the_centre_alone_is_resized(precision: str, exact: bool) -> None:
    """One level of 255 in rare pixels is far less than bf16 rounds by, and fp32 has the pixels of `clip`."""
    picture = photo(640, 427)
    encoder = ImageEncoder(EMBEDDED, backend="torch", precision=precision, threads=2)
    embedding = encoder.encode([encoded(picture)])
    encoder.close()
    backend = load(EMBEDDED, "torch", precision=precision)
    rows = {
        e: backend.encode(preprocess(picture, Square(backend.item_shape[0]), exact=e)[np.newaxis].copy())
        for e in (True, False)
    }
    assert np.array_equal(embedding, rows[exact])
    assert cosines(rows[True], rows[False]).min() >= 0.9999


def test_the_embeddings_of_large_photographs_are_nearly_the_same() -> None:
    pictures = [encoded(photo(1600, 1200, seed), "JPEG", quality=95) for seed in range(3)]
    embeddings = []
    for decode in ("exact", "fast"):
        encoder = ImageEncoder(EMBEDDED, decode=decode)
        rows = encoder.encode(pictures)
        encoder.close()
        embeddings.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    exact, fast = embeddings
    assert not np.array_equal(exact, fast)
    assert (exact * fast).sum(axis=1).min() >= 0.99


def test_the_executor_takes_the_option(make_executor: Callable[..., Any]) -> None:
    make_executor(decode="fast")
    with pytest.raises(ConfigError, match="decode must be one of exact, fast, not 'draft'"):
        make_executor(decode="draft")


@pytest.mark.parametrize("value", [-1, 1001, "5", True, None, float("nan")])
def test_a_wait_that_makes_no_sense_is_named(make_executor: Callable[..., Any], value: object) -> None:
    with pytest.raises(ConfigError, match="batch_wait_ms must be a number from 0 to 1000, not "):
        make_executor(batch_wait_ms=value)
