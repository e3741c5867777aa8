"""What a batcher tells an Observer: each item's end once, each forward pass, and times that add up."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from clip_image_flow.batching.batcher import Batcher
from clip_image_flow.batching.lanes import Item
from clip_image_flow.batching.observer import Observer
from clip_image_flow.errors import BadDocument, QueueFull, RequestError, TakesLonger, TooLarge

SECONDS = 20.0
WORK = 0.05


class Notes(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.items: list[Item[Any]] = []
        self.batches: list[tuple[list[Any], float]] = []
        self.turned_away: list[tuple[int, str]] = []

    def refused(self, items: Sequence[Item[Any]], error: RequestError) -> None:
        self.turned_away.append((len(items), type(error).__name__))

    def computed(self, batch: Sequence[Item[Any]], began: float, ended: float) -> None:
        self.batches.append(([item.content for item in batch], ended - began))
        assert not any(item.result.done() for item in batch)

    def ended(self, item: Item[Any]) -> None:
        self.items.append(item)


def prepare(content: Any) -> np.ndarray:
    if content == "bad":
        raise BadDocument("no image")
    if content == "large":
        raise TakesLonger
    return np.zeros(1, np.float32)


def batcher(observer: Observer, **options: Any) -> Batcher[Any]:
    return Batcher(
        prepare,
        lambda rows: rows,
        **{"capacity": 8, "max_batch_size": 4, "threads": 2, "observer": observer, **options},
    )


def outcomes(notes: Notes) -> Counter[str]:
    results = [item.result for item in notes.items]
    return Counter(
        "cancelled" if result.cancelled() else type(result.exception()).__name__ if result.exception() else "ok"
        for result in results
    )


def test_every_item_ends_once_whatever_becomes_of_it() -> None:
    notes, gate = Notes(), threading.Event()
    one = batcher(notes, max_batch_size=1)
    one._forward = lambda rows: gate.wait(SECONDS) and rows
    good, bad = one.submit([0, "bad"], batch_size=1)
    late = one.submit([1], batch_size=1, deadline=time.time() + 0.01)
    gone = one.submit([2, 3, 4], batch_size=1)
    gone[-1].cancel()
    time.sleep(0.05)
    gate.set()
    one.close()
    assert all(future.done() for future in (good, bad, *late))
    assert outcomes(notes) == {"ok": 3, "BadDocument": 1, "Expired": 1, "cancelled": 1}


@pytest.mark.parametrize(("count", "error"), [(9, TooLarge), (8, QueueFull)])
def test_what_is_refused_is_told_as_such_and_has_no_end(count: int, error: type[RequestError]) -> None:
    notes, gate = Notes(), threading.Event()
    one = batcher(notes)
    one._forward = lambda rows: gate.wait(SECONDS) and rows
    one.submit([0], batch_size=1)
    with pytest.raises(error):
        one.submit(range(count), batch_size=4)
    gate.set()
    one.close()
    assert notes.turned_away == [(count, error.__name__)]
    assert len(notes.items) == 1


def test_a_forward_pass_is_told_before_its_items_have_their_rows() -> None:
    notes = Notes()
    one = batcher(notes)
    one._forward = lambda rows: time.sleep(WORK) or rows
    for future in one.submit([1, 2, 3], batch_size=4):
        future.result(SECONDS)
    one.close()
    assert sorted(content for batch, _ in notes.batches for content in batch) == [1, 2, 3]
    assert all(seconds >= WORK for _, seconds in notes.batches)


def test_whoever_hears_of_a_result_finds_it_counted() -> None:
    notes = Notes()
    one = batcher(notes)
    counted: list[int] = []
    for number in range(20):
        (future,) = one.submit([number], batch_size=1)
        future.add_done_callback(lambda _: counted.append(len(notes.items)))
        future.result(SECONDS)
    one.close()
    assert counted == [*range(1, 21)]


@pytest.mark.parametrize("content", [0, "large"])
def test_the_times_of_an_item_add_up_to_its_life(content: Any) -> None:
    notes = Notes()
    one = batcher(notes, prepare_large=lambda _: time.sleep(WORK) or np.zeros(1, np.float32))
    one._forward = lambda rows: time.sleep(WORK) or rows
    began = time.monotonic()
    one.submit([content], batch_size=1)[0].result(SECONDS)
    life = time.monotonic() - began
    one.close()
    (item,) = notes.items
    assert item.forward is not None
    assert item.waiting is not None
    parts = (item.waiting, item.preparing, item.forward[1] - item.forward[0])
    assert parts[1] >= (WORK if content == "large" else 0)
    assert parts[2] >= WORK
    assert sum(parts) == pytest.approx(life, abs=0.02)


def test_an_observer_that_fails_harms_no_item(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Observer):
        def computed(self, batch: Sequence[Item[Any]], began: float, ended: float) -> None:
            raise ZeroDivisionError

        def ended(self, item: Item[Any]) -> None:
            raise ZeroDivisionError

    one = batcher(Broken())
    rows = [one.submit([number], batch_size=1)[0].result(SECONDS) for number in range(3)]
    one.close()
    assert len(rows) == 3
    assert "the observer failed" in caplog.text


def test_the_items_of_a_model_thread_that_dies_have_an_end() -> None:
    notes = Notes()

    def die(_: np.ndarray) -> np.ndarray:
        raise SystemExit

    one = batcher(notes)
    one._forward = die
    with pytest.raises(RuntimeError):
        one.submit([1], batch_size=1)[0].result(SECONDS)
    assert outcomes(notes) == {"RuntimeError": 1}
