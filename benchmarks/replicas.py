"""Measure how throughput scales with replicas: requests/s of 1, 2, 4 and 8 replicas of an Executor that sleeps.

    python -m benchmarks.replicas          # processes on this machine
    python -m benchmarks.replicas --kind   # pods of the chart, on the cluster of `make images kind-up`

Since they sleep, eight replicas fit on two cores, and the result depends only on the gateway and its load balancing: n
replicas should have n times the throughput of one. A request takes 0.2 s, and a replica processes one at a time.
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
# Per replica. Round robin does not compensate for the requests that a replica misses while its connection is renewed,
# so the length of each replica's queue is a random walk; with half as many callers, some of eight pods are idle at
# times (6.9 times the throughput of one).
CALLERS = 8
CLUSTER = "clip-image-flow"  # from scripts/cluster/kind.sh, which maps the gateway's gRPC port to GRPC_PORT
GRPC_PORT = 51000
RELEASE = "sleeping"
# A new pod gets its share of requests once the gateway has renewed its connections, every 5 s.
SETTLE_SECONDS = 15
Serve = Callable[[int], contextlib.AbstractContextManager[int]]
"""Number of replicas -> context manager that yields the gateway's gRPC port."""


@contextlib.contextmanager
def processes() -> Iterator[Serve]:
    """Run replicas as processes: all of them all the time, and for each number a gateway for that many."""
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
    """Run replicas as pods on the kind cluster: the unchanged chart, with the image of the sleeping Executor."""
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
    """Return the requests per second, with enough callers that no replica is idle.

    :param port: gRPC port of the gateway.
    :param replicas: number of replicas.
    :param requests: requests per replica.
    """
    server, pattern = Server(f"{replicas}", servers.asking_jina(port), ()), Pattern("", CALLERS * replicas, 1)
    closed_loop(server, pattern, [bytes(20_000)], 2 * replicas)
    return closed_loop(server, pattern, [bytes(20_000)], requests * replicas).rate


def main() -> int:
    """Measure; the exit code is 1 if the throughput scales worse than `LEAST`."""
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
