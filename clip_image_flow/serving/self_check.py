"""The same items encoded again and again while others are served: does the engine still give what it gave at first?

Memory that flips, a driver or a kernel that fails can give wrong vectors with every sign of health. Two items are
encoded, so that an engine with one vector for all is found too.
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
"""Vectors of `REFERENCES` by models that come with the library: checkpoint -> modality -> a list of them, in fp32."""
TOLERANCES = {"fp32": 1e-4, "bf16": 1e-2, "fp16": 1e-2, "int8": 5e-2}
"""By precision: how far below 1 the cosine of two vectors of one item may be."""
_ANSWER_SECONDS = 30.0  # after which a check is given up: whoever waits as long is answered by nobody either

logger = logging.getLogger(__name__)


def _gradients() -> list[np.ndarray]:
    """Two pictures, uint8 (64, 64, 3): one gets brighter to the right in red, the other downwards in blue."""
    ramp = np.arange(0, 256, 4, dtype=np.uint8)
    pictures = np.zeros((2, 64, 64, 3), np.uint8)
    pictures[0, :, :, 0], pictures[1, :, :, 2] = ramp, ramp[:, np.newaxis]
    return list(pictures)


REFERENCES: dict[str, list[Any]] = {IMAGE: _gradients(), TEXT: ["a photo of a cat", "the sea at night"]}


class SelfCheck:
    """Compares an encoder's vectors of `REFERENCES` with its first ones, in a thread of its own.

    :param encoder: that is checked, by ordinary requests of one item.
    :param seconds: between two checks.
    :param on_drift: called with what is wrong, at most once.
    :param known: see `KNOWN`.
    :raises ConfigError: the first vectors are not those that are known of this model, or not finite.
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
            self._first = self._vectors(seconds=None)  # at the start nobody waits behind it
        except RequestError as error:
            raise ConfigError(f"the model cannot be used: {error.detail}") from error
        stored = _stored(encoder.info, known)
        if stored is not None and (wrong := self._difference(self._first, stored)):
            raise ConfigError(f"the model does not give the vectors that are known of it: {wrong}")
        self._thread = threading.Thread(target=self._run, args=(seconds,), name="self-check", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def check(self) -> str:
        """What is wrong now, or "". Where the queue is full nothing is."""
        try:
            return self._difference(self._vectors(_ANSWER_SECONDS), self._first)
        except NotFinite as error:
            return str(error)
        except RequestError as error:
            logger.info("no self-check this time: %s", error)
            return ""
        except TimeoutError:
            logger.warning("no self-check this time: no answer within %g s", _ANSWER_SECONDS)
            return ""

    def _run(self, seconds: float) -> None:
        while not self._ended.wait(seconds):
            if wrong := self.check():
                self._on_drift(wrong)
                return

    def _vectors(self, seconds: float | None) -> np.ndarray:
        """Of the references, float32 (2, dim), one after the other.

        :param seconds: that each may take.
        """
        return np.stack([self._encoder.submit([item], batch_size=1)[0].result(seconds) for item in self._items])

    def _difference(self, now: np.ndarray, before: np.ndarray) -> str:
        lengths = np.linalg.norm(now, axis=1) * np.linalg.norm(before, axis=1)
        cosines = np.divide((now * before).sum(axis=1), lengths, out=np.zeros(len(now)), where=lengths > 0)
        if now.shape == before.shape and cosines.min() >= 1 - self._tolerance:
            return ""
        shown = ", ".join(f"{cosine:.6f}" for cosine in cosines)
        least = 1 - self._tolerance
        return f"cosines of {len(now)} reference items to what they were are {shown}; at least {least:g} is right"


class Failures:
    """How often checks have failed here, kept in HOME: the process that finds a failure ends before anybody can ask it.

    In a pod HOME outlives the container, not the pod.

    :param executor: its name in the Flow.
    """

    def __init__(self, executor: str) -> None:
        name = executor.replace("/", "-")
        self._file = Path.home() / ".cache" / "clip-image-flow" / f"self-check-failures-{name}"

    @property
    def count(self) -> int:
        """So far; 0 where nothing can be read."""
        try:
            return int(self._file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def add(self) -> None:
        """One more, where it can be written."""
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(str(self.count + 1), encoding="ascii")


def _stored(info: dict[str, Any], known: Path) -> np.ndarray | None:
    """The vectors that are known of a model, where it has some. int8 is as near to them as its calibration lets it."""
    if info["precision"] == "int8":
        return None
    vectors = json.loads(known.read_text(encoding="utf-8")).get(info.get("checkpoint"), {}).get(info["modality"])
    return np.asarray(vectors, np.float32) if vectors else None
