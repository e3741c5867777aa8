"""Measures CPU time and memory of a gateway's or executor's process, as reported by the kernel."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

MIB = 1 << 20
MEMORY = 512 * MIB  # memory limit of the gateway in the chart
RESIDENT = 500 * MIB  # maximum resident memory of a gateway with that limit, under any load


@dataclass
class Cost:
    """Cost of a block of code for the process.

    :param cpu: CPU time, in seconds.
    :param peak: peak of resident memory, in bytes.
    :param over: increase from the memory before to the peak, in bytes.
    """

    cpu: float = 0.0
    peak: int = 0
    over: int = 0


class Server(Protocol):
    """A running gateway or executor."""

    process: subprocess.Popen[bytes]


def workers(server: Server) -> list[psutil.Process]:
    own = psutil.Process(server.process.pid)
    return [own, *own.children(recursive=True)]


@contextmanager
def cost(server: Server) -> Iterator[Cost]:
    """Measure the cost during the context; the values are set at its end."""
    found = Cost()
    process = max(workers(server), key=lambda one: one.memory_info().rss)
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # resets the peak
    before, used = process.memory_info().rss, sum(process.cpu_times()[:2])
    yield found
    status = Path(f"/proc/{process.pid}/status").read_text()
    found.peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) << 10
    found.over = found.peak - before
    found.cpu = sum(process.cpu_times()[:2]) - used
