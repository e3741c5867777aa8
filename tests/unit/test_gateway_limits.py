"""How much is under way at the same time, and what of a stream is read when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from docarray import Document, DocumentArray
from jina.types.request.data import DataRequest

from clip_gateway.flow.slots import Slots
from clip_gateway.grpc.stream import Stream


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


def requests(count: int, documents: int = 1) -> list[DataRequest]:
    found = []
    for _ in range(count):
        request = DataRequest()
        request.data.docs = DocumentArray([Document()] * documents)
        found.append(request)
    return found


async def stream_of(items: list[DataRequest]) -> AsyncIterator[DataRequest]:
    for item in items:
        yield item


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Reading:
    """A stream that is read as fast as it lets itself be read."""

    def __init__(self, slots: Slots, items: list[DataRequest], prefetch: int = 0) -> None:
        self.stream = Stream(slots, prefetch)
        self.admitted: list[DataRequest] = []
        self.task = asyncio.create_task(self._read(items))

    async def _read(self, items: list[DataRequest]) -> None:
        async for request in self.stream.admit(stream_of(items)):
            self.admitted.append(request)


def test_slots_are_taken_and_given() -> None:
    slots = Slots(2)
    assert [slots.take() for _ in range(3)] == [True, True, False]
    slots.give()
    assert [slots.take() for _ in range(2)] == [True, False]
    assert "2 requests are in progress" in slots.full().detail


def test_draining_waits_for_the_last_one() -> None:
    async def test() -> None:
        slots = Slots(2)
        assert await slots.drained(0)
        slots.take()
        assert not await slots.drained(0.01)
        waiting = asyncio.create_task(slots.drained(10))
        await settle()
        slots.give()
        assert await waiting

    run(test())


def test_a_stream_takes_half_of_the_slots_and_goes_on_when_one_ends() -> None:
    async def test() -> None:
        reading = Reading(Slots(8), requests(6))
        await settle()
        assert len(reading.admitted) == 4
        reading.stream.done(reading.admitted[2])
        await settle()
        assert len(reading.admitted) == 5
        for request in [r for i, r in enumerate(reading.admitted) if i != 2]:
            reading.stream.done(request)
        await reading.task
        assert reading.stream.admitted == 6
        assert reading.stream.refusal is None

    run(test())


def test_a_stream_is_not_read_beyond_its_documents_or_its_callers_wish() -> None:
    async def test() -> None:
        by_documents = Reading(Slots(100), requests(10, documents=100))
        by_wish = Reading(Slots(100), requests(10), prefetch=3)
        await settle()
        assert (len(by_documents.admitted), len(by_wish.admitted)) == (3, 3)
        for reading in (by_documents, by_wish):
            reading.task.cancel()

    run(test())


def test_a_stream_that_finds_no_slot_is_refused_unless_it_has_work_under_way() -> None:
    async def test() -> None:
        slots = Slots(2)
        slots.take()
        first = Reading(slots, requests(2))
        await settle()
        second = Reading(slots, requests(2))
        await second.task
        assert second.stream.refusal is not None
        assert second.admitted == []
        assert (len(first.admitted), first.stream.refusal) == (1, None)
        first.stream.done(first.admitted[0])
        await first.task
        assert len(first.admitted) == 2

    run(test())


def test_a_stream_of_what_is_no_message_is_read_all_the_same() -> None:
    async def test() -> None:
        broken = DataRequest(b"\x0a\x40cut off")
        reading = Reading(Slots(8), [broken, *requests(1)])
        await reading.task
        assert len(reading.admitted) == 2
        assert broken.buffer is not None

    run(test())
