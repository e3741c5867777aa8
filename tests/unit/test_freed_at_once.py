"""What a request holds is freed when it is answered, not thousands of requests later by the garbage collector."""

from __future__ import annotations

import contextlib
import gc
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from docarray import Document

from clip_image_flow.batching.batcher import Batcher, logger
from clip_image_flow.batching.observer import Observer
from clip_image_flow.errors import BadDocument, RequestError
from tests.conftest import encoded, photo
from tests.unit.batcher_bench import SECONDS, wait_until
from tests.unit.executors import send

IMAGE = encoded(photo())


@pytest.fixture(autouse=True)
def _without_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Content:
    """Something to encode, which a weak reference can follow."""

    def __init__(self, fate: str) -> None:
        self.fate = fate


class Callers(Observer):
    """An observer that gives each caller its item, as that of an Executor does."""

    def ended(self, item: Any) -> None:
        item.caller.last = item


class Caller:
    last: Any = None


def prepare(content: Content) -> np.ndarray:
    if content.fate == "bad":
        try:
            raise ValueError(content)
        except ValueError as error:
            raise BadDocument("no image") from error
    return np.full(1, np.nan if content.fate == "not finite" else len(content.fate), np.float32)


def forward(rows: np.ndarray) -> np.ndarray:
    if len("fails") in rows:
        raise RuntimeError("the model fails")
    return rows


@pytest.mark.parametrize("observer", [None, Callers()], ids=["unobserved", "observed"])
@pytest.mark.parametrize("fate", ["encoded", "bad", "not finite", "fails", "expired", "cancelled"])
def test_an_item(fate: str, observer: Observer | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "disabled", True)  # pytest keeps its records, with their tracebacks
    batcher: Batcher[Content] = Batcher(prepare, forward, capacity=4, max_batch_size=4, threads=2, observer=observer)
    content = Content(fate)
    kept = weakref.ref(content)
    deadline = time.time() - 1 if fate == "expired" else None
    [future] = batcher.submit([content], batch_size=4, deadline=deadline, caller=Caller())
    del content
    if fate == "cancelled":
        future.cancel()
    else:
        future.exception(SECONDS)
    del future
    wait_until(lambda: kept() is None)
    batcher.close()


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("blob", [IMAGE, IMAGE[:200]], ids=["encoded", "broken"])
def test_a_document_after_32_mib_of_requests(make_executor: Callable[..., Any], blob: bytes, on_error: str) -> None:
    executor = make_executor()

    def ask() -> weakref.ref[Document]:
        doc = Document(blob=blob)
        with contextlib.suppress(RequestError):
            send("encode", [executor], doc, on_error=on_error)
        return weakref.ref(doc)

    kept = ask()
    executor.answered(1000)
    assert kept() is not None  # DocArray's documents refer to themselves
    executor.answered(32 << 20)
    assert kept() is None
