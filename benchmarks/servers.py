"""The servers that are compared, each as a separate process group, and clients for their protocols.

The peers run in separate environments, which benchmarks/peers/setup.sh creates.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from docarray import Document, DocumentArray
from grpc_health.v1 import health_pb2, health_pb2_grpc
from jina.proto import jina_pb2_grpc
from jina.types.request.data import DataRequest

from benchmarks import measure
from benchmarks.pictures import FOLDER
from clip_image_flow import ImageEncoder, TextEncoder
from clip_wire.info import IMAGE
from scripts import ROOT
from scripts.processes import process_group

PEERS = Path(os.environ.get("PEERS_DIR", ROOT / ".cache" / "peers"))
START_SECONDS = 240
Ask = Callable[[list[bytes]], Awaitable[None]]
"""Sends items to be encoded: image files, or texts in UTF-8."""


@dataclass(frozen=True)
class Server:
    """A running server.

    :param name: name in the report.
    :param connect: opens a connection; yields a function that sends items.
    :param groups: process groups of the server; none for the library in the client's process.
    :param port: HTTP port, 0 if it is not needed.
    """

    name: str
    connect: Callable[[], contextlib.AbstractAsyncContextManager[Ask]]
    groups: tuple[int, ...]
    port: int = 0

    def rss_mb(self) -> float:
        """Return the resident memory of all its processes, in MB."""
        return sum(measure.rss_mb(pid) for pid in processes(self.groups))

    def rss_of_groups(self) -> list[float]:
        """Return the resident memory of each of `groups`, in MB."""
        return [Server(self.name, self.connect, (group,)).rss_mb() for group in self.groups]

    def cpu_seconds(self) -> float:
        """Return the CPU seconds that its processes have used so far."""
        return cpu_seconds(self.groups)


def processes(groups: Sequence[int]) -> list[int]:
    """Return the ids of the processes in `groups`."""
    listed = subprocess.run(["ps", "-eo", "pid=,pgid="], capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, group in pairs if int(group) in groups]


def cpu_seconds(groups: Sequence[int]) -> float:
    """Return the CPU seconds that the processes of `groups` have used so far."""
    return sum(measure.cpu_seconds(pid) for pid in processes(groups))


def wait_for_grpc(port: int) -> None:
    """Wait until the gRPC server on `port` is healthy."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=START_SECONDS)


def wait_for_http(url: str) -> None:
    """Wait until `url` responds with a success status.

    :raises TimeoutError: if it does not within START_SECONDS.
    """
    end = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"{url} does not answer")
        time.sleep(0.5)


def asking_jina(port: int, kind: str = IMAGE) -> Callable[[], contextlib.AbstractAsyncContextManager[Ask]]:
    """Return the `connect` of a `Server` that sends blobs or texts in unary calls on one open gRPC channel."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Ask]:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            call = jina_pb2_grpc.JinaSingleDataRequestRPCStub(channel).process_single_data

            async def ask(files: list[bytes]) -> None:
                request = DataRequest()
                request.header.exec_endpoint = "/"
                request.data.docs = DocumentArray([_document(file, kind) for file in files])
                answer = await call(request)
                assert all(document.embedding is not None for document in answer.docs)

            yield ask

    return connect


def _document(item: bytes, kind: str) -> Document:
    return Document(blob=item) if kind == IMAGE else Document(text=item.decode())


def library(encoder: ImageEncoder | TextEncoder, name: str) -> Server:
    """Return the library in the client's process as a `Server`."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Ask]:
        async def ask(files: list[bytes]) -> None:
            items: list[Any] = [file.decode() for file in files] if isinstance(encoder, TextEncoder) else list(files)
            await asyncio.gather(*(asyncio.wrap_future(future) for future in encoder.submit(items)))

        yield ask

    return Server(name, connect, ())


def asking_embed(port: int, kind: str = IMAGE) -> Callable[[], contextlib.AbstractAsyncContextManager[Ask]]:
    """Return the `connect` of a `Server` that sends one item per POST /embed, one after the other."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Ask]:
        media_type = "image/jpeg" if kind == IMAGE else "text/plain"
        headers = {"Content-Type": media_type, "Accept": "application/x-npy"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask(files: list[bytes]) -> None:
                for file in files:
                    async with session.post(f"http://127.0.0.1:{port}/embed", data=file, headers=headers) as answer:
                        assert answer.status == 200, await answer.text()
                        await answer.read()

            yield ask

    return connect


def asking_infinity(port: int, kind: str = IMAGE) -> Callable[[], contextlib.AbstractAsyncContextManager[Ask]]:
    """Return the `connect` of a `Server` for infinity: base64 responses, which its documentation calls fastest."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Ask]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask(files: list[bytes]) -> None:
                if kind == IMAGE:
                    items = [f"data:image/jpeg;base64,{base64.b64encode(file).decode()}" for file in files]
                else:
                    items = [file.decode() for file in files]
                body = {"model": "clip", "input": items, "modality": kind, "encoding_format": "base64"}
                async with session.post(f"http://127.0.0.1:{port}/embeddings", json=body) as answer:
                    assert answer.status == 200, await answer.text()
                    assert len((await answer.json(content_type=None))["data"]) == len(files)

            yield ask

    return connect


