"""Generates small files that are within all documented limits, but much more expensive to decode than an image."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from PIL import Image

from clip_image_flow.image.pictures import MOST_SCANS
from fuzz.mutants import encoded

_SIDE = 7000  # pixels; 49 megapixels, with a limit of 50


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, colour_type: int, depth: int, row_bytes: int, *ancillary: bytes) -> bytes:
    """Return a PNG of zeros.

    :param width: width in pixels.
    :param height: height in pixels.
    :param colour_type: PNG's colour type.
    :param depth: bits per sample.
    :param row_bytes: bytes of pixels per row, without the filter type.
    :param ancillary: chunks before the pixels.
    """
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    compressor = zlib.compressobj(9)
    pixels = b"".join(compressor.compress(bytes(1 + row_bytes)) for _ in range(height)) + compressor.flush()
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(ancillary) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _entry(tag: int, type_: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, type_, count, value)


def _tiff(entries: list[bytes], tail: bytes) -> bytes:
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4) + tail


def _behind(entries: int) -> int:
    """Return the offset of the data that follow a directory of `entries` entries."""
    return 8 + 2 + 12 * entries + 4


def jpeg_of_many_scans(scans: int = 10_000, side: int = 2048) -> bytes:
    """Return a progressive JPEG with empty scans, for each of which a decoder visits all coefficients."""
    data = encoded(Image.new("RGB", (side, side)), "JPEG", progressive=True, quality=5)
    empty = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x10" + bytes(2)
    return data[:-2] + scans * empty + data[-2:]


def jpeg_of_fill_bytes(count: int = 20_000_000) -> bytes:
    data = encoded(Image.new("RGB", (64, 64)), "JPEG")
    return data[:2] + count * b"\xff" + data[2:]


def png_of_one_column() -> bytes:
    compressor = zlib.compressobj(9)
    pixels = b"".join(compressor.compress(bytes(5_000_000)) for _ in range(50)) + compressor.flush()
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 50_000_000, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def png_of_exif(count: int = 15_000_000) -> bytes:
    entries = b"".join(_entry(40_000 + i % 20_000, 5, 150_000, 100) for i in range(60_000))
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000) + entries + bytes(count)
    return _png(1, 1, 2, 8, 3, _chunk(b"eXIf", exif))


def webp_of_an_empty_canvas() -> bytes:
    """Return a WebP of 150 bytes that declares a canvas of 49 megapixels."""
    data = encoded(Image.new("RGBA", (1, 1)), "WEBP", lossless=True)
    side = struct.pack("<I", _SIDE - 1)[:3]
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + side + side
    return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(data) - 12) + b"WEBP" + canvas + data[12:]


def tiff_of_many_strips(count: int = 2_400_000) -> bytes:
    """Return a TIFF with many more strips than rows."""
    offsets = _behind(9)
    return _tiff(
        [
            *(_entry(256, 4, 1, 10), _entry(257, 4, 1, 65_000), _entry(258, 3, 1, 8), _entry(259, 3, 1, 1)),
            *(_entry(262, 3, 1, 1), _entry(273, 4, count, offsets), _entry(277, 3, 1, 1), _entry(278, 4, 1, 1)),
            _entry(279, 4, count, offsets + 4 * count),
        ],
        bytes(8 * count),
    )


def tiff_of_many_rationals(count: int = 2_400_000) -> bytes:
    return _tiff(
        [
            *(_entry(256, 4, 1, 10), _entry(257, 4, 1, 10), _entry(258, 3, 1, 8), _entry(259, 3, 1, 1)),
            *(_entry(262, 3, 1, 1), _entry(273, 4, 1, 8), _entry(277, 3, 1, 1), _entry(278, 4, 1, 10)),
            *(_entry(279, 4, 1, 100), _entry(282, 5, count, _behind(10))),
        ],
        bytes(8 * count),
    )


def tiff_of_large_tiles() -> bytes:
    """Return a TIFF of 10 x 10 pixels in a tile of 169 megapixels."""
    pixels = zlib.compress(bytes(13_008 * 13_008))
    return _tiff(
        [
            *(_entry(256, 4, 1, 10), _entry(257, 4, 1, 10), _entry(258, 3, 1, 8), _entry(259, 3, 1, 8)),
            *(_entry(262, 3, 1, 1), _entry(277, 3, 1, 1), _entry(322, 4, 1, 13_008), _entry(323, 4, 1, 13_008)),
            *(_entry(324, 4, 1, _behind(10)), _entry(325, 4, 1, len(pixels))),
        ],
        pixels,
    )


def tiff_that_warns() -> bytes:
    """Return a fax TIFF of many broken rows, for each of which libtiff writes a line to standard error."""
    return _tiff(
        [
            *(_entry(256, 4, 1, 50), _entry(257, 4, 1, 65_000), _entry(258, 3, 1, 1), _entry(259, 3, 1, 3)),
            *(_entry(262, 3, 1, 0), _entry(273, 4, 1, _behind(9)), _entry(277, 3, 1, 1), _entry(278, 4, 1, 65_000)),
            _entry(279, 4, 1, 100),
        ],
        bytes(100),
    )


def bmp_of_run_lengths() -> bytes:
    header = struct.pack("<IHHI", 0, 0, 0, 54 + 1024)
    info = struct.pack("<IiiHHIIiiII", 40, _SIDE, _SIDE, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + header + info + bytes(1024) + b"\x00\x02\xff\xff" * 6000 + b"\0\0" * _SIDE


HOSTILE: dict[str, Callable[[], bytes]] = {
    "jpeg-scans": jpeg_of_many_scans,
    "jpeg-most-scans": lambda: jpeg_of_many_scans(MOST_SCANS - 10, _SIDE),  # the image itself has ten
    "jpeg-fill-bytes": jpeg_of_fill_bytes,
    "png-column": png_of_one_column,
    "png-rgba": lambda: _png(_SIDE, _SIDE, 6, 8, 4 * _SIDE),
    "png-grey-16": lambda: _png(_SIDE, _SIDE, 0, 16, 2 * _SIDE),
    "png-rgb-16": lambda: _png(_SIDE, _SIDE, 2, 16, 6 * _SIDE),
    "png-exif": png_of_exif,
    "webp-canvas": webp_of_an_empty_canvas,
    "tiff-strips": tiff_of_many_strips,
    "tiff-rationals": tiff_of_many_rationals,
    "tiff-tiles": tiff_of_large_tiles,
    "tiff-warnings": tiff_that_warns,
    "bmp-run-lengths": bmp_of_run_lengths,
}
"""Name of the excessive part -> function that returns the file; none is larger than 20 MiB."""
