"""Soak test: run normal and malicious clients for an hour, and check for leaks.

    python -m benchmarks.soak --minutes 60

Gateway and executor serve the embedded model. Eight callers, half over HTTP and half over gRPC, send images of many
sizes and formats, broken ones and hostile ones; some calls are cancelled, and some connections are silent, slow or
closed within a request. Each tenth of the time is a row, after which the load pauses: memory is compared at rest, once
the gateway has given freed memory back. The result is a ratio: the last three rows over the three after the first.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import callers, measure, servers
from benchmarks.callers import Ends, by_grpc, by_http, resources
from benchmarks.pictures import jpegs
from clip_image_flow.models import EMBEDDED
from fuzz.hostile import HOSTILE
from fuzz.mutants import encoded, photograph
from scripts.processes import free_ports

ROWS = 10
MOST_GROWTH = {"mb": 1.10, "descriptors": 1.10, "threads": 1.10}
LARGE = {"jpeg-fill-bytes", "png-exif", "tiff-strips", "tiff-rationals"}  # not sent, since each has up to 20 MB
CALLERS = 8
REST_SECONDS = 35  # the gateway returns freed memory to the system every 30 s


def pictures() -> tuple[list[bytes], list[bytes]]:
    """Return valid images, and broken and hostile ones."""
    good = [*jpegs(8), *jpegs(4, (320, 240)), *jpegs(2, (1600, 1200))]
    good += [encoded(photograph(300, 200), format) for format in ("PNG", "WEBP", "GIF", "BMP", "TIFF")]
    broken = [file[: len(file) // 2] for file in good] + [b"no picture"]
    return good, broken + [make() for name, make in HOSTILE.items() if name not in LARGE]


async def row(seconds: float, ports: list[int], good: list[bytes], bad: list[bytes], seed: int) -> Ends:
    """Run mixed load for one row.

    :param seconds: length of the row, in seconds.
    :param ports: gRPC port and HTTP port of the gateway.
    :param good: valid images.
    :param bad: broken and hostile images.
    :param seed: seed of the random choices.
    """
    ends, end = Ends(), time.monotonic() + seconds
    dice = random.Random(seed)

    async def caller(connect: Any, port: int) -> None:
        while time.monotonic() < end:  # a new connection after some calls
            async with connect(port) as call:
                for _ in range(dice.randrange(1, 40)):
                    file = dice.choice(bad if dice.random() < 0.1 else good)
                    begin = time.perf_counter()
                    if dice.random() < 0.05:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(call(file), 0.005)
                        continue
                    ends.add(await call(file), time.perf_counter() - begin)
                    if time.monotonic() >= end:
                        break

    async with callers.bad_company(ports[1], 12):
        ways = [(by_http, ports[1]), (by_grpc, ports[0])] * (CALLERS // 2)
        await asyncio.gather(*(caller(connect, port) for connect, port in ways))
    return ends


def main() -> int:
    """Run; the exit code is 1 if memory, descriptors or threads grow, or a call failed with an internal error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    good, bad = pictures()
    ports = free_ports(3)
    rows: list[dict[str, Any]] = []
    faults = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        server, _ = stack.enter_context(servers.ours(Path(EMBEDDED), iter(ports), Path(folder)))
        print("   minute   calls  p50 ms  p99 ms   executor MB fds threads    gateway MB fds threads   errors")
        for i in range(ROWS):
            ends = asyncio.run(row(60 * options.minutes / ROWS, ports, good, bad, i))
            time.sleep(REST_SECONDS)
            held = [resources(group) for group in server.groups]
            errors = {name: count for name, count in ends.names.items() if name not in {"ok", *callers.REFUSED}}
            faults += sum(errors.get(name, 0) for name in ("500", "InternalError", "INTERNAL", "UNKNOWN"))
            told = "   ".join(f"{h['mb']:8.0f} {h['descriptors']:4.0f} {h['threads']:4.0f}   " for h in held)
            p50, p99 = ends.ms("ok", 0.5), ends.ms("ok", 0.99)
            minute = options.minutes * (i + 1) / ROWS
            print(f"   {minute:6.1f} {ends.count('ok'):7} {p50:7.1f} {p99:7.0f}   {told} {errors}", flush=True)
            rows.append({"minute": minute, "ok": ends.count("ok"), "p50_ms": p50, "p99_ms": p99, "held": held})
    growth = {
        f"{part} {what}": sum(r["held"][k][what] for r in rows[-3:]) / sum(r["held"][k][what] for r in rows[1:4])
        for k, part in enumerate(("executor", "gateway"))
        for what in MOST_GROWTH
    }
    print(
        "the last three rows over the three after the first:", {name: round(value, 3) for name, value in growth.items()}
    )
    print(f"failures of our own: {faults}; {measure.describe(measure.machine())}")
    measure.save("soak", {"rows": rows, "growth": growth, "faults": faults})
    return int(faults > 0 or any(value > MOST_GROWTH[name.split()[1]] for name, value in growth.items()))


if __name__ == "__main__":
    sys.exit(main())
