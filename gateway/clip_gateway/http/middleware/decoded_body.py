"""Decompresses request bodies in gzip or deflate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_gateway.http.content_coding import Decoder, coding_of
from clip_gateway.http.middleware.limited_body import too_large
from clip_gateway.memory import Holding

_PIECE = 1 << 18  # bytes at a time


class DecodedBody:
    """Decompresses a body according to its Content-Encoding.

    :param app: inner ASGI application.
    :param most: maximum size of one decompressed body, in bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        codings = [value.decode("latin-1") for key, value in scope["headers"] if key == b"content-encoding"]
        if any(codings):
            receive = self._decoded(receive, codings, scope["holding"]).__anext__
        await self._app(scope, receive, send)

    async def _decoded(self, receive: Receive, codings: list[str], holding: Holding) -> AsyncIterator[Message]:
        """Decompress the messages of `receive` in steps, so that at most `most` bytes are ever in memory."""
        if coding := coding_of(codings):
            decoder, whole = Decoder(coding), False
            while not whole:
                message = await receive()
                if message["type"] != "http.request":
                    yield message
                    continue
                whole = not message.get("more_body", False)
                decoder.give(message.get("body", b""))
                while not decoder.hungry:  # in a thread: megabytes must not delay health checks
                    body = await asyncio.to_thread(decoder.take, min(_PIECE, self._most + 1 - decoder.count))
                    if decoder.count > self._most:
                        raise too_large(self._most)
                    holding.cover(decoder.count)
                    yield {"type": "http.request", "body": body, "more_body": True}
            decoder.finish()
            yield {"type": "http.request", "body": b"", "more_body": False}
        while True:
            yield await receive()
