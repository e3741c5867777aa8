"""Measure the cost of the most expensive files: CPU time, memory, and the latency of other requests meanwhile.

    python -m benchmarks.hostile

The embedded model runs in this process, with its decoding processes. A small image is encoded every 10 ms; meanwhile
each hostile file is sent repeatedly for a second, four at a time with `--at-once 4`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks import measure
from benchmarks.pictures import jpegs
from clip_image_flow import ImageEncoder
from clip_image_flow.errors import RequestError
from clip_image_flow.models import EMBEDDED
from fuzz.hostile import HOSTILE
from scripts.processes import repeated

PAUSE_SECONDS = 0.01
LOOK_SECONDS = 0.02
QUIET_SECONDS = 5.0
ROW_SECONDS = 1.0  # minimum time per file, so that there are enough small images for a percentile
MOST = {"cpu_seconds": 2.5, "mb": 400.0}  # per file, without the cost of the small images


class Neighbour:
    """Sends one small image after the other, and measures how long each takes."""

    def __init__(self, encoder: ImageEncoder) -> None:
        self.seconds: list[float] = []
        self._encoder = encoder
        self._files = jpegs(16)

    def ask(self) -> None:
        """Encode one image."""
        begin = time.perf_counter()
        self._encoder.encode([self._files[len(self.seconds) % len(self._files)]])
        self.seconds.append(time.perf_counter() - begin)

    def take(self) -> list[float]:
        """Return the latencies since the last call of this method, in seconds."""
        taken, self.seconds = self.seconds, []
        return taken


def processes() -> list[psutil.Process]:
    """Return this process and its decoding processes."""
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def cpu_seconds() -> float:
    """Return the CPU seconds that these processes have used so far, including those that have ended."""
    own = psutil.Process().cpu_times()
    total = float(own.user + own.system + own.children_user + own.children_system)
    for process in processes()[1:]:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def memory_mb() -> float:
    """Return the memory of these processes in MB, with shared pages counted once (PSS)."""
    total = 0.0
    for process in processes():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            total += process.memory_full_info().pss / 2**20
    return total


@contextlib.contextmanager
def memory_peak() -> Iterator[list[float]]:
    """Measure the peak of memory in MB during the context; yield a list with it as the only item.

    Measuring slows down the other requests slightly.
    """
    peak = [0.0]

    def look() -> None:
        peak[0] = max(peak[0], memory_mb())

    with repeated(look, LOOK_SECONDS):
        yield peak


def one(encoder: ImageEncoder, data: bytes, at_once: int, idle: float, neighbour: Neighbour) -> dict[str, Any]:
    """Measure one file; return its row of the table."""
    with memory_peak() as peak:
        row = _cost(encoder, data, at_once, neighbour)
    return {**row, "mb": max(0.0, peak[0] - idle)}


def _cost(encoder: ImageEncoder, data: bytes, at_once: int, neighbour: Neighbour) -> dict[str, Any]:
    neighbour.take()
    used, begin = cpu_seconds(), time.perf_counter()
    outcome, files = "encoded", 0
    while time.perf_counter() - begin < ROW_SECONDS:
        files += at_once
        for future in [encoder.submit([data])[0] for _ in range(at_once)]:
            try:
                future.result(120)
            except RequestError as error:
                outcome = type(error).__name__
    seconds, used = time.perf_counter() - begin, cpu_seconds() - used
    waited = neighbour.take() or [0.0]
    return {
        "bytes": len(data),
        "seconds": seconds / files,
        "cpu_seconds": used / files,
        "p50_ms": 1000 * measure.percentile(waited, 0.5),
        "p99_ms": 1000 * measure.percentile(waited, 0.99),
        "outcome": outcome,
    }


def main() -> int:
    """Measure; the exit code is 1 if a file costs more than its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, default=1, help="concurrent requests per file (default: %(default)s)")
    options = parser.parse_args()
    encoder = ImageEncoder(EMBEDDED, cache_dir=str(Path(".cache") / "bench"))
    # Collections of this program's own modules (torch and scikit-learn, which a server does not import) took 0.3 s.
    gc.collect()
    gc.freeze()
    neighbour = Neighbour(encoder)
    with repeated(neighbour.ask, PAUSE_SECONDS):
        time.sleep(1)
        neighbour.take()
        used = cpu_seconds()
        with memory_peak():
            time.sleep(QUIET_SECONDS)
        alone = 1000 * measure.percentile(neighbour.take(), 0.99)
        own = (cpu_seconds() - used) / QUIET_SECONDS
        idle = memory_mb()
        print(f"small pictures alone: p99 {alone:.0f} ms, {own:.2f} CPUs; {measure.describe(measure.machine())}")
        rows = {}
        for name, make in HOSTILE.items():
            row = rows[name] = one(encoder, make(), options.at_once, idle, neighbour)
            row["cpu_seconds"] = max(0.0, row["cpu_seconds"] - own * row["seconds"])
            print(
                f"{name:<18} {row['bytes']:>9} bytes  {row['cpu_seconds']:5.2f} s of CPU time  +{row['mb']:4.0f} MB  "
                f"neighbours p50 {row['p50_ms']:4.0f} p99 {row['p99_ms']:4.0f} ms  {row['outcome']}",
                flush=True,
            )
    encoder.close()
    measure.save("hostile", {"alone_p99_ms": alone, "at_once": options.at_once, "files": rows})
    return int(any(row[name] > most for row in rows.values() for name, most in MOST.items()))


if __name__ == "__main__":
    sys.exit(main())
