"""Starts, calls and kills one decoding process."""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clip_image_flow import errors
from clip_image_flow.errors import BadDocument, TakesLonger, TooLarge
from clip_image_flow.image.preprocess import Square

_PROGRAM = "clip_image_flow.image.decoding.worker"
_PACKAGES = Path(__file__).parents[3]
_KEPT_BYTES = 1 << 20  # file size up to which its memory is reused for the next file
_CHANNELS = 3


@dataclass(frozen=True)
class Options:
    """Options of all images of a decoding process.

    :param square: see `preprocess.Square`.
    :param max_bytes: maximum size of a file, in bytes.
    :param max_pixels: maximum number of pixels of an image.
    :param at_least: see `pictures.open_picture`.
    :param exact: see `preprocess.preprocess`.
    :param max_memory: maximum memory to decode one image, in bytes.
    :param nice: increment of the process' niceness.
    """

    square: Square
    max_bytes: int
    max_pixels: int
    at_least: int | None
    exact: bool
    max_memory: int
    nice: int = 0


class DecodingProcess:
    """A process that decodes one image at a time. Not thread-safe.

    The process is spawned, not forked: the parent has threads and a model.

    :param options: options of all images.
    :param granting: function that takes the memory in bytes that a large image needs, and returns a context manager:
        entering it may wait, and yields whether the memory may be used.
    """

    def __init__(self, options: Options, granting: Callable[[int], AbstractContextManager[bool]]) -> None:
        self._options = options
        self._granting = granting
        # Not in /dev/shm, which may be small or missing; pages are allocated when they are written.
        self._shared = os.memfd_create("decoding", os.MFD_CLOEXEC)
        self._shared_bytes = options.max_bytes + options.square.size**2 * _CHANNELS
        os.ftruncate(self._shared, self._shared_bytes)
        self._memory = mmap.mmap(self._shared, 0)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "clip_image_flow.image.decoding.worker",
                str(self._shared),
                json.dumps(asdict(options)),
            ],
            env=_environment(),
            pass_fds=[self._shared],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._questions, self._answers = self._process.stdin, self._process.stdout

    def decode(self, data: bytes, seconds: float) -> np.ndarray:
        """Decode and preprocess a file: uint8 (size, size, 3).

        :param data: bytes of the file.
        :param seconds: maximum CPU time, in seconds.
        :raises TakesLonger: if the image exceeds `seconds`, which kills the process, or its memory was not granted.
        :raises RequestError: if the image cannot be decoded, or exceeds a limit.
        """
        # Written and freed by system calls, which release the GIL: copying 20 MB into the mapping blocked all other
        # threads for 15 ms.
        os.pwrite(self._shared, data, 0)
        try:
            return self._pixels(self._answer(len(data), seconds))
        finally:
            if len(data) > _KEPT_BYTES:
                os.ftruncate(self._shared, 0)
                os.ftruncate(self._shared, self._shared_bytes)

    def _answer(self, count: int, seconds: float) -> dict[str, Any]:
        answer = self._ask({"bytes": count, "seconds": seconds})
        if "needs" in answer:
            with self._granting(answer["needs"]) as granted:
                answer = self._ask({"granted": granted})
        return answer

    def _pixels(self, answer: dict[str, Any]) -> np.ndarray:
        if "refused" in answer:
            raise TakesLonger
        if "error" in answer:
            raise _error(answer)
        size = self._options.square.size
        pixels = np.frombuffer(self._memory, np.uint8, size * size * _CHANNELS, offset=self._options.max_bytes)
        return pixels.reshape(size, size, _CHANNELS).copy()

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            self._questions.write(json.dumps(question).encode())
            packet = self._answers.read(select.PIPE_BUF)
        except OSError:  # the process exited before the question, or before reading all of it
            packet = b""
        if not packet:
            raise self._how_it_ended()
        answer: dict[str, Any] = json.loads(packet)
        return answer

    def _how_it_ended(self) -> Exception:
        code = self._process.wait()
        if code == -signal.SIGPROF:
            return TakesLonger()
        if code == -signal.SIGKILL:  # only sent by the kernel's OOM killer
            return TooLarge("decoding the image ran out of memory")
        if code < 0:
            return BadDocument(f"the image cannot be decoded: the decoder ended by {signal.Signals(-code).name}")
        return RuntimeError(f"a decoding process exited with code {code}; its messages are above")

    def close(self) -> None:
        """Kill the process, even while it decodes."""
        self._process.kill()
        self._process.wait()
        self._questions.close()
        self._answers.close()
        self._memory.close()
        os.close(self._shared)


def _error(answer: dict[str, Any]) -> errors.RequestError:
    known = getattr(errors, str(answer["error"]), None)
    if not (isinstance(known, type) and issubclass(known, errors.RequestError)):
        known = BadDocument
    return known(str(answer["detail"]))


def _environment() -> dict[str, str]:
    """Return the environment, with this package first in PYTHONPATH and malloc set to free large images at once."""
    paths = [str(_PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    malloc = {"MALLOC_MMAP_THRESHOLD_": str(4 << 20), "MALLOC_TRIM_THRESHOLD_": str(16 << 20)}
    return {**os.environ, **malloc, "PYTHONPATH": os.pathsep.join(paths)}
