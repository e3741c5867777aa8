"""Who behind the gateway answers: asked again and again, so that health tells the truth and requests fail fast.

One cheap call per Executor, Jina's endpoint discovery, says both that it has loaded and lives, and which endpoints it
has. It goes the way that requests go: over the same connections, with Jina's own retries over the replicas. Now and
then it is followed by `/info`, which says what an Executor encodes, and by which fingerprint. Where that is another one
than the gateway has pinned, or a request is refused for it, every replica is asked for itself, until all are alike.
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

_ANSWER_SECONDS = 3.0  # for one look at one Executor; a busy machine may need some
_PERIOD_SECONDS = 2.0
_HURRY_SECONDS = 0.5  # while someone is missing
_RECENT_SECONDS = 0.05  # a look that is as good as a new one
_START_SECONDS = 2.0  # that a request waits for executors which have never answered
_FAILURES = 2  # in a row, after which requests are refused without a try
_INFO_SECONDS = 4.0  # a Flow can be rolled over to another model behind a gateway that stays


@dataclass
class _Executor:
    replicas: Replicas
    answers: bool = False
    answered_once: bool = False
    failures: int = 0
    endpoints: frozenset[str] = field(default_factory=frozenset)
    info: Info | None = None  # of what is pinned; empty where it has no /info
    informed: float = 0.0
    is_alike: bool = True  # as far as is known, all replicas are of the pinned kind
    others: set[str] = field(default_factory=set)  # fingerprints of those that are not


class Executors:
    """What is known of each Executor.

    :param streamer: Jina's, with its connections.
    :param addresses: of each Executor by its name, as the Flow has them.
    :ivar pins: what requests are answered by.
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
        """Of all Executors."""
        return list(self._executors)

    @property
    def missing(self) -> list[str]:
        """Those that did not answer when they were last asked."""
        return [name for name, executor in self._executors.items() if not executor.answers]

    @property
    def infos(self) -> dict[str, Info]:
        """What each says that it runs, as far as it has been asked; empty where it has no `/info`."""
        return {name: executor.info for name, executor in self._executors.items() if executor.info is not None}

    @property
    def silent(self) -> list[str]:
        """Those of which it is not known yet what they run."""
        return [name for name, executor in self._executors.items() if executor.info is None]

    @property
    def refusal(self) -> Problem | None:
        """Why the Flow as a whole cannot serve, as far as the last look tells."""
        if self.agreement.reason:
            return Problem(Unavailable, self.agreement.reason)
        return self.unavailable(self.missing) if self.missing else None

    @staticmethod
    def unavailable(missing: Iterable[str]) -> Problem:
        """What a caller is told when these do not answer."""
        return Problem(Unavailable, f"no answer from {', '.join(missing) or 'an executor'}; try again in a moment")

    @property
    def endpoints(self) -> frozenset[str] | None:
        """All that are announced, or None while an Executor has not announced its own yet."""
        if not all(executor.answered_once for executor in self._executors.values()):
            return None
        return frozenset().union(*(executor.endpoints for executor in self._executors.values()))

    async def missing_now(self) -> list[str]:
        """Those that do not answer now, as far as half a second tells."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HURRY_SECONDS):
                await self.refresh()
        return self.missing

    @property
    def gone(self) -> list[str]:
        """Those that have not answered for several looks: a request to them would only wait."""
        return [name for name, executor in self._executors.items() if executor.failures >= _FAILURES]

    async def still_gone(self) -> list[str]:
        """The same after one more look: it may have come back this moment."""
        await self.missing_now()
        return self.gone

    async def still_silent(self, asked: Collection[str] | None = None) -> list[str]:
        """Those of which it is not known what they run after a moment: they may have begun just now.

        :param asked: whom to look at; None is all.
        """
        until = time.monotonic() + _START_SECONDS
        asked = self.names if asked is None else asked
        while (silent := [name for name in self.silent if name in asked]) and time.monotonic() < until:
            await self.missing_now()
            await asyncio.sleep(_RECENT_SECONDS)
        return silent

    async def watch(self, changed: Callable[[str, bool], Awaitable[None]]) -> None:
        """Look at them for ever.

        :param changed: told an Executor's name and whether it serves, at each change and once at the start.
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
        """Ask all of them now; those who call at the same time share one look, and a very recent one is good enough."""
        if self._look is None and time.monotonic() - self._looked < _RECENT_SECONDS:
            return
        if self._look is None:
            self._look = asyncio.create_task(self._ask_all(), context=Context())  # no caller's
        await asyncio.shield(self._look)

    async def _ask_all(self) -> None:
        try:
            await asyncio.gather(*(self._ask(name, executor) for name, executor in self._executors.items()))
            if self.agreement.reason or not self._are_alike:
                await self.look_closely(time.monotonic())
            self._agree()
        except Exception:  # there will be another look
            LOG.exception("a look at the executors failed")
        finally:
            self._looked = time.monotonic()
            self._look = None

    async def _ask(self, name: str, executor: _Executor) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                endpoints = await endpoints_of(self.streamer, name, _ANSWER_SECONDS / 2)
        except Exception:  # whatever it is, there was no answer
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
        """Ask whichever replica is next what it runs; without an answer what was known stays."""
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
        """The fingerprints of an Executor's replicas, as far as they are known."""
        executor = self._executors[name]
        pin = self.pins.current.fingerprints.get(name, "")
        return frozenset(one.fingerprint for one in executor.replicas.seen) | {pin}

    def replica(self, name: str, kinds: Collection[str]) -> Replica | None:
        """Where the next request of these fingerprints goes; None where all replicas are alike, or none is known."""
        executor = self._executors[name]
        return None if executor.is_alike else executor.replicas.next(kinds)

    async def look_closely(self, since: float) -> None:
        """Ask every replica what it runs, and pin what is to be pinned; those who call at the same time share one look.

        :param since: a look that began later, by `time.monotonic()`, is good enough.
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
        """An executor's replicas; where none can be reached by an address of its own, whichever is next."""
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
            after |= before  # one that is silent may be of the pinned kind
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
    """When a replica began, which no other has in common with it."""
    return {"started": info["started"]} if "started" in info else {}


def _tell_of_others(name: str, before: Collection[str], now: Collection[str]) -> None:
    """Log that replicas of another kind are there, at the first look that finds them."""
    if new := sorted(set(now) - set(before)):
        LOG.info("executor %s: some replicas are of another kind, fingerprint %s", name, ", ".join(new) or "none")


def _named(info: Info) -> str:
    if "model" not in info:
        return "an executor that does not say what it runs"
    return f"{public_name(info['model'])!r}, fingerprint {info.get('fingerprint') or 'none'}"
