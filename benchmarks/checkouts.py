"""Compare the speed of this checkout with another one in one run: wall-clock and CPU time per image.

    git worktree add /tmp/before COMMIT && ln -s "$PWD/.venv" /tmp/before/.venv
    python -m benchmarks.checkouts /tmp/before

The library is measured in process, and the gateway with the Executor as servers; `single` is one caller, whose
wall-clock time is the median latency. Both checkouts run all the time and are measured alternately in many short
rounds, so that a drifting speed of the machine affects both. A ratio is the median of the rounds' ratios, above 1 if
this checkout is faster; which checkout is first in a round alternates. If other programs use the machine, CPU time is
more reliable than wall-clock time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import measure
from benchmarks.load import BULK, ONLINE, SINGLE, Pattern, Run, closed_loop
from benchmarks.pictures import FOLDER, jpegs, random_vit_b_32
from benchmarks.servers import Server, asking_embed, asking_jina, cpu_seconds, wait_for_grpc
from scripts import ROOT
from scripts.processes import free_ports, process_group

LEAST = 0.99
IMAGES = {BULK: 128, ONLINE: 96, SINGLE: 32}  # per round
Measured = Callable[[], tuple[float, float]]
"""Encodes some images; returns the milliseconds per image: wall-clock time, and CPU time."""

_LIBRARY = """
import json, sys, time
from pathlib import Path
from clip_image_flow import ImageEncoder
options = json.loads(sys.argv[1])
encoder = ImageEncoder(options.pop("pretrained_model_name_or_path"), **options)
files = [file.read_bytes() for file in sorted(Path(sys.argv[2]).iterdir())]
print("ready", flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    for _ in range(int(line) // len(files)):
        encoder.encode(files)
    print(time.perf_counter() - began, flush=True)
"""


@contextlib.contextmanager
def in_process(checkout: Path, options: dict[str, str], pictures: Path) -> Iterator[dict[str, Measured]]:
    """Run the library of a checkout in a separate process."""
    command = [sys.executable, "-W", "ignore", "-c", _LIBRARY, json.dumps(options), str(pictures)]
    environment = {**os.environ, "PYTHONPATH": f"{checkout}:{checkout / 'gateway'}"}
    with subprocess.Popen(
        command,
        env=environment,
        cwd=checkout,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group, whose CPU time is read
    ) as process:
        assert process.stdin
        assert process.stdout
        requests, answers = process.stdin, process.stdout
        if answers.readline() != "ready\n":
            raise RuntimeError(f"the library of {checkout} does not start")

        def encode() -> Run:
            print(IMAGES[BULK], file=requests, flush=True)
            return Run(float(answers.readline()), IMAGES[BULK])

        try:
            yield {"in process": partial(cost, (process.pid,), encode)}
        finally:
            requests.close()


@contextlib.contextmanager
def served(checkout: Path, options: dict[str, str], files: list[bytes], logs: Path) -> Iterator[dict[str, Measured]]:
    """Run the gateway and the Executor of a checkout."""
    executor, grpc, http = free_ports(3)
    environment = {"JINA_LOG_LEVEL": "ERROR", "PYTHONPATH": f"{checkout}:{checkout / 'gateway'}"}
    jina = [sys.executable, "-W", "ignore", "-m", "jina"]
    serve = [*jina, "executor", "--name", "encoder", "--uses", "executors/clip_image/config.yml"]
    serve += ["--uses-with", json.dumps(options), "--port", str(executor)]
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
        by_grpc = Server("gRPC", asking_jina(grpc, "image"), tuple(groups))
        by_http = Server("HTTP", asking_embed(http, "image"), tuple(groups))
        ways = [(BULK, by_grpc), (ONLINE, by_grpc), (ONLINE, by_http), (SINGLE, by_grpc)]
        yield {
            f"{pattern.name}, {server.name}": partial(cost, server.groups, partial(load, server, pattern, files))
            for pattern, server in ways
        }


def load(server: Server, pattern: Pattern, files: list[bytes]) -> Run:
    """Run a round of `pattern`; for a single caller, the time of the result is based on the median latency."""
    run = closed_loop(server, pattern, files, IMAGES[pattern])
    return Run(run.milliseconds(0.5) / 1000 * run.images, run.images) if pattern is SINGLE else run


def cost(groups: tuple[int, ...], encode: Callable[[], Run]) -> tuple[float, float]:
    """Return the milliseconds per image: wall-clock time, and CPU time of the process groups."""
    before = cpu_seconds(groups)
    run = encode()
    return 1000 * run.seconds / run.images, 1000 * (cpu_seconds(groups) - before) / run.images


def main() -> int:
    """Measure; the exit code is 1 if a ratio is below `LEAST`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkouts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", type=Path, help="directory of the other checkout")
    parser.add_argument(
        "--checkout", type=Path, default=ROOT, help="directory of the first checkout (default: this one)"
    )
    parser.add_argument("--model", help="model name or path (default: ViT-B/32 with random weights)")
    parser.add_argument("--precision", default="fp32", help="fp32, bf16 or int8 (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds, after a warm-up round (%(default)s)")
    arguments = parser.parse_args()
    files, low = jpegs(32), []
    options = {
        "pretrained_model_name_or_path": arguments.model or str(random_vit_b_32()),
        "precision": arguments.precision,
        "cache_dir": str(FOLDER),
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        logs, pictures = Path(folder), Path(folder, "pictures")
        pictures.mkdir()
        for number, file in enumerate(files):
            (pictures / f"{number:02}.jpg").write_bytes(file)
        ours, theirs = (
            stack.enter_context(in_process(checkout, options, pictures))
            | stack.enter_context(served(checkout, options, files, logs))
            for checkout in (arguments.checkout.resolve(), arguments.other.resolve())
        )
        print(f"{arguments.precision}; {measure.describe(measure.machine())}", flush=True)
        costs: dict[str, list[tuple[float, float]]] = {}
        for turn in range(arguments.rounds + 1):
            for name in ours:
                found = {}
                for way in (ours, theirs) if turn % 2 else (theirs, ours):
                    found[way is ours] = way[name]()
                if turn:  # the first round is a warm-up
                    for kind, own, other in zip(("clock", "CPU"), found[True], found[False], strict=True):
                        costs.setdefault(f"{name}, {kind}", []).append((own, other))
    for name, pairs in costs.items():
        ratio = statistics.median(other / own for own, other in pairs)
        own, other = (statistics.median(milliseconds) for milliseconds in zip(*pairs, strict=True))
        print(f"{name:<21} {own:7.2f} ms an image, the other checkout {other:7.2f}; ratio {ratio:.3f}")
        low += [name] * (ratio < LEAST)
    return measure.exit_code(bool(low), low, "")


if __name__ == "__main__":
    sys.exit(main())
