"""The replicas of one executor, each by its own address.

Requests share one channel to a headless Service, which takes the pods in turn and does not say which. To know what each
of them runs, and to send a request to those of one kind alone, the gateway asks the Service's name for the pods'
addresses and has a channel to each: while a rollout lasts, and not otherwise.
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

_ANSWER_SECONDS = 2.0
_REMEMBERED_SECONDS = 30.0  # that a pod is looked for which its Service does not name any more
_SILENT = 2  # looks in a row without an answer, after which a replica is taken as gone
_LEAVING_SECONDS = 5.0  # that a pod which its Service does not name any more gets requests as others do
_NO_ADDRESS = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
# Otherwise channels to one address share a connection, and its pause after a failure.
_OPTIONS = {"grpc.use_local_subchannel_pool": 1}


class Replica:
    """One process behind an executor's name.

    :param address: `host:port`.
    :ivar info: what it says of itself; None before it has answered.
    :ivar left: when its Service stopped naming it, by `time.monotonic()`; None while it does.
    :ivar under_way: requests that it has.
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
        """A channel, which is closed when nothing refers to it any more, and the call on it."""
        channel = get_grpc_channel(self.address, asyncio=True, tls=self._tls, options=_OPTIONS)
        return channel, jina_pb2_grpc.JinaSingleDataRequestRPCStub(channel).process_single_data

    @property
    def seen(self) -> Seen:
        """How it was last seen, once it has answered."""
        return Seen(self.info or {}, self.left is not None)

    async def send(
        self, request: DataRequest, endpoint: str | None, metadata: Mapping[str, str] | None, timeout: float | None
    ) -> tuple[DataRequest, Any]:
        """Its answer, and the metadata at its end.

        :param timeout: in seconds.
        :raises grpc.aio.AioRpcError: there is none.
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
        """Ask what it runs. Whether it is there: for the first time without an answer it is, where it is named."""
        request = DataRequest()
        request.header.request_id = ""  # no caller's
        request.header.exec_endpoint = INFO
        try:
            answer, _ = await self.send(request, INFO, None, _ANSWER_SECONDS)
        except grpc.aio.AioRpcError as error:
            self.silent += 1
            if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                self._connection = self._connected()  # a channel that failed waits before it tries again
            return self.left is None and self.silent < _SILENT
        self.silent = 0
        self.info = {}
        with contextlib.suppress(ValueError, TypeError, AttributeError):  # somebody else's /info
            self.info = read(answer.parameters.get(RESULTS, {}))
        return True


class Replicas:
    """All of one executor.

    :param addresses: as the Flow has them, such as `grpc://encoder.clip.svc.cluster.local.:8080`.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = [urlsplit(address if "//" in address else f"//{address}") for address in addresses]
        self._found: dict[str, Replica] = {}
        self._remembered: dict[str, tuple[bool, float]] = {}  # address -> whether by TLS, and when it was last named
        self._turn = 0

    @property
    def seen(self) -> list[Seen]:
        """Those that have said what they run."""
        return [one.seen for one in self._found.values() if one.info is not None]

    @property
    def has_silent(self) -> bool:
        """Whether one is there of which the last look did not find out what it runs."""
        return any(one.silent for one in self._found.values())

    async def look(self) -> None:
        """Find them anew, and ask each what it runs."""
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
        """Find their addresses, and keep those that are named no more for a while: their pods still serve.

        :returns: address -> whether it speaks TLS, of those that are named.
        """
        named, now = await self._names(), time.monotonic()
        self._remembered |= {address: (tls, now) for address, tls in named.items()}
        self._remembered = {
            address: (tls, at) for address, (tls, at) in self._remembered.items() if now - at < _REMEMBERED_SECONDS
        }
        return named

    def forget(self) -> None:
        """Close the channels; what is under way on one keeps it until its answer."""
        self._found.clear()

    def next(self, kinds: Collection[str]) -> Replica | None:
        """The one for the next request: of these kinds, the least busy one; those that leave last."""
        own = [one for one in self._found.values() if one.info is not None and one.seen.fingerprint in kinds]
        here = [one for one in own if one.left is None or time.monotonic() - one.left < _LEAVING_SECONDS] or own
        if not here:
            return None
        self._turn += 1
        turned = here[self._turn % len(here) :] + here[: self._turn % len(here)]
        return min(turned, key=lambda one: (one.silent, one.under_way))

    async def _names(self) -> dict[str, bool]:
        """The address of each -> whether it speaks TLS. Where nobody can say, those that are known."""
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
    """`host:port` of every address that a name has."""
    with contextlib.suppress(ValueError):
        return [_joined(str(ipaddress.ip_address(host)), port)]
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return dict.fromkeys(_joined(str(info[4][0]), port) for info in infos)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
