"""A batcher of numbers for tests, whose model can be blocked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

from clip_image_flow.batching.batcher import Batcher

NAN = -2  # number for which the model returns NaN
SECONDS = 30  # timeout of all waits


class Bench:
    """A batcher of numbers whose `forward` doubles them, waits for `gate`, and records its batches."""

    def __init__(
        self, *, capacity: int = 1000, max_batch_size: int = 100, threads: int = 2, patience: float = 0.0
    ) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.running = threading.Semaphore(0)  # counts forward passes that have started
        self.batches: list[list[int]] = []
        self.prepared: list[int] = []
        self.bad: dict[int, Exception] = {}
        self.batcher = Batcher[int](
            self.prepare,
            self.forward,
            capacity=capacity,
            max_batch_size=max_batch_size,
            threads=threads,
            patience=patience,
        )

    def prepare(self, number: int) -> np.ndarray:
        self.prepared.append(number)
        if number in self.bad:
            raise self.bad[number]
        return np.array([number])

    def forward(self, batch: np.ndarray) -> np.ndarray:
        numbers = batch[:, 0].tolist()
        self.batches.append(numbers)
        self.running.release()
        assert self.gate.wait(SECONDS)
        if -1 in numbers:
            raise RuntimeError("a broken model")
        return 2 * np.where(batch == NAN, np.nan, batch).astype(np.float32)

    def submit(self, *numbers: int, batch_size: int = 100, **options: Any) -> list[Future[np.ndarray]]:
        return self.batcher.submit(numbers, batch_size=batch_size, **options)

    def hold(self) -> list[Future[np.ndarray]]:
        """Keep the model busy with the number 0 until `gate` is set, so that later items wait in the queue."""
        self.gate.clear()
        futures = self.submit(0)
        assert self.running.acquire(timeout=SECONDS)
        return futures


def values(futures: list[Future[np.ndarray]]) -> list[float]:
    return [float(future.result(SECONDS)[0]) for future in futures]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` returns true; fail after SECONDS."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)
