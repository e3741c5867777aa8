"""The memory budget of decoding: what does not fit waits for its turn."""

from __future__ import annotations

import threading
import time

from clip_image_flow.image.decoding.budget import MemoryBudget


def test_the_budget_lets_in_what_fits_and_the_rest_in_turn() -> None:
    budget = MemoryBudget(100)
    order: list[str] = []
    with budget.granting(60) as granted:
        assert granted
        threads = []
        for name, count in (("large", 80), ("small", 10)):
            threads.append(threading.Thread(target=note, args=(budget, count, order, name)))
            threads[-1].start()
            time.sleep(0.05)
        assert order == []  # the small one fits, and waits its turn all the same
    for thread in threads:
        thread.join(30)
    assert order == ["large", "small"]


def test_what_is_more_than_the_budget_is_let_in_alone() -> None:
    with MemoryBudget(100).granting(1000) as granted:
        assert granted


def note(budget: MemoryBudget, count: int, order: list[str], name: str) -> None:
    with budget.granting(count):
        order.append(name)
