"""Compare the routes that are compatible with other services with `/embed`: images/s of the same served model.

    python -m benchmarks.doors

All routes get the same JPEGs of 640 x 427, one per request and eight in flight, and are measured alternately; client
and server share the cores. `/embed` takes the file itself, the others take it in base64 within JSON and respond in
JSON. Then bodies of 64 images are sent, one after the other, while the latency of `/healthz` is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks import measure, servers
from benchmarks.load import ONLINE, Run, closed_loop
from benchmarks.pictures import jpegs, random_vit_b_32
from benchmarks.servers import Ask, Server
from scripts.processes import free_ports

LEAST = {"/v1/embeddings": 0.85, "/v2/embed": 0.8, "/vectorize": 0.8}
MOST_HEALTH_MS = 50.0


def data_uri(file: bytes) -> str:
    """Return a JPEG as a data URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(file).decode()}"


BODIES: dict[str, Callable[[list[bytes]], dict[str, Any]]] = {
    "/v1/embeddings": lambda files: {"input": [data_uri(file) for file in files], "encoding_format": "base64"},
    "/v2/embed": lambda files: {"images": [data_uri(file) for file in files]},
    "/vectorize": lambda files: {"images": [base64.b64encode(file).decode() for file in files]},
}


def asking(port: int, path: str) -> Callable[[], contextlib.AbstractAsyncContextManager[Ask]]:
    """Return the `connect` of a `Server` that sends POST requests to `path` on kept-alive connections."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Ask]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask(files: list[bytes]) -> None:
                url = f"http://127.0.0.1:{port}{path}"
                sent: dict[str, Any] = {"json": BODIES[path](files)} if path in BODIES else {"data": files[0]}
                async with session.post(url, **sent) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()

            yield ask

    return connect


async def health_beside_large_bodies(port: int, files: list[bytes], bodies: int) -> list[float]:
    """Return the latencies of `/healthz` in milliseconds, requested every 10 ms while bodies of 64 images are sent."""
    found: list[float] = []
    sending = asyncio.create_task(_send(port, files, bodies))
    async with aiohttp.ClientSession() as session:
        while not sending.done():
            begin = time.perf_counter()
            async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                await answer.read()
            found.append(1000 * (time.perf_counter() - begin))
            await asyncio.sleep(0.01)
    await sending
    return found


async def _send(port: int, files: list[bytes], bodies: int) -> None:
    async with asking(port, "/v1/embeddings")() as ask:
        for _ in range(bodies):
            await ask(files)


def main() -> int:
    """Measure; the exit code is 1 with --check if a ratio is below its minimum, or `/healthz` is too slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=128, help="images per round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after a warm-up round (%(default)s)")
    parser.add_argument("--model", help="model name or path (default: ViT-B/32 with random weights)")
    parser.add_argument("--check", action="store_true", help="fail when a ratio is below its floor")
    options = parser.parse_args()

    files, ports = jpegs(64), iter(free_ports(3))
    weights = Path(options.model) if options.model else random_vit_b_32()
    with tempfile.TemporaryDirectory(prefix="clip-bench-") as logs, servers.ours(weights, ports, Path(logs)) as found:
        port = found[1].port
        doors = {path: Server(path, asking(port, path), (), port) for path in ("/embed", *BODIES)}
        runs: dict[str, list[Run]] = {path: [] for path in doors}
        for turn in range(options.rounds + 1):
            for path, door in doors.items():
                run = closed_loop(door, ONLINE, files, options.images)
                runs[path] += [run] if turn else []  # the first round is a warm-up
        health = asyncio.run(health_beside_large_bodies(port, files, 4))
    rates = {path: statistics.median(run.rate for run in own) for path, own in runs.items()}
    embed = [run.rate for run in runs["/embed"]]
    ratios = {path: measure.times_faster([run.rate for run in runs[path]], embed) for path in BODIES}
    worst, usual = max(health), statistics.median(health)
    print(f"JPEGs of 640 x 427, online, images/s; {measure.describe(measure.machine())}")
    for path, rate in rates.items():
        print(
            f"{path:<16}{rate:8.1f}"
            + (f"   {ratios[path]:.2f} of /embed (aim: {LEAST[path]})" if path in LEAST else "")
        )
    print(f"health beside bodies of 64 pictures: median {usual:.1f} ms, longest {worst:.1f} (aim: {MOST_HEALTH_MS:g})")
    measure.save("doors", {"images_per_second": rates, "ratios": ratios, "health_ms": {"median": usual, "most": worst}})
    low = [path for path, ratio in ratios.items() if ratio < LEAST[path]]
    return measure.exit_code(bool(options.check and (low or worst > MOST_HEALTH_MS)), low, "health")


if __name__ == "__main__":
    sys.exit(main())
