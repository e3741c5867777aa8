"""An Executor that does almost no work, so that a measurement of the Flow is that of the gateway."""

import numpy as np
from docarray import DocumentArray
from jina import Executor, requests

_EMBEDDING = np.linspace(-1, 1, 512, dtype=np.float32)


class NoopExecutor(Executor):
    """Gives every document the same 512 numbers."""

    @requests
    async def encode(self, docs: DocumentArray, **_: object) -> None:
        """Set the embeddings."""
        for document in docs:
            document.embedding = _EMBEDDING
