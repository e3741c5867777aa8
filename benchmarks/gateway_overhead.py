"""Compare the requests/s of ClipGateway and Jina's own gateway, with the same no-op Executor, in one run.

    python -m benchmarks.gateway_overhead

Each request is one blob of 20 KB. Both gateways run all the time and are measured alternately, so that a drifting speed
of the machine affects both; a ratio is that of the medians. Clients and servers share the machine's cores.

| case | ClipGateway | Jina's gateway |
|---|---|---|
| gRPC, Jina's Client | `Client.post`, one after the other | the same |
| gRPC, open channel | unary calls, some at a time | the same |
| HTTP | `POST /embed`, the image as it is | `POST /post`, the same image as JSON |
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from docarray import Document, DocumentArray
from jina import Client
from jina.proto import jina_pb2_grpc
from jina.types.request.data import DataRequest

from benchmarks.servers import wait_for_grpc
from scripts.processes import free_ports, process_group

BLOB = os.urandom(20_000)
MINIMUM = {"gRPC, Jina's Client": 0.95, "gRPC, open channel": 0.95, "HTTP": 1.0}


def jina(*arguments: str) -> contextlib.AbstractContextManager[object]:
    """Run `jina ARGUMENTS` as a process group, which is killed at the end of the context."""
    command = [sys.executable, "-W", "ignore", "-m", "jina", *arguments]
    return process_group(command, Path(os.devnull), {"JINA_LOG_LEVEL": "ERROR"})


def gateway(executor: str, ports: list[str], *more: str) -> contextlib.AbstractContextManager[object]:
    """Run a gateway for the Executor on the port `executor`."""
    graph = '{"encoder": ["end-gateway"], "start-gateway": ["encoder"]}'
    addresses = json.dumps({"encoder": [f"grpc://127.0.0.1:{executor}"]})
    flow = ["--graph-description", graph, "--deployments-addresses", addresses]
    return jina("gateway", "--protocol", "GRPC", "HTTP", "--port", *ports, *flow, *more)


def by_client(ports: list[str], count: int, _name: str) -> float:
    """Return the seconds for `count` calls of Jina's Client, one after the other."""
    client = Client(host=f"grpc://127.0.0.1:{ports[0]}")
    docs = DocumentArray([Document(blob=BLOB)])
    started = time.perf_counter()
    for _ in range(count):
        client.post("/", docs)
    return time.perf_counter() - started


def by_channel(ports: list[str], count: int, _name: str) -> float:
    """Return the seconds for `count` unary calls on one open channel, eight at a time."""

    async def run() -> float:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
            ask = jina_pb2_grpc.JinaSingleDataRequestRPCStub(channel).process_single_data

            async def one() -> None:
                request = DataRequest()
                request.header.exec_endpoint = "/"
                request.data.docs = DocumentArray([Document(blob=BLOB)])
                answer = await ask(request)
                assert len(answer.docs[0].embedding) == 512

            await one()
            return await timed(one, count)

    return asyncio.run(run())


def by_http(ports: list[str], count: int, name: str) -> float:
    """Return the seconds for `count` images over HTTP, eight at a time on kept-alive connections."""
    url = f"http://127.0.0.1:{ports[1]}"
    body = {"data": [{"blob": base64.b64encode(BLOB).decode()}], "execEndpoint": "/"}

    async def run() -> float:
        async with aiohttp.ClientSession() as session:

            async def one() -> None:
                if name == "clip":
                    headers = {"Content-Type": "image/jpeg"}
                    async with session.post(f"{url}/embed", data=BLOB, headers=headers) as answer:
                        embedding = (await answer.json())["embedding"]
                else:
                    async with session.post(f"{url}/post", json=body) as answer:
                        embedding = (await answer.json())["data"][0]["embedding"]
                assert len(embedding) == 512

            await one()
            return await timed(one, count)

    return asyncio.run(run())


async def timed(one: Callable[[], Coroutine[Any, Any, None]], count: int, together: int = 8) -> float:
    """Return the seconds for `count` calls of `one`, `together` at a time."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await one()

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(together)))
    return time.perf_counter() - started


CASES: dict[str, Callable[[list[str], int, str], float]] = {
    "gRPC, Jina's Client": by_client,
    "gRPC, open channel": by_channel,
    "HTTP": by_http,
}


def main() -> int:
    """Measure; the exit code is 1 if a ratio is below its minimum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=150, help="requests per run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="runs per gateway (default: %(default)s)")
    arguments = parser.parse_args()
    os.environ["JINA_OPTOUT_TELEMETRY"] = "1"
    executor, *free = map(str, free_ports(5))
    ports = {"clip": free[:2], "jina": free[2:]}
    results = {}
    with (
        jina("executor", "--name", "encoder", "--uses", "benchmarks/noop_executor/config.yml", "--port", executor),
        gateway(executor, ports["clip"], "--uses", "gateway/config.yml"),
        gateway(executor, ports["jina"]),
    ):
        for port in (executor, ports["clip"][0], ports["jina"][0]):
            wait_for_grpc(int(port))
        time.sleep(2)  # until ClipGateway has connected to its executors
        for case, run in CASES.items():
            rates: dict[str, list[float]] = {"clip": [], "jina": []}
            for turn in range(arguments.rounds + 1):
                for name in ("clip", "jina") if turn % 2 else ("jina", "clip"):
                    rate = arguments.requests / run(ports[name], arguments.requests, name)
                    if turn:  # the first round is a warm-up
                        rates[name].append(rate)
            medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
            results[case] = {**medians, "ratio": round(medians["clip"] / medians["jina"], 3), "minimum": MINIMUM[case]}
            print(f"{case}: {results[case]}", file=sys.stderr, flush=True)
    report = {
        "requests_per_second": results,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(report, indent=2))
    return int(any(result["ratio"] < result["minimum"] for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
