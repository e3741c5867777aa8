"""The reason of a termination, as the gateway and the Executors show it in the status of their pods."""

from __future__ import annotations

import contextlib
from pathlib import Path

# Kubernetes shows the content of this file in the pod's status as its termination message. Only pods have the file.
TERMINATION_LOG = Path("/dev/termination-log")


def tell_the_pod(reason: str) -> None:
    """Write the reason, or "" if there is none any more."""
    with contextlib.suppress(OSError):
        if TERMINATION_LOG.exists():
            TERMINATION_LOG.write_text(reason[:4096], encoding="utf-8")  # Kubernetes keeps 4096 bytes
