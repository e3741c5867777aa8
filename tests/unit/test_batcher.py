"""One queue over all requests: order, shared batches, admission, deadlines, errors, the end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, wait
from typing import Any

import numpy as np
import pytest

from clip_image_flow.batcher import Batcher
from clip_image_flow.errors import BadDocument, Expired, QueueFull, TooLarge

SECONDS = 30  # longer than anything here takes


class Bench:
    """A batcher of numbers whose `forward` doubles them, waits at `gate`, and notes what it was given."""

    def __init__(
        self, *, capacity: int = 1000, max_batch_size: int = 100, threads: int = 2, patience: float = 0.0
    ) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.running = threading.Semaphore(0)  # counts forward passes that have begun
        self.batches: list[list[int]] = []
        self.prepared: list[int] = []
        self.bad: dict[int, Exception] = {}
        self.batcher = Batcher[int](
            self.prepare,
            self.forward,
            capacity=capacity,
            max_batch_size=max_batch_size,
            threads=threads,
            patience=patience,
        )

    def prepare(self, number: int) -> np.ndarray:
        self.prepared.append(number)
        if number in self.bad:
            raise self.bad[number]
        return np.array([number])

    def forward(self, batch: np.ndarray) -> np.ndarray:
        numbers = batch[:, 0].tolist()
        self.batches.append(numbers)
        self.running.release()
        assert self.gate.wait(SECONDS)
        if -1 in numbers:
            raise RuntimeError("a broken model")
        return 2 * batch.astype(np.float32)

    def submit(self, *numbers: int, batch_size: int = 100, **options: Any) -> list[Future[np.ndarray]]:
        return self.batcher.submit(numbers, batch_size=batch_size, **options)

    def hold(self) -> list[Future[np.ndarray]]:
        """Keep the model busy with the number 0 until `gate` is set: what comes now waits in the queue."""
        self.gate.clear()
        futures = self.submit(0)
        assert self.running.acquire(timeout=SECONDS)
        return futures


@pytest.fixture
def make() -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(**options: Any) -> Bench:
        benches.append(Bench(**options))
        return benches[-1]

    yield make
    for bench in benches:
        bench.gate.set()
        bench.batcher.close()


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    return make()


def values(futures: list[Future[np.ndarray]]) -> list[float]:
    return [float(future.result(SECONDS)[0]) for future in futures]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 50, 100])
def test_results_come_in_order_whatever_the_batch_size(bench: Bench, batch_size: int) -> None:
    numbers = range(50)
    assert values(bench.submit(*numbers, batch_size=batch_size)) == [2 * n for n in numbers]


def test_a_result_is_one_row(bench: Bench) -> None:
    [future] = bench.submit(4)
    assert future.result(SECONDS).shape == (1,)


def test_nothing_to_compute_is_fine(bench: Bench) -> None:
    assert bench.submit() == []


@pytest.mark.parametrize(("batch_size", "expected"), [(1, 1), (3, 3), (8, 8), (50, 8)])
def test_a_batch_is_as_large_as_the_request_and_the_server_allow(
    make: Callable[..., Bench], batch_size: int, expected: int
) -> None:
    bench = make(max_batch_size=8)
    held = bench.hold()
    futures = bench.submit(*range(1, 25), batch_size=batch_size)
    bench.gate.set()
    values(held + futures)
    assert [len(batch) for batch in bench.batches[1:]] == [expected] * (24 // expected)


def test_requests_share_a_batch(bench: Bench) -> None:
    held = bench.hold()
    futures = bench.submit(1, 2) + bench.submit(3) + bench.submit(4, 5)
    bench.gate.set()
    values(held + futures)
    assert bench.batches == [[0], [1, 2, 3, 4, 5]]


def test_a_batch_is_no_larger_than_the_smallest_of_its_requests_allows(bench: Bench) -> None:
    held = bench.hold()
    futures = bench.submit(1, 2, 3, batch_size=10) + bench.submit(4, 5, batch_size=3) + bench.submit(6, batch_size=4)
    bench.gate.set()
    values(held + futures)
    # 4 and 5 would join three others, but allow only two; 6 allows three.
    assert bench.batches == [[0], [1, 2, 3, 6], [4, 5]]


def test_a_small_batch_size_ends_with_its_own_request(bench: Bench) -> None:
    held = bench.hold()
    futures = bench.submit(1, 2, batch_size=1) + bench.submit(3, 4, 5)
    bench.gate.set()
    values(held + futures)
    assert bench.batches == [[0], [1], [2], [3, 4, 5]]


def test_requests_of_one_size_come_first_in_first_out(make: Callable[..., Bench]) -> None:
    bench = make(max_batch_size=4)
    held = bench.hold()
    futures = [future for n in range(1, 31, 3) for future in bench.submit(n, n + 1, n + 2)]
    bench.gate.set()
    values(held + futures)
    assert [n for batch in bench.batches for n in batch] == list(range(31))


@pytest.mark.parametrize("bulk_requests", [1, 10])
def test_a_single_picture_behind_a_thousand_waits_for_two_batches(
    make: Callable[..., Bench], bulk_requests: int
) -> None:
    bench = make(capacity=2000, max_batch_size=16)
    held = bench.hold()
    each = 1000 // bulk_requests
    bulk = [f for i in range(bulk_requests) for f in bench.submit(*range(1 + i * each, 1 + (i + 1) * each))]
    single = bench.submit(5000)
    bench.gate.set()
    values(held + bulk + single)
    # After the one that runs: the batch that is prepared already, then its own.
    assert [5000 in batch for batch in bench.batches].index(True) <= 2
    assert len(bench.batches) == 1 + 63  # full ones, for all that


def test_a_bulk_request_is_not_starved_by_small_ones(make: Callable[..., Bench]) -> None:
    bench = make(capacity=2000, max_batch_size=4)
    held = bench.hold()
    bulk = bench.submit(*range(1, 101))
    small = [future for n in range(1000, 1400) for future in bench.submit(n)]
    bench.gate.set()
    values(held + bulk + small)
    whole = next(i for i in range(len(bench.batches)) if 100 in bench.batches[i])
    assert whole <= 1 + 100 / 2 + 1  # half of the places were its own


def test_a_caller_of_small_batches_does_not_make_those_of_others_small(make: Callable[..., Bench]) -> None:
    bench = make(capacity=2000, max_batch_size=8)
    held = bench.hold()
    one_by_one = bench.submit(*range(1000, 1100), batch_size=1)
    bulk = bench.submit(*range(1, 101))
    bench.gate.set()
    values(held + one_by_one + bulk)
    sizes = [len(batch) for batch in bench.batches[1:] if max(batch) < 1000]
    assert sum(sizes) / len(sizes) >= 4


def test_a_batch_that_is_not_full_may_wait_for_more(make: Callable[..., Bench]) -> None:
    bench = make(max_batch_size=3, patience=SECONDS)
    futures = bench.submit(1)
    time.sleep(0.05)
    assert bench.batches == []
    futures += bench.submit(2) + bench.submit(3)  # full: it waits no longer
    assert values(futures) == [2, 4, 6]
    assert bench.batches == [[1, 2, 3]]


def test_a_batch_that_nobody_joins_runs_after_its_wait(make: Callable[..., Bench]) -> None:
    assert values(make(max_batch_size=3, patience=0.01).submit(1)) == [2]


def test_closing_does_not_wait_for_more(make: Callable[..., Bench]) -> None:
    bench = make(max_batch_size=3, patience=SECONDS)
    futures = bench.submit(1)
    bench.batcher.close()
    assert [future.done() for future in futures] == [True]


def test_a_request_that_never_fits_is_too_large(make: Callable[..., Bench]) -> None:
    bench = make(capacity=4)
    with pytest.raises(TooLarge, match="5 images; the queue holds 4"):
        bench.submit(*range(5))
    assert values(bench.submit(1, 2, 3, 4)) == [2, 4, 6, 8]


def test_a_request_that_does_not_fit_now_is_refused_as_a_whole(make: Callable[..., Bench]) -> None:
    bench = make(capacity=4)
    held = bench.hold()
    futures = bench.submit(1, 2)
    with pytest.raises(QueueFull, match="3 of 4 images"):
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
    monkeypatch.setattr("clip_image_flow.batcher.time.time", lambda: clock[0])
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


@pytest.mark.parametrize(("max_batch_size", "threads", "expected"), [(4, 2, 4), (1, 2, 2)])
def test_no_more_than_one_batch_is_prepared_ahead(
    make: Callable[..., Bench], max_batch_size: int, threads: int, expected: int
) -> None:
    bench = make(max_batch_size=max_batch_size, threads=threads)
    held = bench.hold()
    futures = bench.submit(*range(1, 100))
    wait_until(lambda: len(bench.prepared) >= 1 + expected)
    # The workers are idle now: one more task of theirs would come after all that were ordered.
    bench.batcher._workers.submit(int).result(SECONDS)
    assert sorted(bench.prepared) == list(range(1 + expected))
    bench.gate.set()
    values(held + futures)


def test_the_next_batch_is_prepared_while_the_model_computes(bench: Bench) -> None:
    held = bench.hold()
    futures = bench.submit(1, 2)
    wait_until(lambda: sorted(bench.prepared) == [0, 1, 2])
    assert bench.batches == [[0]]
    bench.gate.set()
    values(held + futures)


def test_each_item_is_prepared_once(bench: Bench) -> None:
    values(bench.submit(*range(60), batch_size=7))
    assert sorted(bench.prepared) == list(range(60))


def test_many_threads_get_their_own_answers(bench: Bench) -> None:
    def ask(start: int) -> None:
        numbers = range(start, start + 10)
        for size in (1, 3, 8):
            answers[start] &= values(bench.submit(*numbers, batch_size=size)) == [2 * n for n in numbers]

    answers = dict.fromkeys(range(0, 200, 10), True)
    threads = [threading.Thread(target=ask, args=(start,)) for start in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert all(answers.values())
    assert sum(len(batch) for batch in bench.batches) == 600


def test_close_finishes_what_is_queued(bench: Bench) -> None:
    futures = bench.hold() + bench.submit(1, 2, 3, batch_size=1)
    closing = threading.Thread(target=bench.batcher.close)
    closing.start()
    bench.gate.set()
    closing.join(SECONDS)
    assert not closing.is_alive()
    assert [future.done() for future in futures] == [True] * 4
    assert values(futures) == [0, 2, 4, 6]


def test_after_close_nothing_is_taken_in(bench: Bench) -> None:
    bench.batcher.close()
    with pytest.raises(RuntimeError, match="closed"):
        bench.submit(1)


def test_closing_twice_is_fine(bench: Bench) -> None:
    bench.batcher.close()
    bench.batcher.close()


def test_a_dead_model_thread_ends_the_process() -> None:
    program = """
import threading
from clip_image_flow.batcher import Batcher

def forward(batch):
    raise SystemExit("not an Exception")

batcher = Batcher(lambda n: __import__("numpy").zeros(1), forward, capacity=1, max_batch_size=1, threads=1)
batcher.submit([1], batch_size=1)
threading.Event().wait(60)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 70
    assert "the model thread died; ending the process" in ended.stderr


def wait_until(condition: Callable[[], bool]) -> None:
    """Until `condition` holds; fails when it never does."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)
