"""Connects to each replica of an executor at its own address.

Requests share one channel to a headless Service, whose round robin over the pods does not tell which one answers. To
read the `/info` of every pod, and to send a request only to pods of one fingerprint, the gateway resolves the Service's
name and opens a channel to each address, but only while a rollout lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc
from jina.proto import jina_pb2_grpc
from jina.serve.networking.utils import get_grpc_channel
from jina.types.request.data import DataRequest

from clip_gateway.flow.checkpoints import read
from clip_gateway.flow.pins import Seen
from clip_wire.endpoints import INFO
from clip_wire.info import Info
from clip_wire.parameters import RESULTS

_ANSWER_SECONDS = 2.0  # timeout of /info
_REMEMBERED_SECONDS = 30.0  # that a pod is still checked after its Service stopped listing it
_SILENT = 2  # checks in a row without an answer, after which a replica is removed
_LEAVING_SECONDS = 5.0  # that a pod which its Service no longer lists gets requests like the others
_NO_ADDRESS = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
# By default, channels to one address share a connection, and its backoff after a failure.
_OPTIONS = {"grpc.use_local_subchannel_pool": 1}


class Replica:
    """One replica of an executor.

    :param address: `host:port`.
    :param tls: whether the connection uses TLS.
    :ivar info: its `/info`; None until it has answered.
    :ivar left: when its Service stopped listing it, by `time.monotonic()`; None while it is listed.
    :ivar under_way: number of its requests in flight.
    :ivar silent: number of checks in a row without an answer.
    """

    def __init__(self, address: str, tls: bool) -> None:
        self.address = address
        self.info: Info | None = None
        self.left: float | None = None
        self.under_way = 0
        self.silent = 0
        self._tls = tls
        self._connection = self._connected()

    def _connected(self) -> tuple[Any, Any]:
        """Return a new channel and the method that sends on it; gRPC closes a channel without references."""
        channel = get_grpc_channel(self.address, asyncio=True, tls=self._tls, options=_OPTIONS)
        return channel, jina_pb2_grpc.JinaSingleDataRequestRPCStub(channel).process_single_data

    @property
    def seen(self) -> Seen:
        """Its state at the last check that it answered."""
        return Seen(self.info or {}, self.left is not None)

    async def send(
        self, request: DataRequest, endpoint: str | None, metadata: Mapping[str, str] | None, timeout: float | None
    ) -> tuple[DataRequest, Any]:
        """Send a request, and return its answer and trailing metadata.

        :param request: request to send.
        :param endpoint: endpoint of the executor, or None.
        :param metadata: metadata of the call, or None.
        :param timeout: timeout in seconds, or None.
        :raises grpc.aio.AioRpcError: if the call fails.
        """
        self.under_way += 1
        _channel, process = self._connection  # the channel must outlive the call
        try:
            named = {**(metadata or {}), **({"endpoint": endpoint} if endpoint else {})}
            call = process(request, metadata=tuple(named.items()), timeout=timeout)
            return await call, await call.trailing_metadata()
        finally:
            self.under_way -= 1

    async def look(self) -> bool:
        """Call `/info`, and return whether the replica exists; one that its Service lists may fail one check."""
        request = DataRequest()
        request.header.request_id = ""  # not the request of a caller
        request.header.exec_endpoint = INFO
        try:
            answer, _ = await self.send(request, INFO, None, _ANSWER_SECONDS)
        except grpc.aio.AioRpcError as error:
            self.silent += 1
            if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                self._connection = self._connected()  # a failed channel waits before it reconnects
            return self.left is None and self.silent < _SILENT
        self.silent = 0
        self.info = {}
        with contextlib.suppress(ValueError, TypeError, AttributeError):  # an /info in another format
            self.info = read(answer.parameters.get(RESULTS, {}))
        return True


class Replicas:
    """All replicas of one executor.

    :param addresses: addresses in the Flow, such as `grpc://encoder.clip.svc.cluster.local.:8080`.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = [urlsplit(address if "//" in address else f"//{address}") for address in addresses]
        self._found: dict[str, Replica] = {}
        self._remembered: dict[str, tuple[bool, float]] = {}  # address -> TLS, time when last listed
        self._turn = 0

    @property
    def seen(self) -> list[Seen]:
        """Replicas whose `/info` is known."""
        return [one.seen for one in self._found.values() if one.info is not None]

    @property
    def has_silent(self) -> bool:
        """Whether a replica did not answer the last check."""
        return any(one.silent for one in self._found.values())

    async def look(self) -> None:
        """Resolve the addresses, and call `/info` on each replica."""
        named = await self.remember()
        for address, (tls, _) in self._remembered.items():
            if address not in self._found:
                self._found[address] = Replica(address, tls)
        for address, replica in self._found.items():
            if address in named:
                replica.left = None
            elif replica.left is None:
                replica.left = time.monotonic()
        replicas = list(self._found.items())
        there = await asyncio.gather(*(replica.look() for _, replica in replicas))
        for (address, replica), is_there in zip(replicas, there, strict=True):
            if not is_there and self._found.get(address) is replica:
                del self._found[address]
                self._remembered.pop(address, None)

    async def remember(self) -> dict[str, bool]:
        """Resolve the addresses, and keep those that are no longer listed for a while: their pods still serve.

        :return: listed address -> whether it uses TLS.
        """
        named, now = await self._names(), time.monotonic()
        self._remembered |= {address: (tls, now) for address, tls in named.items()}
        self._remembered = {
            address: (tls, at) for address, (tls, at) in self._remembered.items() if now - at < _REMEMBERED_SECONDS
        }
        return named

    def forget(self) -> None:
        """Drop all replicas; a channel with a request in flight is closed after its answer."""
        self._found.clear()

    def next(self, kinds: Collection[str]) -> Replica | None:
        """Return the least busy replica with one of these fingerprints, or None; leaving ones are a last resort."""
        own = [one for one in self._found.values() if one.info is not None and one.seen.fingerprint in kinds]
        here = [one for one in own if one.left is None or time.monotonic() - one.left < _LEAVING_SECONDS] or own
        if not here:
            return None
        self._turn += 1
        turned = here[self._turn % len(here) :] + here[: self._turn % len(here)]
        return min(turned, key=lambda one: (one.silent, one.under_way))

    async def _names(self) -> dict[str, bool]:
        """Return listed address -> whether it uses TLS; for a name that cannot be resolved now, its known addresses."""
        found: dict[str, bool] = {}
        for address in self._addresses:
            tls = address.scheme in ("grpcs", "https", "wss")
            try:
                found |= dict.fromkeys(await _resolved(address.hostname or "", address.port or 0), tls)
            except (OSError, UnicodeError) as error:
                if getattr(error, "errno", None) not in _NO_ADDRESS:
                    found |= {name: tls for name, one in self._found.items() if one.left is None}
        return found


async def _resolved(host: str, port: int) -> Iterable[str]:
    """Return `host:port` for every address of a host name."""
    with contextlib.suppress(ValueError):
        return [_joined(str(ipaddress.ip_address(host)), port)]
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return dict.fromkeys(_joined(str(info[4][0]), port) for info in infos)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
