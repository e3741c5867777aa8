"""The program of a decoding process: decodes images, one after the other, until its standard input is closed.

It is started by `process.DecodingProcess`. Files and pixels are passed in shared memory; questions come from standard
input, and answers go to standard output, as JSON of at most PIPE_BUF bytes. For each `{"bytes": n, "seconds": s}` the
answer is one of

- `{}`: the pixels are in the shared memory, after the first `max_bytes`;
- `{"error": class, "detail": text}`: a `RequestError`;
- `{"needs": n}`: the image is large and needs n bytes of memory. The process waits for `{"granted": true}`, or for
  `false`, and then answers `{"refused": true}`.

More than s seconds of CPU time kill the process by SIGPROF; more memory than granted raises `MemoryError`.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import select
import signal
import sys
from pathlib import Path
from typing import Any

from clip_image_flow.errors import RequestError, TakesLonger, TooLarge
from clip_image_flow.image.pictures import open_picture
from clip_image_flow.image.preprocess import Square, resizing_memory, to_square

_SMALL_PIXELS = 1_500_000
_SMALL_BYTES = 16 << 20  # memory; enough for 0.9 megapixels of WebP, which needs most
_ALLOWED_BYTES = 32 << 20  # memory that needs no grant: a small image, and the conversion of its strips


class Worker:
    """Decodes images for the parent process.

    :param answers: file descriptor for answers.
    :param memory: shared memory: `max_bytes` for a file, the rest for pixels.
    :param options: `process.Options` as a dict.
    """

    def __init__(self, answers: int, memory: mmap.mmap, options: dict[str, Any]) -> None:
        self._answers = answers
        self._memory = memory
        self._options = options
        self._square = Square(**options["square"])
        self._idle_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

    def run(self) -> None:
        """Answer questions until standard input is closed."""
        while job := self._hear():
            signal.setitimer(signal.ITIMER_PROF, job["seconds"])
            answer = self._answer(job["bytes"])
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._say(answer)

    def _hear(self) -> dict[str, Any] | None:
        """Return the next question; None if standard input is closed."""
        packet = os.read(0, select.PIPE_BUF)
        return json.loads(packet) if packet else None

    def _say(self, answer: dict[str, Any]) -> None:
        os.write(self._answers, json.dumps(answer).encode())

    def _answer(self, count: int) -> dict[str, Any]:
        self._allow(_ALLOWED_BYTES + 3 * count)
        try:
            pixels = self._pixels(self._memory[:count])
        except RequestError as error:
            return {"error": type(error).__name__, "detail": error.detail[:500]}
        except TakesLonger:
            return {"refused": True}
        start = self._options["max_bytes"]
        self._memory[start : start + len(pixels)] = pixels
        return {}

    def _pixels(self, data: bytes) -> bytes:
        def before_decoding(width: int, height: int, needs: int) -> None:
            needs += resizing_memory(width, height, self._square.size)
            if needs > (most := self._options["max_memory"]):
                detail = f"the image needs {needs >> 20} MiB of memory to decode; at most {most >> 20} MiB are allowed"
                raise TooLarge(detail)
            if needs > _SMALL_BYTES or width * height > _SMALL_PIXELS:
                self._say({"needs": needs})
                if not (reply := self._hear()) or not reply["granted"]:
                    raise TakesLonger
                self._allow(_ALLOWED_BYTES + needs)

        with open_picture(data, self._options["max_pixels"], self._options["at_least"], before_decoding) as picture:
            return to_square(picture, self._square, exact=self._options["exact"]).tobytes()

    def _allow(self, count: int) -> None:
        """Limit the address space to its size at startup plus `count` bytes."""
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        wanted = self._idle_bytes + count
        resource.setrlimit(resource.RLIMIT_AS, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def main() -> None:
    """Run `worker MEMORY OPTIONS`, with the file descriptor of the shared memory, and options as JSON."""
    memory, options = int(sys.argv[1]), json.loads(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the process group; this process exits with its input
        signal.signal(number, signal.SIG_IGN)
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + options["nice"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # if memory runs out, the kernel kills this process, not the parent
        Path("/proc/self/oom_score_adj").write_text("1000")
    worker = Worker(os.dup(1), mmap.mmap(memory, 0), options)
    for output in (1, 2):  # libtiff prints a line for each defect of a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    worker.run()


if __name__ == "__main__":
    main()
