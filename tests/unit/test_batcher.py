"""The batcher: order, shared batches, fairness, what is prepared ahead, the end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from clip_image_flow.batching.batcher import Batcher
from clip_image_flow.errors import NotFinite
from tests.unit.batcher_bench import NAN, SECONDS, Bench, values, wait_until


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 50, 100])
def test_results_come_in_order_whatever_the_batch_size(bench: Bench, batch_size: int) -> None:
    numbers = range(50)
    assert values(bench.submit(*numbers, batch_size=batch_size)) == [2 * n for n in numbers]


def test_a_result_is_one_row(bench: Bench) -> None:
    [future] = bench.submit(4)
    assert future.result(SECONDS).shape == (1,)


def test_an_item_without_finite_numbers_is_an_error_of_its_own(bench: Bench) -> None:
    first, bad, last = bench.submit(1, NAN, 2)
    assert values([first, last]) == [2, 4]
    with pytest.raises(NotFinite, match="the model returned values that are not finite"):
        bad.result(SECONDS)
    assert values(bench.submit(3)) == [6]


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


@pytest.mark.parametrize(("max_batch_size", "threads", "expected"), [(4, 2, 4), (1, 2, 2)])
def test_no_more_than_one_batch_is_prepared_ahead(
    make: Callable[..., Bench], max_batch_size: int, threads: int, expected: int
) -> None:
    bench = make(max_batch_size=max_batch_size, threads=threads)
    held = bench.hold()
    futures = bench.submit(*range(1, 100))
    wait_until(lambda: len(bench.prepared) >= 1 + expected)
    # The workers are idle now: one more task of theirs would come after all that were ordered.
    bench.batcher._small.workers.submit(int).result(SECONDS)
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


def test_when_the_model_thread_dies_nobody_waits_for_ever() -> None:
    computes, dies = threading.Event(), threading.Event()
    told: list[str] = []

    def forward(batch: np.ndarray) -> np.ndarray:
        computes.set()
        assert dies.wait(SECONDS)
        raise SystemExit("not an Exception")

    batcher: Batcher[int] = Batcher(
        lambda n: np.zeros(1), forward, capacity=9, max_batch_size=1, threads=1, on_death=lambda: told.append("dead")
    )
    waiting = batcher.submit([1, 2, 3], batch_size=1)
    assert computes.wait(SECONDS)
    dies.set()
    for future in waiting:
        with pytest.raises(RuntimeError, match="the model thread died"):
            future.result(SECONDS)
    assert told == ["dead"]
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit([4], batch_size=1)


def test_an_executor_whose_model_thread_dies_ends_its_process() -> None:
    program = """
import sys
sys.path.insert(0, "executors/clip_image")
from clip_image import CLIPImageEncoder
from clip_image_flow import backends

executor = CLIPImageEncoder(pretrained_model_name_or_path="emoji-tiny")

def encode(batch):
    raise SystemExit("not an Exception")

executor._encoder._backend.encode = executor._encoder._batcher._forward = encode
import numpy as np
[future] = executor._encoder.submit([np.zeros((64, 64, 3), np.uint8)])
future.result(60)
"""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 70, ended.stderr[-2000:]
    assert "the model thread died" in ended.stderr + ended.stdout
