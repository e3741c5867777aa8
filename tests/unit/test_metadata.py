"""What a file says besides its pixels refuses no picture, costs next to nothing and changes nothing but orientation."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from clip_image_flow.image.reader import ImageReader
from clip_image_flow.image.uris import UriReader
from tests.conftest import encoded, photo
from tests.unit.files import OF_RGB, RGB, bmp, chunk, png, tiff

READER = ImageReader(max_bytes=8 << 20, max_pixels=1_000_000, uris=UriReader())
SAMPLES = np.asarray(photo(12, 8)).astype(np.int64)
TURNED = np.rot90(SAMPLES, -1)


def exif(*entries: bytes, pointer: int = 8) -> bytes:
    """EXIF data whose first directory turns the picture by a quarter, among other entries."""
    turned = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    table = b"".join(sorted([turned, *entries], key=lambda entry: entry[:2][::-1]))
    return b"II*\0" + struct.pack("<IH", pointer, 1 + len(entries)) + table + bytes(4)


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


def segment(kind: int, data: bytes) -> bytes:
    """Of a JPEG."""
    return bytes([0xFF, kind]) + struct.pack(">H", 2 + len(data)) + data


def jpeg(*segments: bytes) -> bytes:
    data = encoded(photo(12, 8), "JPEG", quality=95)
    return data[:2] + b"".join(segments) + data[2:]


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    """With an extended header and these chunks behind the pixels."""
    simple = encoded(photo(12, 8), "WEBP", lossless=True)
    flags = {b"EXIF": 8, b"XMP ": 4, b"ICCP": 32}
    header = struct.pack("<I", sum(flags[kind] for kind, _ in chunks)) + struct.pack("<I", 11)[:3] + b"\x07\0\0"
    parts = [(b"VP8X", header), (simple[12:16], simple[20 : 20 + struct.unpack("<I", simple[16:20])[0]]), *chunks]
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in parts)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def gif(*extensions: bytes) -> bytes:
    data = encoded(photo(12, 8).convert("P"), "GIF")
    at = 13 + (3 << 1 + (data[10] & 7))  # behind the colour table
    assert data[at : at + 1] in (b"!", b",")
    return data[:at] + b"".join(extensions) + data[at:]


def comments(count: int) -> bytes:
    return b"!\xfe" + count * (b"\xff" + bytes(255)) + b"\0"


# Entries that cannot be written back, or point nowhere.
BROKEN_ENTRIES = {
    "a signed resolution": entry(0x011A, 10, 1, 0xFFFFFFF0),
    "a resolution beyond the end": entry(0x011A, 5, 1, 0x7FFFFFFF),
    "a latitude as text": entry(0x8825, 2, 4, 0x00323130),
    "a pointer of -1": entry(0x8769, 9, 1, 0xFFFFFFFF),
    "a pointer to itself": entry(0x8769, 4, 1, 8),
    "an unknown type": entry(0x9000, 77, 3, 1),
    "a maker's note of gigabytes": entry(0x927C, 7, 0xFFFFFFF0, 0),
    "text that is no text": entry(0x010E, 2, 4, 0xFFFEFDFC),
}
HOLDERS: dict[str, Callable[[bytes], bytes]] = {
    "jpeg": lambda data: jpeg(segment(0xE1, b"Exif\0\0" + data)),
    "png": lambda data: png(SAMPLES, 8, RGB, chunk(b"eXIf", data)),
    "webp": lambda data: webp((b"EXIF", data)),
}


def shown(format: str) -> np.ndarray:
    """The picture of a file without metadata."""
    plain = {"jpeg": jpeg(), "gif": gif()}
    return np.asarray(Image.open(io.BytesIO(plain[format])).convert("RGB")) if format in plain else SAMPLES


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("broken", BROKEN_ENTRIES)
def test_a_photograph_is_turned_whatever_else_its_exif_data_hold(holder: str, broken: str) -> None:
    picture = READER.read(HOLDERS[holder](exif(BROKEN_ENTRIES[broken])))
    assert np.array_equal(np.asarray(picture), np.rot90(shown(holder), -1))


@pytest.mark.parametrize("broken", BROKEN_ENTRIES)
def test_a_tiff_is_turned_whatever_else_its_directory_holds(broken: str) -> None:
    tag, kind, count, value = struct.unpack("<HHI4s", BROKEN_ENTRIES[broken])
    data = tiff(SAMPLES, 8, OF_RGB, more=[(0x0112, 3, 1, b"\x06\0"), (tag, kind, count, value)])
    assert np.array_equal(np.asarray(READER.read(data)), TURNED)


def test_a_big_tiff_is_read() -> None:
    file = io.BytesIO()
    photo(12, 8).save(file, "TIFF", big_tiff=True, tiffinfo={0x0112: 6, 0x010E: "a description"})
    assert file.getvalue()[2:4] == b"+\0"
    assert np.array_equal(np.asarray(READER.read(file.getvalue())), TURNED)


MEGABYTE = bytes(1 << 20)
NOT_ASKED_FOR = {
    "png: a wrong checksum of text": png(SAMPLES, 8, RGB, chunk(b"tEXt", b"a\0b", broken=True)),
    "png: a wrong checksum of a colour profile": png(SAMPLES, 8, RGB, chunk(b"iCCP", b"a\0\0b", broken=True)),
    "png: a wrong checksum of EXIF": png(SAMPLES, 8, RGB, chunk(b"eXIf", exif(), broken=True)),
    "png: a wrong checksum of transparency": png(SAMPLES, 8, RGB, chunk(b"tRNS", bytes(6), broken=True)),
    "png: a wrong checksum behind the pixels": png(SAMPLES, 8, RGB, after=chunk(b"tEXt", b"a\0b", broken=True)),
    "png: a profile that is none": png(SAMPLES, 8, RGB, chunk(b"iCCP", b"no zero byte")),
    "png: an empty chunk of each kind": png(
        SAMPLES, 8, RGB, *(chunk(kind, b"") for kind in (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME", b"iTXt", b"zTXt"))
    ),
    "png: a chunk nobody knows": png(SAMPLES, 8, RGB, chunk(b"prVt", MEGABYTE)),
    "png: a large colour profile": png(SAMPLES, 8, RGB, chunk(b"iCCP", b"a\0\0" + zlib.compress(3 * MEGABYTE))),
    "png: much text": png(SAMPLES, 8, RGB, chunk(b"tEXt", b"a\0" + 2 * MEGABYTE)),
    "png: much XMP": png(SAMPLES, 8, RGB, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + 2 * MEGABYTE)),
    "png: animation data that are none": png(SAMPLES, 8, RGB, chunk(b"acTL", b""), chunk(b"fcTL", b"x")),
    "jpeg: a colour profile cut short": jpeg(segment(0xE2, b"ICC_PROFILE\0")),
    "jpeg: a colour profile of which a part is missing": jpeg(segment(0xE2, b"ICC_PROFILE\0\x02\x09" + bytes(99))),
    "jpeg: several pictures that are not there": jpeg(segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff")),
    "jpeg: photoshop data that are none": jpeg(segment(0xED, b"Photoshop 3.0\0" + b"8BIM" * 9)),
    "jpeg: XMP and comments": jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x"), segment(0xFE, b"\xff" * 99)),
    "jpeg: fill bytes": jpeg(b"\xff" * 100_000 + segment(0xFE, b"")),
    "webp: XMP that is none": webp((b"XMP ", b"<x")),
    "webp: EXIF that is none": webp((b"EXIF", b"Exif\0\0garbage")),
    "gif: comments": gif(*[comments(4)] * 500),
    "gif: a long comment": gif(comments(16_000)),
    "gif: an application's data that are none": gif(b"!\xff\x0bNETSCAPE2.0\0"),
    "tiff: a description of text that is none": tiff(SAMPLES, 8, OF_RGB, more=[(0x010E, 2, 4, b"\xff\xfe\xfd\xfc")]),
    "tiff: a resolution by zero": tiff(SAMPLES, 8, OF_RGB, more=[(0x011A, 5, 1, bytes(4))]),
    "tiff: a next directory that is this one": tiff(SAMPLES, 8, OF_RGB)[:-4] + struct.pack("<I", 8),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NOT_ASKED_FOR)
def test_what_nobody_asked_for_refuses_no_picture(name: str) -> None:
    assert np.array_equal(np.asarray(READER.read(NOT_ASKED_FOR[name])), shown(name.split(":")[0]))


BOMBS = {
    "text": chunk(b"zTXt", b"a\0\0" + zlib.compress(100 * MEGABYTE, 9)),
    "international text": chunk(b"iTXt", b"a\0\x01\0\0\0" + zlib.compress(100 * MEGABYTE, 9)),
    "a colour profile": chunk(b"iCCP", b"a\0\0" + zlib.compress(100 * MEGABYTE, 9)),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("behind", [False, True], ids=["before the pixels", "behind the pixels"])
def test_what_unfolds_to_a_hundred_megabytes_is_not_unfolded(name: str, behind: bool) -> None:
    data = png(SAMPLES, 8, RGB, after=BOMBS[name]) if behind else png(SAMPLES, 8, RGB, BOMBS[name])
    tracemalloc.start()
    try:
        assert np.array_equal(np.asarray(READER.read(data)), SAMPLES)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_metadata_of_the_usual_kind_change_no_pixel(format: str) -> None:
    picture = photo(40, 30).convert("P") if format == "GIF" else photo(40, 30)
    told = {"exif": b"Exif\0\0" + exif(), "icc_profile": bytes(5000), "dpi": (72, 72), "comment": b"a comment"}
    plain, with_all = encoded(picture, format), encoded(picture, format, **told)
    expected = Image.open(io.BytesIO(plain)).convert("RGB")
    if format not in ("GIF", "BMP"):
        assert with_all != plain
        expected = expected.transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(np.asarray(READER.read(with_all)), np.asarray(expected))


def test_broken_exif_of_an_avif_is_not_looked_at() -> None:
    """How it is turned is a property of the picture, not of its EXIF data."""
    turned = Image.Exif()
    turned[0x0112], turned[0x010F] = 6, "a maker"
    data = encoded(photo(40, 30), "AVIF", exif=turned.tobytes())
    at = data.index(b"a maker")
    start = data.rindex(b"MM\0*", 0, at)
    broken = data[:start] + b"\xff" * (at - start) + data[at:]
    assert np.array_equal(np.asarray(READER.read(broken)), np.asarray(READER.read(data)))
    assert READER.read(broken).size == (30, 40)


def test_a_bmp_may_have_a_colour_profile_behind_its_pixels() -> None:
    data = bmp(np.zeros((2, 2), np.int64), 32, header=124) + bytes(5000)
    assert READER.read(data).size == (2, 2)
