"""The endpoints of an Executor."""

from __future__ import annotations

DEFAULT = "/"
"""Encodes documents; the default for endpoints without a method of their own."""
ENCODE = "/encode"
"""Encodes documents."""
RANK = "/rank"
"""Encodes documents and their matches, and sorts the matches by score."""
SCORE, COSINE = "clip_score", "clip_score_cosine"
"""Names of the scores of each match: the softmax over the matches of its document, and the cosine."""
INFO = "/info"
"""Describes the model and its configuration; see `clip_wire.info`."""

ALWAYS = frozenset({DEFAULT, ENCODE})
"""Endpoints that are served even if an Executor does not register them."""
