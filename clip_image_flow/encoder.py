"""The steps put together: encoded pictures in, embeddings out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np

from clip_image_flow import backends, cpus, models
from clip_image_flow.batcher import Batcher
from clip_image_flow.errors import ConfigError
from clip_image_flow.images import Content, ImageReader
from clip_image_flow.preprocess import preprocess
from clip_image_flow.uris import UriReader

DECODE = ("exact", "fast")
# A JPEG is decoded no smaller than this many times the model's input: the rest is left to bicubic resizing, which blurs
# away most of what the two ways of shrinking differ in.
_FAST_MARGIN = 1.5


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
    :param max_image_bytes: most bytes of one encoded image.
    :param max_image_pixels: most pixels of one image.
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
        max_image_bytes: int = 20 * 1024 * 1024,
        max_image_pixels: int = 50_000_000,
        allowed_uris: Sequence[str] = ("data:",),
    ) -> None:
        threads = _at_least_one("threads", cpus.available() if threads is None else threads)
        if max_batch_size is not None:
            max_batch_size = _at_least_one("max_batch_size", max_batch_size)
        queue_size = _at_least_one("queue_size", queue_size)
        max_image_bytes = _at_least_one("max_image_bytes", max_image_bytes)
        max_image_pixels = _at_least_one("max_image_pixels", max_image_pixels)
        if decode not in DECODE:
            raise ConfigError(f"decode must be one of {', '.join(DECODE)}, not {decode!r}")
        if type(batch_wait_ms) not in (int, float) or not 0 <= batch_wait_ms <= 1000:
            raise ConfigError(f"batch_wait_ms must be a number from 0 to 1000, not {batch_wait_ms!r}")
        cpus.limit_libraries(threads)
        reader = ImageReader(max_image_bytes, max_image_pixels, UriReader(allowed_uris))
        self._name = str(model)
        self._backend = backends.load(
            backend, source_of(model, cache_dir), device=device, precision=precision, threads=threads
        )
        size = self._backend.input_size
        # The first pass allocates and picks kernels: done here, it delays no caller.
        self._backend.encode(np.zeros((1, size, size, 3), dtype=np.uint8))
        self._batcher: Batcher[Content | None] = Batcher(
            partial(_prepare, reader, size, decode == "fast", self._backend.precision == "fp32"),
            self._backend.encode,
            capacity=queue_size,
            max_batch_size=max_batch_size or self._backend.best_batch_size,
            threads=threads,
            patience=batch_wait_ms / 1000,
        )

    @property
    def info(self) -> dict[str, Any]:
        """What runs here: model, dim, input_size (pixels a side), backend, precision."""
        return {
            "model": self._name,
            "dim": self._backend.dim,
            "input_size": self._backend.input_size,
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
        """Finish what is queued and end the threads."""
        self._batcher.close()


def source_of(model: str, cache_dir: str | None) -> backends.Source:
    """Where a backend gets the model called `model` from."""
    return backends.Source(
        load=lambda: models.load(model, cache_dir).visual,
        fingerprint=lambda: models.fingerprint(model, cache_dir),
        cache=models.cache_directory(cache_dir),
    )


def _prepare(reader: ImageReader, size: int, fast: bool, full_precision: bool, content: Content | None) -> np.ndarray:
    """One image as the model sees it, uint8 (size, size, 3)."""
    image = reader.read(content, at_least=int(_FAST_MARGIN * size) if fast else None)
    # A model that computes in less than fp32 rounds by far more than the pixels that are one level off.
    return preprocess(image, size, exact=full_precision and not fast)


def _at_least_one(option: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{option} must be a whole number of at least 1, not {value!r}")
    return value


def unit_length(embedding: np.ndarray) -> np.ndarray:
    """`embedding` (dim,) scaled to length 1; a vector of zeros stays what it is."""
    length = float(np.linalg.norm(embedding))
    return embedding / np.float32(length) if length else embedding
