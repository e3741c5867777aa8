"""Accounting of the memory of a request, until its response is sent."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from clip_gateway.memory import Budget, Holding


class Held:
    """Sets `scope["holding"]`, and releases its bytes at the end of the request.

    :param app: inner ASGI application.
    :param budget: byte budget of the gateway.
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