@contextlib.contextmanager
def gateway(executors: list[int], ports: list[int], logs: Path) -> Iterator[tuple[int, int, int]]:
    """Run the gateway; yield its gRPC port, its HTTP port and its process group.

    :param executors: ports of the executors.
    :param ports: gRPC port and HTTP port of the gateway.
    :param logs: directory for logs.
    """
    grpc_port, http_port = ports
    addresses = {"encoder": [f"grpc://127.0.0.1:{port}" for port in executors]}
    graph = {"encoder": ["end-gateway"], "start-gateway": ["encoder"]}
    command = [sys.executable, "-W", "ignore", "-m", "jina", "gateway", "--uses", "gateway/config.yml"]
    command += ["--protocol", "GRPC", "HTTP", "--port", str(grpc_port), str(http_port)]
    command += ["--graph-description", json.dumps(graph), "--deployments-addresses", json.dumps(addresses)]
    with process_group(command, logs / f"gateway-{grpc_port}.log", {"JINA_LOG_LEVEL": "ERROR"}) as process:
        wait_for_http(f"http://127.0.0.1:{http_port}/startupz")
        yield grpc_port, http_port, process.pid


@contextlib.contextmanager
def ours(
    weights: Path, ports: Iterator[int], logs: Path, *, kind: str = IMAGE, replicas: int = 1, **uses_with: object
) -> Iterator[tuple[Server, Server]]:
    """Run the gateway and `replicas` of the Executor; yield a server for gRPC and one for HTTP.

    :param weights: file of the model.
    :param ports: free ports; the first ones are used.
    :param logs: directory for logs.
    :param kind: kind of the items, image or text.
    :param replicas: number of replicas of the Executor.
    :param uses_with: options of the Executor.
    """
    grpc_port, http_port, *executors = itertools.islice(ports, 2 + replicas)
    label = f"clip-image-flow {uses_with.get('precision', 'fp32')}" + (f", {replicas} replicas" if replicas > 1 else "")
    options = {"pretrained_model_name_or_path": str(weights), "cache_dir": str(FOLDER), **uses_with}
    options.setdefault("threads", max(1, (os.cpu_count() or 1) // replicas))
    jina = [sys.executable, "-W", "ignore", "-m", "jina"]
    environment = {"JINA_LOG_LEVEL": "ERROR"}
    with contextlib.ExitStack() as stack:
        groups = []
        for port in executors:
            command = [*jina, "executor", "--name", "encoder", "--uses", f"executors/clip_{kind}/config.yml"]
            command += ["--uses-with", json.dumps(options), "--port", str(port)]
            groups.append(stack.enter_context(process_group(command, logs / f"executor-{port}.log", environment)).pid)
        for port in executors:
            wait_for_grpc(port)
        *_, group = stack.enter_context(gateway(executors, [grpc_port, http_port], logs))
        groups.append(group)
        yield (
            Server(f"{label}, gRPC", asking_jina(grpc_port, kind), tuple(groups)),
            Server(f"{label}, /embed", asking_embed(http_port, kind), tuple(groups), http_port),
        )


@contextlib.contextmanager
def clip_as_service(
    port: int, logs: Path, kind: str = IMAGE, *, replicas: int = 1, dynamic_batching: bool = False
) -> Iterator[Server]:
    """Run clip-server; on two cores `replicas: 2` is fastest for bulk, and dynamic batching for many callers."""
    label = f"clip-as-service, {'dynamic batching' if dynamic_batching else f'replicas {replicas}'}"
    flow = logs / f"clip-server-{port}.yml"
    # Equal to the number of online callers, so that their batches are full without waiting for the timeout.
    batching = "    uses_dynamic_batching: {/default: {preferred_batch_size: 8, timeout: 20}}\n"
    flow.write_text(
        "jtype: Flow\nversion: '1'\n"
        f"with: {{port: {port}}}\n"
        "executors:\n"
        "  - name: clip_t\n"
        f"    replicas: {replicas}\n"
        f"{batching * dynamic_batching}"
        "    uses: {jtype: CLIPEncoder, metas: {py_modules: [clip_server.executors.clip_torch]}}\n",
        encoding="utf-8",
    )
    command = [str(PEERS / "vcas" / "bin" / "python"), "-W", "ignore", "-m", "clip_server", str(flow)]
    environment = {"HOME": str(PEERS / "cas-home"), "NO_VERSION_CHECK": "1"}
    with process_group(command, logs / f"clip-server-{port}.log", environment) as process:
        wait_for_grpc(port)
        yield Server(label, asking_jina(port, kind), (process.pid,))


@contextlib.contextmanager
def infinity(port: int, logs: Path, *options: str, kind: str = IMAGE) -> Iterator[Server]:
    """Run infinity with `options`, such as `--compile` or `--dtype int8`."""
    command = [str(PEERS / "vinf" / "bin" / "infinity_emb"), "v2", "--model-id", str(PEERS / "inf-model")]
    command += ["--served-model-name", "clip", "--engine", "torch", "--device", "cpu", "--port", str(port)]
    command += ["--no-bettertransformer", *(options or ("--no-compile",))]
    environment = {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0", "HF_HUB_OFFLINE": "1"}
    label = "infinity" + "".join(f" {option}" for option in options).replace("--", "")
    with process_group(command, logs / f"infinity-{port}.log", environment) as process:
        wait_for_http(f"http://127.0.0.1:{port}/health")
        yield Server(label, asking_infinity(port, kind), (process.pid,))


def peers_are_there() -> bool:
    """Return whether the peers' environments exist."""
    return (PEERS / "vcas" / "bin" / "python").is_file() and (PEERS / "inf-model").is_dir()
