"""Self-check: encodes reference items regularly, and compares their vectors with the first ones.

Bit flips in memory, or faults of a driver or a kernel, can produce wrong vectors while all probes succeed. There are
two reference items, so that an engine that returns the same vector for all items is detected too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clip_image_flow.encoder import ImageEncoder, TextEncoder
from clip_image_flow.errors import ConfigError, NotFinite, RequestError
from clip_image_flow.models import EMBEDDED_FILE
from clip_wire.info import IMAGE, TEXT

KNOWN = EMBEDDED_FILE.with_name("references.json")
"""Vectors of `REFERENCES` for models in this package: JSON, checkpoint -> modality -> list of vectors, in fp32."""
TOLERANCES = {"fp32": 1e-4, "bf16": 1e-2, "fp16": 1e-2, "int8": 5e-2}
"""By precision: maximum distance from 1 of the cosine similarity of two vectors of one item."""
_ANSWER_SECONDS = 30.0  # timeout of a check; requests that wait as long are not answered either

logger = logging.getLogger(__name__)


def _gradients() -> list[np.ndarray]:
    """Two images, uint8 (64, 64, 3): a horizontal gradient in red, and a vertical one in blue."""
    ramp = np.arange(0, 256, 4, dtype=np.uint8)
    pictures = np.zeros((2, 64, 64, 3), np.uint8)
    pictures[0, :, :, 0], pictures[1, :, :, 2] = ramp, ramp[:, np.newaxis]
    return list(pictures)


REFERENCES: dict[str, list[Any]] = {IMAGE: _gradients(), TEXT: ["a photo of a cat", "the sea at night"]}


class SelfCheck:
    """Compares an encoder's vectors of `REFERENCES` with its first ones, in a thread of its own.

    :param encoder: encoder to check, by ordinary requests of one item.
    :param seconds: seconds between two checks.
    :param on_drift: callback with a description of the drift, called at most once.
    :param known: file of known vectors, see `KNOWN`.
    :raises ConfigError: the first vectors are not finite, or differ from the known ones of this model.
    """

    def __init__(
        self,
        encoder: ImageEncoder | TextEncoder,
        seconds: float,
        on_drift: Callable[[str], object],
        known: Path = KNOWN,
    ) -> None:
        self._encoder: Any = encoder
        self._on_drift = on_drift
        self._items = REFERENCES[encoder.info["modality"]]
        self._tolerance = TOLERANCES[encoder.info["precision"]]
        self._ended = threading.Event()
        try:
            self._first = self._vectors(seconds=None)  # no timeout: no request waits yet
        except RequestError as error:
            raise ConfigError(f"the model cannot be used: {error.detail}") from error
        stored = _stored(encoder.info, known)
        if stored is not None and (wrong := self._difference(self._first, stored)):
            raise ConfigError(f"the model's embeddings differ from the known ones: {wrong}")
        self._thread = threading.Thread(target=self._run, args=(seconds,), name="self-check", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def check(self) -> str:
        """Compare the vectors once; return a description of the drift, or "". A full queue is not a failure."""
        try:
            return self._difference(self._vectors(_ANSWER_SECONDS), self._first)
        except NotFinite as error:
            return str(error)
        except RequestError as error:
            logger.info("self-check skipped: %s", error)
            return ""
        except TimeoutError:
            logger.warning("self-check skipped: no result within %g s", _ANSWER_SECONDS)
            return ""

    def _run(self, seconds: float) -> None:
        while not self._ended.wait(seconds):
            if wrong := self.check():
                self._on_drift(wrong)
                return

    def _vectors(self, seconds: float | None) -> np.ndarray:
        """Vectors of the references, float32 (2, dim), encoded one after the other.

        :param seconds: timeout of each, or None.
        """
        return np.stack([self._encoder.submit([item], batch_size=1)[0].result(seconds) for item in self._items])

    def _difference(self, now: np.ndarray, before: np.ndarray) -> str:
        lengths = np.linalg.norm(now, axis=1) * np.linalg.norm(before, axis=1)
        cosines = np.divide((now * before).sum(axis=1), lengths, out=np.zeros(len(now)), where=lengths > 0)
        if now.shape == before.shape and cosines.min() >= 1 - self._tolerance:
            return ""
        shown = ", ".join(f"{cosine:.6f}" for cosine in cosines)
        least = 1 - self._tolerance
        return (
            f"cosines of {len(now)} reference items to their known embeddings are {shown}; expected at least {least:g}"
        )


class Failures:
    """Number of failed checks, stored in HOME: a process that finds a failure ends before its metrics are scraped.

    In a pod HOME outlives the container, but not the pod.

    :param executor: name of the Executor in the Flow.
    """

    def __init__(self, executor: str) -> None:
        name = executor.replace("/", "-")
        self._file = Path.home() / ".cache" / "clip-image-flow" / f"self-check-failures-{name}"

    @property
    def count(self) -> int:
        """Number of failures so far; 0 if it cannot be read."""
        try:
            return int(self._file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def add(self) -> None:
        """Count a failure, if HOME is writable."""
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(str(self.count + 1), encoding="ascii")


def _stored(info: dict[str, Any], known: Path) -> np.ndarray | None:
    """The known vectors of a model, or None. int8 has none: its distance to fp32 depends on the calibration."""
    if info["precision"] == "int8":
        return None
    vectors = json.loads(known.read_text(encoding="utf-8")).get(info.get("checkpoint"), {}).get(info["modality"])
    return np.asarray(vectors, np.float32) if vectors else None
