"""Sends a request to a replica with the pinned fingerprint, and retries on another if a replica rejects it unread.

The pinned fingerprints are sent with the request (`clip_wire.parameters.PINNED`). An executor with another fingerprint
rejects it before it reads a document. Then the gateway calls `/info` on every replica, and sends the request to one of
the right fingerprint at its own address; if none is left, it switches to the new fingerprint. No work is repeated after
such a rejection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import grpc
from jina.types.request.data import DataRequest

from clip_gateway.flow.executors import Executors
from clip_gateway.flow.pins import Generation, Pins
from clip_gateway.jina_internals import decide_calls, decide_retries
from clip_gateway.problems import Problem
from clip_wire.errors import ModelChanged, Unavailable
from clip_wire.parameters import PINNED, UNREAD

_MOST_TRIES = 20  # per call; each retry follows a check of the replicas
_PAUSE_SECONDS = 0.1  # before a retry, if the check found nothing new
_KNOWN_SECONDS = 1.0  # age of a check that suffices to reject a fingerprint that no replica has


class Hold:
    """The pins of requests whose answers are combined: all use one generation.

    :param pins: pins of the gateway.
    :ivar generation: generation that answers the requests.
    :ivar worked: names of executors that have answered one of them.
    :ivar out: number of their calls to executors in flight.
    """

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._moving = asyncio.Lock()
        self._is_counted = False
        self.generation: Generation = pins.current
        self.worked: set[str] = set()
        self.out = 0

    async def __aenter__(self) -> Hold:
        await self._take()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._give()

    async def follow(self) -> bool:
        """Switch to the current generation; return False if that would mix vectors, since some are encoded already."""
        async with self._moving:
            while self.out and self.generation is not self._pins.current:
                await asyncio.sleep(_PAUSE_SECONDS / 10)
            old, new = self.generation, self._pins.current
            if any(old.fingerprints.get(name) != new.fingerprints.get(name) for name in self.worked):
                return False
            if new is not old:
                self._give()  # before `_take`, which waits for the old generation
                self.generation = new
                await self._take()
            return True

    async def _take(self) -> None:
        self.generation = await self._pins.take()
        self._is_counted = True

    def _give(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._pins.give(self.generation)


@dataclass
class Passage:
    """State of one request on its way through the Flow.

    :param hold: pins that answer the request.
    :param expects: fingerprints that the caller expects; empty for any.
    :ivar carried: whether a call has reached an executor and failed, and so may have crashed it.
    """

    hold: Hold
    expects: frozenset[str] = frozenset()
    carried: bool = field(default=False, init=False)


PASSAGE: ContextVar[Passage | None] = ContextVar("passage", default=None)
"""Passage of the current task's request, in a context variable because Jina passes no custom state to its calls."""


class Sending:
    """Wraps Jina's calls to executors.

    :param executors: executors of the Flow.
    """

    def __init__(self, executors: Executors) -> None:
        self._executors = executors
        decide_retries(executors.streamer, self._again)
        decide_calls(executors.streamer, self._send)

    async def _send(self, jinas: Callable[..., Awaitable[Any]], requests: list[DataRequest], **known: Any) -> Any:
        """Send a request to an executor, and return its answer and trailing metadata.

        :param jinas: Jina's method, which sends it to the next replica by round robin.
        :param requests: list of one request.
        :param known: other arguments of Jina's method.
        :raises Problem: if no replica can answer without mixing vectors of two models.
        """
        passage = PASSAGE.get()
        if passage is None or len(requests) != 1:
            return await jinas(requests=requests, **known)
        name, hold = known["deployment"], passage.hold
        for _ in range(_MOST_TRIES):
            kinds = self._kinds(passage, name)
            self._tell(passage, requests[0])
            asked = time.monotonic()
            replica = self._executors.replica(name, kinds)
            hold.out += 1
            try:
                if replica is None:
                    outcome = await jinas(requests=requests, **known)
                else:
                    outcome = await replica.send(requests[0], known["endpoint"], known["metadata"], known["timeout"])
            except grpc.aio.AioRpcError as error:  # of `replica.send`; Jina's method retries, and returns errors
                if error.code() not in _LOST or not self._may_go_again(error, passage):
                    raise
                outcome = None
            finally:
                hold.out -= 1
            if outcome is None and replica is not None:
                await self._executors.look_closely(asked)
            elif not _is_refused(outcome):
                if isinstance(outcome, tuple):
                    hold.worked.add(name)
                return outcome
            elif UNREAD in outcome[1]:
                await self._executors.look_closely(asked)
                if hold.generation is self._executors.pins.current and self._executors.replica(name, kinds) is None:
                    await asyncio.sleep(_PAUSE_SECONDS)
            else:  # by the fingerprint that the caller expects
                await self._executors.look_closely(asked - _KNOWN_SECONDS)
                if self._kinds(passage, name) == kinds:
                    return outcome
            if not await hold.follow() and self._executors.replica(name, kinds) is None:
                raise Problem(Unavailable, "the model changed while the request was under way; send it again")
        raise Problem(Unavailable, f"no replica of {name} answers for the model; try again in a moment")

    def _kinds(self, passage: Passage, name: str) -> frozenset[str]:
        """Return the fingerprints that may answer: the pin, unless the caller expects others that replicas have."""
        pin = passage.hold.generation.fingerprints.get(name, "")
        if passage.expects and pin not in passage.expects and (others := passage.expects & self._executors.kinds(name)):
            return others
        return frozenset((pin,))

    def _tell(self, passage: Passage, request: DataRequest) -> None:
        """Set the parameter `PINNED` of a request, by which executors reject it, unless it is set already."""
        pinned = passage.hold.generation
        listed = pinned.listed
        if passage.expects:
            listed = ",".join(kind for name in pinned.fingerprints for kind in self._kinds(passage, name) if kind)
        fields = request.proto_wo_data.parameters.fields
        if listed and (PINNED not in fields or fields[PINNED].string_value != listed):
            fields[PINNED].string_value = listed

    async def _again(self, jinas: Callable[..., Awaitable[Any]], error: Any, **known: Any) -> Any:
        """Decide for Jina whether a failed call to an executor is retried: None means yes."""
        passage = PASSAGE.get()
        if passage and not self._may_go_again(error, passage):
            return error
        return await jinas(error=error, **known)

    @staticmethod
    def _may_go_again(error: grpc.aio.AioRpcError, passage: Passage) -> bool:
        """Return whether a failed call may be retried.

        A call that has reached an executor may have crashed it, and is retried once. Any other is retried as often as
        Jina does.
        """
        if not has_reached_an_executor(error.details() or ""):
            return True
        carried, passage.carried = passage.carried, True
        return not carried


_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def has_reached_an_executor(details: str) -> bool:
    """Return whether an executor may have read a failed call.

    A connection that was reset may have transmitted it; one that could not be opened has not.

    :param details: gRPC's error details.
    """
    return "failed to connect" not in details.lower()


def _is_refused(outcome: Any) -> bool:
    """Return whether an executor rejected the request because of its fingerprint."""
    if not isinstance(outcome, tuple):
        return False
    answer, metadata = outcome
    return bool(metadata) and "is-error" in metadata and answer.status.exception.name == ModelChanged.__name__
