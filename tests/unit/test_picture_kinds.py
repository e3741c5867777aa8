"""Every kind of pixels that the formats have is shown as viewers show it, or refused in words.

What is expected follows from the samples by the formats' specifications; ImageMagick, where it is installed, is asked
as well.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_flow.errors import BadDocument
from clip_image_flow.image.reader import ImageReader
from clip_image_flow.image.uris import UriReader
from tests.unit.files import (
    BLACK_IS_ZERO,
    CMYK,
    GREY,
    GREY_ALPHA,
    OF_PALETTE,
    OF_RGB,
    PALETTE,
    RGB,
    RGB_ALPHA,
    WHITE_IS_ZERO,
    bmp,
    chunk,
    png,
    tiff,
)

READER = ImageReader(max_bytes=1 << 20, max_pixels=1_000_000, uris=UriReader())
HEIGHT, WIDTH = 6, 16
# Red, green, blue and alpha from 0 to 1: each channel goes another way, so that none can be taken for another.
_ACROSS = np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1))
_DOWN = np.tile(np.linspace(0, 1, HEIGHT)[:, None], (1, WIDTH))
TRUTH = np.stack([_ACROSS, 1 - _ACROSS, _DOWN, 1 - _DOWN], axis=2)
STANDARD = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)

Kind = tuple[bytes, np.ndarray]  # a file, and what is seen of it: 0 to 1, (height, width, 1 or 3)


def samples(channels: int, bits: int) -> np.ndarray:
    return np.round(TRUTH[..., :channels] * ((1 << bits) - 1)).astype(np.int64)


def seen(values: np.ndarray, bits: int) -> np.ndarray:
    return values / ((1 << bits) - 1)


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return colour * alpha + 1 - alpha


def grey_alpha(bits: int) -> np.ndarray:
    return samples(4, bits)[..., [0, 3]]


def pngs() -> Iterator[tuple[str, Kind]]:
    for bits in (1, 2, 4, 8, 16):
        grey = samples(1, bits)
        yield f"png grey {bits}", (png(grey, bits, GREY), seen(grey, bits))
        for value in np.unique(grey)[[0, -1, len(np.unique(grey)) // 2]]:
            colour = chunk(b"tRNS", struct.pack(">H", value))
            shown = np.where(grey == value, 1.0, seen(grey, bits))
            yield f"png grey {bits} with {value} transparent", (png(grey, bits, GREY, colour), shown)
    for bits in (1, 2, 4, 8):
        index = samples(1, bits)
        colours = np.random.default_rng(bits).integers(0, 256, (1 << bits, 3))
        palette, clear = chunk(b"PLTE", colours.astype(np.uint8).tobytes()), chunk(b"tRNS", bytes([51, 204]))
        alpha = np.where(index < 2, np.where(index == 0, 0.2, 0.8), 1.0)
        shown = colours[index[..., 0]] / 255
        yield f"png palette {bits}", (png(index, bits, PALETTE, palette), shown)
        yield f"png palette {bits} with alpha", (png(index, bits, PALETTE, palette, clear), over_white(shown, alpha))
    for bits in (8, 16):
        for channels, colour in ((3, RGB), (4, RGB_ALPHA)):
            values = samples(channels, bits)
            alpha = seen(values[..., 3:], bits) if channels == 4 else np.ones(1)
            shown = over_white(seen(values[..., :3], bits), alpha)
            yield f"png colour {bits} in {channels} channels", (png(values, bits, colour), shown)
        values = grey_alpha(bits)
        shown = over_white(seen(values[..., :1], bits), seen(values[..., 1:], bits))
        yield f"png grey and alpha {bits}", (png(values, bits, GREY_ALPHA), shown)
    values = samples(3, 8)
    red = chunk(b"tRNS", struct.pack(">HHH", *values[2, 3]))
    shown = np.where((values == values[2, 3]).all(axis=2, keepdims=True), 1.0, seen(values, 8))
    yield "png colour 8 with one transparent", (png(values, 8, RGB, red), shown)


def tiffs() -> Iterator[tuple[str, Kind]]:
    def grey(bits: int, photometric: int, order: Any, **more: Any) -> tuple[str, Kind]:
        values = samples(1, bits)
        shown = seen(values, bits) if photometric == BLACK_IS_ZERO else 1 - seen(values, bits)
        name = f"tiff grey {bits} {order} {['white', 'black'][photometric]} is zero {more or ''}"
        return name, (tiff(values, bits, photometric, order, **more), shown)

    for photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        for order in ("little", "big"):
            for deflated in (False, True):
                for bits in (1, 2, 4, 8, 16):
                    yield grey(bits, photometric, order, deflated=deflated)
            for bits in (1, 2, 4):
                yield grey(bits, photometric, order, fill_order=2)
        yield grey(12, photometric, "little")
        yield grey(12, photometric, "little", deflated=True)
        yield grey(32, photometric, "little")
    for order in ("little", "big"):
        for deflated in (False, True):
            for bits in (1, 2, 4, 8):
                index = samples(1, bits)
                data = tiff(index, bits, OF_PALETTE, order, deflated=deflated)  # a ramp
                yield f"tiff palette {bits} {order} {deflated}", (data, seen(index, bits))
            for bits in (8, 16):
                values, alpha = samples(4, bits), seen(samples(4, bits)[..., 3:], bits)
                shown = seen(values[..., :3], bits)
                times_alpha = np.concatenate([np.round(values[..., :3] * alpha).astype(np.int64), values[..., 3:]], 2)
                ink = over_white(0, (1 - shown) * (1 - seen(values[..., 3:], bits)))
                options = {"order": order, "deflated": deflated}
                name = f"{bits} {order} {deflated}"
                yield f"tiff colour {name}", (tiff(values[..., :3], bits, OF_RGB, **options), shown)
                clear = tiff(values, bits, OF_RGB, **options, extra=[2])
                yield f"tiff with alpha {name}", (clear, over_white(shown, alpha))
                clear = tiff(times_alpha, bits, OF_RGB, **options, extra=[1])
                yield f"tiff times alpha {name}", (clear, over_white(shown, alpha))
                yield f"tiff with a mask {name}", (tiff(values, bits, OF_RGB, **options, extra=[0]), shown)
                yield f"tiff cmyk {name}", (tiff(values, bits, CMYK, **options), 1 - ink)
            values = samples(4, 8)
            planes = tiff(values[..., :3], 8, OF_RGB, order, deflated=deflated, planes=True)
            yield f"tiff colour in planes {order} {deflated}", (planes, seen(values[..., :3], 8))
            values = grey_alpha(8)
            shown = over_white(seen(values[..., :1], 8), seen(values[..., 1:], 8))
            both = tiff(values, 8, BLACK_IS_ZERO, order, deflated=deflated, extra=[2])
            yield f"tiff grey and alpha {order} {deflated}", (both, shown)


def pixels_of(masks: tuple[int, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Numbers with the channels where the masks are, and each channel as it is seen."""
    numbers, channels = np.zeros((HEIGHT, WIDTH), np.int64), []
    for channel, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        values = np.round(TRUTH[..., channel] * (mask >> shift)).astype(np.int64)
        numbers |= values << shift
        channels.append(values[..., None] / (mask >> shift))
    return numbers, channels


