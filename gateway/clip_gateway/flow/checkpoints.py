"""Whether the executors of the Flow run one model: vectors of two checkpoints cannot be compared with each other."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clip_gateway.observing.logs import LOG
from clip_wire.info import IMAGE, Info, public_name

# What a container writes here stands in its pod's status as the reason for its end. Only pods have such a file.
TERMINATION_LOG = Path("/dev/termination-log")
PATIENCE_SECONDS = 60.0  # after which a gateway that has never been ready ends, so that its pod shows the reason
_SHORT_HASH = 12  # characters


class Agreement:
    """Compares what the executors say of themselves, and tells an operator where they differ.

    :ivar reason: why no request is served, or "" while all run one checkpoint.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._was_ready = False
        self._differ_since = 0.0

    def look(self, infos: Mapping[str, Info], started: bool) -> None:
        """Compare them. A gateway that has never been ready, and finds none to be, ends after a while.

        :param infos: what each executor answers to `/info`, by its name.
        :param started: every executor has said so once.
        """
        reason = disagreement(infos)
        if reason != self.reason:
            self._tell(reason)
        self._was_ready = self._was_ready or (started and not reason)
        if reason and not self._was_ready and time.monotonic() - self._differ_since > PATIENCE_SECONDS:
            LOG.error("not ready for %g s: this process ends", PATIENCE_SECONDS)
            os._exit(1)

    def _tell(self, reason: str) -> None:
        if reason:
            LOG.error("%s", reason)
        else:
            LOG.info("the executors run one checkpoint again")
        if not self.reason:
            self._differ_since = time.monotonic()
        self.reason = reason
        with contextlib.suppress(OSError):
            if TERMINATION_LOG.exists():
                TERMINATION_LOG.write_text(reason, encoding="utf-8")


def read(results: Mapping[str, Any]) -> Info:
    """What an executor says of itself; empty where it says nothing.

    :param results: what its `/info` returns, by replica.
    """
    for info in results.values():
        if isinstance(info, dict) and "model" in info:
            found: Info = {"model": str(info["model"]), "dim": int(info.get("dim", 0))}
            found["modality"] = str(info.get("modality", IMAGE))
            found["checkpoint"] = str(info.get("checkpoint", ""))
            if "fingerprint" in info:
                found["fingerprint"] = str(info["fingerprint"])
            if isinstance(info.get("started"), float):
                found["started"] = info["started"]
            return found
    return {}


def disagreement(infos: Mapping[str, Info]) -> str:
    """Why these executors do not belong in one Flow, or "". One that names no checkpoint is not compared."""
    compared = {name: info for name, info in infos.items() if info.get("checkpoint")}
    if len({(info["checkpoint"], info["dim"]) for info in compared.values()}) < 2:
        return ""
    found = ", ".join(
        f"{name} runs {public_name(info['model'])!r} ({info['checkpoint'][:_SHORT_HASH]}, dim {info['dim']})"
        for name, info in compared.items()
    )
    return f"the executors run different checkpoints: {found}; give all of them the same model"
