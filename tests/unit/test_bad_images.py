"""What is no picture, or too much of one, is refused with the right class and a telling message."""

from __future__ import annotations

import random
import struct
import zlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_flow.errors import BadDocument, RequestError, TooLarge, UnsupportedMedia
from clip_image_flow.image.reader import ImageReader
from clip_image_flow.image.uris import UriReader
from tests.conftest import encoded, photo
from tests.unit.files import chunk

READER = ImageReader(max_bytes=1 << 20, max_pixels=1_000_000, uris=UriReader())
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]


def png(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds four bytes of pixels, whatever it declares."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(4))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("part", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_file_is_broken(format: str, part: float) -> None:
    data = encoded(photo(), format)
    with pytest.raises(BadDocument, match="cannot be decoded"):
        READER.read(data[: int(part * len(data))])


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the header
@pytest.mark.parametrize("length", [1, 2, 3, 8, 12, 20])
@pytest.mark.parametrize("format", FORMATS)
def test_the_first_bytes_of_a_file_are_no_image(format: str, length: int) -> None:
    with pytest.raises((BadDocument, UnsupportedMedia)):
        READER.read(encoded(photo(), format)[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"a cat on a mat",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\0" * 100,
        encoded(photo(16, 16), "ICO"),
        encoded(photo(16, 16), "PPM"),
        encoded(photo(16, 16), "TGA"),
        b"BMW builds cars, and this is a text about them.",
    ],
    ids=["text", "svg", "pdf", "eps", "zeros", "ico", "ppm", "tga", "text that begins as a bmp"],
)
def test_other_kinds_of_bytes_are_unsupported_media(data: bytes) -> None:
    with pytest.raises(
        UnsupportedMedia, match=rf"these {len(data)} bytes are not an image.*JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF"
    ):
        READER.read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + b"garbage" * 9,
        b"\xff\xd8\xff\xe0",
        b"\xff\xd8\xff\xe0" + b"garbage" * 9,
        b"GIF89a",
        b"II*\0garbage",
        b"RIFF\x08\0\0\0WEBP",
        b"BM" + bytes(12) + b"\x28\0\0\0" + bytes(50),
        b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + b"garbage" * 9,
    ],
    ids=["png", "png and garbage", "jpeg", "jpeg and garbage", "gif", "tiff", "webp", "bmp", "avif"],
)
def test_what_begins_as_a_picture_is_a_broken_one(data: bytes) -> None:
    with pytest.raises(BadDocument, match=r"the image cannot be decoded: broken (PNG|JPEG|GIF|TIFF|WEBP|BMP|AVIF), "):
        READER.read(data)


@pytest.mark.parametrize("brands", [b"heic", b"mif1heic", b"msf1hevc"])
def test_heic_is_refused_by_its_name(brands: bytes) -> None:
    box = b"ftyp" + brands[:4] + bytes(4) + brands[4:]
    with pytest.raises(UnsupportedMedia, match="HEIC is not supported; send the image as JPEG"):
        READER.read((4 + len(box)).to_bytes(4, "big") + box + bytes(100))


@pytest.mark.parametrize("content", [None, b""], ids=["none", "zero bytes"])
def test_nothing_is_a_bad_document(content: Any) -> None:
    with pytest.raises(BadDocument, match=r"has no image|zero bytes"):
        READER.read(content)


def test_floating_point_pictures_have_no_stated_range() -> None:
    with pytest.raises(BadDocument, match="floating-point"):
        READER.read(encoded(photo().convert("F"), "TIFF"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (1001, 1000, "1001 x 1000 pixels; at most 1000000"),
        (10_000, 9_000, "10000 x 9000 pixels; at most 1000000"),
        (60_000, 60_000, "at most 1000000 are decoded"),
        (2**31 - 1, 1, "at most 1000000 are decoded"),
    ],
)
def test_the_declared_size_is_checked_before_anything_is_decoded(width: int, height: int, message: str) -> None:
    with pytest.raises(TooLarge, match=message):
        READER.read(png(width, height))


def test_a_picture_within_the_limit_whose_pixels_are_missing_is_broken() -> None:
    with pytest.raises(BadDocument, match="cannot be decoded"):
        READER.read(png(1000, 1000))


