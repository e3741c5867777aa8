"""A body is counted while it is read, so that no more than the limit is ever held, whatever was announced."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_gateway.http.middleware.headers import last
from clip_gateway.memory import Holding
from clip_gateway.problems import Problem
from clip_wire.errors import Malformed, TooLarge, UploadTimeout


class LimitedBody:
    """Bounds a body: its bytes, those of all bodies together, and the time that it takes to arrive.

    :param most: bytes of one body, as it is sent.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = last(scope, b"content-length")
        if length is not None and last(scope, b"transfer-encoding") is not None:
            # Whose the rest of the connection is depends on who reads it.
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
    """What a caller is told whose body has more than `most` bytes."""
    return Problem(TooLarge, f"the body is larger than {most} bytes, the most that is read")