def bmps() -> Iterator[tuple[str, Kind]]:
    numbers, colour = pixels_of(STANDARD[:3])
    shown = np.concatenate(colour, 2)
    for header in (40, 108, 124):
        yield f"bmp 32 in a header of {header}", (bmp(numbers, 32, header=header), shown)
    yield "bmp 32 whose fourth byte is 255", (bmp(numbers | 0xFF000000, 32), shown)
    yield "bmp 32 with masks", (bmp(numbers, 32, STANDARD[:3]), shown)
    for header in (56, 108, 124):
        yield f"bmp 32 all transparent {header}", (bmp(numbers, 32, STANDARD, header), shown)
        for name, masks in {
            "bgra": STANDARD,
            "rgba": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
            "abgr": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        }.items():
            numbers_alpha, (red, green, blue, alpha) = pixels_of(masks)
            clear = over_white(np.concatenate([red, green, blue], 2), alpha)
            yield f"bmp 32 {name} {header}", (bmp(numbers_alpha, 32, masks, header), clear)
    for name, masks in {"555": (0x7C00, 0x3E0, 0x1F), "565": (0xF800, 0x7E0, 0x1F)}.items():
        numbers, colour = pixels_of(masks)
        yield f"bmp 16 {name}", (bmp(numbers, 16, masks), np.concatenate(colour, 2))
    numbers, colour = pixels_of((0x7C00, 0x3E0, 0x1F))
    yield "bmp 16 without masks", (bmp(numbers, 16), np.concatenate(colour, 2))
    for bits in (1, 4, 8):
        index = samples(1, bits)[..., 0]
        for name, colours in {
            "palette": np.random.default_rng(bits).integers(0, 256, (1 << bits, 3)),
            "inverted grey": np.linspace(255, 0, 1 << bits).astype(int)[:, None].repeat(3, 1),
        }.items():
            palette = np.concatenate([colours[:, ::-1], np.zeros((1 << bits, 1), int)], 1).astype(np.uint8).tobytes()
            yield f"bmp {bits} {name}", (bmp(index, bits, palette=palette), colours[index] / 255)


def gif(frame: tuple[int, int], transparent: int | None = None) -> bytes:
    """A canvas of 16 x 6 pixels, of which a frame of this size at (4, 2) has the second colour of two."""
    colours = bytes([10, 20, 30, 200, 50, 50])
    one = Image.new("P", frame, 1)
    one.putpalette(colours + bytes(762))
    file = io.BytesIO()
    one.save(file, "GIF", optimize=False, transparency=transparent)
    data = bytearray(file.getvalue())
    data[6:10] = struct.pack("<HH", WIDTH, HEIGHT)
    at = data.index(b"\x2c" + struct.pack("<HHHH", 0, 0, *frame))
    data[at + 1 : at + 5] = struct.pack("<HH", 4, 2)
    return bytes(data)


