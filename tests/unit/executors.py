"""Sends documents through Executors without a Flow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from docarray import Document, DocumentArray


def send(endpoint: str, executors: Sequence[Any], *docs: Document, **parameters: Any) -> DocumentArray:
    """Send documents through one Executor after the other, as in a Flow; `endpoint` is the name of their method."""
    array = DocumentArray(docs)
    for executor in executors:
        asyncio.run(getattr(executor, endpoint)(docs=array, parameters=parameters))
    return array
