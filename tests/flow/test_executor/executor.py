"""An Executor that does what a request's parameters say, so that a test can ask for any end of it."""

import asyncio
import os
from typing import Any

import numpy as np
from docarray import DocumentArray
from jina import Executor, requests


class ObedientExecutor(Executor):
    """Gives each document a short embedding, late or not at all if told so."""

    @requests
    async def encode(
        self, docs: DocumentArray | None = None, parameters: dict[str, Any] | None = None, **_: Any
    ) -> dict[str, Any]:
        """Parameters: `sleep` seconds, `die` with the process, `fail` the name of an error, `detail` of it."""
        parameters = parameters or {}
        await asyncio.sleep(float(parameters.get("sleep", 0)))
        if parameters.get("die"):
            os._exit(1)
        if name := parameters.get("fail"):
            detail = parameters.get("detail", "as told")
            raise type(name, (Exception,), {})(detail, docs[0].id if docs else "", "chunk 2")
        for document in docs or ():
            document.embedding = np.arange(4, dtype=np.float32) / 3
        return {"parameters": parameters, "documents": len(docs or ())}

    @requests(on="/named")
    async def named(self, docs: DocumentArray | None = None, **_: Any) -> None:
        """An endpoint of its own."""
