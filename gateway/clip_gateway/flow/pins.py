"""Which vectors the gateway hands out: of each executor one kind, named by its fingerprint, until none of it is left.

While an executor is rolled out to another model, its replicas make vectors of two kinds. The gateway keeps to the kind
that it has, its pin, and goes over to another one when no replica of its own is left: once, and for every executor of
the Flow together, since vectors of two checkpoints belong in no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clip_wire.info import Info

_SWITCH_SECONDS = 2.0  # that requests wait for those which were under way before a switch


@dataclass(frozen=True)
class Seen:
    """A replica as it was last seen.

    :param info: what it says of itself; empty where it says nothing.
    :param leaving: it answers, and its Service does not name it any more: its pod is about to end.
    """

    info: Info
    leaving: bool = False

    @property
    def fingerprint(self) -> str:
        """Its kind; "" where it has no name."""
        return self.info.get("fingerprint", "")

    @property
    def checkpoint(self) -> tuple[str, int] | None:
        """What its vectors may be compared with: weights and length; None where it does not say."""
        return (self.info["checkpoint"], self.info["dim"]) if self.info.get("checkpoint") else None

    @property
    def started(self) -> float:
        """Unix time in seconds."""
        return self.info.get("started", float("inf"))


def choose(seen: Mapping[str, Sequence[Seen]], pinned: Mapping[str, Info]) -> dict[str, Info]:
    """What to pin: the pins as they are while each has a replica, else the kinds that the executors have in common.

    Where nothing is pinned, it is the oldest replica's: what gateways have pinned that saw the beginning of a rollout.
    Replicas that are leaving count where the others have no checkpoint in common.

    :param seen: executor -> its replicas; one that has none keeps its pin.
    :param pinned: executor -> what its kind says of itself.
    """
    found = dict(pinned)
    here = {name: [one for one in replicas if not one.leaving] for name, replicas in seen.items()}
    for replicas in (here, seen):
        usable = {name: own for name, own in replicas.items() if seen[name]}
        for checkpoint in _checkpoints(usable, pinned):
            own = {name: _of(ones, checkpoint) for name, ones in usable.items()}
            if all(own.values()):
                return found | {name: _kept(ones, pinned.get(name)) for name, ones in own.items()}
    return found | {name: _kept(ones, pinned.get(name)) for name, ones in seen.items() if ones}


def _checkpoints(
    replicas: Mapping[str, Sequence[Seen]], pinned: Mapping[str, Info]
) -> Iterator[tuple[str, int] | None]:
    """Those of the replicas, the pinned one first and then those of older replicas; None for replicas without any."""
    known = [one for own in replicas.values() for one in own if one.checkpoint]
    before = {Seen(info).checkpoint for info in pinned.values()}
    known.sort(key=lambda one: (one.checkpoint not in before, one.started))
    return iter(dict.fromkeys([one.checkpoint for one in known] or [None]))


def _of(replicas: Sequence[Seen], checkpoint: tuple[str, int] | None) -> list[Seen]:
    return [one for one in replicas if one.checkpoint in (checkpoint, None)]


def _kept(replicas: Sequence[Seen], pinned: Info | None) -> Info:
    """What the pinned kind says of itself, where a replica is of it; else the oldest replica."""
    kept = [one for one in replicas if pinned is not None and one.fingerprint == pinned.get("fingerprint", "")]
    return min(kept or replicas, key=lambda one: one.started).info


@dataclass(eq=False)
class Generation:
    """The pins between two switches.

    :param pins: executor -> what its kind says of itself.
    :ivar under_way: the requests that are answered by them.
    """

    pins: Mapping[str, Info]
    under_way: int = 0
    drained: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.fingerprints = {name: info.get("fingerprint", "") for name, info in self.pins.items()}
        self.listed = ",".join(filter(None, self.fingerprints.values()))
        """As executors are told."""


class Pins:
    """The generation that requests get.

    Those of a new one wait until those of the last have their answers, for 2 seconds at most: else an answer of
    the new kind would overtake one of the old kind, and a caller would see three switches.
    """

    def __init__(self) -> None:
        self.current = Generation({})
        self._before: Generation | None = None
        self._waits_until = 0.0

    def set(self, pins: Mapping[str, Info]) -> bool:
        """Pin these. Whether that is a switch: an executor had another kind before."""
        before = self.current
        new = Generation(dict(pins))
        if new.fingerprints == before.fingerprints:
            before.pins = new.pins
            return False
        self.current = new
        is_switch = any(new.fingerprints[name] != kind for name, kind in before.fingerprints.items())
        if is_switch and before.under_way:
            self._before, self._waits_until = before, asyncio.get_running_loop().time() + _SWITCH_SECONDS
        return is_switch

    @property
    def has_older(self) -> bool:
        """Whether requests from before the last switch are under way: replicas of their kind are still of use."""
        return self._before is not None and self._before.under_way > 0

    async def take(self) -> Generation:
        """The generation for a request, which `give` gets back."""
        if self._before:
            await self._drain(self._before)
        self.current.under_way += 1
        return self.current

    def give(self, generation: Generation) -> None:
        """A request has its answer."""
        generation.under_way -= 1
        if not generation.under_way:
            generation.drained.set()

    async def _drain(self, before: Generation) -> None:
        if before.under_way and asyncio.get_running_loop().time() < self._waits_until:
            before.drained.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._waits_until):
                    await before.drained.wait()
        if self._before is before and not before.under_way:
            self._before = None
