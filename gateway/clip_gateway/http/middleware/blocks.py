"""Writes responses in blocks, each after the client has read the ones before."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BLOCK = 1 << 16  # bytes


class Blocks:
    """Splits a large response body into blocks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_blocks(message: Message) -> None:
            body = message.get("body", b"")
            if len(body) <= _BLOCK:
                await send(message)
                return
            last = (len(body) - 1) // _BLOCK * _BLOCK
            for start in range(0, last, _BLOCK):
                await send({**message, "body": body[start : start + _BLOCK], "more_body": True})
            await send({**message, "body": body[last:]})

        await self._app(scope, receive, send_blocks)
