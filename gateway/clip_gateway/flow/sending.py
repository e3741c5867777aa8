"""One request to one executor, sent to replicas of the pinned kind: what refuses it unread is passed over.

The gateway's pins travel with the request (`clip_wire.parameters.PINNED`). An executor that makes other vectors refuses
before it reads a document. Then the gateway looks at every replica, sends the request to one of the right kind by its
own address, or, where none is left, goes over to the kind that is. Work is never done twice for it.
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

_MOST_TRIES = 20  # of one call: each but the first follows a look at the replicas
_PAUSE_SECONDS = 0.1  # before a try that has nothing new to go by
_KNOWN_SECONDS = 1.0  # for which a look is good enough for whoever expects what nobody makes


class Hold:
    """The pins of requests that are answered together: all by one generation.

    :ivar worked: executors that have done work for them.
    :ivar out: their calls to executors that are under way.
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
        """Go over to the current generation. False where that would mix vectors: some are made already."""
        async with self._moving:
            while self.out and self.generation is not self._pins.current:
                await asyncio.sleep(_PAUSE_SECONDS / 10)
            old, new = self.generation, self._pins.current
            if any(old.fingerprints.get(name) != new.fingerprints.get(name) for name in self.worked):
                return False
            if new is not old:
                self._give()  # first: the new generation waits for the old one
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
    """One request on its way through the Flow.

    :param expects: fingerprints that the caller names; none is any.
    :ivar carried: a call of it has reached an executor and failed: that may be what ended the executor.
    """

    hold: Hold
    expects: frozenset[str] = frozenset()
    carried: bool = field(default=False, init=False)


PASSAGE: ContextVar[Passage | None] = ContextVar("passage", default=None)
"""Of the request that this task is for; Jina hands nothing of ours down to its calls."""


class Sending:
    """Stands around Jina's calls to executors.

    :param executors: of the Flow.
    """

    def __init__(self, executors: Executors) -> None:
        self._executors = executors
        decide_retries(executors.streamer, self._again)
        decide_calls(executors.streamer, self._send)

    async def _send(self, jinas: Callable[..., Awaitable[Any]], requests: list[DataRequest], **known: Any) -> Any:
        """Send a request to an executor: what it answers, and the metadata at its end.

        :param jinas: what sends it to whichever replica is next.
        :raises Problem: no replica can answer so that the answer is of one kind.
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
            except grpc.aio.AioRpcError as error:  # a replica's own: Jina returns what fails, after retries of its own
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
            else:  # by what the caller expects
                await self._executors.look_closely(asked - _KNOWN_SECONDS)
                if self._kinds(passage, name) == kinds:
                    return outcome
            if not await hold.follow() and self._executors.replica(name, kinds) is None:
                raise Problem(Unavailable, "the model changed while the request was under way; send it again")
        raise Problem(Unavailable, f"no replica of {name} answers for the model; try again in a moment")

    def _kinds(self, passage: Passage, name: str) -> frozenset[str]:
        """The fingerprints that may answer: the pin, unless the caller expects another one that is here."""
        pin = passage.hold.generation.fingerprints.get(name, "")
        if passage.expects and pin not in passage.expects and (others := passage.expects & self._executors.kinds(name)):
            return others
        return frozenset((pin,))

    def _tell(self, passage: Passage, request: DataRequest) -> None:
        """Put into a request what executors are to refuse it by, where it is not there yet."""
        pinned = passage.hold.generation
        listed = pinned.listed
        if passage.expects:
            listed = ",".join(kind for name in pinned.fingerprints for kind in self._kinds(passage, name) if kind)
        fields = request.proto_wo_data.parameters.fields
        if listed and (PINNED not in fields or fields[PINNED].string_value != listed):
            fields[PINNED].string_value = listed

    async def _again(self, jinas: Callable[..., Awaitable[Any]], error: Any, **known: Any) -> Any:
        """Whether a call to an executor that failed is made again, which Jina asks: None is yes."""
        passage = PASSAGE.get()
        if passage and not self._may_go_again(error, passage):
            return error
        return await jinas(error=error, **known)

    @staticmethod
    def _may_go_again(error: grpc.aio.AioRpcError, passage: Passage) -> bool:
        """A call that has reached an executor may be what ended it: it is carried to one other and no more.

        One that has not is tried as often as Jina likes.
        """
        if not has_reached_an_executor(error.details() or ""):
            return True
        carried, passage.carried = passage.carried, True
        return not carried


_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def has_reached_an_executor(details: str) -> bool:
    """Whether a call may have been read by the executor that it was for, from what gRPC says of its failure.

    A connection that is reset has been there; one that cannot be made has not.
    """
    return "failed to connect" not in details.lower()


def _is_refused(outcome: Any) -> bool:
    """Whether an executor makes other vectors than it is asked for."""
    if not isinstance(outcome, tuple):
        return False
    answer, metadata = outcome
    return bool(metadata) and "is-error" in metadata and answer.status.exception.name == ModelChanged.__name__
