"""Limits the size of request bodies while they are read, whatever Content-Length says."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_gateway.http.middleware.headers import last
from clip_gateway.memory import Holding
from clip_gateway.problems import Problem
from clip_wire.errors import Malformed, TooLarge, UploadTimeout


class LimitedBody:
    """Limits the size of a body, the size of all bodies together, and the upload time.

    :param app: inner ASGI application.
    :param most: maximum size of one body as sent, in bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = last(scope, b"content-length")
        if length is not None and last(scope, b"transfer-encoding") is not None:
            # Servers and proxies would disagree on where the body ends (request smuggling).
            headers = {"connection": "close"}
            raise Problem(Malformed, "Content-Length and Transfer-Encoding exclude each other", headers=headers)
        await self._app(scope, self._limited(receive, scope, length or ""), send)

    def _limited(self, receive: Receive, scope: Scope, length: str) -> Receive:
        most, holding, deadline = self._most, scope["holding"], scope["caller"].deadline
        assert isinstance(holding, Holding)
        announced = int(length) if length.isdecimal() and len(length) <= 18 else most + bool(length)
        read, whole = 0, False

        async def limited() -> Message:
            nonlocal read, whole
            if whole:
                return await receive()
            if length and announced > most:
                raise too_large(most)
            if length and not holding.count:
                holding.grow(announced)
            try:
                async with asyncio.timeout(deadline - time.time()):
                    message = await receive()
            except TimeoutError:
                raise Problem(UploadTimeout, "the body did not arrive within the time limit") from None
            read += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if read > most:
                raise too_large(most)
            holding.cover(read)
            return message

        return limited


def too_large(most: int) -> Problem:
    """Return the error for a body of more than `most` bytes."""
    return Problem(TooLarge, f"the body is larger than {most} bytes, the maximum")
