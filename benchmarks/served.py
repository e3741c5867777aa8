"""Compare images/s and latency of the served Flow, over gRPC and HTTP, with its peers and the library in process.

    python -m benchmarks.served [--peers] [--text]

All servers run all the time and are measured alternately; client and servers share the cores. Patterns: bulk is 32
images per request and two in flight (over /embed, which takes one image: 32 in flight), online one image and eight in
flight, single one at a time. With `--text` queries of 5 to 15 tokens are sent instead of images. `--load` also measures
1 to 64 callers, and arrivals at 50, 80 and 120 % of the capacity.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import measure, servers
from benchmarks.load import BULK, ONLINE, SINGLE, Pattern, Run, closed_loop, open_loop
from benchmarks.pictures import FOLDER, jpegs, random_vit_b_32
from benchmarks.servers import Server
from benchmarks.texts import queries
from clip_image_flow import ImageEncoder, TextEncoder
from clip_image_flow.errors import ConfigError
from clip_wire.info import IMAGE, TEXT
from scripts.processes import free_ports

BULK_HTTP = Pattern("bulk", 32, 1)
PATTERNS = (BULK, ONLINE, SINGLE)
LIBRARY = "library in process, fp32"


def pattern_for(server: Server, pattern: Pattern) -> Pattern:
    """Return the pattern for a server: `/embed` takes one image per request, so bulk has 32 requests in flight."""
    return BULK_HTTP if pattern is BULK and server.name.endswith("/embed") else pattern


@contextlib.contextmanager
def running(weights: Path, kind: str, with_peers: bool, logs: Path) -> Iterator[list[Server]]:
    """Run all servers that are compared.

    :param weights: file of the model.
    :param kind: kind of the items, image or text.
    :param with_peers: whether to run the peers, instead of two replicas of this project's Executor.
    :param logs: directory for logs.
    """
    encoder_of = ImageEncoder if kind == IMAGE else TextEncoder
    ports = iter(free_ports(20))
    with contextlib.ExitStack() as stack:
        encoder = encoder_of(str(weights), cache_dir=str(FOLDER))
        stack.callback(encoder.close)
        found = [servers.library(encoder, LIBRARY)]
        for precision in ("fp32", "bf16", "int8"):
            try:
                encoder_of(str(weights), precision=precision, cache_dir=str(FOLDER)).close()
            except ConfigError as error:
                print(f"{precision} is not measured: {error}", file=sys.stderr)
                continue
            found += stack.enter_context(servers.ours(weights, ports, logs, kind=kind, precision=precision))
        if not with_peers:
            found += stack.enter_context(servers.ours(weights, ports, logs, kind=kind, replicas=2))[:1]
        else:
            peers = (
                servers.clip_as_service(next(ports), logs, kind),
                servers.clip_as_service(next(ports), logs, kind, replicas=2),
                servers.clip_as_service(next(ports), logs, kind, dynamic_batching=True),
                servers.infinity(next(ports), logs, kind=kind),
                servers.infinity(next(ports), logs, "--compile", kind=kind),
                servers.infinity(next(ports), logs, "--dtype", "int8", kind=kind),
            )
            found += [stack.enter_context(peer) for peer in peers]
        yield found


def measure_patterns(found: list[Server], files: list[bytes], images: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Measure all patterns; return server -> pattern -> rate (of each round) and latencies."""
    runs: dict[tuple[str, str], list[Run]] = {}
    cpu: dict[str, float] = {}
    for turn in range(rounds + 1):
        for pattern in PATTERNS:
            share = max(images // (1 if pattern is BULK else 2 if pattern is ONLINE else 8), pattern.images)
            for server in found:
                before = server.cpu_seconds()
                run = closed_loop(server, pattern_for(server, pattern), files, share)
                if turn:  # the first round is a warm-up
                    runs.setdefault((server.name, pattern.name), []).append(run)
                    if pattern is BULK:
                        cpu[server.name] = cpu.get(server.name, 0) + server.cpu_seconds() - before
    figures: dict[str, dict[str, Any]] = {}
    for (server_name, pattern_name), own in runs.items():
        whole = Run()
        for run in own:
            whole.add(run)
        figures.setdefault(server_name, {})[pattern_name] = {
            "images_per_second": statistics.median(run.rate for run in own),
            "rates": [run.rate for run in own],
            "p50_ms": whole.milliseconds(0.5),
            "p99_ms": whole.milliseconds(0.99),
        }
    for server in found:
        figures[server.name]["rss_mb"] = server.rss_mb()
        computed = sum(run.images for run in runs[server.name, BULK.name])
        figures[server.name]["cpu_ms_per_image"] = 1000 * cpu[server.name] / computed
    return figures


def measure_load(found: list[Server], files: list[bytes], images: int) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Measure throughput and latency over the number of callers and over the rate of arrivals, alternating servers."""
    load: dict[str, dict[str, list[dict[str, float]]]] = {s.name: {"callers": [], "arrivals": []} for s in found}
    for callers in (1, 2, 4, 8, 16, 32, 64):
        runs = {server.name: Run() for server in found}
        for server in found * 2:
            pattern = Pattern("", callers, 1)
            runs[server.name].add(closed_loop(server, pattern, files, max(8, images * min(callers, 8) // 8, callers)))
        for name, run in runs.items():
            load[name]["callers"].append({"callers": callers, **_summary(run)})
    for share in (0.5, 0.8, 1.2):
        for server in found:
            rate = share * max(point["images_per_second"] for point in load[server.name]["callers"])
            summary = _summary(open_loop(server, rate, files, images))
            load[server.name]["arrivals"].append({"share_of_capacity": share, "arrivals_per_second": rate, **summary})
    return load


def _summary(run: Run) -> dict[str, float]:
    return {"images_per_second": run.rate, "p50_ms": run.milliseconds(0.5), "p99_ms": run.milliseconds(0.99)}


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Print the figures as a table."""
    print(f"{'':<34}{'bulk':>8}{'online':>9}  online p50 / p99 ms  single p50 ms  CPU ms/image  RSS MB")
    for name, own in figures.items():
        bulk, online, single = (own[pattern.name] for pattern in PATTERNS)
        print(
            f"{name:<34}{bulk['images_per_second']:8.1f}{online['images_per_second']:9.1f}"
            f"{online['p50_ms']:12.0f} / {online['p99_ms']:4.0f}{single['p50_ms']:15.0f}"
            f"{own['cpu_ms_per_image']:14.1f}{own['rss_mb']:8.0f}"
        )


def ratios(figures: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return ratios of the served Flow to the library in process, and to the best peer for each figure.

    Ratios of rates are medians of the rounds' ratios.
    """

    def rates(name: str, pattern: str) -> list[float]:
        return list(figures[name][pattern]["rates"])

    def over(ours: str, other: str, pattern: str) -> float:
        return measure.times_faster(rates(ours, pattern), rates(other, pattern))

    fp32, int8 = "clip-image-flow fp32, gRPC", "clip-image-flow int8, gRPC"
    found = {
        "fp32 bulk, gRPC / in process": over(fp32, LIBRARY, "bulk"),
        "fp32 bulk, /embed / in process": over("clip-image-flow fp32, /embed", LIBRARY, "bulk"),
    }
    peers = [name for name in figures if not name.startswith(("clip-image-flow", LIBRARY))]
    for ours, precision in ((fp32, "fp32"), (int8, "int8")):
        same = [name for name in peers if ("int8" in name) == (precision == "int8")]
        if ours not in figures or not same:
            continue
        for pattern in ("bulk", "online"):
            found[f"{precision} {pattern} / best peer"] = min(over(ours, name, pattern) for name in same)
        for pattern, latency in (("online", "p99_ms"), ("single", "p50_ms")):
            least = min(float(figures[name][pattern][latency]) for name in same)
            found[f"{precision} {pattern} {latency[:3]} / best peer"] = figures[ours][pattern][latency] / least
    return found


def main() -> int:
    """Measure, print and save the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=int, default=256, help="images per bulk run; half of it online, an eighth single"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds, after a warm-up round (%(default)s)")
    parser.add_argument("--text", action="store_true", help="encode short queries instead of images")
    parser.add_argument("--peers", action="store_true", help="compare with clip-as-service and infinity")
    parser.add_argument("--load", action="store_true", help="also measure over concurrency and arrival rate")
    options = parser.parse_args()
    if options.peers and not servers.peers_are_there():
        parser.error(f"the peers are not in {servers.PEERS}: run benchmarks/peers/setup.sh first")
    kind, weights = TEXT if options.text else IMAGE, random_vit_b_32()
    items = [query.encode() for query in queries(256)] if options.text else jpegs(256)
    with (
        tempfile.TemporaryDirectory(prefix="clip-bench-") as logs,
        running(weights, kind, options.peers, Path(logs)) as found,
    ):
        figures = measure_patterns(found, items, options.images, options.rounds)
        load = measure_load(found[1:3], items, options.images) if options.load else {}
    what = "queries of 5 to 15 tokens" if options.text else "640 x 427 JPEGs"
    print(f"{what}, ViT-B/32 (random weights), items/s; {measure.describe(measure.machine())}")
    show(figures)
    for name, ratio in ratios(figures).items():
        print(f"  {name:<34} {ratio:5.2f}")
    measure.save(
        "served" + "_text" * options.text + "_peers" * options.peers,
        {"servers": figures, "ratios": ratios(figures), "load": load},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
