"""What an image costs in this checkout's Flow against another checkout's, in one run: by the clock, and in CPU time.

    git worktree add /tmp/before COMMIT && ln -s "$PWD/.venv" /tmp/before/.venv
    python -m benchmarks.checkouts /tmp/before

Both serve all the time and are asked in turn, in many short rounds, so that a machine whose speed drifts is fair to
both. A ratio is the median of those of the rounds, above 1 where this checkout is the faster one; within a round the
one that is asked first alternates. The clock says little where others use the machine: CPU time of the servers does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import measure
from benchmarks.load import BULK, ONLINE, Pattern, closed_loop
from benchmarks.pictures import FOLDER, jpegs, random_vit_b_32
from benchmarks.servers import Server, asking_embed, asking_jina, wait_for_grpc
from scripts import ROOT
from scripts.processes import free_ports, process_group

LEAST = 0.99
IMAGES = {BULK: 128, ONLINE: 96}  # of one round


@contextlib.contextmanager
def served(checkout: Path, weights: Path | str, logs: Path) -> Iterator[tuple[Server, Server]]:
    """A checkout's gateway before its Executor, to be asked by gRPC and by HTTP."""
    executor, grpc, http = free_ports(3)
    environment = {"JINA_LOG_LEVEL": "ERROR", "PYTHONPATH": f"{checkout}:{checkout / 'gateway'}"}
    jina = [sys.executable, "-W", "ignore", "-m", "jina"]
    options = json.dumps({"pretrained_model_name_or_path": str(weights), "cache_dir": str(FOLDER)})
    serve = [*jina, "executor", "--name", "encoder", "--uses", "executors/clip_image/config.yml"]
    serve += ["--uses-with", options, "--port", str(executor)]
    before = [*jina, "gateway", "--uses", "gateway/config.yml", "--protocol", "GRPC", "HTTP"]
    before += ["--port", str(grpc), str(http)]
    before += ["--graph-description", '{"encoder": ["end-gateway"], "start-gateway": ["encoder"]}']
    before += ["--deployments-addresses", json.dumps({"encoder": [f"grpc://127.0.0.1:{executor}"]})]
    with contextlib.ExitStack() as stack:
        groups = []
        for name, command, port in (("executor", serve, executor), ("gateway", before, grpc)):
            log = logs / f"{name}-{port}.log"
            groups.append(stack.enter_context(process_group(command, log, environment, checkout)).pid)
            wait_for_grpc(port)
        yield (
            Server("gRPC", asking_jina(grpc, "image"), tuple(groups)),
            Server("HTTP", asking_embed(http, "image"), tuple(groups)),
        )


def cost(server: Server, pattern: Pattern, files: list[bytes]) -> tuple[float, float]:
    """Milliseconds that an image takes: by the clock, and of the servers' CPU time."""
    before = server.cpu_seconds()
    run = closed_loop(server, pattern, files, IMAGES[pattern])
    return 1000 * run.seconds / run.images, 1000 * (server.cpu_seconds() - before) / run.images


def main() -> int:
    """Measure, and say whether this checkout is as fast."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkouts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", type=Path, help="directory of the other checkout")
    parser.add_argument("--model", help="model name or path (default: ViT-B/32 with random weights)")
    parser.add_argument("--rounds", type=int, default=15, help="(%(default)s)")
    options = parser.parse_args()
    files, weights, low = jpegs(32), options.model or random_vit_b_32(), []
    with tempfile.TemporaryDirectory() as logs, contextlib.ExitStack() as stack:
        ours, theirs = (
            stack.enter_context(served(checkout, weights, Path(logs))) for checkout in (ROOT, options.other.resolve())
        )
        print(measure.describe(measure.machine()))
        ways = [(BULK, 0), (ONLINE, 0), (ONLINE, 1)]
        costs: dict[str, list[tuple[float, float]]] = {}
        for turn in range(options.rounds + 1):
            for pattern, way in ways:
                pair = [(0, ours[way]), (1, theirs[way])]
                found = {}
                for number, server in pair[:: 1 if turn % 2 else -1]:
                    found[number] = cost(server, pattern, files)
                if turn:  # the first does not count
                    for kind, own, other in zip(("clock", "CPU"), found[0], found[1], strict=True):
                        costs.setdefault(f"{pattern.name}, {ours[way].name}, {kind}", []).append((own, other))
    for name, pairs in costs.items():
        ratio = statistics.median(other / own for own, other in pairs)
        own, other = (statistics.median(milliseconds) for milliseconds in zip(*pairs, strict=True))
        print(f"{name:<21} {own:7.2f} ms an image, the other checkout {other:7.2f}; ratio {ratio:.3f}")
        low += [name] * (ratio < LEAST)
    return measure.exit_code(bool(low), low, "")


if __name__ == "__main__":
    sys.exit(main())
