"""The Executor under load: the event loop stays free, the queue is bounded, time limits and callers' ends count."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from docarray import Document, DocumentArray

from clip_image_flow import backends
from clip_image_flow.errors import Expired, QueueFull, TooLarge, UnsupportedMedia
from tests.conftest import encoded, photo

SECONDS = 30  # longer than anything here takes
PICTURE = encoded(photo())


class GatedBackend:
    """A backend that waits at `gate` before each forward pass."""

    def __init__(self, inner: backends.Backend) -> None:
        self.name, self.precision = inner.name, inner.precision
        self.item_shape, self.item_dtype, self.dim = inner.item_shape, inner.item_dtype, inner.dim
        self.best_batch_size, self.calibration, self.logit_scale = inner.best_batch_size, "", inner.logit_scale
        self.logit_bias = inner.logit_bias
        self.inner = inner
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Semaphore(0)
        self.batches: list[int] = []

    def encode(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append(len(batch))
        self.began.release()
        assert self.gate.wait(SECONDS)
        return self.inner.encode(batch)


@pytest.fixture
def gated(make_executor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes an Executor and its gate: (uses_with) -> (CLIPImageEncoder, GatedBackend)."""
    load = backends.load
    made: list[GatedBackend] = []

    def load_gated(*args: Any, **options: Any) -> GatedBackend:
        made.append(GatedBackend(load(*args, **options)))
        return made[-1]

    monkeypatch.setattr(backends, "load", load_gated)

    def make(**uses_with: Any) -> tuple[Any, GatedBackend]:
        executor = make_executor(**{"self_check_seconds": 0, **uses_with})
        backend = made[-1]
        while backend.began.acquire(blocking=False):  # the passes that warm up
            backend.batches.clear()
        return executor, backend

    return make


def pictures(count: int) -> DocumentArray:
    return DocumentArray([Document(blob=PICTURE) for _ in range(count)])


async def began(backend: GatedBackend) -> None:
    """Until the model computes."""
    assert await asyncio.to_thread(backend.began.acquire, timeout=SECONDS)


def test_the_event_loop_stays_free_while_a_batch_runs(gated: Callable[..., Any]) -> None:
    executor, backend = gated()
    large = encoded(photo(800, 600), "JPEG")

    async def largest_gap() -> float:
        gaps = [0.0]
        backend.gate.clear()
        docs = DocumentArray([Document(blob=large) for _ in range(32)])
        request: asyncio.Task[None] = asyncio.create_task(executor.encode(docs=docs))
        last = time.perf_counter()
        while not request.done():
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - last)
            last = time.perf_counter()
            if len(gaps) == 20:  # the model has been "computing" for a tenth of a second
                assert not request.done()
                backend.gate.set()
        await request
        assert len(gaps) > 20
        return max(gaps)

    assert min(asyncio.run(largest_gap()) for _ in range(3)) < 0.05  # the best of three, on a busy machine


def test_requests_share_a_forward_pass(gated: Callable[..., Any]) -> None:
    executor, backend = gated()

    async def ask() -> None:
        backend.gate.clear()
        first = asyncio.create_task(executor.encode(docs=pictures(1)))
        await began(backend)
        others = [asyncio.create_task(executor.encode(docs=pictures(2))) for _ in range(3)]
        await asyncio.sleep(0.5)  # all six are prepared: a batch does not wait for a late picture
        backend.gate.set()
        await asyncio.gather(first, *others)

    asyncio.run(ask())
    assert backend.batches == [1, 6]


@pytest.mark.parametrize(
    ("uses_with", "parameters", "largest"),
    [({"batch_size": 3}, {}, 3), ({}, {"batch_size": 2}, 2), ({"max_batch_size": 4}, {"batch_size": 1000}, 4)],
    ids=["the server's", "the request's", "the cap"],
)
def test_a_batch_is_no_larger_than_allowed(
    gated: Callable[..., Any], uses_with: dict[str, int], parameters: dict[str, int], largest: int
) -> None:
    executor, backend = gated(**uses_with)
    asyncio.run(executor.encode(docs=pictures(12), parameters=parameters))
    assert max(backend.batches) == largest
    assert sum(backend.batches) == 12  # on a busy machine some are smaller: a batch does not wait for a late picture


