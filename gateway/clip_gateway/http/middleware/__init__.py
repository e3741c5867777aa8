"""ASGI middleware of the gateway, one class per concern; `Middleware` defines their order."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http.middleware.access import Access
from clip_gateway.http.middleware.blocks import Blocks
from clip_gateway.http.middleware.decoded_body import DecodedBody
from clip_gateway.http.middleware.head import Head
from clip_gateway.http.middleware.held import Held
from clip_gateway.http.middleware.identity import Identity
from clip_gateway.http.middleware.limited_body import LimitedBody
from clip_gateway.http.middleware.outcome import Outcome
from clip_gateway.http.middleware.work_slots import WorkSlots
from clip_gateway.tokens import Tokens

# Health checks of kubelets, load balancers and Jina: no token, no slot, no log line.
OPEN = {"/", "/healthz", "/readyz", "/startupz", "/.well-known/live", "/.well-known/ready"}


class Middleware:
    """All middleware around the routes.

    :param app: ASGI application with the routes.
    :param handler: request handler with slots, limits and log.
    :param tokens: valid tokens.
    """

    def __init__(self, app: ASGIApp, handler: RequestHandler, tokens: Tokens) -> None:
        self._routes = app
        # From the innermost to the outermost.
        inner: ASGIApp = DecodedBody(app, handler.settings.max_body_bytes)
        inner = WorkSlots(inner, handler.slots)
        inner = LimitedBody(inner, handler.settings.max_body_bytes)
        inner = Access(inner, tokens)
        inner = Outcome(inner, handler)
        self._guarded = Held(inner, handler.budget)
        outer: ASGIApp = Head(self._chosen)
        outer = Identity(outer, handler.settings.time_limit_seconds)
        self._outermost = Blocks(outer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._outermost if scope["type"] == "http" else self._routes)(scope, receive, send)

    async def _chosen(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._routes if scope["path"] in OPEN else self._guarded)(scope, receive, send)
