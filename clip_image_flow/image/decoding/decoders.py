"""As many decoding processes as there is work for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np

from clip_image_flow.image.decoding.process import DecodingProcess, Options


class Decoders:
    """Processes that decode pictures, one for each thread that asks at the same time, kept for the next.

    :param options: of all pictures.
    :param granting: see `DecodingProcess`.
    """

    def __init__(self, options: Options, granting: Callable[[int], AbstractContextManager[bool]]) -> None:
        self._options = options
        self._granting = granting
        self._idle: list[DecodingProcess] = []
        self._lock = threading.Lock()
        self._closed = False

    def start(self, count: int) -> None:
        """Have `count` more of them ready: a start takes a tenth of a second."""
        started = [DecodingProcess(self._options, self._granting) for _ in range(count)]
        with self._lock:
            self._idle[:0] = started  # behind those that run already

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
            self.start(1)  # so that the next picture does not wait for it

    def close(self) -> None:
        """End those that are idle; the others end with their picture."""
        with self._lock:
            self._closed = True
            for process in self._idle:
                process.close()
            self._idle.clear()
