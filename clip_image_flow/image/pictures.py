"""Decodes image files to upright RGB images, within limits.

A plain RGB image is bit for bit the result of `Image.open(...).convert("RGB")`. Rotation and conversion work on strips
of rows, so that only one full-size copy of the image is in memory.

This module does not import numpy: it runs in many processes, which have to start in a tenth of a second.
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
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # one core per decoder; Pillow has no other option for it
FORMATS = tuple(_DECODERS)
LONGEST_SIDE = 65_535  # pixels; JPEG's own limit. Longer images are not photographs, and one-pixel rows cost 60 times.
# Maximum number of scans of a JPEG. Encoders write about ten. A scan of ten bytes makes the decoder visit all
# coefficients. The authors of libjpeg-turbo know no use for more than a hundred ("Two Issues with the JPEG Standard",
# 2016).
MOST_SCANS = 100

_AVIF_BYTES = 20  # per pixel, at 12 bits with alpha; photographs of 8 bits need half
_WEBP_BYTES = 18  # per pixel: two canvases of the animation decoder, their copy, and Pillow's own pixels
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
    """A decoded image that is read upright and in RGB.

    :param image: decoded image, in any mode.
    :param orientation: EXIF orientation of the image, 1 to 8.
    :param to_rgb: function that converts the image, or strips of it, to mode RGB.
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
        """Number of rows to read at a time; all of them if reading makes no copy."""
        as_it_is = self._image.mode == "RGB" and self._orientation == 1 and self._to_rgb is plain
        return self.size[1] if as_it_is else max(1, STRIP_PIXELS // self.size[0])

    def rows(self, top: int, bottom: int) -> Image.Image:
        """Return the rows from `top` up to, but not including, `bottom`, in mode RGB."""
        image, turn = self._image, self._orientation
        width, height = image.size
        # Position of these rows in the stored image: for some orientations counted from the other end, or columns.
        first, last = (top, bottom) if turn in (1, 2, 5, 6) else (self.size[1] - bottom, self.size[1] - top)
        box = (first, 0, last, height) if turn >= 5 else (0, first, width, last)
        if box != (0, 0, width, height):
            image = image.crop(box)
        if turn in _TURNS:
            image = image.transpose(_TURNS[turn])
        return self._to_rgb(image)

    def whole(self) -> Image.Image:
        """Return the whole image, in mode RGB."""
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
    """Decode an image file.

    :param data: bytes of the file.
    :param max_pixels: maximum number of pixels; the declared size is checked before decoding.
    :param at_least: minimum length of each side in pixels to which a JPEG may be reduced, by a half, a quarter or an
        eighth; None decodes at full size. The result is nearly the same, in a fraction of the time.
    :param before_decoding: callback with width, height and the memory in bytes that decoding needs; its exceptions
        are passed on.
    :raises BadDocument: if the image is broken.
    :raises TooLarge: if the image exceeds `max_pixels`, `LONGEST_SIDE`, or the available memory.
    :raises UnsupportedMedia: if the bytes are in none of `FORMATS`.
    """
    container = open_container(data)
    if container is None:
        if is_heic(data):
            raise UnsupportedMedia("HEIC is not supported; send the image as JPEG or AVIF")
        raise UnsupportedMedia(f"these {len(data)} bytes are not an image in a supported format ({', '.join(FORMATS)})")
    try:
        if size := container.size:
            check_size(*size, max_pixels)
            if container.format == "WEBP":  # the decoder allocates all of its memory when it is opened
                before_decoding(*size, _WEBP_BYTES * size[0] * size[1] + 3 * len(data))
        with _DECODERS[container.format](io.BytesIO(container.data)) as image:
            check_size(*image.size, max_pixels)
            check_kind(image, container)
            if container.format == "JPEG" and (scans := _scans(container.data)) > MOST_SCANS:
                raise TooLarge(f"the image is a JPEG of {scans} scans; at most {MOST_SCANS} are decoded")
            if container.format != "WEBP":
                full_size = image.size
                if at_least:
                    image.draft(None, (at_least, at_least))  # no effect on formats other than JPEG
                before_decoding(*image.size, _decoding_memory(image, full_size, container.data))
            image.load()
            yield _as_shown(image, container)
    except (RequestError, TakesLonger):
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"the image is over the limit of {max_pixels} pixels") from error
    except MemoryError as error:
        raise TooLarge("the image needs more memory to decode than an image of its size should") from error
    except Exception as error:  # on malicious bytes decoders raise anything from OSError to struct.error
        reason = str(error)[:300] or type(error).__name__
        raise BadDocument(f"the image cannot be decoded: broken {container.format}, {reason}") from error


