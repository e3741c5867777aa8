"""Every kind of picture becomes RGB by a stated rule; tensors keep their values."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_flow.image.reader import ImageReader
from clip_image_flow.image.uris import UriReader
from tests.conftest import encoded, photo

READER = ImageReader(max_bytes=1 << 20, max_pixels=1_000_000, uris=UriReader())
ORIENTATION = 0x0112


def pixels(content: Any) -> np.ndarray:
    """What is read of `content`, as int (h, w, 3); in mode RGB, or the test fails."""
    image = READER.read(content)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def difference(content: bytes, expected: Image.Image) -> int:
    """The largest difference of a pixel's channel."""
    wanted = np.asarray(expected).astype(int)
    got = pixels(content)
    assert got.shape == wanted.shape
    return int(np.abs(got - wanted).max())


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 80}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
    ],
    ids=["png", "bmp", "tiff", "tiff-lzw", "webp-lossless", "webp-lossy", "jpeg", "jpeg-progressive"],
)
def test_a_plain_rgb_picture_is_what_pillow_gives_bit_for_bit(format: str, options: dict[str, Any]) -> None:
    data = encoded(photo(), format, **options)
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(pixels(data), np.asarray(expected))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_back_the_very_pixels(format: str) -> None:
    assert difference(encoded(photo(), format), photo()) == 0


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_formats_come_near(format: str) -> None:
    smooth = Image.linear_gradient("L").convert("RGB")
    assert difference(encoded(smooth, format, quality=95), smooth) <= 4


@pytest.mark.parametrize("mode", ["L", "1", "P"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "GIF", "BMP"])
def test_grey_black_and_white_and_palette(mode: str, format: str) -> None:
    picture = photo().convert(mode)
    assert difference(encoded(picture, format), picture.convert("RGB")) == 0


def test_a_grey_jpeg_has_three_equal_channels() -> None:
    values = pixels(encoded(photo().convert("L"), "JPEG"))
    assert np.ptp(values, axis=2).max() == 0
    assert np.ptp(values) > 100


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte(format: str) -> None:
    values = np.array([[0, 255, 256, 0x1234], [0x7FFF, 0x8000, 0xFF00, 0xFFFF]], dtype=np.uint16)
    got = pixels(encoded(Image.fromarray(values), format))
    assert got[:, :, 0].tolist() == [[0, 0, 1, 0x12], [0x7F, 0x80, 0xFF, 0xFF]]
    assert np.ptp(got, axis=2).max() == 0


@pytest.mark.parametrize(("format", "tolerance"), [("TIFF", 0), ("JPEG", 8)])
def test_cmyk(format: str, tolerance: int) -> None:
    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    assert difference(encoded(flat.convert("CMYK"), format), flat) <= tolerance


def test_ycbcr() -> None:
    assert difference(encoded(photo().convert("YCbCr"), "TIFF"), photo()) <= 4


@pytest.mark.parametrize(
    ("mode", "colours", "expected"),
    [
        ("RGBA", [(200, 0, 0, 255), (200, 0, 0, 0), (200, 0, 0, 102)], [(200, 0, 0), (255, 255, 255), (233, 153, 153)]),
        ("LA", [(100, 255), (100, 0), (100, 102)], [(100, 100, 100), (255, 255, 255), (193, 193, 193)]),
    ],
)
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_transparency_is_laid_over_white(format: str, mode: str, colours: list[Any], expected: list[Any]) -> None:
    picture = Image.new(mode, (3, 1))
    for x, colour in enumerate(colours):
        picture.putpixel((x, 0), colour)
    assert pixels(encoded(picture, format)).tolist() == [[list(colour) for colour in expected]]


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_is_white(format: str) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    assert pixels(encoded(picture, format, transparency=0)).tolist() == [[[255, 255, 255], [200, 100, 50]]]


@pytest.mark.parametrize(
    ("mode", "colour", "transparent"), [("L", 100, 100), ("RGB", (1, 2, 3), (1, 2, 3))], ids=["grey", "rgb"]
)
def test_a_transparent_colour_without_a_palette_is_white(mode: str, colour: Any, transparent: Any) -> None:
    picture = Image.new(mode, (2, 2), colour)
    assert pixels(encoded(picture, "PNG", transparency=transparent)).min() == 255


def test_a_transparent_webp_is_laid_over_white() -> None:
    assert pixels(encoded(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "WEBP")).min() == 255


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert difference(data, frames[0]) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (10_000, 20), (20, 10_000), (1000, 1000)])
def test_sizes(size: tuple[int, int]) -> None:
    assert READER.read(encoded(Image.new("RGB", size, "red"))).size == size


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_270),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_90),
    ],
)
@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("JPEG", {})])
def test_a_photograph_stands_as_people_see_it(
    orientation: int, turn: Image.Transpose | None, format: str, options: dict[str, Any]
) -> None:
    stored = Image.open(io.BytesIO(encoded(photo(12, 8), format, **options))).convert("RGB")
    data = encoded(photo(12, 8), format, exif=exif(orientation), **options)
    assert difference(data, stored if turn is None else stored.transpose(turn)) == 0


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the EXIF data
@pytest.mark.parametrize(
    "broken",
    [
        b"garbage",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",
    ],
    ids=["garbage", "offset beyond the end", "too many entries", "orientation 9", "orientation abc"],
)
def test_broken_exif_data_ask_for_nothing(broken: bytes) -> None:
    assert READER.read(encoded(photo(12, 8), "JPEG", exif=b"Exif\0\0" + broken)).size == (12, 8)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_orientation_beside_broken_exif_data_still_counts() -> None:
    unreadable = b"\x1a\x01\x05\0\x01\0\0\0\xff\xff\xff\x7f"
    entries = b"\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + unreadable
    data = encoded(photo(12, 8), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + entries + b"\0\0\0\0")
    assert READER.read(data).size == (8, 12)


@pytest.mark.parametrize(
    "tensor",
    [
        np.asarray(photo(7, 5)),
        np.asarray(photo(7, 5)).astype(np.int64),
        np.asarray(photo(5, 7)).transpose(1, 0, 2),
        np.asarray(photo(14, 5))[:, ::-2],
        np.asarray(photo(3, 3)),
    ],
    ids=["uint8", "int64, as JSON brings it", "not contiguous", "strided", "3x3x3"],
)
def test_a_tensor_keeps_its_values(tensor: np.ndarray) -> None:
    assert np.array_equal(pixels(tensor), tensor)


def test_a_tensor_and_its_lossless_file_are_one_picture() -> None:
    assert np.array_equal(pixels(np.asarray(photo())), pixels(encoded(photo())))


def test_a_data_uri_is_read() -> None:
    uri = "data:image/png;base64," + base64.b64encode(encoded(photo())).decode()
    assert difference(uri, photo()) == 0


def test_limits_are_inclusive() -> None:
    data = encoded(Image.new("RGB", (10, 10)))
    reader = ImageReader(max_bytes=len(data), max_pixels=100, uris=UriReader())
    assert reader.read(data).size == (10, 10)
    assert reader.read(np.zeros((10, 10, 3), dtype=np.uint8)).size == (10, 10)
