"""Jina's HTTP server with the gateway's routes and middleware."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from jina.serve.runtimes.servers.http import FastAPIBaseServer
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http import openapi
from clip_gateway.http.listening import listening
from clip_gateway.http.messages import Vendor, problem_response
from clip_gateway.http.middleware import Middleware
from clip_gateway.http.protocol import HttpProtocol
from clip_gateway.http.routes import cohere, embed, health, jina, openai, rank, weaviate
from clip_gateway.jina_internals import request_handler_of
from clip_gateway.problems import Problem
from clip_gateway.settings import Settings
from clip_gateway.tokens import Tokens
from clip_wire.errors import Malformed, MethodNotAllowed, NotFound, RequestError

_DESCRIPTION = "CLIP embeddings of images and texts. Limits, errors and clients: docs/http-api.md."
_TAGS = [
    {"name": "Images and texts", "description": "encode an image or text, and compare an image with texts"},
    {"name": "OpenAI", "description": "for the clients of OpenAI, Jina, vLLM and infinity"},
    {"name": "Cohere", "description": "for the clients of Cohere"},
    {"name": "Weaviate", "description": "for Weaviate's module multi2vec-clip"},
    {"name": "Jina", "description": "for Jina's Client"},
    {"name": "Health", "description": "health checks, without a token"},
]

VENDORS: tuple[Vendor, ...] = (openai, cohere, weaviate)
"""Modules of routes that are compatible with other services, with their error formats."""
_OF_STARLETTE: dict[int, type[RequestError]] = {404: NotFound, 405: MethodNotAllowed}
_SLASHES = re.compile("/{2,}")


class _App(FastAPI):
    """FastAPI with normalized paths, so that middleware, routes and tracing see the same path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Normalize the path of an ASGI call."""
        if scope["type"] == "http" and (path := one_spelling(scope["path"])) != scope["path"]:
            scope["path"], scope["raw_path"] = path, quote(path).encode()
        await super().__call__(scope, receive, send)


def one_spelling(path: str) -> str:
    """Return `path` without a trailing slash and without repeated slashes."""
    plain = _SLASHES.sub("/", path)
    return plain.removesuffix("/") or "/"


class HttpServer(FastAPIBaseServer):
    """Jina's server for a FastAPI app.

    :param tokens: valid tokens.
    :param settings: settings of the gateway.
    """

    uvicorn_kwargs: dict[str, Any]

    def __init__(self, tokens: Tokens, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # The gateway has its own access log, and does not trust X-Forwarded-*.
        own = {
            "access_log": False,
            "proxy_headers": False,
            "server_header": False,
            "timeout_keep_alive": settings.keep_alive_seconds,
            "http": type("Protocol", (HttpProtocol,), {"unread_seconds": settings.time_limit_seconds}),
        }
        self.uvicorn_kwargs = {**own, **self.uvicorn_kwargs}
        self._tokens = tokens

    async def setup_server(self) -> None:
        """Start the server on one socket for IPv6 and IPv4; Jina's own socket has only IPv4."""
        with listening(self.host, self.port) as one:
            self.uvicorn_kwargs["fd"] = one.fileno()  # uvicorn duplicates the descriptor
            await super().setup_server()

    async def shutdown(self) -> None:
        """Stop listening, close idle connections, then shut down.

        On Python 3.12 and newer uvicorn's own shutdown waits for all connections before it closes the idle ones.
        """
        if self.server.started:
            for server in self.server.servers:
                server.close()
            for connection in list(self.server.server_state.connections):
                connection.shutdown()
        await super().shutdown()

    @property
    def app(self) -> FastAPI:
        """The FastAPI application: middleware and routes."""
        handler: RequestHandler = request_handler_of(self)
        app = _App(
            title=self.title or "clip-image-flow",
            description=self.description
            or "CLIP embeddings of images and texts. Limits, errors and clients: docs/http-api.md.",
            openapi_tags=_TAGS,
            redirect_slashes=False,  # behind a proxy, the target would be wrong
        )
        app.add_exception_handler(Problem, _answer)
        app.add_exception_handler(HTTPException, _answer_starlette)
        app.state.vendors = VENDORS
        for routes in (
            embed.router(handler),
            rank.router(handler, jina.answer_documents),
            *(vendor.router(handler) for vendor in VENDORS),
            jina.router(handler),
            health.router(handler.executors),
        ):
            app.include_router(routes)
        openapi.describe(app, with_tokens=self._tokens.asked_for)
        app.add_middleware(Middleware, handler=handler, tokens=self._tokens)
        if self.cors:
            app.add_middleware(
                CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], expose_headers=["*"]
            )
        if self.tracing:
            from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

            FastAPIInstrumentor.instrument_app(app, tracer_provider=self.tracer_provider)
        return app


async def _answer(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem_response(request.scope, problem)


async def _answer_starlette(request: Request, error: Exception) -> Response:
    """Answer errors of the framework: an unknown path or method."""
    assert isinstance(error, HTTPException)
    kind = _OF_STARLETTE.get(error.status_code, Malformed)
    detail = f"{request.method} {request.scope['path'][:200]}: {error.detail}; the routes are at /docs"
    headers = {}
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
        detail += f" (Allow: {headers['Allow']})"
    return problem_response(request.scope, Problem(kind, detail, headers=headers))


def _methods(request: Request) -> list[str]:
    """Return the methods of all routes of the request's path."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    found = {name for route in routes if route.matches(request.scope)[0] != Match.NONE for name in route.methods or ()}
    return sorted(found | {"HEAD"} if "GET" in found else found)
