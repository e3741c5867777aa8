"""Encoded bytes -> an upright RGB picture, within limits, a strip of rows at a time.

How a picture becomes RGB, where there is a choice:

- EXIF orientation is applied, so a photograph stands as people see it;
- transparency is laid over white;
- 16-bit grey keeps its high byte, as Pillow does for 16-bit colour;
- palette, grey, CMYK and YCbCr become RGB by Pillow's conversion;
- of an animation the first frame counts.

A plain RGB picture is what `Image.open(...).convert("RGB")` gives, bit for bit. Only the decoded picture itself is ever
held whole; turning and converting happen by strips, so that they need no second one.

Nothing here imports numpy: it runs in processes that start in a tenth of a second and of which there are many.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PIL import (  # the decoders of FORMATS: where one is missing Pillow would import all that it has
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from clip_image_flow.errors import BadDocument, RequestError, TakesLonger, TooLarge, UnsupportedMedia

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
LONGEST_SIDE = 65_535  # pixels; JPEG's own limit. Longer ones are no photographs, and rows of one pixel cost 60 times.
STRIP_PIXELS = 1 << 20

_WEBP_BYTES = 18  # a pixel: two canvases of the animation decoder, what they are copied to, and Pillow's own pixels
_ORIENTATION = 0x0112  # of EXIF, as those that follow of TIFF
_BITS_PER_SAMPLE, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 0x0102, 0x0116, 0x0142, 0x0143
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Picture:
    """An image as people see it: upright, in RGB.

    :param image: in any mode; it is decoded when the first rows are asked for.
    :param orientation: its EXIF orientation, 1 to 8.
    """

    def __init__(self, image: Image.Image, orientation: int = 1) -> None:
        self._image = image
        self._orientation = orientation
        width, height = image.size
        self.size = (height, width) if orientation >= 5 else (width, height)

    @property
    def strip_height(self) -> int:
        """Rows that are worth having at a time; all of them where nothing is copied for it."""
        plain = self._image.mode == "RGB" and self._orientation == 1 and not self._image.has_transparency_data
        return self.size[1] if plain else max(1, STRIP_PIXELS // self.size[0])

    def rows(self, top: int, bottom: int) -> Image.Image:
        """The rows from `top` to before `bottom`, in mode RGB."""
        image, turn = self._image, self._orientation
        width, height = image.size
        # Where these rows lie in the image as it is stored: from its other end, and across, for some turns.
        first, last = (top, bottom) if turn in (1, 2, 5, 6) else (self.size[1] - bottom, self.size[1] - top)
        box = (first, 0, last, height) if turn >= 5 else (0, first, width, last)
        if box != (0, 0, width, height):
            image = image.crop(box)
        if turn in _TURNS:
            image = image.transpose(_TURNS[turn])
        return _to_rgb(image)

    def whole(self) -> Image.Image:
        """The picture in one piece, in mode RGB."""
        if (height := self.strip_height) >= self.size[1]:
            return self.rows(0, self.size[1])
        whole = Image.new("RGB", self.size)
        for top in range(0, self.size[1], height):
            whole.paste(self.rows(top, min(top + height, self.size[1])), (0, top))
        return whole


@contextmanager
def open_picture(
    data: bytes,
    max_pixels: int,
    at_least: int | None = None,
    before_decoding: Callable[[int, int, int], None] = lambda *_: None,
) -> Iterator[Picture]:
    """The picture in a file, decoded.

    :param max_pixels: most pixels; the declared size is checked before anything is decoded.
    :param at_least: a JPEG may be decoded to a half, a quarter or an eighth of its size, as long as each side keeps
        this many pixels; None for its own size. Nearly the same picture, for a fraction of the time.
    :param before_decoding: called with width, height and the bytes of memory that decoding takes; what it raises
        is raised here.
    :raises BadDocument: a broken image.
    :raises TooLarge: over `max_pixels`, `LONGEST_SIDE`, or what fits into memory.
    :raises UnsupportedMedia: bytes in none of `FORMATS`.
    """
    try:
        if size := _webp_size(data):  # whose decoder takes all of its memory when it is opened
            check_size(*size, max_pixels)
            before_decoding(*size, _WEBP_BYTES * size[0] * size[1] + 3 * len(data))
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_size(*image.size, max_pixels)
            if not size:
                full_size = image.size
                if at_least:
                    image.draft(None, (at_least, at_least))  # of a format that cannot, nothing happens
                before_decoding(*image.size, _decoding_memory(image, full_size, data))
            image.load()
            yield Picture(image, _orientation(image))
    except (RequestError, TakesLonger):
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"the image is over the limit of {max_pixels} pixels") from error
    except UnidentifiedImageError as error:
        raise UnsupportedMedia(
            f"these {len(data)} bytes are no image in a format read here ({', '.join(FORMATS)}), or a broken one"
        ) from error
    except MemoryError as error:
        raise TooLarge("the image takes more memory to decode than an image of its size should") from error
    except Exception as error:  # decoders answer hostile bytes with anything from OSError to struct.error
        raise BadDocument(f"the image cannot be decoded: {str(error)[:300]}") from error


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Pass when an image of this size may be decoded.

    :raises TooLarge: it has too many pixels, or too many in a row or a column.
    """
    if width * height > max_pixels:
        raise TooLarge(f"the image has {width} x {height} pixels; at most {max_pixels} are decoded")
    if max(width, height) > LONGEST_SIDE:
        raise TooLarge(f"the image has {width} x {height} pixels; at most {LONGEST_SIDE} are decoded on a side")


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP (https://developers.google.com/speed/webp/docs/riff_container); None for others."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _decoding_memory(image: Image.Image, full_size: tuple[int, int], data: bytes) -> int:
    """Bytes that decoding takes at its peak: Pillow's own pixels and what the decoder of the format holds besides.

    Measured with Pillow 13 on 20 megapixels of each format, by the peak of the address space.

    :param full_size: what the file declares; `image.size` may be a draft of it.
    """
    pixels = image.width * image.height
    size = pixels * (1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4)
    if image.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > 1:  # several scans: the coefficients of all of it
        size += 2 * _coefficients(full_size, getattr(image, "layer", []))
    elif image.format == "TIFF":
        size += _strip_memory(image)
    elif image.format in ("GIF", "BMP"):
        size += 2 * pixels  # run lengths are unpacked into bytes first
    return size + 3 * len(data)


def _strip_memory(image: Image.Image) -> int:
    """Bytes of one strip or tile of a TIFF, as it is unpacked; the first may be all of the picture."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if _TILE_WIDTH in tags and _TILE_HEIGHT in tags:
        pixels = int(tags[_TILE_WIDTH]) * int(tags[_TILE_HEIGHT])
    else:
        pixels = image.width * min(image.height, int(tags.get(_ROWS_PER_STRIP, image.height)))
    return pixels * (4 + int(sum(tags.get(_BITS_PER_SAMPLE, (8,)))) // 8)


def _coefficients(size: tuple[int, int], layers: list[tuple[int, int, int, int]]) -> int:
    """DCT coefficients of a JPEG whose layers have these sampling factors."""
    largest = max((layer[1] for layer in layers), default=1) * max((layer[2] for layer in layers), default=1)
    return sum(layer[1] * layer[2] for layer in layers) * size[0] * size[1] // max(1, largest)


def _orientation(image: Image.Image) -> int:
    """As the EXIF data have it, 1 to 8; broken EXIF data ask for nothing."""
    try:
        orientation: object = image.getexif().get(_ORIENTATION)
    except Exception:  # the parser answers hostile bytes with anything
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """`image` in mode RGB, by the rules at the top of this module."""
    if image.mode in ("I;16", "I;16L", "I;16B", "I"):
        little_endian = image.convert("I").convert("I;16").tobytes()  # clipped to 16 bits
        return Image.frombytes("L", image.size, little_endian[1::2]).convert("RGB")
    if image.mode == "F":
        raise BadDocument("a picture of floating-point numbers has no stated range; save it with 8 bits a channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