def test_a_full_queue_refuses_at_once_and_takes_in_later(gated: Callable[..., Any]) -> None:
    executor, backend = gated(queue_size=3)

    async def ask() -> None:
        backend.gate.clear()
        first = asyncio.create_task(executor.encode(docs=pictures(2)))
        await began(backend)
        with pytest.raises(QueueFull, match="2 of 3 items"):
            await executor.encode(docs=pictures(2), parameters={"on_error": "skip"})
        backend.gate.set()
        await first
        await executor.encode(docs=pictures(3))

    asyncio.run(ask())


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_request_larger_than_the_queue_is_too_large(gated: Callable[..., Any], on_error: str) -> None:
    executor, _ = gated(queue_size=3)
    with pytest.raises(TooLarge, match="4 items; the queue holds 3"):
        asyncio.run(executor.encode(docs=pictures(4), parameters={"on_error": on_error}))


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_request_past_its_time_limit_is_not_computed(gated: Callable[..., Any], on_error: str) -> None:
    executor, backend = gated()
    docs = pictures(2)
    parameters = {"__deadline__": time.time() - 1, "on_error": on_error}
    with pytest.raises(Expired, match="time limit"):
        asyncio.run(executor.encode(docs=docs, parameters=parameters))
    assert backend.batches == []
    assert [document.embedding for document in docs] == [None, None]


def test_a_request_that_fails_leaves_no_work_behind(gated: Callable[..., Any]) -> None:
    executor, backend = gated(queue_size=8)
    backend.gate.clear()
    docs = DocumentArray([Document(blob=b"broken"), *pictures(7)])
    with pytest.raises(UnsupportedMedia):
        asyncio.run(executor.encode(docs=docs, parameters={"batch_size": 1}))
    backend.gate.set()
    drained(executor)
    assert len(backend.batches) <= 1  # the one that may have begun
    asyncio.run(executor.encode(docs=pictures(8)))


def test_a_request_that_nobody_waits_for_any_more_is_not_computed(gated: Callable[..., Any]) -> None:
    executor, backend = gated(queue_size=8)

    async def ask() -> None:
        backend.gate.clear()
        request = asyncio.create_task(executor.encode(docs=pictures(8), parameters={"batch_size": 2}))
        await began(backend)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        backend.gate.set()

    asyncio.run(ask())
    drained(executor)
    assert backend.batches == [2]


def test_a_model_that_fails_is_the_servers_fault_and_the_next_request_works(
    gated: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, backend = gated()

    def broken(batch: np.ndarray) -> np.ndarray:
        raise RuntimeError("a broken model")

    with monkeypatch.context() as patch:
        patch.setattr(backend.inner, "encode", broken)
        with pytest.raises(RuntimeError, match="a broken model"):
            asyncio.run(executor.encode(docs=pictures(2), parameters={"on_error": "skip"}))
    docs = pictures(2)
    asyncio.run(executor.encode(docs=docs))
    assert docs.embeddings.shape == (2, 32)


def test_closing_finishes_what_is_queued(gated: Callable[..., Any]) -> None:
    executor, backend = gated()
    docs = pictures(3)

    async def ask() -> None:
        backend.gate.clear()
        request = asyncio.create_task(executor.encode(docs=docs, parameters={"batch_size": 1}))
        await began(backend)
        closing = asyncio.create_task(asyncio.to_thread(executor.close))
        backend.gate.set()
        await asyncio.gather(request, closing)

    asyncio.run(ask())
    assert docs.embeddings.shape == (3, 32)


def drained(executor: Any) -> None:
    """Until the queue is empty; fails when it never is."""
    end = time.monotonic() + SECONDS
    while executor._encoder._batcher._admitted:
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize(("uses_with", "first"), [({}, [1, 16]), ({"max_batch_size": 3}, [1, 3, 2])])
def test_the_batch_sizes_that_will_be_used_are_warm_at_the_start(
    gated: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, uses_with: dict[str, int], first: list[int]
) -> None:
    warmed: list[int] = []
    encode = GatedBackend.encode
    monkeypatch.setattr(GatedBackend, "encode", lambda self, batch: (warmed.append(len(batch)), encode(self, batch))[1])
    gated(**uses_with)
    assert warmed[: len(first)] == first
    assert len(set(warmed)) == len(warmed) <= first[1]
