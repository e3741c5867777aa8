"""Fixtures for the tests in this directory: batchers with controllable models, and Hugging Face hubs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.conftest import WebServer
from tests.unit.batcher_bench import Bench
from tests.unit.hubs import Hub


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


@pytest.fixture
def make_hub(web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, bytes]], Hub]:
    """Return a function that creates the hub that `huggingface_hub` uses: (repository, files) -> Hub."""
    monkeypatch.setenv("HF_ENDPOINT", web_server.url)
    monkeypatch.delenv("CLIP_CACHE", raising=False)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return partial(Hub, web_server)
