"""One process that decodes, as the process sees it that has the model."""

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
_KEPT_BYTES = 1 << 20  # of shared memory, after a larger file
_CHANNELS = 3


@dataclass(frozen=True)
class Options:
    """What all pictures have in common.

    :param square: what the model sees of it.
    :param max_bytes: most bytes of a file.
    :param max_pixels: most pixels of a picture.
    :param at_least: see `pictures.open_picture`.
    :param exact: see `preprocess.preprocess`.
    :param max_memory: most bytes of memory that decoding one picture may take.
    :param nice: added to the process' niceness.
    """

    square: Square
    max_bytes: int
    max_pixels: int
    at_least: int | None
    exact: bool
    max_memory: int
    nice: int = 0


class DecodingProcess:
    """A process that decodes one picture at a time. To be used by one thread at a time.

    It is started anew, not forked: this process has threads, and a model.

    :param options: of all its pictures.
    :param granting: for pictures that are not small: called with the bytes of memory that one takes, a context in which
        they may be used, or with False may not. Entering it may wait.
    """

    def __init__(self, options: Options, granting: Callable[[int], AbstractContextManager[bool]]) -> None:
        self._options = options
        self._granting = granting
        # Not in /dev/shm, which may be small or missing; pages exist once they are written.
        descriptor = os.memfd_create("decoding", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, options.max_bytes + options.square.size**2 * _CHANNELS)
        self._memory = mmap.mmap(descriptor, 0)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "clip_image_flow.image.decoding.worker",
                str(descriptor),
                json.dumps(asdict(options)),
            ],
            env=_environment(),
            pass_fds=[descriptor],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._questions, self._answers = self._process.stdin, self._process.stdout
        os.close(descriptor)

    def decode(self, data: bytes, seconds: float) -> np.ndarray:
        """A file -> what the model sees of it, uint8 (size, size, 3).

        :param seconds: of CPU time, at most.
        :raises TakesLonger: it takes more, and this process has ended; or its memory was not granted.
        :raises RequestError: the picture cannot be decoded, or is over a limit.
        """
        self._memory[: len(data)] = data
        answer = self._ask({"bytes": len(data), "seconds": seconds})
        if "needs" in answer:
            with self._granting(answer["needs"]) as granted:
                answer = self._ask({"granted": granted})
        if len(data) > _KEPT_BYTES:
            self._memory.madvise(mmap.MADV_REMOVE, 0, len(data) // mmap.PAGESIZE * mmap.PAGESIZE)
        if "refused" in answer:
            raise TakesLonger
        if "error" in answer:
            raise _error(answer)
        size = self._options.square.size
        pixels = np.frombuffer(self._memory, np.uint8, size * size * _CHANNELS, offset=self._options.max_bytes)
        return pixels.reshape(size, size, _CHANNELS).copy()

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        return self._process.poll() is None

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            self._questions.write(json.dumps(question).encode())
            packet = self._answers.read(select.PIPE_BUF)
        except OSError:  # it has ended before it was asked, or without reading all
            packet = b""
        if not packet:
            raise self._how_it_ended()
        answer: dict[str, Any] = json.loads(packet)
        return answer

    def _how_it_ended(self) -> Exception:
        code = self._process.wait()
        if code == -signal.SIGPROF:
            return TakesLonger()
        if code == -signal.SIGKILL:  # nobody else does that than a kernel that is out of memory
            return TooLarge("decoding the image was ended for want of memory")
        if code < 0:
            return BadDocument(f"the image cannot be decoded: the decoder ended by {signal.Signals(-code).name}")
        return RuntimeError(f"a process that decodes pictures ended with code {code}; its messages are above")

    def close(self) -> None:
        """End it, whatever it is at."""
        self._process.kill()
        self._process.wait()
        self._questions.close()
        self._answers.close()
        self._memory.close()


def _error(answer: dict[str, Any]) -> errors.RequestError:
    known = getattr(errors, str(answer["error"]), None)
    if not (isinstance(known, type) and issubclass(known, errors.RequestError)):
        known = BadDocument
    return known(str(answer["detail"]))


def _environment() -> dict[str, str]:
    """This process' environment, with this very package in front and an allocator that gives back large pictures."""
    paths = [str(_PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    malloc = {"MALLOC_MMAP_THRESHOLD_": str(4 << 20), "MALLOC_TRIM_THRESHOLD_": str(16 << 20)}
    return {**os.environ, **malloc, "PYTHONPATH": os.pathsep.join(paths)}
