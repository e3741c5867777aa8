"""Pins one fingerprint per executor, so that a rollout to another model does not mix vectors of two models.

During such a rollout, the replicas of an executor have two fingerprints. The gateway sends requests only to replicas of
the pinned one, and switches to the other when no such replica is left: once, and for all executors of the Flow
together, since one answer must not have vectors of two checkpoints.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clip_wire.info import Info

_SWITCH_SECONDS = 2.0  # that new requests wait for those from before a switch


@dataclass(frozen=True)
class Seen:
    """State of a replica at the last check.

    :param info: its `/info`; empty if it has none.
    :param leaving: whether it answers, but its Service no longer lists it: its pod is terminating.
    """

    info: Info
    leaving: bool = False

    @property
    def fingerprint(self) -> str:
        """Fingerprint of its vectors; "" if it reports none."""
        return self.info.get("fingerprint", "")

    @property
    def checkpoint(self) -> tuple[str, int] | None:
        """SHA-256 of its weights and length of its vectors: equal for comparable vectors; None if not reported."""
        return (self.info["checkpoint"], self.info["dim"]) if self.info.get("checkpoint") else None

    @property
    def started(self) -> float:
        """Start time in Unix seconds; infinity if not reported."""
        return self.info.get("started", float("inf"))


def choose(seen: Mapping[str, Sequence[Seen]], pinned: Mapping[str, Info]) -> dict[str, Info]:
    """Return the new pins: the current ones while each has a replica, else of a checkpoint that all executors have.

    Without pins, the oldest replica decides, so that a new gateway agrees with those from before the rollout.
    Replicas that are leaving count only if the others have no checkpoint in common.

    :param seen: executor name -> its replicas; an executor without any keeps its pin.
    :param pinned: executor name -> pinned `/info`.
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
    """Return the checkpoints of the replicas, the pinned one first, then by age; just None if none is reported."""
    known = [one for own in replicas.values() for one in own if one.checkpoint]
    before = {Seen(info).checkpoint for info in pinned.values()}
    known.sort(key=lambda one: (one.checkpoint not in before, one.started))
    return iter(dict.fromkeys([one.checkpoint for one in known] or [None]))


def _of(replicas: Sequence[Seen], checkpoint: tuple[str, int] | None) -> list[Seen]:
    return [one for one in replicas if one.checkpoint in (checkpoint, None)]


def _kept(replicas: Sequence[Seen], pinned: Info | None) -> Info:
    """Return the `/info` of the oldest replica with the pinned fingerprint; without one, of the oldest replica."""
    kept = [one for one in replicas if pinned is not None and one.fingerprint == pinned.get("fingerprint", "")]
    return min(kept or replicas, key=lambda one: one.started).info


@dataclass(eq=False)
class Generation:
    """The pins between two switches.

    :param pins: executor name -> pinned `/info`.
    :param under_way: number of requests in flight with these pins.
    """

    pins: Mapping[str, Info]
    under_way: int = 0
    drained: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.fingerprints = {name: info.get("fingerprint", "") for name, info in self.pins.items()}
        self.listed = ",".join(filter(None, self.fingerprints.values()))
        """Comma-separated fingerprints, as sent to executors."""


class Pins:
    """Holds the current generation for new requests.

    After a switch, new requests wait until those of the old generation have their answers, for 2 seconds at most: else
    an answer of the new model could overtake one of the old model, and a caller would see three switches.
    """

    def __init__(self) -> None:
        self.current = Generation({})
        self._before: Generation | None = None
        self._waits_until = 0.0

    def set(self, pins: Mapping[str, Info]) -> bool:
        """Set the pins, and return whether that is a switch: an executor had another fingerprint before."""
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
        """Whether requests from before the last switch are in flight, which need replicas of the old fingerprint."""
        return self._before is not None and self._before.under_way > 0

    async def take(self) -> Generation:
        """Return the generation for a request, which is released by `give`."""
        if self._before:
            await self._drain(self._before)
        self.current.under_way += 1
        return self.current

    def give(self, generation: Generation) -> None:
        """Release the generation of a request that has its answer."""
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
