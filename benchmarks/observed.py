"""Measure the cost of metrics: the Flow with and without them, alternately, with the same callers.

    python -m benchmarks.observed [--model emoji-tiny] [--before CHECKOUT]

Eight callers send one image per request to /embed. With `--before` a checkout of another version is measured too,
without metrics. The faster the model, the larger the share of metrics. The ratio of rates is what callers see; that of
CPU seconds is less affected by other programs on the machine.
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
from benchmarks.load import ONLINE, closed_loop
from benchmarks.pictures import FOLDER, jpegs, random_vit_b_32
from benchmarks.servers import Server, asking_embed, wait_for_grpc, wait_for_http
from scripts import ROOT
from scripts.processes import free_ports, process_group

FLOOR = 0.99
"""Minimum of the rate with metrics, relative to the rate without."""


@contextlib.contextmanager
def serving(name: str, checkout: Path, model: str, logs: Path, *more: str) -> Iterator[Server]:
    """Run executor and gateway of a checkout.

    :param name: name of the server in the report.
    :param checkout: root directory of the checkout.
    :param model: model name or path.
    :param logs: directory for logs.
    :param more: further arguments for both programs.
    """
    executor, grpc, http, *metrics = free_ports(5)
    environment = {"JINA_LOG_LEVEL": "ERROR", "PYTHONPATH": f"{checkout}:{checkout / 'gateway'}"}
    jina = [sys.executable, "-W", "ignore", "-m", "jina"]
    options = json.dumps({"pretrained_model_name_or_path": model, "cache_dir": str(FOLDER), "self_check_seconds": 0})
    addresses = json.dumps({"encoder": [f"grpc://127.0.0.1:{executor}"]})
    graph = json.dumps({"encoder": ["end-gateway"], "start-gateway": ["encoder"]})
    first = [*jina, "executor", "--name", "encoder", "--uses", "executors/clip_image/config.yml", *more]
    first += ["--uses-with", options, "--port", str(executor), "--port-monitoring", str(metrics[0])]
    second = [*jina, "gateway", "--uses", "gateway/config.yml", "--protocol", "GRPC", "HTTP", *more]
    second += ["--port", str(grpc), str(http), "--port-monitoring", str(metrics[1])]
    second += ["--graph-description", graph, "--deployments-addresses", addresses]
    with (
        process_group(first, logs / f"{name}-executor.log", environment, checkout) as one,
        process_group(second, logs / f"{name}-gateway.log", environment, checkout) as two,
    ):
        wait_for_grpc(executor)
        wait_for_http(f"http://127.0.0.1:{http}/startupz")
        yield Server(name, asking_embed(http), (one.pid, two.pid), http)


def main() -> int:
    """Measure, print and save the figures; the exit code is 1 if a ratio of rates is below `FLOOR`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model name or path (default: ViT-B/32 with random weights)")
    parser.add_argument("--before", type=Path, help="directory of another checkout")
    parser.add_argument("--rounds", type=int, default=20, help="rounds, after a warm-up round (%(default)s)")
    parser.add_argument("--images", type=int, default=200, help="images per round (%(default)s)")
    options = parser.parse_args()
    model = options.model or str(random_vit_b_32())
    files = jpegs(32, (320, 240))
    rates: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        logs = Path(folder)
        found = [stack.enter_context(serving("metrics off", ROOT, model, logs))]
        found.append(stack.enter_context(serving("metrics on", ROOT, model, logs, "--monitoring")))
        if options.before:
            found.insert(0, stack.enter_context(serving("before", options.before.resolve(), model, logs)))
        for turn in range(options.rounds + 1):
            for server in found if turn % 2 else reversed(found):
                used = server.cpu_seconds()
                run = closed_loop(server, ONLINE, files, options.images)
                if turn:  # the first round is a warm-up
                    rates.setdefault(server.name, []).append(run.rate)
                    cpu.setdefault(server.name, []).append((server.cpu_seconds() - used) / run.images)
    base = found[0].name
    print(f"online callers, {model}; {measure.describe(measure.machine())}")
    figures = {}
    for name in rates:
        rate = statistics.median(a / b for a, b in zip(rates[name], rates[base], strict=True))
        work = statistics.median(cpu[name]) / statistics.median(cpu[base])
        figures[name] = {
            "rate": statistics.median(rates[name]),
            "cpu_ms": 1000 * statistics.median(cpu[name]),
            "rate_ratio": rate,
            "cpu_ratio": work,
        }
        said = f"{figures[name]['rate']:7.1f} images/s, {figures[name]['cpu_ms']:6.2f} CPU ms an image"
        print(f"  {name:<12} {said}; to {base!r}: rate {rate:.3f}, CPU {work:.3f}", flush=True)
    measure.save("observed", {"model": options.model or "ViT-B/32", "ways": figures})
    low = [name for name, one in figures.items() if one["rate_ratio"] < FLOOR]
    return measure.exit_code(bool(low), low, "")


if __name__ == "__main__":
    sys.exit(main())
