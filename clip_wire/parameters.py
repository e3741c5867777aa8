"""The names of one request's parameters.

Names that begin and end with two underscores are reserved: the gateway sets them, and nobody else.
"""

from __future__ import annotations

TRAVERSAL_PATHS = "traversal_paths"
BATCH_SIZE = "batch_size"
ON_ERROR = "on_error"
NORMALIZE = "normalize"
DROP_IMAGE_CONTENT = "drop_image_content"

KNOWN = (TRAVERSAL_PATHS, BATCH_SIZE, ON_ERROR, NORMALIZE, DROP_IMAGE_CONTENT)
"""What a caller may set."""

DEADLINE = "__deadline__"
"""Unix time in seconds after which the answer is of no use."""
REQUEST_ID = "__request_id__"
"""Names the request in logs."""

SET_BY_THE_GATEWAY = (DEADLINE, REQUEST_ID)

RESULTS = "__results__"
"""Where Jina puts what an endpoint returns: executor -> dict."""


def is_reserved(name: str) -> bool:
    """Whether the gateway, or Jina, sets parameters of this name, and nobody else."""
    return name.startswith("__") and name.endswith("__")
