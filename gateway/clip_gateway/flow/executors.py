"""Who behind the gateway answers: asked again and again, so that health tells the truth and requests fail fast.

One cheap call per Executor, Jina's endpoint discovery, says both that it has loaded and lives, and which endpoints it
has. It goes the way that requests go: over the same connections, with Jina's own retries over the replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from jina.serve.runtimes.gateway.streamer import GatewayStreamer

from clip_gateway.jina_internals import endpoints_of
from clip_gateway.observing.logs import LOG

_ANSWER_SECONDS = 3.0  # for one look at one Executor; a busy machine may need some
_PERIOD_SECONDS = 2.0
_HURRY_SECONDS = 0.5  # while someone is missing
_RECENT_SECONDS = 0.05  # a look that is as good as a new one
_FAILURES = 2  # in a row, after which requests are refused without a try


@dataclass
class _Executor:
    answers: bool = False
    answered_once: bool = False
    failures: int = 0
    endpoints: frozenset[str] = field(default_factory=frozenset)


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

        :param changed: told an Executor's name and whether it answers, at each change and once at the start.
        """
        told: dict[str, bool] = {}
        while True:
            await self.refresh()
            for name, executor in self._executors.items():
                if told.get(name) != executor.answers:
                    if name in told:
                        LOG.warning("executor %s %s", name, "answers again" if executor.answers else "does not answer")
                    told[name] = executor.answers
                    await changed(name, executor.answers)
            await asyncio.sleep(_HURRY_SECONDS if self.missing else _PERIOD_SECONDS)

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
            self.started = self.started or all(executor.answered_once for executor in self._executors.values())
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
            executor.answers = executor.answered_once = True
            executor.failures = 0
            executor.endpoints = endpoints
