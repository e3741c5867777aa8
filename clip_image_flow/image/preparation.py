"""Images, however they come -> what the model sees of them, with bounds on what each may cost.

Most pictures are small files that take some milliseconds to decode. They get little time and memory each, so that a
hostile one among them holds up nobody; one that needs more, and one that is large from the beginning, waits for a place
among its like, where it gets as much as the operator allows.
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

_SMALL_FILE = 256 << 10  # bytes; of those of photographs hardly any takes longer than the time below
_SMALL_TENSOR = 16 << 20  # bytes
_TENSOR_BYTES = 8  # a pixel: a copy without gaps, and Pillow's own pixels
_SHORT_SECONDS = 0.05  # of CPU time
_NICE = 10  # of what takes longer: a tenth of a CPU that others want too
_WARM = 3  # processes that are ready before the first picture comes
_BYTES_A_PIXEL = 8  # of memory, for a picture at the limit of pixels; few formats take more


@dataclass(frozen=True)
class ImagePreparer:
    """An image, however it comes -> what the model sees of it, in this process.

    :param reader: with the limits of images.
    :param square: what the model sees of it, n pixels a side.
    :param exact: see `preprocess`.
    :param at_least: see `pictures.open_picture`.
    """

    reader: ImageReader
    square: Square
    exact: bool = True
    at_least: int | None = None

    def __call__(self, content: Content | None) -> np.ndarray:
        """uint8 (n, n, 3).

        :raises RequestError: it cannot be read.
        """
        return preprocess(self.reader.read(content, self.at_least), self.square, exact=self.exact)


def square(prepared: models.Preparation, size: int) -> Square:
    """What a picture is to become for a model.

    :param size: pixels a side.
    """
    assert isinstance(prepared, models.ImagePreparation)
    return Square(size, prepared.resize, prepared.interpolation, prepared.fill)


class Preparation:
    """Prepares images for a model. Safe to use from many threads; each runs a process for pictures of its own.

    :param preparer: says what the model sees of an image.
    :param threads: that prepare at the same time.
    :param max_seconds: of CPU time, for decoding and preparing one picture.
    :param decode_memory: bytes, for all pictures that are decoded at the same time; what a small one takes, up
        to 32 MiB of a process, is not counted.
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
        """Wait until a process that decodes has answered.

        :raises ConfigError: it has ended.
        """
        try:
            self._small.decode(b"", self._max_seconds)
        except RequestError:
            pass  # nothing is no image, says the process, and so it runs
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"pictures are decoded in processes of their own, which cannot run here: {error}"
            ) from error

    def is_large(self, content: Content | None) -> bool:
        """Whether preparing `content` takes longer than others should wait."""
        if isinstance(content, np.ndarray):
            return content.nbytes > _SMALL_TENSOR
        if isinstance(content, str) and content[:5].lower() != "data:":
            return True  # it is fetched
        return content is not None and len(content) > _SMALL_FILE

    def small(self, content: Content | None) -> np.ndarray:
        """What the model sees of an image, uint8 (n, n, 3).

        :raises TakesLonger: it is for `large` to prepare.
        :raises RequestError: it cannot be read.
        """
        if isinstance(content, np.ndarray):
            return self._preparer(content)
        return self._small.decode(self._reader.encoded(content), min(_SHORT_SECONDS, self._max_seconds))

    def large(self, content: Content | None) -> np.ndarray:
        """The same for an image that takes longer.

        :raises TooLarge: it takes more CPU time than any may.
        :raises RequestError: it cannot be read.
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
        """End the processes."""
        self._small.close()
        self._large.close()
