"""Reads an image from encoded bytes, a tensor or a URI, within limits."""

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
    """Reads images.

    :param max_bytes: maximum size of one encoded image, in bytes.
    :param max_pixels: maximum number of pixels of one image; the declared size is checked before decoding.
    :param uris: reader of allowed URIs.
    """

    max_bytes: int
    max_pixels: int
    uris: UriReader

    def read(self, content: Content | None, at_least: int | None = None) -> Image.Image:
        """Return the image in mode RGB.

        :param content: encoded bytes, uint8 (height, width, 3), or a URI.
        :param at_least: see `pictures.open_picture`.
        :raises BadDocument: if the image is missing or broken, the tensor has another dtype or shape, or the URI is
            not allowed.
        :raises TooLarge: if the image exceeds `max_bytes` or `max_pixels`.
        :raises UnsupportedMedia: if the bytes are in an unsupported format.
        """
        if isinstance(content, np.ndarray):
            return self.from_tensor(content)
        with open_picture(self.encoded(content), self.max_pixels, at_least) as picture:
            return picture.whole()

    def encoded(self, content: bytes | str | None) -> bytes:
        """Return the bytes of a file; a URI is read first.

        :raises BadDocument: if `content` is empty, or the URI is not allowed or cannot be read.
        :raises TooLarge: if the file exceeds `max_bytes`.
        """
        if content is None:
            raise BadDocument("the document has no image; give it a blob, a uint8 tensor or a URI")
        data = self.uris.read(content, self.max_bytes) if isinstance(content, str) else content
        if not data:
            raise BadDocument("the image has zero bytes")
        if len(data) > self.max_bytes:
            raise TooLarge(f"the image has {len(data)} bytes; at most {self.max_bytes} are read")
        return data

    def from_tensor(self, tensor: np.ndarray) -> Image.Image:
        """Return the image with these pixels, in mode RGB.

        :param tensor: uint8 (height, width, 3), or int64 with values from 0 to 255.
        :raises BadDocument: if dtype or shape differ.
        :raises TooLarge: if the image exceeds `max_pixels`.
        """
        if tensor.ndim != 3 or tensor.shape[2] != 3 or 0 in tensor.shape:
            raise BadDocument(f"a tensor must have the shape (height, width, 3), not {tensor.shape}")
        check_size(tensor.shape[1], tensor.shape[0], self.max_pixels)
        # JSON has no uint8: over HTTP every integer tensor arrives as int64.
        if tensor.dtype == np.int64 and tensor.min() >= 0 and tensor.max() <= 255:
            tensor = tensor.astype(np.uint8)
        if tensor.dtype != np.uint8:
            raise BadDocument(f"a tensor must be uint8 with values 0 to 255, not {tensor.dtype}")
        return Image.fromarray(np.ascontiguousarray(tensor))
