"""The endpoints of an Executor."""

from __future__ import annotations

DEFAULT = "/"
"""Encodes, and so does every endpoint that an Executor has no other method for."""
ENCODE = "/encode"
"""The same by a name of its own."""
INFO = "/info"
"""Says what runs; see `clip_wire.info`."""

ALWAYS = frozenset({DEFAULT, ENCODE})
"""Those that answer whatever an Executor announces."""
