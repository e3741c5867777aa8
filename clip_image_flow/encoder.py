"""The steps put together: pictures or texts in, embeddings out."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from clip_image_flow import backends
from clip_image_flow.batching.batcher import Batcher
from clip_image_flow.batching.observer import Observer
from clip_image_flow.fingerprint import fingerprint
from clip_image_flow.image.preparation import ImagePreparer, Preparation, square
from clip_image_flow.image.reader import Content, ImageReader
from clip_image_flow.image.uris import UriReader
from clip_image_flow.options import EncoderOptions
from clip_image_flow.platform import cpus
from clip_image_flow.text.tokens import shortened, tokenizer
from clip_image_flow.towers import Tower, image_tower, text_tower
from clip_wire.info import IMAGE, TEXT

logger = logging.getLogger(__name__)
T = TypeVar("T")

# A JPEG is decoded no smaller than this many times the model's input: the rest is left to bicubic resizing, which blurs
# away most of what the two ways of shrinking differ in.
_FAST_MARGIN = 1.5
_WARM_UP_SECONDS = 1.0


class Encoder(Generic[T]):
    """A tower of CLIP behind one bounded queue. Safe to use from many threads.

    :param model: the name that the tower was asked for by.
    :param backend: the tower on an engine.
    :param batcher: the queue before it, whose `close` ends with the encoder.
    :param tower: that the backend runs.
    :param decode: see `EncoderOptions`.
    :cvar modality: what it encodes.
    """

    modality: ClassVar[str]

    def __init__(
        self, model: str, backend: backends.Backend, batcher: Batcher[T], tower: Tower, decode: str = "exact"
    ) -> None:
        self._name = str(model)
        self._backend = backend
        self._batcher = batcher
        self._made_by: dict[str, str] = {}
        if weights := tower.weights():  # None: they are in no file
            self._made_by = {
                "checkpoint": weights,
                "fingerprint": fingerprint(
                    tower.kind,
                    weights,
                    backend.precision,
                    prepared=tower.prepared().described(),
                    decode=decode,
                    calibration=backend.calibration,
                ),
            }

    @property
    def info(self) -> dict[str, Any]:
        """What runs here: model, checkpoint, fingerprint, dim, backend, precision, and what this kind has besides."""
        return {
            "model": self._name,
            "dim": self._backend.dim,
            "backend": self._backend.name,
            "precision": self._backend.precision,
            **self._made_by,
        }

    @property
    def logit_scale(self) -> float | None:
        """What the model multiplies cosines with before a softmax, 100 for OpenAI's; None where it does not say."""
        return self._backend.logit_scale

    @property
    def logit_bias(self) -> float | None:
        """What the model adds to such products before a sigmoid, as SigLIP does; None where it is a softmax."""
        return self._backend.logit_bias

    @property
    def queue(self) -> tuple[int, int]:
        """How many items wait or are worked on now, and how many there may be."""
        return self._batcher.admitted, self._batcher.capacity

    def submit(
        self, contents: Sequence[T], *, batch_size: int = 32, deadline: float | None = None, caller: object = None
    ) -> list[Future[np.ndarray]]:
        """Queue items; a future of float32 (dim,) for each, as `Batcher.submit` says."""
        return self._batcher.submit(contents, batch_size=batch_size, deadline=deadline, caller=caller)

    def encode(self, contents: Sequence[T], *, batch_size: int = 32) -> np.ndarray:
        """Items -> embeddings, float32 (n, dim), in order.

        :raises RequestError: for the first item that cannot be encoded.
        """
        rows = [future.result() for future in self.submit(contents, batch_size=batch_size)]
        return np.stack(rows) if rows else np.empty((0, self._backend.dim), dtype=np.float32)

    def close(self) -> None:
        """Finish what is queued, and end the threads."""
        self._batcher.close()


