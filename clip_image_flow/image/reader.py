"""One image, however it comes -> an RGB picture, within limits: encoded bytes, a tensor or a URI."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from clip_image_flow.errors import BadDocument, TooLarge
from clip_image_flow.image.pictures import check_size, open_picture
from clip_image_flow.image.uris import UriReader

Content = bytes | np.ndarray | str
"""Encoded bytes, a (height, width, 3) uint8 array, or a URI."""


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
        :raises UnsupportedMedia: bytes in none of the formats that are read.
        """
        if isinstance(content, np.ndarray):
            return self.from_tensor(content)
        with open_picture(self.encoded(content), self.max_pixels, at_least) as picture:
            return picture.whole()

    def encoded(self, content: bytes | str | None) -> bytes:
        """The bytes of a file, be they given or behind a URI.

        :raises BadDocument: there are none, or the URI is not allowed or cannot be read.
        :raises TooLarge: over `max_bytes`.
        """
        if content is None:
            raise BadDocument("no image here; give it a blob, a uint8 tensor or a URI")
        data = self.uris.read(content, self.max_bytes) if isinstance(content, str) else content
        if not data:
            raise BadDocument("the image has zero bytes")
        if len(data) > self.max_bytes:
            raise TooLarge(f"the image has {len(data)} bytes; at most {self.max_bytes} are read")
        return data

    def from_tensor(self, tensor: np.ndarray) -> Image.Image:
        """The picture whose pixels these are, in mode RGB.

        :raises BadDocument: another dtype or shape than uint8 (height, width, 3).
        :raises TooLarge: over `max_pixels`.
        """
        if tensor.ndim != 3 or tensor.shape[2] != 3 or 0 in tensor.shape:
            raise BadDocument(f"a tensor must have the shape (height, width, 3), not {tensor.shape}")
        check_size(tensor.shape[1], tensor.shape[0], self.max_pixels)
        # JSON has no uint8: over HTTP every tensor of whole numbers arrives as int64.
        if tensor.dtype == np.int64 and tensor.min() >= 0 and tensor.max() <= 255:
            tensor = tensor.astype(np.uint8)
        if tensor.dtype != np.uint8:
            raise BadDocument(f"a tensor must be uint8 with values 0 to 255, not {tensor.dtype}")
        return Image.fromarray(np.ascontiguousarray(tensor))
