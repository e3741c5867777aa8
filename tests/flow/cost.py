"""What a caller costs the gateway: CPU time and memory of its process, read from the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.flow.gateways import Gateway

MIB = 1 << 20
MEMORY = 512 * MIB  # of the chart's gateway
RESIDENT = 500 * MIB  # of a gateway that has so much, whatever comes


@dataclass
class Cost:
    """Of the gateway's process: seconds of CPU time, bytes of memory at the most and over what it had."""

    cpu: float = 0.0
    peak: int = 0
    over: int = 0


def workers(gateway: Gateway) -> list[psutil.Process]:
    own = psutil.Process(gateway.process.pid)
    return [own, *own.children(recursive=True)]


@contextmanager
def cost(gateway: Gateway) -> Iterator[Cost]:
    """What the block costs."""
    found = Cost()
    process = max(workers(gateway), key=lambda one: one.memory_info().rss)
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak begins anew
    before, used = process.memory_info().rss, sum(process.cpu_times()[:2])
    yield found
    status = Path(f"/proc/{process.pid}/status").read_text()
    found.peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) << 10
    found.over = found.peak - before
    found.cpu = sum(process.cpu_times()[:2]) - used
