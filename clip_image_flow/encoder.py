"""The steps put together: encoded pictures in, embeddings out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_image_flow import backends, cpus, memory, models
from clip_image_flow.batcher import Batcher
from clip_image_flow.errors import ConfigError
from clip_image_flow.images import Content, ImageReader
from clip_image_flow.preparation import Preparation
from clip_image_flow.towers import IMAGE, Tower
from clip_image_flow.uris import UriReader

if TYPE_CHECKING:
    from torch import nn

DECODE = ("exact", "fast")
# A JPEG is decoded no smaller than this many times the model's input: the rest is left to bicubic resizing, which blurs
# away most of what the two ways of shrinking differ in.
_FAST_MARGIN = 1.5
_WARM_UP_SECONDS = 1.0


class ImageEncoder:
    """CLIP's image tower behind one bounded queue. Safe to use from many threads.

    :param model: see `clip_image_flow.models`.
    :param device: `cpu`, `cuda` or `cuda:N`.
    :param backend: see `clip_image_flow.backends`.
    :param precision: `fp32`, `bf16`, `fp16` (CUDA) or `int8` (OpenVINO); by default fp32 on the CPU, fp16 on CUDA.
    :param threads: CPU threads, of the model and of decoding each; by default what the process may use.
    :param cache_dir: folder of downloaded weights and converted models; by default CLIP_CACHE, else ~/.cache/clip.
    :param max_batch_size: most images in one forward pass, whatever a caller asks for; by default as many as make it
        faster, 12 to 32 on the CPU by precision and 128 on CUDA.
    :param decode: `exact`, the pixels of `clip` (of 255 levels one off here and there where the precision is not fp32),
        or `fast`: a large JPEG is decoded at a fraction of its size, for embeddings that are nearly the same;
        docs/speed.md has the difference.
    :param batch_wait_ms: milliseconds that a batch which is not full waits for more images, of use on a GPU.
    :param queue_size: most images waiting or running at any time.
    :param queue_bytes: most bytes of them; by default an eighth of the memory that the process may use.
    :param max_image_bytes: most bytes of one encoded image.
    :param max_image_pixels: most pixels of one image.
    :param max_decode_seconds: most seconds of CPU time that decoding and preparing one image may take.
    :param decode_memory: most bytes of memory that images being decoded may take, all together; by default a quarter of
        the memory that the process may use. One image gets 8 bytes for each of `max_image_pixels` at most.
    :param allowed_uris: prefixes of the URIs that are read, see `clip_image_flow.uris`.
    :raises ConfigError: for an option that is not to be had, a ModelError for the model.
    """

    def __init__(
        self,
        model: str = "ViT-B/32",
        *,
        device: str = "cpu",
        backend: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        cache_dir: str | None = None,
        decode: str = "exact",
        max_batch_size: int | None = None,
        batch_wait_ms: float = 0,
        queue_size: int = 2048,
        queue_bytes: int | None = None,
        max_image_bytes: int = 20 * 1024 * 1024,
        max_image_pixels: int = 50_000_000,
        max_decode_seconds: float = 2.0,
        decode_memory: int | None = None,
        allowed_uris: Sequence[str] = ("data:",),
    ) -> None:
        threads = _at_least_one("threads", cpus.available() if threads is None else threads)
        if max_batch_size is not None:
            max_batch_size = _at_least_one("max_batch_size", max_batch_size)
        queue_size = _at_least_one("queue_size", queue_size)
        queue_bytes = _at_least_one("queue_bytes", memory.available() // 8 if queue_bytes is None else queue_bytes)
        max_image_bytes = _at_least_one("max_image_bytes", max_image_bytes)
        max_image_pixels = _at_least_one("max_image_pixels", max_image_pixels)
        decode_memory = _at_least_one(
            "decode_memory", memory.available() // 4 if decode_memory is None else decode_memory
        )
        if decode not in DECODE:
            raise ConfigError(f"decode must be one of {', '.join(DECODE)}, not {decode!r}")
        batch_wait_ms = _number("batch_wait_ms", batch_wait_ms, 0, 1000)
        max_decode_seconds = _number("max_decode_seconds", max_decode_seconds, 0.1, 60)
        cpus.limit_libraries(threads)
        self._name = str(model)
        self._backend = backends.load(
            backend, image_tower(model, cache_dir), device=device, precision=precision, threads=threads
        )
        size = self._backend.item_shape[0]
        self._preparation = Preparation(
            ImageReader(max_image_bytes, max_image_pixels, UriReader(allowed_uris)),
            size,
            at_least=int(_FAST_MARGIN * size) if decode == "fast" else None,
            # A model that computes in less than fp32 rounds by far more than the pixels that are one level off.
            exact=self._backend.precision == "fp32" and decode == "exact",
            threads=threads,
            max_seconds=max_decode_seconds,
            decode_memory=decode_memory,
        )
        most = max_batch_size or self._backend.best_batch_size
        _warm_up(self._backend, most)
        self._preparation.check()
        self._batcher: Batcher[Content | None] = Batcher(
            self._preparation.small,
            self._backend.encode,
            capacity=queue_size,
            max_batch_size=most,
            threads=threads,
            patience=batch_wait_ms / 1000,
            prepare_large=self._preparation.large,
            is_large=self._preparation.is_large,
            weigh=_bytes_of,
            capacity_bytes=queue_bytes,
        )

    @property
    def info(self) -> dict[str, Any]:
        """What runs here: model, dim, input_size (pixels a side), backend, precision."""
        return {
            "model": self._name,
            "dim": self._backend.dim,
            "input_size": self._backend.item_shape[0],
            "backend": self._backend.name,
            "precision": self._backend.precision,
        }

    def submit(
        self, contents: Sequence[Content | None], *, batch_size: int = 32, deadline: float | None = None
    ) -> list[Future[np.ndarray]]:
        """Queue images; a future of float32 (dim,) for each, as `Batcher.submit` says."""
        return self._batcher.submit(contents, batch_size=batch_size, deadline=deadline)

    def encode(self, contents: Sequence[Content], *, batch_size: int = 32) -> np.ndarray:
        """Images -> embeddings, float32 (n, dim), in order.

        :param contents: encoded bytes, uint8 (height, width, 3) arrays or URIs.
        :raises RequestError: for the first image that cannot be encoded.
        """
        rows = [future.result() for future in self.submit(contents, batch_size=batch_size)]
        return np.stack(rows) if rows else np.empty((0, self._backend.dim), dtype=np.float32)

    def close(self) -> None:
        """Finish what is queued, and end the threads and processes."""
        self._batcher.close()
        self._preparation.close()


def image_tower(model: str, cache_dir: str | None = None) -> Tower:
    """The image tower of the model called `model`."""

    def load() -> nn.Module:
        from clip_image_flow.towers.image import ImageTower

        return ImageTower(checkpoint.load().visual)

    checkpoint = models.resolve(model, cache_dir)
    return Tower(IMAGE, load, checkpoint.fingerprint, models.cache_directory(cache_dir))


def _warm_up(backend: backends.Backend, most: int) -> None:
    """Run a first pass of each batch size: it allocates and picks kernels, which takes some 10 to 80 ms.

    One picture and the largest batch come first, then as many of the others as there is time for.
    """
    end = time.monotonic() + _WARM_UP_SECONDS
    for count in dict.fromkeys((1, most, *range(2, most))):
        backend.encode(np.zeros((count, *backend.item_shape), dtype=backend.item_dtype))
        if time.monotonic() > end:
            return


def _bytes_of(content: Content | None) -> int:
    return 0 if content is None else content.nbytes if isinstance(content, np.ndarray) else len(content)


def _at_least_one(option: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{option} must be a whole number of at least 1, not {value!r}")
    return value


def _number(option: str, value: Any, least: float, most: float) -> float:
    if type(value) not in (int, float) or not least <= value <= most:
        raise ConfigError(f"{option} must be a number from {least:g} to {most:g}, not {value!r}")
    return float(value)


def unit_length(embedding: np.ndarray) -> np.ndarray:
    """`embedding` (dim,) scaled to length 1; a vector of zeros stays what it is."""
    length = float(np.linalg.norm(embedding))
    return embedding / np.float32(length) if length else embedding
