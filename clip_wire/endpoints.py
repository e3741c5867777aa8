"""The endpoints of an Executor."""

from __future__ import annotations

DEFAULT = "/"
"""Encodes, and so does every endpoint that an Executor has no other method for."""
ENCODE = "/encode"
"""The same by a name of its own."""
RANK = "/rank"
"""Encodes documents and their matches, and sorts the matches by how well they fit."""
SCORE, COSINE = "clip_score", "clip_score_cosine"
"""What each match then has in its scores: the softmax over the matches of its document, and the cosine."""
INFO = "/info"
"""Says what runs; see `clip_wire.info`."""

ALWAYS = frozenset({DEFAULT, ENCODE})
"""Those that answer whatever an Executor announces."""