def gifs() -> Iterator[tuple[str, Kind]]:
    for name, transparent in {"opaque": None, "transparent elsewhere": 0, "transparent": 1}.items():
        shown = np.ones((HEIGHT, WIDTH, 3))
        if transparent != 1:
            shown[2:5, 4:9] = np.array([200, 50, 50]) / 255
        yield f"gif whose first frame is a part, {name}", (gif((5, 3), transparent), shown)


KINDS: dict[str, Kind] = dict([*pngs(), *tiffs(), *bmps(), *gifs()])


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(READER.read(data)).astype(int)


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_shown_as_its_format_says(name: str) -> None:
    data, shown = KINDS[name]
    expected = np.broadcast_to(255 * shown, (HEIGHT, WIDTH, 3))
    assert np.abs(pixels(data) - expected).max() <= 1.3  # two steps that round


def second_reader() -> str | None:
    """ImageMagick's `convert`; other programs have that name too."""
    for folder in os.environ["PATH"].split(os.pathsep):
        program = shutil.which("convert", path=folder)
        if program and b"Version: ImageMagick" in subprocess.run([program, "-version"], capture_output=True).stdout:
            return program
    return None


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_an_avif_is_shown_as_the_picture_that_it_was_made_of(mode: str) -> None:
    """It is lossy, and so nearly."""
    colour = np.round(255 * np.kron(TRUTH, np.ones((8, 8, 1)))).astype(np.uint8)
    picture = Image.fromarray(colour, "RGBA").convert(mode)
    data = io.BytesIO()
    picture.save(data, "AVIF", quality=100, subsampling="4:4:4")
    white = Image.new("RGBA", picture.size, "white")
    expected = Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    shown = np.asarray(READER.read(data.getvalue())).astype(int)
    assert np.abs(shown - np.asarray(expected)).max() <= 4


def test_a_second_reader_shows_the_same() -> None:
    program = second_reader()
    if program is None:
        pytest.skip("NOT RUN: ImageMagick's convert is not installed (Debian: imagemagick)")
    others = {}
    for name, (data, _) in KINDS.items():
        # It does not turn grey of these depths round, takes what a mask is for as alpha, and believes a BMP that says
        # it is transparent everywhere.
        if name.startswith(("tiff grey 2 ", "tiff grey 4 ", "tiff grey 12 ", "tiff grey 32 ")) and "white" in name:
            continue
        if "with a mask" in name or "all transparent" in name:
            continue
        shown = [f"{name.split()[0]}:-[0]", "-background", "white", "-flatten", "-depth", "8", "-colorspace", "sRGB"]
        ended = subprocess.run([program, *shown, "ppm:-"], input=data, capture_output=True, check=True)
        theirs = np.asarray(Image.open(io.BytesIO(ended.stdout)).convert("RGB")).astype(int)
        if theirs.shape != (HEIGHT, WIDTH, 3) or np.abs(theirs - pixels(data)).max() > 2:
            others[name] = theirs.tolist()
    assert not others


REFUSED = {
    "signed": (tiff(samples(1, 16), 16, BLACK_IS_ZERO, sample_format=2), "signed numbers"),
    "floating-point": (tiff(samples(1, 32), 32, BLACK_IS_ZERO, sample_format=3), "floating-point"),
    "16 bits in planes": (tiff(samples(3, 16), 16, OF_RGB, planes=True), "PlanarConfiguration"),
    "grey and alpha in planes": (
        tiff(grey_alpha(8), 8, BLACK_IS_ZERO, planes=True, deflated=True, extra=[2]),
        "PlanarConfiguration",
    ),
    "subsampled": (tiff(samples(3, 8), 8, 6), "YCbCr"),
    "cielab": (tiff(samples(3, 8), 8, 8), "CIELab"),
    "12 bits, big-endian": (tiff(samples(1, 12), 12, BLACK_IS_ZERO, "big"), "cannot be decoded: broken TIFF, unknown"),
    "a transparent colour of 16 bits": (png(samples(3, 16), 16, RGB, chunk(b"tRNS", bytes(6))), "16 bits a channel"),
    "transparency in 16 bits": (
        bmp(pixels_of((0x7C00, 0x3E0, 0x1F, 0x8000))[0], 16, (0x7C00, 0x3E0, 0x1F, 0x8000), 56),
        "transparency",
    ),
    "10 bits a channel": (bmp(samples(1, 8)[..., 0], 32, (0x3FF00000, 0xFFC00, 0x3FF)), "cannot be decoded"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_shown_otherwise_is_refused_in_words(name: str) -> None:
    data, said = REFUSED[name]
    with pytest.raises(BadDocument, match=said):
        READER.read(data)
