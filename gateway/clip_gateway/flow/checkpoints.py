"""Checks that all executors of the Flow run the same checkpoint: vectors of two checkpoints are not comparable."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from clip_gateway.observing.logs import LOG
from clip_wire.info import IMAGE, Info, public_name
from clip_wire.termination import tell_the_pod

PATIENCE_SECONDS = 60.0  # after which a gateway that was never ready exits, so that its pod shows the reason
_SHORT_HASH = 12  # characters


class Agreement:
    """Compares the `/info` of the executors, and reports if their checkpoints differ.

    :ivar reason: why no request is served, or "" while all executors run the same checkpoint.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._was_ready = False
        self._differ_since = 0.0

    def look(self, infos: Mapping[str, Info], started: bool) -> None:
        """Compare the executors. If they differ for `PATIENCE_SECONDS`, a gateway that was never ready exits.

        :param infos: executor name -> its `/info`.
        :param started: whether the `/info` of every executor has been read once.
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
            LOG.info("all executors run the same checkpoint again")
        if not self.reason:
            self._differ_since = time.monotonic()
        self.reason = reason
        tell_the_pod(reason)


def read(results: Mapping[str, Any]) -> Info:
    """Return the `/info` of an executor; empty if it returned none.

    :param results: replica -> result of its `/info`.
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
    """Return how the checkpoints differ, or "" if all are the same. Executors that report none are not compared."""
    compared = {name: info for name, info in infos.items() if info.get("checkpoint")}
    if len({(info["checkpoint"], info["dim"]) for info in compared.values()}) < 2:
        return ""
    found = ", ".join(
        f"{name} runs {public_name(info['model'])!r} ({info['checkpoint'][:_SHORT_HASH]}, dim {info['dim']})"
        for name, info in compared.items()
    )
    return f"the executors run different checkpoints: {found}; give all of them the same model"
