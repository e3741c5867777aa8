"""One image, however it comes -> an RGB picture, within limits.

How a picture becomes RGB, where there is a choice:

- EXIF orientation is applied, so a photograph stands as people see it;
- transparency is laid over white;
- 16-bit grey keeps its high byte, as Pillow does for 16-bit colour;
- palette, grey, CMYK and YCbCr become RGB by Pillow's conversion;
- of an animation the first frame counts.

A plain RGB picture is what `Image.open(...).convert("RGB")` gives, bit for bit.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clip_image_flow.errors import BadDocument, RequestError, TooLarge, UnsupportedMedia
from clip_image_flow.uris import UriReader

Content = bytes | np.ndarray | str
"""Encoded bytes, a (height, width, 3) uint8 array, or a URI."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_ORIENTATION = 0x0112  # EXIF tag
_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True)
class ImageReader:
    """Turns contents into pictures.

    :param max_bytes: most bytes of one encoded image.
    :param max_pixels: most pixels of one image; its declared size is checked before anything is decoded.
    :param uris: reads the URIs that are allowed.
    """

    max_bytes: int
    max_pixels: int
    uris: UriReader

    def read(self, content: Content | None, at_least: int | None = None) -> Image.Image:
        """The picture in mode RGB.

        :param at_least: a JPEG may be decoded to a half, a quarter or an eighth of its size, as long as each side keeps
            this many pixels; None for its own size. Nearly the same picture, for a fraction of the time.
        :raises BadDocument: nothing there, a broken image, a tensor of another dtype or shape, a URI that is not
            allowed.
        :raises TooLarge: over `max_bytes` or `max_pixels`.
        :raises UnsupportedMedia: bytes in none of `FORMATS`.
        """
        if content is None:
            raise BadDocument("no image here; give it a blob, a uint8 tensor or a URI")
        if isinstance(content, np.ndarray):
            return self._from_tensor(content)
        if isinstance(content, str):
            content = self.uris.read(content, self.max_bytes)
        return self._from_bytes(content, at_least)

    def _from_tensor(self, tensor: np.ndarray) -> Image.Image:
        if tensor.ndim != 3 or tensor.shape[2] != 3 or 0 in tensor.shape:
            raise BadDocument(f"a tensor must have the shape (height, width, 3), not {tensor.shape}")
        self._check_pixels(tensor.shape[1], tensor.shape[0])
        # JSON has no uint8: over HTTP every tensor of whole numbers arrives as int64.
        if tensor.dtype == np.int64 and tensor.min() >= 0 and tensor.max() <= 255:
            tensor = tensor.astype(np.uint8)
        if tensor.dtype != np.uint8:
            raise BadDocument(f"a tensor must be uint8 with values 0 to 255, not {tensor.dtype}")
        return Image.fromarray(np.ascontiguousarray(tensor))

    def _from_bytes(self, data: bytes, at_least: int | None) -> Image.Image:
        if not data:
            raise BadDocument("the image has zero bytes")
        if len(data) > self.max_bytes:
            raise TooLarge(f"the image has {len(data)} bytes; at most {self.max_bytes} are read")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                self._check_pixels(*image.size)
                if at_least:
                    image.draft(None, (at_least, at_least))  # of a format that cannot, nothing happens
                return _to_rgb(image)
        except RequestError:
            raise
        except Image.DecompressionBombError as error:
            raise TooLarge(f"the image is over the limit of {self.max_pixels} pixels") from error
        except UnidentifiedImageError as error:
            raise UnsupportedMedia(
                f"these {len(data)} bytes are no image in a format read here ({', '.join(FORMATS)}), or a broken one"
            ) from error
        except MemoryError as error:
            raise TooLarge("the image does not fit into memory") from error
        except Exception as error:  # decoders answer hostile bytes with anything from OSError to struct.error
            raise BadDocument(f"the image cannot be decoded: {error}") from error

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise TooLarge(f"the image has {width} x {height} pixels; at most {self.max_pixels} are decoded")


def _to_rgb(image: Image.Image) -> Image.Image:
    """`image` in mode RGB, by the rules at the top of this module."""
    image.load()
    if _oriented(image):
        image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16L", "I;16B", "I"):
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((np.clip(values, 0, 0xFFFF) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise BadDocument("a picture of floating-point numbers has no stated range; save it with 8 bits a channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    return image.convert("RGB")


def _oriented(image: Image.Image) -> bool:
    """Whether the EXIF data ask for a turn; broken EXIF data ask for nothing."""
    try:
        return image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except Exception:  # the parser answers hostile bytes with anything
        return False
