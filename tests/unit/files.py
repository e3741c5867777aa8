"""Writes image files of all variants by the specifications of the formats; Pillow can write only some of them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

Order = Literal["little", "big"]
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # colour types of PNG
WHITE_IS_ZERO, BLACK_IS_ZERO, OF_RGB, OF_PALETTE, CMYK = 0, 1, 2, 3, 5  # photometric interpretations of TIFF


def packed(samples: np.ndarray, bits: int, order: Order = "big") -> list[bytes]:
    """Return the rows of samples (h, n), packed with `bits` bits per sample and padded to whole bytes per row."""
    if bits in (8, 16, 32):
        kind = np.dtype(f"u{bits // 8}").newbyteorder("<" if order == "little" else ">")
        return [row.astype(kind).tobytes() for row in samples]
    each = (samples[..., None].astype(int) >> np.arange(bits)[::-1] & 1).reshape(len(samples), -1)
    return [np.packbits(row.astype(np.uint8)).tobytes() for row in each]


def chunk(kind: bytes, data: bytes, broken: bool = False) -> bytes:
    """Return a chunk of a PNG; with `broken` its checksum is wrong."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ broken)


def png(samples: np.ndarray, bits: int, colour: int, *before: bytes, after: bytes = b"") -> bytes:
    """Return a PNG of samples (h, w, channels).

    :param samples: values of the pixels.
    :param bits: bits per sample.
    :param colour: colour type.
    :param before: chunks between the header and the pixels.
    :param after: chunks after the pixels.
    """
    height, width, channels = samples.shape
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    rows = packed(samples.reshape(height, width * channels), bits)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [chunk(b"IHDR", header), *before, chunk(b"IDAT", pixels), after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(
    samples: np.ndarray,
    bits: int,
    photometric: int,
    order: Order = "little",
    *,
    deflated: bool = False,
    planes: bool = False,
    extra: Sequence[int] = (),
    sample_format: int = 1,
    fill_order: int = 1,
    more: Sequence[tuple[int, int, int, bytes]] = (),
) -> bytes:
    """Return a TIFF of samples (h, w, channels) in one strip, or one per channel.

    :param samples: values of the pixels.
    :param bits: bits per sample.
    :param photometric: photometric interpretation.
    :param order: byte order.
    :param deflated: whether to compress the strips.
    :param planes: whether to write one strip per channel.
    :param extra: meanings of additional channels (ExtraSamples).
    :param sample_format: SampleFormat of the samples.
    :param fill_order: FillOrder of bits within bytes.
    :param more: further directory entries: tag, type, count, value (up to four bytes, in the file's order).
    """
    height, width, channels = samples.shape
    parts = [samples[..., [i]] for i in range(channels)] if planes else [samples]
    strips = [b"".join(packed(part.reshape(height, -1), bits, order)) for part in parts]
    if fill_order == 2:
        strips = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in strip) for strip in strips]
    if deflated:
        strips = [zlib.compress(strip) for strip in strips]
    colours = np.arange(1 << bits) * 65535 // ((1 << bits) - 1) if photometric == OF_PALETTE else []
    entries: list[tuple[int, int, Sequence[int]]] = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [bits] * channels),
        (259, 3, [8 if deflated else 1]),
        (262, 3, [photometric]),
        (266, 3, [fill_order]),
        (277, 3, [channels]),
        (278, 4, [height]),
        (284, 3, [2 if planes else 1]),
        (339, 3, [sample_format] * channels),
    ]
    entries += [(338, 3, extra)] if extra else []
    entries += [(320, 3, [*colours, *colours, *colours])] if photometric == OF_PALETTE else []
    at, values, offsets = 8, b"", []
    for strip in strips:
        offsets.append(at + len(values))
        values += strip + bytes(len(strip) % 2)
    entries += [(273, 4, offsets), (279, 4, [len(strip) for strip in strips])]
    raw: list[bytes] = [
        tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(4, order) + value.ljust(4, b"\0")
        for tag, kind, count, value in more
    ]
    for tag, kind, numbers in entries:
        value = b"".join(int(number).to_bytes(2 if kind == 3 else 4, order) for number in numbers)
        if len(value) > 4:
            values, value = values + value, (at + len(values)).to_bytes(4, order)
        head = tag.to_bytes(2, order) + kind.to_bytes(2, order) + len(numbers).to_bytes(4, order)
        raw.append(head + value.ljust(4, b"\0"))
    raw.sort(key=lambda entry: int.from_bytes(entry[:2], order))
    mark = b"II" if order == "little" else b"MM"
    header = mark + (42).to_bytes(2, order) + (at + len(values)).to_bytes(4, order)
    return header + values + len(raw).to_bytes(2, order) + b"".join(raw) + bytes(4)


def bmp(samples: np.ndarray, bits: int, masks: Sequence[int] = (), header: int = 40, palette: bytes = b"") -> bytes:
    """Return a BMP.

    :param samples: pixels as numbers (h, w).
    :param bits: bits per pixel.
    :param masks: bit masks of red, green, blue and alpha; none for the default ones.
    :param header: length of the header, in bytes: 40, or 56 and more for masks within it.
    :param palette: palette as bytes.
    """
    height, width = samples.shape
    rows = packed(samples[::-1], bits, "little")
    pixels = b"".join(row + bytes(-len(row) % 4) for row in rows)
    described = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, 3 if masks else 0, len(pixels), 0, 0, 0, 0)
    in_header = b"".join(struct.pack("<I", mask) for mask in masks)
    described += in_header.ljust(header - 40, b"\0") if header > 40 else in_header
    start = 14 + len(described) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + described + palette + pixels
