"""The names of one request's parameters.

Names that begin and end with two underscores are reserved: the gateway sets them, and nobody else.
"""

from __future__ import annotations

TRAVERSAL_PATHS = "traversal_paths"
ACCESS_PATHS = "access_paths"
"""What older clients call the traversal paths."""
BATCH_SIZE = "batch_size"
ON_ERROR = "on_error"
NORMALIZE = "normalize"
DROP_IMAGE_CONTENT = "drop_image_content"
EXPECT_FINGERPRINT = "expect_fingerprint"
"""What may make the vectors, several with commas between them; anything else is refused."""

MODEL_NAME = "model_name"
"""The model that a caller asks for, as clip-as-service's clients say it. The gateway checks it; it changes nothing."""

KNOWN = (TRAVERSAL_PATHS, BATCH_SIZE, ON_ERROR, NORMALIZE, DROP_IMAGE_CONTENT, EXPECT_FINGERPRINT)
"""What a caller may set."""
OF_OTHER_CLIENTS = (ACCESS_PATHS, MODEL_NAME)
"""What clients of other servers set, and this one understands."""

DEADLINE = "__deadline__"
"""Unix time in seconds after which the answer is of no use."""
REQUEST_ID = "__request_id__"
"""Names the request in logs."""
PINNED = "__pinned__"
"""Fingerprints with commas, one for each Executor: one that has none of them refuses before it reads a document."""
UNREAD = "refused-unread"
"""The key of an Executor's trailing metadata that says so, and that no work was done."""

SET_BY_THE_GATEWAY = (DEADLINE, REQUEST_ID, PINNED)

RESULTS = "__results__"
"""Where Jina puts what an endpoint returns: executor -> dict."""


def is_reserved(name: str) -> bool:
    """Whether the gateway, or Jina, sets parameters of this name, and nobody else."""
    return name.startswith("__") and name.endswith("__")
