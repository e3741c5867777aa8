"""What a request took in an Executor, on its way back to the gateway: for log lines, never for the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WORK = "__work__"
"""Where it stands in what an Executor returns: items and milliseconds, in the order of `Work`."""


@dataclass
class Work:
    """What one request took.

    The milliseconds are those of the item that was answered last, so together they are about what the request took in
    its Executor; of several Executors they are added up.

    :param items: that have their vectors.
    :param waiting: milliseconds in which nothing was done with that item.
    :param preparing: milliseconds in a thread that decodes and preprocesses, or tokenizes.
    :param computing: milliseconds of its forward pass.
    :param fingerprints: of the models that made the vectors.
    """

    items: int = 0
    waiting: float = 0.0
    preparing: float = 0.0
    computing: float = 0.0
    fingerprints: list[str] = field(default_factory=list)

    def numbers(self) -> list[float]:
        """What crosses the wire."""
        return [self.items, *(round(ms, 1) for ms in (self.waiting, self.preparing, self.computing))]

    def add(self, numbers: Sequence[float], fingerprint: str) -> None:
        """Count in what an Executor says. What is no such list, as of another version, is left out."""
        if fingerprint and fingerprint not in self.fingerprints:
            self.fingerprints.append(fingerprint)
        if len(numbers) == 4:
            self.items += int(numbers[0])
            self.waiting += numbers[1]
            self.preparing += numbers[2]
            self.computing += numbers[3]

    def fields(self) -> Mapping[str, Any]:
        """Of a log line; empty where nothing was encoded."""
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
        """`1 items: 3.0 ms waiting, 2.1 preparing, 4.4 computing by 1a2b3c4d`, or nothing."""
        if not self.items:
            return ""
        parts = f"{self.waiting:.1f} ms waiting, {self.preparing:.1f} preparing, {self.computing:.1f} computing"
        by = " ".join(fingerprint[:12] for fingerprint in self.fingerprints)
        return f"{self.items} items: {parts}" + (f" by {by}" if by else "")
