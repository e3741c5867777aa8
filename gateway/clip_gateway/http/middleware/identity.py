"""Request id and fingerprint headers: sets `scope["caller"]` and `scope["made_by"]`."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_gateway.caller import Caller, accept_id
from clip_gateway.flow.messages import joined
from clip_gateway.http.middleware.headers import last


class Identity:
    """Creates the `Caller` of a request, and adds `X-Request-Id` and `X-Model-Fingerprint` to the response.

    :param app: inner ASGI application.
    :param seconds: time limit of the request, in seconds.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = Caller(
            accept_id(last(scope, b"x-request-id")),
            "HTTP",
            time.time() + self._seconds,
            last(scope, b"x-expect-fingerprint") or "",
        )
        made_by: dict[str, str] = {}  # fingerprint -> model, of all executors that made vectors of the response

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", caller.id.encode())]
                if made_by:
                    message["headers"].append((b"x-model-fingerprint", joined(made_by).encode()))
            await send(message)

        await self._app({**scope, "caller": caller, "made_by": made_by}, receive, send_with_id)
