"""Prepares images for a model, with limits on the cost of each.

Most images are small files that take a few milliseconds to decode. They get little CPU time and memory each, so that
a malicious one delays no other. An image that needs more, or is a large file, goes to the lane for large images, where
it gets as much as the operator allows.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from clip_image_flow import models
from clip_image_flow.errors import ConfigError, RequestError, TakesLonger, TooLarge
from clip_image_flow.image.decoding.budget import MemoryBudget
from clip_image_flow.image.decoding.decoders import Decoders
from clip_image_flow.image.decoding.process import Options
from clip_image_flow.image.preprocess import Square, preprocess
from clip_image_flow.image.reader import Content, ImageReader

_SMALL_FILE = 256 << 10  # bytes; hardly any photograph of this size exceeds `_SHORT_SECONDS`
_SMALL_TENSOR = 16 << 20  # bytes
_TENSOR_BYTES = 8  # per pixel: a contiguous copy, and Pillow's own pixels
_SHORT_SECONDS = 0.05  # CPU time
_NICE = 10  # niceness of the lane for large images: a tenth of a CPU that other processes need
_WARM = 3  # number of processes that are started in advance
_BYTES_A_PIXEL = 8  # memory for an image of the maximum size; few formats need more


@dataclass(frozen=True)
class ImagePreparer:
    """Reads and preprocesses an image in this process.

    :param reader: image reader, with its limits.
    :param square: what the model's input looks like, n pixels a side.
    :param exact: see `preprocess`.
    :param at_least: see `pictures.open_picture`.
    """

    reader: ImageReader
    square: Square
    exact: bool = True
    at_least: int | None = None

    def __call__(self, content: Content | None) -> np.ndarray:
        """Return the model's input, uint8 (n, n, 3).

        :raises RequestError: if the image cannot be read.
        """
        return preprocess(self.reader.read(content, self.at_least), self.square, exact=self.exact)


def square(prepared: models.Preparation, size: int) -> Square:
    """What a picture is to become for a model.

    :param size: pixels a side.
    """
    assert isinstance(prepared, models.ImagePreparation)
    return Square(size, prepared.resize, prepared.interpolation, prepared.fill)


class Preparation:
    """Prepares images for a model in decoding processes, one per calling thread. Thread-safe.

    :param preparer: reader and preprocessing options.
    :param threads: number of threads that call at the same time.
    :param max_seconds: maximum CPU time in seconds to decode and preprocess one image.
    :param decode_memory: maximum memory in bytes of all images that are decoded at the same time, not counting
        small images, which need up to 32 MiB per process.
    """

    def __init__(
        self,
        preparer: ImagePreparer,
        *,
        threads: int,
        max_seconds: float,
        decode_memory: int,
    ) -> None:
        self._preparer = preparer
        self._reader = reader = preparer.reader
        self._max_seconds = max_seconds
        self._budget = MemoryBudget(decode_memory)
        options = Options(
            square=preparer.square,
            max_bytes=reader.max_bytes,
            max_pixels=reader.max_pixels,
            at_least=preparer.at_least,
            exact=preparer.exact,
            max_memory=min(decode_memory, _BYTES_A_PIXEL * reader.max_pixels),
        )
        self._small = Decoders(options, lambda _: nullcontext(False))
        self._large = Decoders(replace(options, nice=_NICE), self._budget.granting)
        self._small.start(min(_WARM, threads + 1))

    def check(self) -> None:
        """Wait until a decoding process has responded.

        :raises ConfigError: if the process has exited.
        """
        try:
            self._small.decode(b"", self._max_seconds)
        except RequestError:
            pass  # the process runs: it has rejected the empty image
        except (OSError, RuntimeError) as error:
            raise ConfigError(f"images are decoded in separate processes, which cannot start: {error}") from error

    def is_large(self, content: Content | None) -> bool:
        """Return whether `content` belongs to the lane for large images."""
        if isinstance(content, np.ndarray):
            return content.nbytes > _SMALL_TENSOR
        if isinstance(content, str) and content[:5].lower() != "data:":
            return True  # has to be fetched
        return content is not None and len(content) > _SMALL_FILE

    def small(self, content: Content | None) -> np.ndarray:
        """Prepare a small image: uint8 (n, n, 3).

        :raises TakesLonger: if `large` has to prepare the image.
        :raises RequestError: if the image cannot be read.
        """
        if isinstance(content, np.ndarray):
            return self._preparer(content)
        return self._small.decode(self._reader.encoded(content), min(_SHORT_SECONDS, self._max_seconds))

    def large(self, content: Content | None) -> np.ndarray:
        """Prepare a large image: uint8 (n, n, 3).

        :raises TooLarge: if the image needs more than `max_seconds` of CPU time.
        :raises RequestError: if the image cannot be read.
        """
        if isinstance(content, np.ndarray):
            with self._budget.granting(_TENSOR_BYTES * content.size // 3):
                return self._preparer(content)
        data = self._reader.encoded(content)
        try:
            return self._large.decode(data, self._max_seconds)
        except TakesLonger as error:
            raise TooLarge(
                f"the image takes longer than {self._max_seconds:g} s of CPU time to decode; "
                "save it again, smaller or in another format"
            ) from error

    def close(self) -> None:
        """Stop the decoding processes."""
        self._small.close()
        self._large.close()
