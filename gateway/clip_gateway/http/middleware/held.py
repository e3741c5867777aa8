"""What a request holds of the gateway's memory, until its answer is sent."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from clip_gateway.memory import Budget, Holding


class Held:
    """Gives a request `scope["holding"]`, and takes back what is in it at the end.

    :param budget: of the gateway's bytes.
    """

    def __init__(self, app: ASGIApp, budget: Budget) -> None:
        self._app = app
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        holding = scope["holding"] = Holding(self._budget)
        try:
            await self._app(scope, receive, send)
        finally:
            holding.release()
