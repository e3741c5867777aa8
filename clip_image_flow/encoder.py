"""Encodes images and texts: preparation, batching and a backend in one object."""

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

# Minimum size of a JPEG decoded at reduced size, in multiples of the model's input: bicubic resizing does the rest, and
# blurs most of the difference between the two ways of downscaling.
_FAST_MARGIN = 1.5
_WARM_UP_SECONDS = 1.0


class Encoder(Generic[T]):
    """A tower of CLIP behind one bounded queue. Safe to use from many threads.

    :param model: name under which the model was requested.
    :param backend: engine that runs the tower.
    :param batcher: queue in front of the backend; the encoder closes it.
    :param tower: tower that the backend runs.
    :param decode: see `EncoderOptions`.
    :cvar modality: kind of its items, `image` or `text`.
    """

    modality: ClassVar[str]

    def __init__(
        self, model: str, backend: backends.Backend, batcher: Batcher[T], tower: Tower, decode: str = "exact"
    ) -> None:
        self._name = str(model)
        self._backend = backend
        self._batcher = batcher
        self._made_by: dict[str, str] = {}
        if weights := tower.weights():  # None: not in a file
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
        """Description of the running model: model, checkpoint, fingerprint, dim, backend and precision."""
        return {
            "model": self._name,
            "dim": self._backend.dim,
            "backend": self._backend.name,
            "precision": self._backend.precision,
            **self._made_by,
        }

    @property
    def logit_scale(self) -> float | None:
        """Factor of cosine similarities before a softmax, 100 for OpenAI's models; None if the weights have none."""
        return self._backend.logit_scale

    @property
    def logit_bias(self) -> float | None:
        """Summand of the scaled similarities before a sigmoid, as in SigLIP; None if the model uses a softmax."""
        return self._backend.logit_bias

    @property
    def queue(self) -> tuple[int, int]:
        """Number of items that are queued or running now, and its maximum."""
        return self._batcher.admitted, self._batcher.capacity

    def submit(
        self, contents: Sequence[T], *, batch_size: int = 32, deadline: float | None = None, caller: object = None
    ) -> list[Future[np.ndarray]]:
        """Queue items; return a future of float32 (dim,) for each, see `Batcher.submit`."""
        return self._batcher.submit(contents, batch_size=batch_size, deadline=deadline, caller=caller)

    def encode(self, contents: Sequence[T], *, batch_size: int = 32) -> np.ndarray:
        """Encode n items to embeddings, float32 (n, dim), in order.

        :param batch_size: maximum number of items in one forward pass.
        :raises RequestError: an item cannot be encoded; the first one in order is reported.
        """
        rows = [future.result() for future in self.submit(contents, batch_size=batch_size)]
        return np.stack(rows) if rows else np.empty((0, self._backend.dim), dtype=np.float32)

    def close(self) -> None:
        """Finish queued items, and end the threads."""
        self._batcher.close()


class ImageEncoder(Encoder[Content | None]):
    """CLIP's image tower behind one bounded queue. Safe to use from many threads.

    An item is a file as bytes, a uint8 (height, width, 3) array, or a URI.

    The encoder changes its process: OpenBLAS, OpenMP and torch get `threads` threads, OpenVINO's telemetry can no
    longer be imported, and during the download of OpenAI's weights sockets have a default timeout. It starts image
    decoding processes, which end with `close` or with this process.

    :param model: name or path, see `clip_image_flow.models`.
    :param on_death: callback for the death of the model thread; queued and later items fail with a RuntimeError. A
        service ends its process here, so that a new one is started.
    :param observer: observer of the items, see `clip_image_flow.batching.observer`.
    :param options: options of `EncoderOptions`.
    :raises ConfigError: an option is invalid or not available; a ModelError if the model cannot be loaded.
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
                # Below fp32 the model's rounding errors are far larger than pixels that are off by one level.
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
        """Description of the running model, with input_size (pixels per side) and modality."""
        return {**super().info, "input_size": self._backend.item_shape[0], "modality": self.modality}

    def close(self) -> None:
        """Finish queued items, and end the threads and processes."""
        super().close()
        self._preparation.close()


class TextEncoder(Encoder[str]):
    """CLIP's text tower behind one bounded queue. Safe to use from many threads.

    The encoder changes its process as `ImageEncoder` does, but starts no processes.

    :param model: name or path, see `clip_image_flow.models`.
    :param on_death: as for `ImageEncoder`.
    :param observer: as for `ImageEncoder`.
    :param options: options of `EncoderOptions`; those about images have no effect.
    :raises ConfigError: an option is invalid or not available; a ModelError if the model cannot be loaded.
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
        """Description of the running model, with context_length (tokens) and modality."""
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
    """Maximum number of items in one forward pass."""
    return options.max_batch_size or backend.best_batch_size


def _queue(backend: backends.Backend, options: EncoderOptions) -> dict[str, Any]:
    """Arguments of every tower's batcher."""
    return {
        "capacity": options.queue_size,
        "max_batch_size": _most(backend, options),
        "threads": options.threads,
        "patience": options.batch_wait_ms / 1000,
        "capacity_bytes": options.queue_bytes,
        "advice": f" in {backend.precision}" + ("" if backend.precision == "fp32" else "; use precision: fp32"),
    }


def _warm_up(encode: Callable[[np.ndarray], np.ndarray], item: np.ndarray, most: int) -> None:
    """Run a first pass of each batch size, in which the engine allocates memory and picks kernels (10 to 80 ms).

    One item and the largest batch come first, then the other sizes until `_WARM_UP_SECONDS` are over.
    """
    end = time.monotonic() + _WARM_UP_SECONDS
    for count in dict.fromkeys((1, most, *range(2, most))):
        encode(np.repeat(item[np.newaxis], count, axis=0))
        if time.monotonic() > end:
            return


def _bytes_of(content: Content | None) -> int:
    return 0 if content is None else content.nbytes if isinstance(content, np.ndarray) else len(content)


def unit_length(embedding: np.ndarray) -> np.ndarray:
    """`embedding` (dim,) scaled to length 1; a zero vector is returned unchanged."""
    length = float(np.linalg.norm(embedding))
    return embedding / np.float32(length) if length else embedding
