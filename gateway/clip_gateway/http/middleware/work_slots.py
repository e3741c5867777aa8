"""Limit on concurrent requests."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from clip_gateway.flow.slots import Slots


class WorkSlots:
    """Rejects a POST if no slot is free.

    :param app: inner ASGI application.
    :param slots: slots of the gateway.
    """

    def __init__(self, app: ASGIApp, slots: Slots) -> None:
        self._app = app
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if not self._slots.take():
            raise self._slots.full()
        try:
            await self._app(scope, receive, send)
        finally:
            self._slots.give()
