"""The batcher's lanes: what takes long to prepare holds up nobody, and takes turns among its like."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from clip_image_flow.batching.batcher import Batcher
from clip_image_flow.errors import QueueFull, TakesLonger
from tests.unit.batcher_bench import SECONDS, values, wait_until

LARGE = 1000  # numbers from here on take long, and are known to
HIDDEN = 500  # from here on they take long, and show it when they are prepared


class Lanes:
    """A batcher of numbers whose long ones wait at `gate` while they are prepared, and which notes what it computes."""

    def __init__(self, threads: int = 2, **options: Any) -> None:
        self.gate = threading.Event()
        self.stuck = threading.Event()  # holds up the small number 13
        self.batches: list[list[int]] = []
        self.begun: list[int] = []
        self.batcher = Batcher[int](
            self.small,
            self.forward,
            **{"capacity": 10_000, "max_batch_size": 8, **options},
            threads=threads,
            prepare_large=self.large,
            is_large=lambda number: number >= LARGE,
            weigh=lambda number: number,
        )

    def small(self, number: int) -> np.ndarray:
        if number >= HIDDEN:
            raise TakesLonger
        if number == 13:
            assert self.stuck.wait(SECONDS)
        return np.array([number])

    def large(self, number: int) -> np.ndarray:
        self.begun.append(number)
        assert self.gate.wait(SECONDS)
        return np.array([number])

    def forward(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append(batch[:, 0].tolist())
        return batch.astype(np.float32)

    def submit(self, *numbers: int, **options: Any) -> list[Future[np.ndarray]]:
        return self.batcher.submit(numbers, batch_size=8, **options)


@pytest.fixture
def make_lanes() -> Iterator[Callable[..., Lanes]]:
    made: list[Lanes] = []

    def make(**options: Any) -> Lanes:
        made.append(Lanes(**{"capacity_bytes": 10**9, **options}))
        return made[-1]

    yield make
    for lanes in made:
        lanes.gate.set()
        lanes.stuck.set()
        lanes.batcher.close()


@pytest.mark.parametrize("long", [LARGE, HIDDEN], ids=["known beforehand", "found out"])
@pytest.mark.parametrize("count", [1, 50])
def test_no_batch_waits_for_what_takes_long(make_lanes: Callable[..., Lanes], long: int, count: int) -> None:
    lanes = make_lanes()
    futures = lanes.submit(*range(long, long + count), 1, 2)
    others = lanes.submit(3)
    assert values(futures[count:] + others) == [1, 2, 3]
    assert not any(future.done() for future in futures[:count])
    lanes.gate.set()
    assert values(futures[:count]) == list(range(long, long + count))


def test_a_batch_leaves_without_a_small_one_that_is_stuck(make_lanes: Callable[..., Lanes]) -> None:
    lanes = make_lanes()
    futures = lanes.submit(1, 13, 2)
    assert values([futures[0], futures[2]]) == [1, 2]
    assert not futures[1].done()
    lanes.stuck.set()
    assert values(futures) == [1, 13, 2]


def test_long_ones_take_turns_between_requests(make_lanes: Callable[..., Lanes]) -> None:
    lanes = make_lanes(threads=1)
    bulk = lanes.submit(*range(2000, 2100))
    wait_until(lambda: lanes.begun == [2000])
    single = lanes.submit(5000)
    lanes.gate.set()
    values(bulk + single)
    assert lanes.begun.index(5000) <= 2


def test_no_more_long_ones_are_prepared_at_a_time_than_there_are_threads(make_lanes: Callable[..., Lanes]) -> None:
    lanes = make_lanes(threads=3)
    futures = lanes.submit(*range(2000, 2100))
    wait_until(lambda: len(lanes.begun) == 3)
    time.sleep(0.05)
    assert len(lanes.begun) == 3
    for future in futures:
        future.cancel()


def test_long_ones_join_the_batches_of_small_ones(make_lanes: Callable[..., Lanes]) -> None:
    lanes = make_lanes()
    lanes.gate.set()
    futures = lanes.submit(*range(1, 9), *range(2000, 2008), *range(20, 28))
    values(futures)
    assert sum(len(batch) for batch in lanes.batches) == 24


def test_one_that_was_called_off_while_it_waited_its_turn_is_not_prepared(make_lanes: Callable[..., Lanes]) -> None:
    lanes = make_lanes(threads=1)
    first, second, third = lanes.submit(2000, 2001, 2002)
    wait_until(lambda: lanes.begun == [2000])
    assert second.cancel()
    lanes.gate.set()
    values([first, third])
    assert lanes.begun == [2000, 2002]


def test_closing_waits_for_long_ones(make_lanes: Callable[..., Lanes]) -> None:
    lanes = make_lanes()
    futures = lanes.submit(2000, 600, 1)
    closing = threading.Thread(target=lanes.batcher.close)
    closing.start()
    lanes.gate.set()
    closing.join(SECONDS)
    assert values(futures) == [2000, 600, 1]


def test_the_queue_is_full_of_bytes_too_and_has_room_again_afterwards(make_lanes: Callable[..., Lanes]) -> None:
    lanes = make_lanes(capacity_bytes=5000)
    first = lanes.submit(3000)
    with pytest.raises(QueueFull, match="the queue holds 3000 of 5000 bytes of items; try again later"):
        lanes.submit(2001)
    second = lanes.submit(2000)
    lanes.gate.set()
    values(first + second)
    assert values(lanes.submit(9999)) == [9999]  # alone, it is let in
