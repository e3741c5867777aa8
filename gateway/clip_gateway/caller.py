"""The caller of a request over any protocol: its id, its deadline and the fingerprints it expects."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

_LONGEST_ID = 128  # characters


@dataclass(frozen=True)
class Caller:
    """One HTTP request, or one gRPC call with its requests.

    :param id: request id, as sent in `X-Request-Id` or generated.
    :param protocol: `HTTP` or `gRPC`, for the log.
    :param deadline: Unix time in seconds at which the request times out for the caller.
    :param expects: comma-separated fingerprints that the caller accepts; "" for any.
    :param started: start time by `time.perf_counter()`.
    """

    id: str
    protocol: str
    deadline: float = float("inf")
    expects: str = ""
    started: float = field(default_factory=time.perf_counter)


def accept_id(sent: str | None) -> str:
    """Return the caller's request id if it is short and printable, else a new one."""
    if sent and len(sent) <= _LONGEST_ID and sent.isascii() and sent.isprintable() and " " not in sent:
        return sent
    return uuid.uuid4().hex
