"""Who asks, and until when: what a request takes along, whatever protocol it came by."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

_LONGEST_ID = 128


@dataclass(frozen=True)
class Caller:
    """One HTTP request, or one gRPC call with its requests.

    :param id: `X-Request-Id`, as the caller sent it or made here.
    :param protocol: `HTTP` or `gRPC`, for the log.
    :param expects: fingerprints that may make its vectors, with commas; "" for any.
    :param deadline: Unix time in seconds by which the caller wants the answer.
    """

    id: str
    protocol: str
    deadline: float = float("inf")
    expects: str = ""
    started: float = field(default_factory=time.perf_counter)


def accept_id(sent: str | None) -> str:
    """The caller's request id, where it is short and printable; else a new one."""
    if sent and len(sent) <= _LONGEST_ID and sent.isascii() and sent.isprintable() and " " not in sent:
        return sent
    return uuid.uuid4().hex
