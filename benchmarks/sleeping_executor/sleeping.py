"""An Executor whose requests take time but no CPU, so that many replicas fit on one machine."""

import asyncio
from typing import Any

import numpy as np
from docarray import DocumentArray
from jina import Executor, requests

_turn = asyncio.Lock()  # one request at a time, like a model


class SleepingExecutor(Executor):
    """Takes `seconds` for each request, one at a time, and gives every document an embedding of zeros."""

    def __init__(self, seconds: float = 0.2, **jina: Any) -> None:
        super().__init__(**jina)
        self._seconds = seconds

    @requests
    async def encode(self, docs: DocumentArray, **_: Any) -> None:
        """Sleep, then set the embeddings."""
        async with _turn:
            await asyncio.sleep(self._seconds)
        for document in docs:
            document.embedding = np.zeros(512, dtype=np.float32)
