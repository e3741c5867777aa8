"""The batcher's queue: admission, cancelling, deadlines, and errors that stay with their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, wait

import numpy as np
import pytest

from clip_image_flow.batching.batcher import Batcher
from clip_image_flow.errors import BadDocument, Expired, QueueFull, TooLarge
from tests.unit.batcher_bench import SECONDS, Bench, values, wait_until


def test_a_request_that_never_fits_is_too_large(make: Callable[..., Bench]) -> None:
    bench = make(capacity=4)
    with pytest.raises(TooLarge, match="5 items; the queue holds 4"):
        bench.submit(*range(5))
    assert values(bench.submit(1, 2, 3, 4)) == [2, 4, 6, 8]


def test_a_request_that_does_not_fit_now_is_refused_as_a_whole(make: Callable[..., Bench]) -> None:
    bench = make(capacity=4)
    held = bench.hold()
    futures = bench.submit(1, 2)
    with pytest.raises(QueueFull, match="3 of 4 items"):
        bench.submit(3, 4)
    futures += bench.submit(5)  # one still fits
    bench.gate.set()
    assert values(held + futures) == [0, 2, 4, 10]
    assert bench.batches == [[0], [1, 2, 5]]


def test_what_is_running_takes_room_too(make: Callable[..., Bench]) -> None:
    bench = make(capacity=1)
    bench.hold()
    with pytest.raises(QueueFull):
        bench.submit(1)


def test_there_is_room_as_soon_as_an_answer_is_heard(make: Callable[..., Bench]) -> None:
    bench = make(capacity=3)
    for _ in range(200):
        values(bench.submit(1, 2, 3))


def test_there_is_room_again_after_cancelling(make: Callable[..., Bench]) -> None:
    bench = make(capacity=3)
    held = bench.hold()
    for future in bench.submit(1, 2):
        assert future.cancel()
    bench.gate.set()
    values(held)
    wait_until(lambda: bench.batcher._admitted == 0)
    assert values(bench.submit(3, 4, 5)) == [6, 8, 10]


def test_there_is_room_again_after_errors(make: Callable[..., Bench]) -> None:
    bench = make(capacity=2)
    bench.bad[7] = BadDocument("broken")
    for _ in range(20):
        wait(bench.submit(7, 7), SECONDS)
        wait(bench.submit(-1, 1), SECONDS)
    assert values(bench.submit(1, 2)) == [2, 4]


def test_what_is_cancelled_is_not_computed(bench: Bench) -> None:
    held = bench.hold()
    futures = bench.submit(1, 2, 3)
    futures[1].cancel()
    bench.gate.set()
    values([*held, futures[0], futures[2]])
    assert bench.batches == [[0], [1, 3]]
    with pytest.raises(CancelledError):
        futures[1].result(0)


def test_what_has_begun_cannot_be_cancelled(bench: Bench) -> None:
    [future] = bench.hold()
    assert not future.cancel()
    bench.gate.set()
    assert values([future]) == [0]


def test_work_past_its_deadline_is_dropped(bench: Bench) -> None:
    held = bench.hold()
    late, early = bench.submit(1, deadline=time.time() - 1), bench.submit(2, deadline=time.time() + 3600)
    bench.gate.set()
    assert values(held + early) == [0, 4]
    with pytest.raises(Expired, match="time limit"):
        late[0].result(SECONDS)
    assert bench.batches == [[0], [2]]


def test_a_deadline_counts_only_until_the_work_begins(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("clip_image_flow.batching.batcher.time.time", lambda: clock[0])
    bench.gate.clear()
    futures = bench.submit(1, deadline=1001.0)
    assert bench.running.acquire(timeout=SECONDS)
    clock[0] = 2000.0
    bench.gate.set()
    assert values(futures) == [2]


def test_expired_work_gives_its_room_back(make: Callable[..., Bench]) -> None:
    bench = make(capacity=2)
    for _ in range(20):
        wait(bench.submit(1, 2, deadline=0), SECONDS)
    wait_until(lambda: bench.batcher._admitted == 0)
    assert bench.batches == []


def test_what_prepare_raises_is_the_result_of_that_item_alone(bench: Bench) -> None:
    error = bench.bad[2] = BadDocument("broken")
    first, second, third = bench.submit(1, 2, 3)
    assert values([first, third]) == [2, 6]
    assert second.exception(SECONDS) is error


def test_a_batch_of_nothing_but_errors_runs_no_model(bench: Bench) -> None:
    bench.bad[2] = BadDocument("broken")
    wait(bench.submit(2, 2), SECONDS)
    assert bench.batches == []


def test_what_forward_raises_is_the_result_of_its_batch_and_the_next_works(bench: Bench) -> None:
    held = bench.hold()
    broken, next_one = bench.submit(-1, 5, batch_size=2), bench.submit(6, batch_size=1)
    bench.gate.set()
    assert values(held + next_one) == [0, 12]
    assert {str(future.exception(SECONDS)) for future in broken} == {"a broken model"}


def test_a_model_that_answers_with_too_few_rows_fails_its_batch() -> None:
    batcher = Batcher[int](
        lambda number: np.array([number]), lambda batch: batch[:1], capacity=9, max_batch_size=9, threads=1
    )
    futures = batcher.submit(range(3), batch_size=9)
    assert [type(future.exception(SECONDS)) for future in futures] == [ValueError] * 3
    batcher.close()
