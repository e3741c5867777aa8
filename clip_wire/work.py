"""Time that a request took in an Executor, returned to the gateway for its log lines, never to the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WORK = "__work__"
"""Key in the result of an Executor: number of items and milliseconds, in the order of `Work`."""


@dataclass
class Work:
    """Time that one request took.

    The milliseconds are those of the item that was finished last, so their sum is about the time of the request in its
    Executor; those of several Executors are added up.

    :param items: number of encoded items.
    :param waiting: milliseconds that the item waited.
    :param preparing: milliseconds in a thread that decodes and preprocesses, or tokenizes.
    :param computing: milliseconds of its forward pass.
    :param fingerprints: fingerprints of the models that made the vectors.
    """

    items: int = 0
    waiting: float = 0.0
    preparing: float = 0.0
    computing: float = 0.0
    fingerprints: list[str] = field(default_factory=list)

    def numbers(self) -> list[float]:
        """Return the numbers to send to the gateway."""
        return [self.items, *(round(ms, 1) for ms in (self.waiting, self.preparing, self.computing))]

    def add(self, numbers: Sequence[float], fingerprint: str) -> None:
        """Add the numbers of an Executor; a list of another length, as from another version, is ignored."""
        if fingerprint and fingerprint not in self.fingerprints:
            self.fingerprints.append(fingerprint)
        if len(numbers) == 4:
            self.items += int(numbers[0])
            self.waiting += numbers[1]
            self.preparing += numbers[2]
            self.computing += numbers[3]

    def fields(self) -> Mapping[str, Any]:
        """Return the fields of a log line; empty if nothing was encoded."""
        if not self.items:
            return {}
        return {
            "items": self.items,
            "fingerprint": ", ".join(self.fingerprints),
            "waiting_ms": round(self.waiting, 1),
            "preparing_ms": round(self.preparing, 1),
            "computing_ms": round(self.computing, 1),
        }

    def __str__(self) -> str:
        """`1 items: 3.0 ms waiting, 2.1 preparing, 4.4 computing by 1a2b3c4d`, or "" if nothing was encoded."""
        if not self.items:
            return ""
        parts = f"{self.waiting:.1f} ms waiting, {self.preparing:.1f} preparing, {self.computing:.1f} computing"
        by = " ".join(fingerprint[:12] for fingerprint in self.fingerprints)
        return f"{self.items} items: {parts}" + (f" by {by}" if by else "")
