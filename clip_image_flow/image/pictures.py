"""Encoded bytes -> an upright RGB picture, within limits, a strip of rows at a time.

A plain RGB picture is what `Image.open(...).convert("RGB")` gives, bit for bit. Only the decoded picture itself is ever
held whole; turning and converting happen by strips, so that they need no second one.

Nothing here imports numpy: it runs in processes that start in a tenth of a second and of which there are many.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PIL import AvifImagePlugin, Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, ROWSPERSTRIP, TILELENGTH, TILEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from clip_image_flow.errors import BadDocument, RequestError, TakesLonger, TooLarge, UnsupportedMedia
from clip_image_flow.image.containers import Container, exif_orientation, is_heic, open_container
from clip_image_flow.image.pixels import STRIP_PIXELS, check_kind, plain, to_rgb

_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # one decoder, one core; there is no other way to say so
FORMATS = tuple(_DECODERS)
LONGEST_SIDE = 65_535  # pixels; JPEG's own limit. Longer ones are no photographs, and rows of one pixel cost 60 times.
# Of a JPEG. Encoders write some ten; one may be ten bytes, and have the decoder look at all coefficients. The authors
# of libjpeg-turbo know of no use for more than a hundred ("Two Issues with the JPEG Standard", 2016).
MOST_SCANS = 100

_AVIF_BYTES = 20  # a pixel, of 12 bits with alpha; photographs of 8 bits take half
_WEBP_BYTES = 18  # a pixel: two canvases of the animation decoder, what they are copied to, and Pillow's own pixels
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

    :param image: decoded, in any mode.
    :param orientation: its EXIF orientation, 1 to 8.
    :param to_rgb: converts it, and strips of it, to mode RGB.
    """

    def __init__(
        self,
        image: Image.Image,
        orientation: int = 1,
        to_rgb: Callable[[Image.Image], Image.Image] = plain,
    ) -> None:
        self._image = image
        self._orientation = orientation
        self._to_rgb = to_rgb
        width, height = image.size
        self.size = (height, width) if orientation >= 5 else (width, height)

    @property
    def strip_height(self) -> int:
        """Rows that are worth having at a time; all of them where nothing is copied for it."""
        as_it_is = self._image.mode == "RGB" and self._orientation == 1 and self._to_rgb is plain
        return self.size[1] if as_it_is else max(1, STRIP_PIXELS // self.size[0])

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
        return self._to_rgb(image)

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
    container = open_container(data)
    if container is None:
        if is_heic(data):
            raise UnsupportedMedia("HEIC is not read here; send the picture as JPEG, or as AVIF")
        raise UnsupportedMedia(f"these {len(data)} bytes are no image in a format read here ({', '.join(FORMATS)})")
    try:
        if size := container.size:
            check_size(*size, max_pixels)
            if container.format == "WEBP":  # whose decoder takes all of its memory when it is opened
                before_decoding(*size, _WEBP_BYTES * size[0] * size[1] + 3 * len(data))
        with _DECODERS[container.format](io.BytesIO(container.data)) as image:
            check_size(*image.size, max_pixels)
            check_kind(image, container)
            if container.format == "JPEG" and (scans := _scans(container.data)) > MOST_SCANS:
                raise TooLarge(f"the image is a JPEG of {scans} scans; at most {MOST_SCANS} are decoded")
            if container.format != "WEBP":
                full_size = image.size
                if at_least:
                    image.draft(None, (at_least, at_least))  # of a format that cannot, nothing happens
                before_decoding(*image.size, _decoding_memory(image, full_size, container.data))
            image.load()
            yield _as_shown(image, container)
    except (RequestError, TakesLonger):
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"the image is over the limit of {max_pixels} pixels") from error
    except MemoryError as error:
        raise TooLarge("the image takes more memory to decode than an image of its size should") from error
    except Exception as error:  # decoders answer hostile bytes with anything from OSError to struct.error
        reason = str(error)[:300] or type(error).__name__
        raise BadDocument(f"the image cannot be decoded: broken {container.format}, {reason}") from error


def _as_shown(image: ImageFile.ImageFile, container: Container) -> Picture:
    """The decoded `image`, with what Pillow does not know of its file."""
    orientation = container.orientation
    if container.format in ("WEBP", "AVIF"):
        orientation = exif_orientation(image.info.get("exif", b""))
    shown = to_rgb(image, container)
    if container.frame:  # of the rest viewers show what is behind
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(shown(image.crop(container.frame)), container.frame[:2])
        return Picture(canvas)
    return Picture(image, orientation, shown)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Pass when an image of this size may be decoded.

    :raises TooLarge: it has too many pixels, or too many in a row or a column.
    """
    if width * height > max_pixels:
        raise TooLarge(f"the image has {width} x {height} pixels; at most {max_pixels} are decoded")
    if max(width, height) > LONGEST_SIDE:
        raise TooLarge(f"the image has {width} x {height} pixels; at most {LONGEST_SIDE} are decoded on a side")


def _scans(jpeg: bytes) -> int:
    """How often a JPEG starts a scan: its marker stands nowhere in compressed data."""
    return jpeg.count(b"\xff\xda")


def _decoding_memory(image: Image.Image, full_size: tuple[int, int], data: bytes) -> int:
    """Bytes that decoding takes at its peak: Pillow's own pixels and what the decoder of the format holds besides.

    Measured with Pillow 13 on 20 megapixels of each format, by the peak of the address space.

    :param full_size: what the file declares; `image.size` may be a draft of it.
    """
    pixels = image.width * image.height
    size = pixels * (1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4)
    if image.format == "JPEG" and _scans(data) > 1:  # several scans: the coefficients of all of it
        size += 2 * _coefficients(full_size, getattr(image, "layer", []))
    elif image.format == "TIFF":
        size += _strip_memory(image)
    elif image.format == "BMP":
        size += 2 * pixels  # run lengths are unpacked into bytes first
    elif image.format == "AVIF":
        size = _AVIF_BYTES * pixels
    elif image.format == "GIF":
        size += 8 * pixels  # likewise, and where the first frame is only a part, that and the whole in RGB
    return size + 3 * len(data)


def _strip_memory(image: Image.Image) -> int:
    """Bytes of one strip or tile of a TIFF, as it is unpacked; the first may be all of the picture."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if TILEWIDTH in tags and TILELENGTH in tags:
        pixels = int(tags[TILEWIDTH]) * int(tags[TILELENGTH])
    else:
        pixels = image.width * min(image.height, int(tags.get(ROWSPERSTRIP, image.height)))
    return pixels * (4 + int(sum(tags.get(BITSPERSAMPLE, (8,)))) // 8)


def _coefficients(size: tuple[int, int], layers: list[tuple[int, int, int, int]]) -> int:
    """DCT coefficients of a JPEG whose layers have these sampling factors."""
    largest = max((layer[1] for layer in layers), default=1) * max((layer[2] for layer in layers), default=1)
    return sum(layer[1] * layer[2] for layer in layers) * size[0] * size[1] // max(1, largest)
