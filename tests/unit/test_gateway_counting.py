"""What is in a message is counted on the wire, as the parser would find it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from docarray import Document, DocumentArray
from jina.types.request.data import DataRequest

from clip_gateway.flow.counting import Limits, check_json, check_message
from clip_gateway.flow.messages import parse
from clip_gateway.grpc.guard import Guard
from clip_gateway.memory import Budget, Holding
from clip_gateway.problems import Problem

LIMITS = Limits(documents=10, parts=200)


def message(*documents: Document, **parameters: Any) -> bytes:
    request = DataRequest()
    request.data.docs = DocumentArray(documents)
    request.parameters = parameters
    return bytes(request.proto.SerializeToString())


def refused(data: bytes, limits: Limits = LIMITS) -> str:
    """What is wrong with a message; "" for nothing."""
    try:
        check_message(data, limits)
    except Problem as problem:
        return problem.detail
    return ""


@pytest.mark.parametrize("count", [1, 9, 10, 11])
@pytest.mark.parametrize("place", ["roots", "chunks", "matches", "chunks of chunks"])
def test_documents_count_wherever_they_are(place: str, count: int) -> None:
    small = [Document() for _ in range(count - (place != "roots") - (place == "chunks of chunks"))]
    documents = {
        "roots": lambda: small,
        "chunks": lambda: [Document(chunks=small)],
        "matches": lambda: [Document(matches=small)],
        "chunks of chunks": lambda: [Document(chunks=[Document(chunks=small)])],
    }[place]()
    assert ("more than 10 documents" in refused(message(*documents))) == (count > 10)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (message(Document(tags={str(i): i for i in range(300)})), "more than 200 tags"),
        (message(Document(tags={"a": list(range(300))})), "more than 200 tags"),
        (message(a=[{"b": i} for i in range(300)]), "more than 200 tags"),
        (message(Document(id="x" * 5000)), "a id has 5000 bytes; at most 4096"),
        (message(Document(modality="x" * 5000)), "a modality has 5000 bytes"),
        (message(**{"k" * 5000: 1}), "a key has 5000 bytes"),
    ],
    ids=["entries", "values of a list", "parameters", "id", "modality", "key"],
)
def test_other_parts_and_long_names_count_too(data: bytes, words: str) -> None:
    assert words in refused(data)


@pytest.mark.parametrize(
    "document",
    [Document(blob=bytes(1 << 20)), Document(text="x" * 100_000), Document(uri="data:," + "x" * 100_000)],
    ids=["blob", "text", "uri"],
)
def test_content_may_be_as_long_as_the_message(document: Document) -> None:
    assert refused(message(document)) == ""


def test_a_walk_sees_what_the_parser_sees() -> None:
    """Of mutated messages, those that parse are refused exactly if they hold too many documents."""
    good = message(*(Document(id=str(i), text="t", tags={"a": i}) for i in range(9)))
    dice = random.Random(1)
    parsed = 0
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(dice.randint(1, 3)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        request = DataRequest(bytes(data))
        try:
            if not parse(request, Limits(documents=1000, parts=10_000)):
                continue
        except Problem:
            continue
        parsed += 1
        count = sum(1 + len(d.chunks) + len(d.matches) for d in request.data._content.docs.docs)
        if count:
            assert "documents" in refused(bytes(data), Limits(count - 1, 10_000))
        assert refused(bytes(data), Limits(count, 10_000)) == ""
    assert parsed > 100


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"data":[' + 300 * b"{}," + b"{}]}", "objects; at most 200"),
        (b"[" + 1_100_000 * b"1," + b"1]", "values; at most 1000000"),
        (b'{"data":[{"text":"' + 300 * b"{" + b'"}]}', ""),
        (b'{"data":[{"text":"' + 1_100_000 * b"," + b'"}]}', ""),
        (b'{"data":[{"text":"\\"' + 300 * b"{" + b'"}]}', ""),
    ],
    ids=["objects", "values", "braces in a text", "commas in a text", "a quote in a text"],
)
def test_json_is_counted_before_it_is_read(body: bytes, words: str) -> None:
    try:
        check_json(body, LIMITS)
        detail = ""
    except Problem as problem:
        detail = problem.detail
    assert words in detail
    assert bool(words) == bool(detail)


MIB = 1 << 20


def test_the_budget_is_shared_and_given_back() -> None:
    budget = Budget(100 * MIB)
    first, second, small = Holding(budget), Holding(budget), Holding(budget)
    first.grow(60 * MIB)
    with pytest.raises(Problem, match="requests hold 62914560 of 104857600 bytes"):
        second.grow(16 * MIB)
    second.grow(15 * MIB)
    small.grow(MIB)  # a quarter is for these
    first.release()
    assert budget.held == 16 * MIB
    second.release()
    small.release()
    first.grow(1000 * MIB)  # alone, it is let in
    first.grow(1000 * MIB)


def test_few_calls_read_their_first_message_at_a_time_and_a_slow_one_lets_others_pass() -> None:
    async def test() -> None:
        guard = Guard(1 << 40, largest=1 << 38)  # room to read one
        arrives = asyncio.Event()

        async def slow() -> AsyncIterator[str]:
            await arrives.wait()
            yield "slow"

        async def quick() -> AsyncIterator[str]:
            yield "quick"
            yield "again"

        first = asyncio.create_task(anext(guard.paced(slow())))
        await asyncio.sleep(0)
        second = asyncio.create_task(anext(guard.paced(quick())))
        await asyncio.sleep(0.05)
        assert not second.done()
        assert await asyncio.wait_for(second, 10) == "quick"  # the slow one has had its time
        arrives.set()
        assert await first == "slow"
        assert [item async for item in guard.paced(quick())] == ["quick", "again"]

    asyncio.run(test())


def test_calls_that_are_being_read_end_when_memory_is_full_and_only_then() -> None:
    async def shed_by(limit: int) -> list[str]:
        guard = Guard(limit, 32 << 20)
        shed: list[str] = []
        guard.reading(lambda problem: shed.append(problem.name))
        guard.ended(guard.reading(lambda problem: shed.append("ended before")))
        watch = asyncio.create_task(guard.watch())
        await asyncio.sleep(0.2)
        watch.cancel()
        return shed

    assert asyncio.run(shed_by(1 << 20)) == ["TooManyRequests"]
    assert asyncio.run(shed_by(1 << 40)) == []
