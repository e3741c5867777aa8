"""What replicas bring: requests/s of 1, 2, 4 and 8 of an Executor that sleeps, behind the gateway.

    python -m benchmarks.replicas          # processes on this machine
    python -m benchmarks.replicas --kind   # pods of the chart, on the cluster of `make images kind-up`

Asleep, eight replicas fit on two cores, and what is measured is the gateway and its balancing: how near n replicas come
to n times one. Each request takes 0.2 s and each replica works on one at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks import measure, servers
from benchmarks.load import Pattern, closed_loop
from benchmarks.servers import Server
from scripts import ROOT
from scripts.cluster.flow_images import node_images
from scripts.flow.names import DEFAULT_FLOW
from scripts.processes import free_ports, process_group

SECONDS = 0.2
REPLICAS = (1, 2, 4, 8)
LEAST = {2: 1.95, 8: 7.5}
# For each replica. Round robin does not make up for what a replica misses while its connection is renewed, so the work
# that waits before each is a random walk; with half as many, eight pods are now and then idle (6.9 times one).
CALLERS = 8
CLUSTER = "clip-image-flow"  # of scripts/cluster/kind.sh, with the gateway's gRPC port on this one
GRPC_PORT = 51000
RELEASE = "sleeping"
# A new pod gets its share once the gateway has renewed its connections, every 5 s.
SETTLE_SECONDS = 15
Serve = Callable[[int], contextlib.AbstractContextManager[int]]
"""Replicas -> the gateway's gRPC port."""


@contextlib.contextmanager
def processes() -> Iterator[Serve]:
    """On this machine: all replicas run all the time, and a gateway knows as many of them as it should."""
    with tempfile.TemporaryDirectory() as logs, contextlib.ExitStack() as stack:
        ports = free_ports(max(REPLICAS))
        jina = [sys.executable, "-W", "ignore", "-m", "jina"]
        for port in ports:
            command = [*jina, "executor", "--name", "encoder", "--uses", "benchmarks/sleeping_executor/config.yml"]
            command += ["--uses-with", json.dumps({"seconds": SECONDS}), "--port", str(port)]
            stack.enter_context(process_group(command, Path(logs) / f"{port}.log", {}))
        for port in ports:
            servers.wait_for_grpc(port)

        @contextlib.contextmanager
        def serve(replicas: int) -> Iterator[int]:
            with servers.gateway(ports[:replicas], free_ports(2), Path(logs)) as (grpc_port, *_):
                yield grpc_port

        yield serve


@contextlib.contextmanager
def pods() -> Iterator[Serve]:
    """On the kind cluster: the chart as it is, with an image of the sleeping Executor in the encoder's place."""
    tag = version("clip-image-flow")
    image, folder = f"sleeping-executor:{tag}", "benchmarks/sleeping_executor"
    gateway = node_images(DEFAULT_FLOW)[0].image
    _run("docker", "build", "--quiet", "--build-arg", f"GATEWAY={gateway}", "--tag", image, folder)
    _run("kind", "load", "docker-image", image, gateway, "--name", CLUSTER)
    helm = ("helm", "--kube-context", f"kind-{CLUSTER}", "--namespace", RELEASE)
    values = {
        "gateway": {"service": {"type": "NodePort", "nodePorts": {"grpc": 30051}}},
        "executorDefaults": {
            "image": {"repository": "sleeping-executor"},
            "usesWith": {"seconds": SECONDS},
            "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}},
        },
    }

    @contextlib.contextmanager
    def serve(replicas: int) -> Iterator[int]:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            profile = "helm/clip-image-flow/profiles/small.yaml"
            files = ("--values", profile, "--values", file.name, "--set", f"executorDefaults.replicas={replicas}")
            flags = ("--create-namespace", "--wait", "--timeout", "5m")
            _run(*helm, "upgrade", "--install", RELEASE, "helm/clip-image-flow", *files, *flags)
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            requests_per_second(GRPC_PORT, replicas, 5)
        yield GRPC_PORT

    try:
        yield serve
    finally:
        _run(*helm, "uninstall", RELEASE, "--ignore-not-found", "--wait")


def _run(*command: str) -> None:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{' '.join(command)}\n{ended.stdout}{ended.stderr}")


def requests_per_second(port: int, replicas: int, requests: int) -> float:
    """Of `requests` for each replica, with as many callers for each that none of them waits for work."""
    server, pattern = Server(f"{replicas}", servers.asking_jina(port), ()), Pattern("", CALLERS * replicas, 1)
    closed_loop(server, pattern, [bytes(20_000)], 2 * replicas)
    return closed_loop(server, pattern, [bytes(20_000)], requests * replicas).rate


def main() -> int:
    """Measure; the exit code is 1 when replicas bring less than they should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200, help="requests per replica (default: %(default)s)")
    parser.add_argument(
        "--kind", action="store_true", help="measure pods on the cluster of `make kind-up` instead of processes"
    )
    options = parser.parse_args()
    rates: dict[int, float] = {}
    with (pods if options.kind else processes)() as serve:
        for replicas in REPLICAS:
            with serve(replicas) as port:
                rates[replicas] = requests_per_second(port, replicas, options.requests)
    times = {replicas: rate / rates[1] for replicas, rate in rates.items()}
    where = "pods on kind" if options.kind else "processes"
    print(f"a sleeping Executor, {SECONDS} s a request, {where}; {measure.describe(measure.machine())}")
    for replicas, rate in rates.items():
        print(
            f"  {replicas} replicas {rate:6.2f} requests/s, {times[replicas]:5.2f} times one "
            f"(efficiency {times[replicas] / replicas:.0%})"
        )
    name = "replicas_kind" if options.kind else "replicas"
    measure.save(name, {"seconds_a_request": SECONDS, "requests_per_second": rates, "times_one": times})
    return int(any(times[replicas] < least for replicas, least in LEAST.items()))


if __name__ == "__main__":
    sys.exit(main())
