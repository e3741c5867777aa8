"""Check that memory does not grow: resident MB of gateway and executor over 10,000 requests.

    python -m benchmarks.memory

The model is the embedded one, so that a run takes minutes. Half of the requests use gRPC, half /embed, eight in flight,
with images of several sizes; a few are invalid.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

import aiohttp

from benchmarks import measure, servers
from benchmarks.load import ONLINE, closed_loop
from benchmarks.pictures import jpegs
from clip_image_flow.models import EMBEDDED
from scripts.processes import free_ports

MOST_GROWTH = 1.05  # mean of the last three tenths of the requests, relative to the first three
WARM_UP = 2  # tenths before the first one, in which threads start, and pools and arenas fill


async def send_what_cannot_be_read(port: int, requests: int) -> None:
    """Send `requests` invalid images to /embed, since errors can leak memory too."""
    async with aiohttp.ClientSession() as session:
        for _ in range(requests):
            async with session.post(f"http://127.0.0.1:{port}/embed", data=b"no picture") as answer:
                assert answer.status == 415


def main() -> int:
    """Measure; the exit code is 1 if memory grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    files = [*jpegs(8), *jpegs(8, (320, 240)), *jpegs(4, (1600, 1200))]
    ports = free_ports(3)
    points: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        by_grpc, by_http = stack.enter_context(servers.ours(Path(EMBEDDED), iter(ports), Path(folder)))
        tenth = options.requests // 10
        for i in range(-WARM_UP, 10):
            for server in (by_grpc, by_http):
                closed_loop(server, ONLINE, files, tenth // 2)
            asyncio.run(send_what_cannot_be_read(ports[1], tenth // 50))
            executor, gateway = by_grpc.rss_of_groups()
            counted = (i + 1) * tenth if i >= 0 else 0
            print(f"{counted:6} requests: executor {executor:.0f} MB, gateway {gateway:.0f} MB", flush=True)
            if counted:
                points.append({"requests": counted, "executor_mb": executor, "gateway_mb": gateway})
    growth = {
        part: sum(point[part] for point in points[-3:]) / sum(point[part] for point in points[:3])
        for part in ("executor_mb", "gateway_mb")
    }
    print(f"the last three tenths over the first three: {growth}; {measure.describe(measure.machine())}")
    measure.save("memory", {"points": points, "growth": growth})
    return int(max(growth.values()) > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