def test_too_many_bytes() -> None:
    reader = ImageReader(max_bytes=100, max_pixels=1_000_000, uris=UriReader())
    with pytest.raises(TooLarge, match=r"the image has \d+ bytes; at most 100 are read"):
        reader.read(encoded(photo()))


def test_too_many_bytes_behind_a_data_uri() -> None:
    reader = ImageReader(max_bytes=100, max_pixels=1_000_000, uris=UriReader())
    with pytest.raises(TooLarge, match="at most 100"):
        reader.read("data:image/png," + "x" * 200)


def test_too_many_pixels_in_a_tensor() -> None:
    with pytest.raises(TooLarge, match="1001 x 1000 pixels"):
        READER.read(np.zeros((1000, 1001, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.zeros((4, 5), np.uint8), r"shape \(height, width, 3\), not \(4, 5\)"),
        (np.zeros((3, 4, 5), np.uint8), r"not \(3, 4, 5\)"),
        (np.zeros((4, 5, 4), np.uint8), r"not \(4, 5, 4\)"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"not \(1, 4, 5, 3\)"),
        (np.zeros((0, 5, 3), np.uint8), r"not \(0, 5, 3\)"),
        (np.zeros((5, 0, 3), np.uint8), r"not \(5, 0, 3\)"),
        (np.zeros((), np.uint8), r"not \(\)"),
        (np.zeros((4, 5, 3), np.float32), "uint8 with values 0 to 255, not float32"),
        (np.zeros((4, 5, 3), np.float64), "not float64"),
        (np.zeros((4, 5, 3), np.int8), "not int8"),
        (np.zeros((4, 5, 3), bool), "not bool"),
        (np.full((4, 5, 3), None), "not object"),
        (np.full((4, 5, 3), "7"), "not <U1"),
        (np.full((4, 5, 3), 256), "values 0 to 255, not int64"),
        (np.full((4, 5, 3), -1), "values 0 to 255, not int64"),
    ],
    ids=[
        *("grey", "channels first", "alpha", "batch", "no rows", "no columns", "scalar"),
        *("float32", "float64", "int8", "bool", "objects", "strings", "over 255", "below 0"),
    ],
)
def test_a_tensor_of_another_shape_or_type_is_refused(tensor: np.ndarray, message: str) -> None:
    with pytest.raises(BadDocument, match=message):
        READER.read(tensor)


def test_one_value_out_of_range_is_enough() -> None:
    tensor = np.zeros((4, 5, 3), dtype=np.int64)
    tensor[3, 4, 2] = 300
    with pytest.raises(BadDocument, match="values 0 to 255"):
        READER.read(tensor)


SEEDS = {
    "jpeg": ("RGB", "JPEG", {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"}),
    "png": ("RGBA", "PNG", {}),
    "png-palette": ("P", "PNG", {"transparency": 3}),
    "webp": ("RGBA", "WEBP", {}),
    "gif": ("P", "GIF", {}),
    "bmp": ("RGB", "BMP", {}),
    "tiff": ("RGB", "TIFF", {}),
    "tiff-lzw": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "tiff-jpeg": ("RGB", "TIFF", {"compression": "jpeg"}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_files_end_in_a_picture_or_in_a_request_error(kind: str) -> None:
    mode, format, options = SEEDS[kind]
    good = encoded(photo(12, 9).convert(mode), format, **options)
    dice = random.Random(20240229)
    ends: Counter[str] = Counter()
    for _ in range(150):
        data = bytearray(good)
        for _ in range(dice.randint(1, 5)):
            data[dice.randrange(dice.choice((64, len(data))))] = dice.randrange(256)
        if dice.random() < 0.2:
            del data[dice.randrange(1, len(data)) :]
        try:
            picture = READER.read(bytes(data))
        except RequestError as error:
            ends[type(error).__name__] += 1
        else:
            assert isinstance(picture, Image.Image)
            assert picture.mode == "RGB"
            ends["picture"] += 1
    assert ends["BadDocument"]  # else nothing was damaged
    assert ends["BadDocument"] + ends["UnsupportedMedia"] >= 30
