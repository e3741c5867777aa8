"""Names of request parameters.

Names that begin and end with two underscores are reserved: only the gateway sets them.
"""

from __future__ import annotations

TRAVERSAL_PATHS = "traversal_paths"
ACCESS_PATHS = "access_paths"
"""Older name of `traversal_paths`."""
BATCH_SIZE = "batch_size"
ON_ERROR = "on_error"
NORMALIZE = "normalize"
DROP_IMAGE_CONTENT = "drop_image_content"
EXPECT_FINGERPRINT = "expect_fingerprint"
"""Comma-separated fingerprints; a request is rejected if its vectors would have another one."""

MODEL_NAME = "model_name"
"""Model that the caller expects, as in clip-as-service's clients. The gateway checks it; it has no other effect."""

KNOWN = (TRAVERSAL_PATHS, BATCH_SIZE, ON_ERROR, NORMALIZE, DROP_IMAGE_CONTENT, EXPECT_FINGERPRINT)
"""Parameters that a caller may set."""
OF_OTHER_CLIENTS = (ACCESS_PATHS, MODEL_NAME)
"""Parameters of other servers' clients that are accepted."""

DEADLINE = "__deadline__"
"""Unix time in seconds at which the request times out."""
REQUEST_ID = "__request_id__"
"""Request id in logs."""
PINNED = "__pinned__"
"""Comma-separated fingerprints, one for each Executor: an Executor with another one rejects the request unread."""
UNREAD = "refused-unread"
"""Key of the trailing metadata by which an Executor says that it rejected a request unread, without any work."""

SET_BY_THE_GATEWAY = (DEADLINE, REQUEST_ID, PINNED)

RESULTS = "__results__"
"""Parameter in which Jina returns the results of an endpoint: executor name -> dict."""


def is_reserved(name: str) -> bool:
    """Return whether only the gateway or Jina may set parameters of this name."""
    return name.startswith("__") and name.endswith("__")
