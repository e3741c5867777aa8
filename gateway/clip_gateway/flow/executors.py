"""Who behind the gateway answers: asked again and again, so that health tells the truth and requests fail fast.

One cheap call per Executor, Jina's endpoint discovery, says both that it has loaded and lives, and which endpoints it
has. It goes the way that requests go: over the same connections, with Jina's own retries over the replicas. Now and
then it is followed by `/info`, which says what an Executor encodes, and with which checkpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from jina.serve.runtimes.gateway.streamer import GatewayStreamer

from clip_gateway.flow.checkpoints import Agreement, read
from clip_gateway.jina_internals import endpoints_of, results_of
from clip_gateway.observing.logs import LOG
from clip_gateway.problems import Problem
from clip_wire.endpoints import INFO
from clip_wire.errors import Unavailable
from clip_wire.info import Info

_ANSWER_SECONDS = 3.0  # for one look at one Executor; a busy machine may need some
_PERIOD_SECONDS = 2.0
_HURRY_SECONDS = 0.5  # while someone is missing
_RECENT_SECONDS = 0.05  # a look that is as good as a new one
_FAILURES = 2  # in a row, after which requests are refused without a try
_INFO_SECONDS = 10.0  # a Flow can be rolled over to another model behind a gateway that stays


@dataclass
class _Executor:
    answers: bool = False
    answered_once: bool = False
    failures: int = 0
    endpoints: frozenset[str] = field(default_factory=frozenset)
    info: Info | None = None  # empty where it has no /info
    informed: float = 0.0


class Executors:
    """What is known of each Executor.

    :param streamer: Jina's, with its connections.
    :param names: of the Executors, as the Flow has them.
    """

    def __init__(self, streamer: GatewayStreamer, names: Iterable[str]) -> None:
        self._streamer = streamer
        self._executors = {name: _Executor() for name in names}
        self._look: asyncio.Task[None] | None = None
        self._looked = -_RECENT_SECONDS
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
            await asyncio.sleep(_HURRY_SECONDS if self.refusal else _PERIOD_SECONDS)

    async def refresh(self) -> None:
        """Ask all of them now; those who call at the same time share one look, and a very recent one is good enough."""
        if self._look is None and time.monotonic() - self._looked < _RECENT_SECONDS:
            return
        if self._look is None:
            self._look = asyncio.create_task(self._ask_all())
        await asyncio.shield(self._look)

    async def _ask_all(self) -> None:
        try:
            await asyncio.gather(*(self._ask(name, executor) for name, executor in self._executors.items()))
            self.started = self.started or not self.silent
            self.agreement.look(self.infos, self.started)
        finally:
            self._looked = time.monotonic()
            self._look = None

    async def _ask(self, name: str, executor: _Executor) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                endpoints = await endpoints_of(self._streamer, name, _ANSWER_SECONDS / 2)
        except Exception:  # whatever it is, there was no answer
            executor.answers = False
            executor.failures += 1
        else:
            came = not executor.answers
            executor.answers = executor.answered_once = True
            executor.failures = 0
            executor.endpoints = endpoints
            due = time.monotonic() - executor.informed > _INFO_SECONDS
            if came or due or self.agreement.reason or executor.info is None:
                await self._learn(name, executor)

    async def _learn(self, name: str, executor: _Executor) -> None:
        """Ask what it runs; without an answer what was known stays."""
        with contextlib.suppress(Exception):
            has_info = INFO in executor.endpoints
            executor.info = read(await results_of(self._streamer, name, INFO, _ANSWER_SECONDS) if has_info else {})
            executor.informed = time.monotonic()