class ImageEncoder(Encoder[Content | None]):
    """CLIP's image tower behind one bounded queue. Safe to use from many threads.

    What it encodes are encoded bytes, uint8 (height, width, 3) arrays, or URIs.

    It acts on its process: OpenBLAS, OpenMP and torch get `threads` threads, OpenVINO's telemetry cannot be imported
    any more, and while OpenAI's weights are downloaded sockets without a time limit of their own have one. It starts
    processes that decode pictures, which end with `close` or with this process.

    :param model: see `clip_image_flow.models`.
    :param on_death: called when computing has failed for good; what waits and what comes later ends in a RuntimeError.
        A service ends its process then, so that a fresh one is started.
    :param observer: is told what becomes of items; see `clip_image_flow.batching.observer`.
    :param options: those of `EncoderOptions`.
    :raises ConfigError: for an option that is not available, a ModelError for the model.
    """

    modality = IMAGE

    def __init__(
        self,
        model: str = "ViT-B/32",
        *,
        on_death: Callable[[], object] = lambda: None,
        observer: Observer | None = None,
        **options: Any,
    ) -> None:
        chosen = EncoderOptions.of(**options)
        tower = image_tower(model, chosen.cache_dir)
        backend = _load(tower, chosen)
        size = backend.item_shape[0]
        self._preparation = Preparation(
            ImagePreparer(
                ImageReader(chosen.max_image_bytes, chosen.max_image_pixels, UriReader(chosen.allowed_uris)),
                square(tower.prepared(), size),
                # A model that computes in less than fp32 rounds by far more than the pixels that are one level off.
                exact=backend.precision == "fp32" and chosen.decode == "exact",
                at_least=int(_FAST_MARGIN * size) if chosen.decode == "fast" else None,
            ),
            threads=chosen.threads,
            max_seconds=float(chosen.max_decode_seconds),
            decode_memory=chosen.decode_memory,
        )
        nothing = np.zeros(backend.item_shape, dtype=backend.item_dtype)
        _warm_up(backend.encode, nothing, _most(backend, chosen))
        self._preparation.check()
        batcher: Batcher[Content | None] = Batcher(
            self._preparation.small,
            backend.encode,
            prepare_large=self._preparation.large,
            is_large=self._preparation.is_large,
            weigh=_bytes_of,
            on_death=on_death,
            observer=observer,
            **_queue(backend, chosen),
        )
        super().__init__(model, backend, batcher, tower, chosen.decode)

    @property
    def info(self) -> dict[str, Any]:
        """What runs here: the above, input_size (pixels a side) and modality."""
        return {**super().info, "input_size": self._backend.item_shape[0], "modality": self.modality}

    def close(self) -> None:
        """Finish what is queued, and end the threads and processes."""
        super().close()
        self._preparation.close()


class TextEncoder(Encoder[str]):
    """CLIP's text tower behind one bounded queue. Safe to use from many threads.

    It acts on its process as `ImageEncoder` does, but starts no processes.

    :param model: see `clip_image_flow.models`.
    :param on_death: as for `ImageEncoder`; `observer` too.
    :param options: those of `EncoderOptions`; the ones about images change nothing.
    :raises ConfigError: for an option that is not available, a ModelError for the model.
    """

    modality = TEXT

    def __init__(
        self,
        model: str = "ViT-B/32",
        *,
        on_death: Callable[[], object] = lambda: None,
        observer: Observer | None = None,
        **options: Any,
    ) -> None:
        chosen = EncoderOptions.of(**options)
        tower = text_tower(model, chosen.cache_dir)
        backend = _load(tower, chosen)
        context, prepared = backend.item_shape[0], tower.prepared()
        prepare = tokenizer(prepared, context, truncate=chosen.truncate, max_bytes=chosen.max_text_bytes)

        def encode(tokens: np.ndarray) -> np.ndarray:
            return backend.encode(shortened(tokens) if prepare.shortens else tokens)

        _warm_up(encode, prepare(""), _most(backend, chosen))
        queue = _queue(backend, chosen)
        batcher = Batcher(prepare, encode, weigh=sys.getsizeof, on_death=on_death, observer=observer, **queue)
        super().__init__(model, backend, batcher, tower)

    @property
    def info(self) -> dict[str, Any]:
        """What runs here: the above, context_length (tokens) and modality."""
        return {**super().info, "context_length": self._backend.item_shape[0], "modality": self.modality}


def _load(tower: Tower, options: EncoderOptions) -> backends.Backend:
    cpus.limit_libraries(options.threads)
    backend = backends.load(
        options.backend, tower, device=options.device, precision=options.precision, threads=options.threads
    )
    if licence := tower.restriction():
        logger.warning("these weights are not for commercial use: %s", licence)
    return backend


def _most(backend: backends.Backend, options: EncoderOptions) -> int:
    """Items in one forward pass."""
    return options.max_batch_size or backend.best_batch_size


def _queue(backend: backends.Backend, options: EncoderOptions) -> dict[str, Any]:
    """What every tower's batcher is given."""
    return {
        "capacity": options.queue_size,
        "max_batch_size": _most(backend, options),
        "threads": options.threads,
        "patience": options.batch_wait_ms / 1000,
        "capacity_bytes": options.queue_bytes,
        "advice": f" in {backend.precision}" + ("" if backend.precision == "fp32" else "; use precision: fp32"),
    }


def _warm_up(encode: Callable[[np.ndarray], np.ndarray], item: np.ndarray, most: int) -> None:
    """Run a first pass of each batch size: it allocates and picks kernels, which takes some 10 to 80 ms.

    One item and the largest batch come first, then as many of the others as there is time for.
    """
    end = time.monotonic() + _WARM_UP_SECONDS
    for count in dict.fromkeys((1, most, *range(2, most))):
        encode(np.repeat(item[np.newaxis], count, axis=0))
        if time.monotonic() > end:
            return


def _bytes_of(content: Content | None) -> int:
    return 0 if content is None else content.nbytes if isinstance(content, np.ndarray) else len(content)


def unit_length(embedding: np.ndarray) -> np.ndarray:
    """`embedding` (dim,) scaled to length 1; a vector of zeros stays what it is."""
    length = float(np.linalg.norm(embedding))
    return embedding / np.float32(length) if length else embedding
