"""Which kind of vectors the gateway pins, and the order in which requests go over to another one."""

from __future__ import annotations

import asyncio
import time

import pytest

from clip_gateway.flow.pins import Pins, Seen, choose
from clip_wire.info import Info

IMAGE, TEXT = "encoder", "text"


def info(kind: str, began: float = 0.0) -> Info:
    """`a`: the checkpoint a as it is; `a-bf16`: the same weights made otherwise; "" is an executor without /info."""
    if not kind:
        return {}
    return {"model": kind, "dim": 4, "checkpoint": kind.partition("-")[0], "fingerprint": kind, "started": began}


def replicas(described: str) -> list[Seen]:
    """`a b!`: in the order in which they began; with ! it is leaving, `-` says nothing of itself."""
    return [
        Seen(info(one.strip("!").removeprefix("."), float(began)), one.endswith("!"))
        for began, one in enumerate(described.split())
    ]


@pytest.mark.parametrize(
    ("seen", "pinned", "expected"),
    [
        # at the start: the oldest
        ({IMAGE: "a"}, {}, {IMAGE: "a"}),
        ({IMAGE: "a b b"}, {}, {IMAGE: "a"}),
        ({IMAGE: "b a a"}, {}, {IMAGE: "b"}),
        ({IMAGE: "."}, {}, {IMAGE: ""}),
        # until none is left
        ({IMAGE: "b b a"}, {IMAGE: "a"}, {IMAGE: "a"}),
        ({IMAGE: "a! b"}, {IMAGE: "a"}, {IMAGE: "b"}),
        ({IMAGE: "b b"}, {IMAGE: "a"}, {IMAGE: "b"}),
        ({IMAGE: "a!"}, {IMAGE: "a"}, {IMAGE: "a"}),
        ({IMAGE: ""}, {IMAGE: "a"}, {IMAGE: "a"}),
        ({IMAGE: "c b"}, {IMAGE: "a"}, {IMAGE: "c"}),
        ({IMAGE: "a-bf16 a"}, {IMAGE: "a"}, {IMAGE: "a"}),
        ({IMAGE: "a! a-bf16"}, {IMAGE: "a"}, {IMAGE: "a-bf16"}),
        ({IMAGE: "a ."}, {IMAGE: "a"}, {IMAGE: "a"}),
        ({IMAGE: ". ."}, {IMAGE: "a"}, {IMAGE: ""}),
        # both halves at once
        ({IMAGE: "a b", TEXT: "a"}, {IMAGE: "a", TEXT: "a"}, {IMAGE: "a", TEXT: "a"}),
        ({IMAGE: "b b", TEXT: "a b"}, {IMAGE: "a", TEXT: "a"}, {IMAGE: "b", TEXT: "b"}),
        ({IMAGE: "a! b", TEXT: "a"}, {IMAGE: "a", TEXT: "a"}, {IMAGE: "a", TEXT: "a"}),
        ({IMAGE: "a! b", TEXT: "a b"}, {IMAGE: "a", TEXT: "a"}, {IMAGE: "b", TEXT: "b"}),
        ({IMAGE: "a-bf16", TEXT: "a"}, {IMAGE: "a", TEXT: "a"}, {IMAGE: "a-bf16", TEXT: "a"}),
        ({IMAGE: "b", TEXT: "."}, {IMAGE: "a", TEXT: ""}, {IMAGE: "b", TEXT: ""}),
        ({IMAGE: "a b", TEXT: "b"}, {}, {IMAGE: "b", TEXT: "b"}),
        # nothing in common
        ({IMAGE: "b", TEXT: "a"}, {IMAGE: "a", TEXT: "a"}, {IMAGE: "b", TEXT: "a"}),
        ({IMAGE: "b", TEXT: ""}, {IMAGE: "a", TEXT: "a"}, {IMAGE: "b", TEXT: "a"}),
    ],
)
def test_pins_stay_while_they_can(seen: dict[str, str], pinned: dict[str, str], expected: dict[str, str]) -> None:
    found = choose(
        {name: replicas(own) for name, own in seen.items()}, {name: info(kind) for name, kind in pinned.items()}
    )
    assert {name: one.get("fingerprint", "") for name, one in found.items()} == expected


def test_new_requests_wait_for_those_from_before_a_switch() -> None:
    async def story() -> list[str]:
        order: list[str] = []
        pins = Pins()
        assert not pins.set({IMAGE: info("a")})
        old = await pins.take()
        assert pins.set({IMAGE: info("b")})

        async def new() -> None:
            generation = await pins.take()
            order.append(generation.fingerprints[IMAGE])

        waiting = [asyncio.create_task(new()) for _ in range(3)]
        await asyncio.sleep(0.05)
        order.append(old.fingerprints[IMAGE])
        pins.give(old)
        await asyncio.gather(*waiting)
        return order

    assert asyncio.run(story()) == ["a", "b", "b", "b"]


def test_they_wait_two_seconds_at_most() -> None:
    async def story() -> float:
        pins = Pins()
        pins.set({IMAGE: info("a")})
        await pins.take()
        pins.set({IMAGE: info("b")})
        began = time.monotonic()
        await asyncio.gather(pins.take(), pins.take())
        waited = time.monotonic() - began
        await pins.take()
        assert time.monotonic() - began < waited + 0.5
        return waited

    assert 1.5 < asyncio.run(story()) < 3


@pytest.mark.parametrize(
    ("before", "after", "is_switch"),
    [
        ({}, {IMAGE: "a"}, False),
        ({IMAGE: "a"}, {IMAGE: "a"}, False),
        ({IMAGE: "a"}, {IMAGE: "a", TEXT: "a"}, False),
        ({IMAGE: "a"}, {IMAGE: "a-bf16"}, True),
    ],
)
def test_another_kind_is_a_switch_and_nothing_else_is(
    before: dict[str, str], after: dict[str, str], is_switch: bool
) -> None:
    async def story() -> bool:
        pins = Pins()
        pins.set({name: info(kind) for name, kind in before.items()})
        await pins.take()
        found = pins.set({name: info(kind, 5.0) for name, kind in after.items()})
        began = time.monotonic()
        await pins.take()
        assert (time.monotonic() - began > 1) == is_switch
        return found

    assert asyncio.run(story()) == is_switch
