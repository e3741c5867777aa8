"""Whether the gateway can serve, from what it knows of the executors."""

from __future__ import annotations

from dataclasses import dataclass

from clip_gateway.flow.executors import Executors

SHUTTING_DOWN = "shutting down"


@dataclass(frozen=True)
class Health:
    """What health says.

    :param status: `ok`, `unavailable` or `shutting down`.
    :param missing: executors that do not answer.
    :param reason: why executors that do answer cannot serve together.
    """

    status: str = "ok"
    missing: tuple[str, ...] = ()
    reason: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether requests are served."""
        return self.status == "ok"


async def present(executors: Executors) -> Health:
    """The present truth: every executor is asked now."""
    await executors.refresh()
    return _health(executors, executors.missing)


def started(executors: Executors) -> Health:
    """Whether every executor has answered once, and all run one checkpoint.

    One that goes away later changes nothing.
    """
    return _health(executors, [] if executors.started else executors.missing or executors.names)


def _health(executors: Executors, missing: list[str]) -> Health:
    if executors.shutting_down:
        return Health(SHUTTING_DOWN)
    if missing or executors.agreement.reason:
        return Health("unavailable", tuple(missing), executors.agreement.reason)
    return Health()
