"""Checks the executors periodically, so that health is accurate and requests to a missing executor fail fast.

A check calls Jina's endpoint discovery, which is cheap, and shows that an executor is alive and which endpoints it has.
The call uses the connections of requests, with Jina's retries over the replicas. Every few seconds it is followed by
`/info`, which returns the model and its fingerprint. If the fingerprint differs from the pinned one, or an executor
rejects a request because of it, every replica is asked at its own address, until all have the same fingerprint.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field

from jina.serve.runtimes.gateway.streamer import GatewayStreamer

from clip_gateway.flow.checkpoints import Agreement, read
from clip_gateway.flow.pins import Pins, Seen, choose
from clip_gateway.flow.replicas import Replica, Replicas
from clip_gateway.jina_internals import endpoints_of, results_of
from clip_gateway.observing.logs import LOG
from clip_gateway.problems import Problem
from clip_wire.endpoints import INFO
from clip_wire.errors import Unavailable
from clip_wire.info import Info, public_name

_ANSWER_SECONDS = 3.0  # timeout of checking one executor; a busy machine may need seconds
_PERIOD_SECONDS = 2.0  # between two checks
_HURRY_SECONDS = 0.5  # the same while an executor is missing or replicas differ
_RECENT_SECONDS = 0.05  # age of a check up to which no new one is made
_START_SECONDS = 2.0  # that a request waits for executors that have never answered
_FAILURES = 2  # failed checks in a row, after which requests are rejected at once
_INFO_SECONDS = 4.0  # between two calls of /info: a rollout can change the model behind a running gateway


@dataclass
class _Executor:
    replicas: Replicas
    answers: bool = False
    answered_once: bool = False
    failures: int = 0
    endpoints: frozenset[str] = field(default_factory=frozenset)
    info: Info | None = None  # pinned /info; empty if the executor has none, None if not known yet
    informed: float = 0.0
    is_alike: bool = True  # whether all known replicas have the pinned fingerprint
    others: set[str] = field(default_factory=set)  # other fingerprints of its replicas


class Executors:
    """State of all executors: which ones answer, and what they run.

    :param streamer: Jina's streamer, with its connections.
    :param addresses: executor name -> addresses of its replicas, as in the Flow.
    :ivar pins: fingerprints that answer requests.
    """

    def __init__(self, streamer: GatewayStreamer, addresses: Mapping[str, Sequence[str]]) -> None:
        self.streamer = streamer
        self.pins = Pins()
        self._executors = {name: _Executor(Replicas(own)) for name, own in addresses.items()}
        self._look: asyncio.Task[None] | None = None
        self._looked = -_RECENT_SECONDS
        self._close_look: asyncio.Task[None] | None = None
        self._close_look_began = float("-inf")
        self.agreement = Agreement()
        self.started = False
        self.shutting_down = False

    @property
    def names(self) -> list[str]:
        """Names of all executors."""
        return list(self._executors)

    @property
    def missing(self) -> list[str]:
        """Executors that did not answer the last check."""
        return [name for name, executor in self._executors.items() if not executor.answers]

    @property
    def infos(self) -> dict[str, Info]:
        """Executor name -> its `/info`, once it is known; empty if the executor has no `/info`."""
        return {name: executor.info for name, executor in self._executors.items() if executor.info is not None}

    @property
    def silent(self) -> list[str]:
        """Executors whose `/info` is not known yet."""
        return [name for name, executor in self._executors.items() if executor.info is None]

    @property
    def refusal(self) -> Problem | None:
        """The error if the Flow as a whole cannot serve, according to the last check; else None."""
        if self.agreement.reason:
            return Problem(Unavailable, self.agreement.reason)
        return self.unavailable(self.missing) if self.missing else None

    @staticmethod
    def unavailable(missing: Iterable[str]) -> Problem:
        """Return the error for executors that do not answer."""
        return Problem(Unavailable, f"no answer from {', '.join(missing) or 'an executor'}; try again in a moment")

    @property
    def endpoints(self) -> frozenset[str] | None:
        """Endpoints of all executors; None until every executor has answered once."""
        if not all(executor.answered_once for executor in self._executors.values()):
            return None
        return frozenset().union(*(executor.endpoints for executor in self._executors.values()))

    async def missing_now(self) -> list[str]:
        """Check all executors for half a second at most, and return those that do not answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HURRY_SECONDS):
                await self.refresh()
        return self.missing

    @property
    def gone(self) -> list[str]:
        """Executors that failed several checks in a row: a request to them would only wait."""
        return [name for name, executor in self._executors.items() if executor.failures >= _FAILURES]

    async def still_gone(self) -> list[str]:
        """Check once more, and return the executors that are still gone."""
        await self.missing_now()
        return self.gone

    async def still_silent(self, asked: Collection[str] | None = None) -> list[str]:
        """Wait for the `/info` of starting executors, 2 seconds at most; return those whose `/info` is still not known.

        :param asked: names of the executors to wait for; None for all.
        """
        until = time.monotonic() + _START_SECONDS
        asked = self.names if asked is None else asked
        while (silent := [name for name in self.silent if name in asked]) and time.monotonic() < until:
            await self.missing_now()
            await asyncio.sleep(_RECENT_SECONDS)
        return silent

    async def watch(self, changed: Callable[[str, bool], Awaitable[None]]) -> None:
        """Check all executors forever.

        :param changed: called with the name of an executor and whether it serves, at the start and at each change.
        """
        answered: dict[str, bool] = {}
        told: dict[str, bool] = {}
        while True:
            await self.refresh()
            for name, executor in self._executors.items():
                if answered.setdefault(name, executor.answers) != executor.answers:
                    LOG.warning("executor %s %s", name, "answers again" if executor.answers else "does not answer")
                    answered[name] = executor.answers
                serves = executor.answers and not self.agreement.reason
                if told.get(name) != serves:
                    told[name] = serves
                    await changed(name, serves)
            await asyncio.sleep(_HURRY_SECONDS if self.refusal or not self._are_alike else _PERIOD_SECONDS)

    async def refresh(self) -> None:
        """Check all executors now; concurrent callers share one check, and one of the last 50 ms is not repeated."""
        if self._look is None and time.monotonic() - self._looked < _RECENT_SECONDS:
            return
        if self._look is None:
            self._look = asyncio.create_task(self._ask_all(), context=Context())  # not in the caller's context
        await asyncio.shield(self._look)

    async def _ask_all(self) -> None:
        try:
            await asyncio.gather(*(self._ask(name, executor) for name, executor in self._executors.items()))
            if self.agreement.reason or not self._are_alike:
                await self.look_closely(time.monotonic())
            self._agree()
        except Exception:  # the next check follows
            LOG.exception("a check of the executors failed")
        finally:
            self._looked = time.monotonic()
            self._look = None

    async def _ask(self, name: str, executor: _Executor) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                endpoints = await endpoints_of(self.streamer, name, _ANSWER_SECONDS / 2)
        except Exception:  # any error means that there was no answer
            executor.answers = False
            executor.failures += 1
        else:
            came = not executor.answers
            executor.answers = executor.answered_once = True
            executor.failures = 0
            executor.endpoints = endpoints
            if came or executor.info is None or time.monotonic() - executor.informed > _INFO_SECONDS:
                await self._learn(name, executor)

    async def _learn(self, name: str, executor: _Executor) -> None:
        """Call `/info` on one replica, by round robin; without an answer, the known `/info` stays."""
        with contextlib.suppress(Exception):
            info = await self._said(name, executor)
            executor.informed = time.monotonic()
            if info:
                await executor.replicas.remember()
            if not info and not executor.info:
                executor.info = {}
            elif executor.info is None or Seen(info) != Seen(executor.info | _born(info)):
                executor.is_alike = False

    async def _said(self, name: str, executor: _Executor) -> Info:
        has_info = INFO in executor.endpoints
        return read(await results_of(self.streamer, name, INFO, _ANSWER_SECONDS) if has_info else {})

    @property
    def _are_alike(self) -> bool:
        return all(executor.is_alike for executor in self._executors.values())

    def kinds(self, name: str) -> frozenset[str]:
        """Return the known fingerprints of an executor's replicas, including the pinned one."""
        executor = self._executors[name]
        pin = self.pins.current.fingerprints.get(name, "")
        return frozenset(one.fingerprint for one in executor.replicas.seen) | {pin}

    def replica(self, name: str, kinds: Collection[str]) -> Replica | None:
        """Return the next replica with one of these fingerprints; None if all replicas are alike, or none is known."""
        executor = self._executors[name]
        return None if executor.is_alike else executor.replicas.next(kinds)

    async def look_closely(self, since: float) -> None:
        """Call `/info` on every replica, and update the pins; concurrent callers share one check.

        :param since: time by `time.monotonic()`; if a check began at this time or later, no new one is made.
        """
        while self._close_look_began < since or self._close_look:
            if self._close_look is None:
                self._close_look_began = time.monotonic()
                self._close_look = asyncio.create_task(self._look_closely(), context=Context())
            await asyncio.shield(self._close_look)

    async def _look_closely(self) -> None:
        try:
            asked = {name: one for name, one in self._executors.items() if one.info or INFO in one.endpoints}
            seen = dict(
                zip(asked, await asyncio.gather(*(self._seen(name, one) for name, one in asked.items())), strict=True)
            )
            self._pin(seen)
            for name, executor in asked.items():
                here = {one.fingerprint for one in seen[name] if not one.leaving}
                others = here - {self.pins.current.fingerprints.get(name, "")}
                _tell_of_others(name, executor.others, others)
                executor.others = others
                is_known = executor.info is not None and not executor.replicas.has_silent
                executor.is_alike = is_known and not others and not self.pins.has_older
                if executor.is_alike:
                    executor.others = set()
                    executor.replicas.forget()
            self._agree()
        finally:
            self._close_look = None

    async def _seen(self, name: str, executor: _Executor) -> list[Seen]:
        """Return the replicas of an executor; if none is reachable at its own address, one by round robin."""
        await executor.replicas.look()
        if executor.replicas.seen:
            return executor.replicas.seen
        with contextlib.suppress(Exception):
            return [Seen(await self._said(name, executor))]
        return []

    def _pin(self, seen: Mapping[str, Sequence[Seen]]) -> None:
        before = self.pins.current.pins
        after = choose(seen, before)
        if any(executor.replicas.has_silent for executor in self._executors.values()):
            after |= before  # a replica that does not answer may have the pinned fingerprint
        for name, info in after.items():
            if name not in before:
                LOG.info("executor %s: answers are of %s", name, _named(info))
            elif info.get("fingerprint") != before[name].get("fingerprint"):
                LOG.warning("executor %s: switched from %s to %s", name, _named(before[name]), _named(info))
            self._executors[name].info = info
        self.pins.set(after)

    def _agree(self) -> None:
        self.started = self.started or not self.silent
        self.agreement.look(self.infos, self.started)


def _born(info: Info) -> Info:
    """Return the start time of a replica, which differs even if all else is equal."""
    return {"started": info["started"]} if "started" in info else {}


def _tell_of_others(name: str, before: Collection[str], now: Collection[str]) -> None:
    """Log other fingerprints of replicas, at the first check that finds them."""
    if new := sorted(set(now) - set(before)):
        LOG.info("executor %s: some replicas are of another kind, fingerprint %s", name, ", ".join(new) or "none")


def _named(info: Info) -> str:
    if "model" not in info:
        return "an unknown model"
    return f"{public_name(info['model'])!r}, fingerprint {info.get('fingerprint') or 'none'}"
