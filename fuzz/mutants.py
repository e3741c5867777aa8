"""Generates mutants: valid inputs of each kind with random changes. Mutant k of seed s is always the same bytes."""

from __future__ import annotations

import base64
import functools
import io
import json
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
from docarray import Document, DocumentArray
from jina.types.request.data import DataRequest
from PIL import Image

KINDS = ("picture", "uri", "message", "body", "form", "text")
BOUNDARY = "a-boundary"
"""Boundary between the fields of a form."""
_LARGEST = 1 << 20  # maximum size of a mutant, in bytes
_NUMBERS = (0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_WORDS = (b"{}", b"[", b"]", b",", b'"', b"\\ud800", b"1e999", b"-", b"%", b"%4", b"=", b"\0", b"null", b"\xff\xff")


def photograph(width: int = 90, height: int = 60) -> Image.Image:
    """Return an image with structure."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 7), np.cos(y / 5), np.sin((x + y) / 11)], axis=-1)
    return Image.fromarray((128 + 90 * waves).astype(np.uint8))


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    """Return `image` as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@functools.cache
def valid(kind: str) -> list[bytes]:
    """Return valid inputs of a kind."""
    return {
        "picture": _pictures,
        "uri": _uris,
        "message": _messages,
        "body": _bodies,
        "form": _forms,
        "text": _texts,
    }[kind]()


def _pictures() -> list[bytes]:
    image = photograph(24, 16)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    grey16 = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    files = [encoded(image, "JPEG", exif=exif), encoded(image, "JPEG", progressive=True)]
    files += [encoded(image.convert(mode), "JPEG") for mode in ("L", "CMYK")]
    files += [encoded(image.convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")]
    files += [encoded(grey16, "PNG"), encoded(grey16, "TIFF"), encoded(image, "PNG", exif=exif)]
    files += [encoded(image.convert("RGBA"), "WEBP", lossless=True), encoded(image, "WEBP")]
    files += [encoded(image, "AVIF", exif=exif), encoded(image.convert("RGBA"), "AVIF")]
    files += [encoded(image.convert("P"), "GIF", save_all=True, append_images=[image.convert("P")])]
    files += [encoded(image.convert(mode), "BMP") for mode in ("1", "P", "RGB", "RGBA")]
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        files += [encoded(image, "TIFF", compression=compression)]
    files += [encoded(image.convert("1"), "TIFF", compression=c) for c in ("group3", "group4")]
    return [*files, encoded(image.convert("CMYK"), "TIFF"), encoded(image.convert("YCbCr"), "TIFF")]


def _uris() -> list[bytes]:
    data = base64.b64encode(encoded(photograph(8, 8), "PNG"))
    return [
        *(b"data:image/png;base64," + data, b"DATA:;BASE64," + base64.urlsafe_b64encode(bytes(range(256)))),
        *(b"data:image/png,%89PNG%0D%0A", b"https://a.example/cat.jpg", b"file:///etc/passwd", b"data:,a=b"),
    ]


def _documents() -> DocumentArray:
    pixels = np.asarray(photograph(4, 3))
    return DocumentArray(
        [
            Document(id="a", blob=encoded(photograph(8, 8), "PNG"), tags={"a": 1, "b": {"c": [1, "d"]}}),
            Document(id="b", tensor=pixels, modality="image"),
            Document(id="c", uri="data:image/png;base64,aGVsbG8=", mime_type="image/png"),
            Document(id="d", text="cat", chunks=[Document(id="e", blob=b"x", modality="image")]),
        ]
    )


def _messages() -> list[bytes]:
    found = []
    for documents in (_documents(), DocumentArray([Document(id="x", text="x")] * 20), DocumentArray()):
        request = DataRequest()
        request.data.docs = documents
        request.parameters = {"batch_size": 4, "traversal_paths": "@r,c", "normalize": True}
        request.header.request_id = "r"
        request.header.exec_endpoint, request.header.target_executor = "/", "encoder"
        found.append(bytes(request.proto.SerializeToString(deterministic=True)))
    return found


def _bodies() -> list[bytes]:
    uri = "data:image/png;base64," + base64.b64encode(encoded(photograph(8, 8), "PNG")).decode()
    documents = json.loads(_documents().to_json())
    bodies = [
        {"data": documents, "parameters": {"normalize": True}, "execEndpoint": "/", "targetExecutor": "enc"},
        {"data": {"docs": [{"id": "x", "chunks": [{"blob": "aGVsbG8="}], "tags": {"a": 1}}]}},
        {"input": [uri, uri], "model": "emoji-tiny", "encoding_format": "base64"},
        {"input": uri, "dimensions": None, "modality": "image", "normalize": True},
        {"input": [{"text": "a cat"}, {"image": uri}, {"bytes": "aGVsbG8="}], "embedding_type": "ubinary"},
        {"messages": [[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": uri}}]}]]},
        {"inputs": [{"content": [{"type": "text", "text": "a"}]}], "embedding_types": ["float"], "truncate": "END"},
        {"texts": ["a cat"], "images": ["aGVsbG8="]},
        {"image": uri, "texts": ["a cat", "a dog"]},
    ]
    return [json.dumps(body).encode() for body in bodies]


def _forms() -> list[bytes]:
    picture = encoded(photograph(8, 8), "PNG")
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    parts = [
        f'{head}"image"; filename="cat.png"\r\nContent-Type: image/png\r\n\r\n'.encode() + picture + b"\r\n",
        f'{head}"text"\r\n\r\na cat\r\n'.encode(),
        f"{head}\"image\"; filename*=utf-8''%e2%82%ac.png\r\n\r\n1\r\n".encode(),
    ]
    end = f"--{BOUNDARY}--\r\n".encode()
    return [parts[0] + end, parts[1] + end, b"".join(parts) + end]


def _texts() -> list[bytes]:
    texts = ("a photo of a cat", "It's 5 o'clock, they'LL &amp; we", "חתול 🐈 ﬁ 𝔘𝔫𝔦 日本語", "\x00 \u202e e\u0301" * 20)
    return [text.encode() for text in texts]


def mutant(kind: str, seed: int, number: int) -> bytes:
    """Return mutant `number` of `seed`."""
    dice = random.Random(f"{kind} {seed} {number}")
    inputs = valid(kind)
    data = bytearray(dice.choice(inputs))
    for _ in range(dice.choice((1, 1, 2, 3, 8, 30))):
        if data:
            dice.choice(_CHANGES)(data, dice, inputs)
    if kind == "picture" and data[:8] == b"\x89PNG\r\n\x1a\n" and dice.random() < 0.7:
        data = _with_checksums(data)  # decoders stop at the first chunk with a wrong checksum
    return bytes(data[:_LARGEST])


def _flip(data: bytearray, dice: random.Random, _: list[bytes]) -> None:
    data[_place(data, dice)] ^= 1 << dice.randrange(8)


def _number(data: bytearray, dice: random.Random, _: list[bytes]) -> None:
    """Replace a field of 1, 2 or 4 bytes by a boundary value."""
    form = dice.choice(("<B", "<H", ">H", "<I", ">I"))
    place = _place(data, dice)
    mask = (1 << 8 * struct.calcsize(form)) - 1
    data[place : place + struct.calcsize(form)] = struct.pack(form, dice.choice(_NUMBERS) & mask)


def _repeat(data: bytearray, dice: random.Random, _: list[bytes]) -> None:
    start = _place(data, dice)
    block = data[start : start + dice.choice((1, 2, 4, 12, 30, 200))]
    data[start:start] = block * dice.choice((1, 2, 10, 1000))


def _remove(data: bytearray, dice: random.Random, _: list[bytes]) -> None:
    start = _place(data, dice)
    del data[start : start + dice.choice((1, 2, 4, 12, 100))]


def _cut(data: bytearray, dice: random.Random, _: list[bytes]) -> None:
    del data[_place(data, dice) + 1 :]


def _insert(data: bytearray, dice: random.Random, _: list[bytes]) -> None:
    place = _place(data, dice)
    data[place:place] = dice.choice(_WORDS) * dice.choice((1, 1, 3, 200))


def _splice(data: bytearray, dice: random.Random, inputs: list[bytes]) -> None:
    other = dice.choice(inputs)
    start = dice.randrange(len(other) or 1)
    place = _place(data, dice)
    data[place : place + dice.choice((0, 8, 100))] = other[start : start + dice.choice((4, 30, 300))]


def _place(data: bytearray, dice: random.Random) -> int:
    """Return a random position, more often near the beginning, where headers are."""
    return dice.randrange(min(len(data), dice.choice((16, 64, 256, 1 << 20))))


_CHANGES: tuple[Callable[[bytearray, random.Random, list[bytes]], None], ...] = (
    *(_flip, _number, _number, _repeat, _remove, _cut, _insert, _splice),
)


def _with_checksums(data: bytearray) -> bytearray:
    """Return a PNG with the checksums of its chunks corrected."""
    position = 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return data
