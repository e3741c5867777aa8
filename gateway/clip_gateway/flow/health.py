"""Health of the gateway, from the state of its executors."""

from __future__ import annotations

from dataclasses import dataclass

from clip_gateway.flow.executors import Executors

SHUTTING_DOWN = "shutting down"


@dataclass(frozen=True)
class Health:
    """Result of a health check.

    :param status: `ok`, `unavailable` or `shutting down`.
    :param missing: names of executors that do not answer.
    :param reason: why executors that answer cannot serve together, or "".
    """

    status: str = "ok"
    missing: tuple[str, ...] = ()
    reason: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether requests are served."""
        return self.status == "ok"


async def present(executors: Executors) -> Health:
    """Check every executor now, and return the result."""
    await executors.refresh()
    return _health(executors, executors.missing)


def started(executors: Executors) -> Health:
    """Return whether every executor has answered once, and all run the same checkpoint.

    An executor that fails later does not change the result.
    """
    return _health(executors, [] if executors.started else executors.missing or executors.names)


def _health(executors: Executors, missing: list[str]) -> Health:
    if executors.shutting_down:
        return Health(SHUTTING_DOWN)
    if missing or executors.agreement.reason:
        return Health("unavailable", tuple(missing), executors.agreement.reason)
    return Health()