def _as_shown(image: ImageFile.ImageFile, container: Container) -> Picture:
    """Apply to the decoded `image` what Pillow ignores: orientation, white background, RGB conversion."""
    orientation = container.orientation
    if container.format in ("WEBP", "AVIF"):
        orientation = exif_orientation(image.info.get("exif", b""))
    shown = to_rgb(image, container)
    if container.frame:  # viewers show the background around the frame
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(shown(image.crop(container.frame)), container.frame[:2])
        return Picture(canvas)
    return Picture(image, orientation, shown)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Check that an image of this size may be decoded.

    :raises TooLarge: if the image has too many pixels in total, or on one side.
    """
    if width * height > max_pixels:
        raise TooLarge(f"the image has {width} x {height} pixels; at most {max_pixels} are decoded")
    if max(width, height) > LONGEST_SIDE:
        raise TooLarge(f"the image has {width} x {height} pixels; at most {LONGEST_SIDE} are decoded on a side")


def _scans(jpeg: bytes) -> int:
    """Return the number of scans of a JPEG: the marker cannot occur in compressed data."""
    return jpeg.count(b"\xff\xda")


def _decoding_memory(image: Image.Image, full_size: tuple[int, int], data: bytes) -> int:
    """Return the peak memory of decoding, in bytes: Pillow's own pixels plus the buffers of the format's decoder.

    Measured with Pillow 13 on 20 megapixels of each format, by the peak of the address space.

    :param full_size: declared size in pixels; `image.size` may be reduced by `draft`.
    """
    pixels = image.width * image.height
    size = pixels * (1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4)
    if image.format == "JPEG" and _scans(data) > 1:  # several scans: libjpeg keeps all coefficients
        size += 2 * _coefficients(full_size, getattr(image, "layer", []))
    elif image.format == "TIFF":
        size += _strip_memory(image)
    elif image.format == "BMP":
        size += 2 * pixels  # run lengths are decompressed into bytes first
    elif image.format == "AVIF":
        size = _AVIF_BYTES * pixels
    elif image.format == "GIF":
        size += 8 * pixels  # the same, and for a partial first frame also frame and canvas in RGB
    return size + 3 * len(data)


def _strip_memory(image: Image.Image) -> int:
    """Return the size of one decompressed strip or tile of a TIFF in bytes; it may be the whole image."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if TILEWIDTH in tags and TILELENGTH in tags:
        pixels = int(tags[TILEWIDTH]) * int(tags[TILELENGTH])
    else:
        pixels = image.width * min(image.height, int(tags.get(ROWSPERSTRIP, image.height)))
    return pixels * (4 + int(sum(tags.get(BITSPERSAMPLE, (8,)))) // 8)


def _coefficients(size: tuple[int, int], layers: list[tuple[int, int, int, int]]) -> int:
    """Return the number of DCT coefficients of a JPEG whose layers have these sampling factors."""
    largest = max((layer[1] for layer in layers), default=1) * max((layer[2] for layer in layers), default=1)
    return sum(layer[1] * layer[2] for layer in layers) * size[0] * size[1] // max(1, largest)
