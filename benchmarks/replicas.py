"""What replicas bring: requests/s of 1, 2, 4 and 8 of an Executor that sleeps, behind the gateway.

    python -m benchmarks.replicas

Asleep, eight replicas fit on two cores, and what is measured is the gateway and its balancing: how near n replicas come
to n times one. Each request takes 0.2 s and each replica works on one at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import measure, servers
from benchmarks.load import Pattern, closed_loop
from benchmarks.servers import Server
from scripts.demo import free_ports

SECONDS = 0.2
REPLICAS = (1, 2, 4, 8)
LEAST = {2: 1.95, 8: 7.5}


def requests_per_second(server: Server, replicas: int, requests: int) -> float:
    """Four callers for each replica, so that none of them waits for work."""
    files = [bytes(20_000)]
    closed_loop(server, Pattern("", 4 * replicas, 1), files, 2 * replicas)
    return closed_loop(server, Pattern("", 4 * replicas, 1), files, requests * replicas).rate


def main() -> int:
    """Measure; the exit code is 1 when replicas bring less than they should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=60, help="of each replica")
    options = parser.parse_args()
    rates: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as logs, contextlib.ExitStack() as stack:
        ports = [int(port) for port in free_ports(max(REPLICAS))]
        jina = [sys.executable, "-W", "ignore", "-m", "jina"]
        for port in ports:
            command = [*jina, "executor", "--name", "encoder", "--uses", "benchmarks/sleeping_executor/config.yml"]
            command += ["--uses-with", json.dumps({"seconds": SECONDS}), "--port", str(port)]
            stack.enter_context(servers.process_group(command, {}, Path(logs) / f"{port}.log"))
        for port in ports:
            servers.wait_for_grpc(port)
        for replicas in REPLICAS:
            with servers.gateway(ports[:replicas], [int(p) for p in free_ports(2)], Path(logs)) as (
                grpc_port,
                _,
                group,
            ):
                server = Server(f"{replicas}", servers.asking_jina(grpc_port), (group,))
                rates[replicas] = requests_per_second(server, replicas, options.requests)
    times = {replicas: rate / rates[1] for replicas, rate in rates.items()}
    print(f"a sleeping Executor, {SECONDS} s a request; {measure.describe(measure.machine())}")
    for replicas, rate in rates.items():
        print(
            f"  {replicas} replicas {rate:6.2f} requests/s, {times[replicas]:5.2f} times one "
            f"(efficiency {times[replicas] / replicas:.0%})"
        )
    measure.save("replicas", {"seconds_a_request": SECONDS, "requests_per_second": rates, "times_one": times})
    return int(any(times[replicas] < least for replicas, least in LEAST.items()))


if __name__ == "__main__":
    sys.exit(main())
