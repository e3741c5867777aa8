"""Detects the format of an image file, and removes metadata before it is decoded.

Colour profiles, comments, XMP, EXIF and thumbnails do not affect pixels, are often broken, and may decompress to a
hundred times their size. They are removed before a decoder reads the file. The only EXIF value in use, the orientation,
is read here. So broken metadata never makes an image fail.

A malformed file is passed on unchanged, and its decoder raises the error.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from PIL.TiffImagePlugin import BITSPERSAMPLE, IMAGELENGTH, IMAGEWIDTH, PHOTOMETRIC_INTERPRETATION

_ORIENTATION = 0x0112
# TIFF tags that describe how pixels are stored (TIFF 6.0, its technical notes 1 and 2, and libtiff's own).
_TIFF_NEEDED = frozenset(
    (*range(254, 260), 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, *range(320, 326), 332, 334, 336, 338, 339, 347)
).union(range(512, 522), range(529, 533))
_SHORT = 3
_WHOLE_NUMBERS = {1: 1, _SHORT: 2, 4: 4}  # types of TIFF and EXIF values -> bytes of one
_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II": "little", b"MM": "big"}
_JPEG_NEEDED = (0xE0, 0xEE)  # application segments JFIF and Adobe: they describe how colours are stored
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_LONGEST_FTYP = 256  # bytes
_LARGEST_ORIENTED = 1 << 16  # bytes of EXIF data; the maximum of one JPEG segment


@dataclass(frozen=True)
class Container:
    """An image file without metadata.

    :param format: Pillow's name of the format.
    :param data: bytes of the file.
    :param size: declared width and height in pixels; None if the decoder reads them cheaply.
    :param orientation: EXIF orientation, 1 to 8. For WebP and AVIF, the decoder reads it instead.
    :param depth: bits per sample of a PNG or TIFF, bits per pixel of a BMP; 8 where it does not matter.
    :param frame: left, top, right and bottom of a GIF's first frame if it covers only a part of the canvas.
    :param white_is_zero: whether a TIFF of more than 8 bits has WhiteIsZero; `data` then declares BlackIsZero.
    """

    format: str
    data: bytes
    size: tuple[int, int] | None = None
    orientation: int = 1
    depth: int = 8
    frame: tuple[int, int, int, int] | None = None
    white_is_zero: bool = False


def open_container(data: bytes) -> Container | None:
    """Return the container in `data`; None if the first bytes match no supported format."""
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Container("WEBP", data, _webp_size(data))
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return _gif(data)
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124):
        return Container("BMP", data, depth=int.from_bytes(data[28:30], "little"))
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff(data)
    if _brands(data) & _AVIF_BRANDS:
        return _avif(data)
    return None


def is_heic(data: bytes) -> bool:
    """Return whether a file declares HEIF with HEVC images, as phones write it."""
    return bool(_brands(data) & _HEIC_BRANDS)


def exif_orientation(exif: bytes) -> int:
    """Return the orientation in EXIF data, 1 to 8; 1 if it is missing or unreadable."""
    return _orientation(_entries(exif[: 6 + _LARGEST_ORIENTED].removeprefix(b"Exif\0\0")))


def _orientation(entries: Iterable[_Entry]) -> int:
    """Return the first orientation among the entries of a directory, else 1."""
    number = next((entry.number for entry in entries if entry.tag == _ORIENTATION), 1)
    return number if 1 <= number <= 8 else 1


def _jpeg(data: bytes) -> Container:
    """Keep the needed segments up to the first scan, and everything from there on.

    Segments: ITU-T T.81, annex B.
    """
    kept, orientation = [data[:2]], 0
    at = start = 2  # `start`: of the next part that is kept
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if kind == 0xFF:  # any number of fill bytes
            kept.append(data[start:at])
            at = start = at + _run(data, at) - 1
            continue
        if kind == 0xDA or not 0xC0 <= kind <= 0xFE or 0xD0 <= kind <= 0xD9:
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xE0 <= kind <= 0xEF or kind == 0xFE:
            if kind == 0xE1 and not orientation and data[at + 4 : at + 10] == b"Exif\0\0":
                orientation = exif_orientation(data[at + 4 : end])
            if kind not in _JPEG_NEEDED:
                kept.append(data[start:at])
                start = end
        at = end
    return Container("JPEG", b"".join([*kept, data[start:]]), orientation=orientation or 1)


def _run(data: bytes, at: int) -> int:
    """Return the number of consecutive FF bytes from `at` on."""
    length = 1
    while data[at : at + 2 * length].count(0xFF) == 2 * length:
        length *= 2
    rest = data[at : at + 2 * length]
    return len(rest) - len(rest.lstrip(b"\xff"))


def _png(data: bytes) -> Container:
    """Keep the needed chunks: https://www.w3.org/TR/png-3/#11Chunks. The image comes before its animation."""
    kept, orientation = [data[:8]], 1
    at = start = 8
    while at + 8 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        # A lower-case first letter marks an ancillary chunk, which decoders may skip. Of these, only a valid tRNS
        # (transparency) is kept.
        if kind[0] & 0x20 and not (kind == b"tRNS" and _is_whole(data, at, end)):
            if kind == b"eXIf" and _is_whole(data, at, end):
                orientation = exif_orientation(data[at + 8 : end - 4])
            kept.append(data[start:at])
            start = end
        at = end
        if kind == b"IEND":
            break
    return Container("PNG", b"".join([*kept, data[start:at]]), None, orientation, data[24] if len(data) > 24 else 8)


