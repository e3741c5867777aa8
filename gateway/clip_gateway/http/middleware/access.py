"""Token authentication."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from clip_gateway.http.middleware.headers import last
from clip_gateway.tokens import Tokens


class Access:
    """Rejects requests without a valid token, if the gateway requires one.

    :param app: inner ASGI application.
    :param tokens: valid tokens.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._tokens.check(last(scope, b"authorization"))
        await self._app(scope, receive, send)
