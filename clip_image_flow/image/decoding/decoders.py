"""The pool of decoding processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np

from clip_image_flow.image.decoding.process import DecodingProcess, Options


class Decoders:
    """Pool of decoding processes, one for each thread that decodes at the same time.

    :param options: options of all images.
    :param granting: see `DecodingProcess`.
    """

    def __init__(self, options: Options, granting: Callable[[int], AbstractContextManager[bool]]) -> None:
        self._options = options
        self._granting = granting
        self._idle: list[DecodingProcess] = []
        self._lock = threading.Lock()
        self._closed = False

    def start(self, count: int) -> None:
        """Start `count` more processes, each of which needs a tenth of a second."""
        started = [DecodingProcess(self._options, self._granting) for _ in range(count)]
        with self._lock:
            self._idle[:0] = started  # running processes are used first

    def decode(self, data: bytes, seconds: float) -> np.ndarray:
        """See `DecodingProcess.decode`."""
        process = self._take()
        try:
            return process.decode(data, seconds)
        finally:
            self._give_back(process)

    def _take(self) -> DecodingProcess:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    return process
                process.close()
        return DecodingProcess(self._options, self._granting)

    def _give_back(self, process: DecodingProcess) -> None:
        if process.alive and not self._closed:
            with self._lock:
                self._idle.append(process)
            return
        process.close()
        if not self._closed:
            self.start(1)  # so that the next image does not wait for the start

    def close(self) -> None:
        """Stop idle processes; the others stop after their image."""
        with self._lock:
            self._closed = True
            for process in self._idle:
                process.close()
            self._idle.clear()