def _is_whole(data: bytes, at: int, end: int) -> bool:
    """Return whether the chunk from `at` to `end` is short, complete and has a valid checksum."""
    if end - at > _LARGEST_ORIENTED or end > len(data):
        return False
    return zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Return the size in the first chunk: https://developers.google.com/speed/webp/docs/riff_container"""
    if len(data) < 30:
        return None
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _gif(data: bytes) -> Container:
    """Keep everything up to the end of the first frame, without comment and application extensions.

    Blocks: GIF89a, https://www.w3.org/Graphics/GIF/spec-gif89a.txt
    """
    if len(data) < 13:
        return Container("GIF", data)
    at = 13 + _colours(data[10])
    kept = [data[:at]]
    while at + 2 < len(data):
        start = at
        if data[at] == 0x2C and at + 10 < len(data):  # an image descriptor
            end = _blocks_end(data, at + 10 + _colours(data[at + 9]) + 1)
            left, top, width, height = (int.from_bytes(data[i : i + 2], "little") for i in range(at + 1, at + 9, 2))
            canvas = tuple(int.from_bytes(data[i : i + 2], "little") for i in (6, 8))
            frame = (left, top, left + width, top + height) if (left, top, width, height) != (0, 0, *canvas) else None
            return Container("GIF", b"".join([*kept, data[at:end], b";"]), frame=frame)
        if data[at] != 0x21:
            break
        at = _blocks_end(data, at + 2)
        if data[start + 1] == 0xF9:  # transparency
            kept.append(data[start:at])
    return Container("GIF", data)


def _colours(flags: int) -> int:
    """Return the size of a colour table in bytes."""
    return 3 << (1 + (flags & 7)) if flags & 0x80 else 0


def _blocks_end(data: bytes, at: int) -> int:
    """Return the offset after the zero-length block that ends the blocks from `at` on."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _brands(data: bytes) -> set[bytes]:
    """Return the brands in the `ftyp` box (ISO/IEC 14496-12); none if the file does not begin with one."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), _LONGEST_FTYP, len(data))
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


def _avif(data: bytes) -> Container:
    """Hide the file's EXIF data and XMP from the decoder by renaming their items.

    Only the image properties determine the rotation: ISO/IEC 23008-12, 6.5.10 and 6.5.12.
    """
    changed = bytearray(data)
    metas = [box for box in _boxes(data, 0, len(data)) if box[0] == b"meta"]
    for _, start, end in metas[:1]:
        for kind, at, last in _boxes(data, start + 4, end):
            if kind != b"iinf":
                continue
            first = at + (6 if data[at : at + 1] == b"\0" else 8)  # after the version and the number of entries
            for _, entry, _ in _boxes(data, first, last):
                wide = data[entry : entry + 1] == b"\3"  # version 3 has ids of four bytes
                name = slice(entry + (10 if wide else 8), entry + (14 if wide else 12))
                if data[name] in (b"Exif", b"mime"):
                    changed[name] = b"free"
    return Container("AVIF", bytes(changed))


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes from `start` to `end`: type, start and end of the content."""
    at = start
    while at + 8 <= end:
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif size == 0:  # up to the end
            size = end - at
        if size < head:
            return
        yield kind, at + head, min(at + size, end)
        at += size


@dataclass(frozen=True)
class _Entry:
    """An entry of a TIFF directory: offset, size in bytes, tag, and first value if that is an integer."""

    at: int
    size: int
    tag: int
    number: int


def _entries(data: bytes) -> Iterator[_Entry]:
    """Yield the entries of the first directory in a TIFF or in EXIF data."""
    if (order := _ORDERS.get(data[:2])) is None:
        return

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    wide = number(2, 2) == 43  # BigTIFF
    at, count_size, pointer_size, size = (number(8, 8), 8, 8, 20) if wide else (number(4, 4), 2, 4, 12)
    first = at + count_size
    for entry in range(first, min(first + size * number(at, count_size), len(data) - size + 1), size):
        value_size = _WHOLE_NUMBERS.get(number(entry + 2, 2), 0)
        value = entry + 4 + pointer_size
        if value_size * number(entry + 4, pointer_size) > pointer_size:
            value = number(value, pointer_size)
        yield _Entry(entry, size, number(entry, 2), number(value, value_size))


def _tiff(data: bytes) -> Container:
    """Keep only the first directory, with the needed tags."""
    entries = list(_entries(data))
    values = {entry.tag: entry.number for entry in reversed(entries)}
    bits, photometric = values.get(BITSPERSAMPLE, 1), values.get(PHOTOMETRIC_INTERPRETATION, 0)
    white_is_zero = photometric == 0 and bits > 8
    kept = [entry for entry in entries if entry.tag in _TIFF_NEEDED]
    if kept:
        order = _ORDERS[data[:2]]
        wide = kept[0].size == 20  # BigTIFF
        count_size, pointer_size = (8, 8) if wide else (2, 4)
        table = [data[entry.at : entry.at + entry.size] for entry in kept]
        if white_is_zero:  # at this depth Pillow supports only BlackIsZero, which is 1
            head = b"".join(number.to_bytes(2, order) for number in (PHOTOMETRIC_INTERPRETATION, _SHORT))
            value = (1).to_bytes(pointer_size, order) + (1).to_bytes(2, order) + bytes(pointer_size - 2)
            table = [head + value if raw[:2] == head[:2] else raw for raw in table]
        start = entries[0].at - count_size
        # The shorter table ends with "no next directory"; all other offsets stay the same.
        directory = len(kept).to_bytes(count_size, order) + b"".join(table) + bytes(pointer_size)
        data = data[:start] + directory + data[start + len(directory) :]
    size = (values.get(IMAGEWIDTH, 0), values.get(IMAGELENGTH, 0))
    return Container("TIFF", data, size, _orientation(entries), bits, white_is_zero=white_is_zero)
