"""What several test modules of this folder share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.batcher_bench import Bench


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
