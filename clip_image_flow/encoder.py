"""The steps put together: encoded pictures in, embeddings out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_image_flow import backends, models
from clip_image_flow.batching.batcher import Batcher
from clip_image_flow.image.preparation import ImagePreparer, Preparation
from clip_image_flow.image.reader import Content, ImageReader
from clip_image_flow.image.uris import UriReader
from clip_image_flow.options import EncoderOptions
from clip_image_flow.platform import cpus
from clip_image_flow.towers import IMAGE, Tower

if TYPE_CHECKING:
    from torch import nn

# A JPEG is decoded no smaller than this many times the model's input: the rest is left to bicubic resizing, which blurs
# away most of what the two ways of shrinking differ in.
_FAST_MARGIN = 1.5
_WARM_UP_SECONDS = 1.0


class ImageEncoder:
    """CLIP's image tower behind one bounded queue. Safe to use from many threads.

    It acts on its process: OpenBLAS, OpenMP and torch get `threads` threads, OpenVINO's telemetry cannot be imported
    any more, and while OpenAI's weights are downloaded sockets without a time limit of their own have one. It starts
    processes that decode pictures, which end with `close` or with this process.

    :param model: see `clip_image_flow.models`.
    :param on_death: called when computing has failed for good; what waits and what comes later ends in a RuntimeError.
        A service ends its process then, so that a fresh one is started.
    :param options: those of `EncoderOptions`.
    :raises ConfigError: for an option that is not available, a ModelError for the model.
    """

    def __init__(
        self, model: str = "ViT-B/32", *, on_death: Callable[[], object] = lambda: None, **options: Any
    ) -> None:
        chosen = EncoderOptions.of(**options)
        threads = chosen.threads
        cpus.limit_libraries(threads)
        self._name = str(model)
        self._backend = backends.load(
            chosen.backend,
            image_tower(model, chosen.cache_dir),
            device=chosen.device,
            precision=chosen.precision,
            threads=threads,
        )
        size = self._backend.item_shape[0]
        self._preparation = Preparation(
            ImagePreparer(
                ImageReader(chosen.max_image_bytes, chosen.max_image_pixels, UriReader(chosen.allowed_uris)),
                size,
                # A model that computes in less than fp32 rounds by far more than the pixels that are one level off.
                exact=self._backend.precision == "fp32" and chosen.decode == "exact",
                at_least=int(_FAST_MARGIN * size) if chosen.decode == "fast" else None,
            ),
            threads=threads,
            max_seconds=float(chosen.max_decode_seconds),
            decode_memory=chosen.decode_memory,
        )
        most = chosen.max_batch_size or self._backend.best_batch_size
        _warm_up(self._backend, most)
        self._preparation.check()
        self._batcher: Batcher[Content | None] = Batcher(
            self._preparation.small,
            self._backend.encode,
            capacity=chosen.queue_size,
            max_batch_size=most,
            threads=threads,
            patience=chosen.batch_wait_ms / 1000,
            prepare_large=self._preparation.large,
            is_large=self._preparation.is_large,
            weigh=_bytes_of,
            capacity_bytes=chosen.queue_bytes,
            on_death=on_death,
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


def unit_length(embedding: np.ndarray) -> np.ndarray:
    """`embedding` (dim,) scaled to length 1; a vector of zeros stays what it is."""
    length = float(np.linalg.norm(embedding))
    return embedding / np.float32(length) if length else embedding
