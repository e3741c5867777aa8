"""Load test above capacity: share and latency of served and rejected requests, memory, and time to recover.

    python -m benchmarks.overload

Gateway and executor serve the embedded model. Over HTTP and gRPC, single images arrive at 1 and 3 times the capacity of
the Flow, and at 1 time the capacity together with 200 connections that are silent, slow or closed within a request.
After each phase the load stops, and the time is measured until single calls are about as fast as before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import callers, measure, servers
from benchmarks.callers import Call, by_grpc, by_http, resources
from benchmarks.pictures import jpegs
from clip_image_flow.models import EMBEDDED
from scripts.processes import free_ports

PHASES = (("1 time", 1.0, 0), ("3 times", 3.0, 0), ("1 time, slow clients", 1.0, 200))
RECOVERED = 2.0  # latency after recovery, relative to that of an idle Flow
MOST_SECONDS = 60.0  # maximum time to wait for recovery


async def measured(call: Call, files: list[bytes], http_port: int, groups: tuple[int, ...], seconds: float) -> Any:
    """Measure all phases of one protocol.

    :param call: call to make.
    :param files: images to send.
    :param http_port: port for the misbehaving connections.
    :param groups: process groups whose memory is measured.
    :param seconds: length of a phase, in seconds.
    """
    alone = (await callers.in_turn(call, files[:20], 1)).ms("ok", 0.5)
    begin = time.perf_counter()
    ends = await callers.in_turn(call, itertools.islice(itertools.cycle(files), 400), 16)
    capacity = ends.count("ok") / (time.perf_counter() - begin)
    print(f"  alone p50 {alone:.1f} ms, capacity {capacity:.0f} a second", flush=True)
    rows = []
    for name, factor, strangers in PHASES:
        async with contextlib.AsyncExitStack() as stack:
            if strangers:
                await stack.enter_async_context(callers.bad_company(http_port, strangers))
            watching = asyncio.create_task(_peaks(groups))
            ends = await callers.at_rate(call, files, factor * capacity, seconds)
            watching.cancel()
            peaks = (await asyncio.gather(watching, return_exceptions=True))[0]
        recovered = await _seconds_to_recover(call, files[0], alone)
        after = [resources(group) for group in groups]
        total = sum(ends.names.values())
        rows.append(
            {
                "phase": name,
                "calls": total,
                "ok": ends.count("ok") / total,
                "p50_ms": ends.ms("ok", 0.5),
                "p99_ms": ends.ms("ok", 0.99),
                "refused": ends.count("refused") / total,
                "refusal_p50_ms": ends.ms("refused", 0.5),
                "errors": {name: count for name, count in ends.names.items() if name not in {"ok", *callers.REFUSED}},
                "recovery_seconds": recovered,
                "peak_mb": peaks if isinstance(peaks, list) else [],
                "after": after,
            }
        )
        _print(rows[-1])
    return {"alone_ms": alone, "capacity": capacity, "phases": rows}


async def _peaks(groups: tuple[int, ...]) -> list[float]:
    """Measure memory until the task is cancelled; return the peak of each process group, in MB."""
    peaks = [0.0] * len(groups)
    try:
        while True:
            now = await asyncio.to_thread(lambda: [resources(group)["mb"] for group in groups])
            peaks = [max(pair) for pair in zip(peaks, now, strict=True)]
            await asyncio.sleep(0.5)
    except asyncio.CancelledError:
        return peaks


async def _seconds_to_recover(call: Call, file: bytes, alone: float) -> float:
    begin = time.perf_counter()
    while time.perf_counter() - begin < MOST_SECONDS:
        ends = await callers.in_turn(call, [file] * 5, 1)
        if ends.count("ok") == 5 and ends.ms("ok", 0.5) <= RECOVERED * alone:
            break
    return time.perf_counter() - begin


def _print(row: dict[str, Any]) -> None:
    memory = " / ".join(f"{mb:.0f}" for mb in row["peak_mb"])
    print(
        f"  {row['phase']:<20} {row['calls']:6} calls  served {row['ok']:4.0%} p50 {row['p50_ms']:6.0f} p99 "
        f"{row['p99_ms']:6.0f} ms  refused {row['refused']:4.0%} in {row['refusal_p50_ms']:4.1f} ms  "
        f"recovery {row['recovery_seconds']:4.1f} s  memory {memory} MB  errors {row['errors'] or 'none'}",
        flush=True,
    )


def main() -> int:
    """Measure; the exit code is 1 if a call was neither served nor rejected as overload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15, help="seconds per phase (default: %(default)s)")
    options = parser.parse_args()
    files = jpegs(32)
    ports = free_ports(3)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        server, _ = stack.enter_context(servers.ours(Path(EMBEDDED), iter(ports), Path(folder)))
        for protocol, connect, port in (("HTTP", by_http, ports[1]), ("gRPC", by_grpc, ports[0])):

            async def run(connect: Any = connect, port: int = port) -> Any:
                async with connect(port) as call:
                    return await measured(call, files, ports[1], server.groups, options.seconds)

            print(f"{protocol} (memory of executor / gateway)")
            figures[protocol] = asyncio.run(run())
    print(measure.describe(measure.machine()))
    measure.save("overload", figures)
    return int(any(row["errors"] for found in figures.values() for row in found["phases"]))


if __name__ == "__main__":
    sys.exit(main())
