"""The HTTP server: Jina's, with our routes and our door in front of them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from jina.serve.runtimes.servers.http import FastAPIBaseServer
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from clip_gateway import embed, health, jina_door, openai_door, openapi
from clip_gateway.http_door import HttpDoor
from clip_gateway.http_messages import problem_response
from clip_gateway.http_protocol import HttpProtocol
from clip_gateway.model import Models
from clip_gateway.problems import Problem
from clip_gateway.request_handler import RequestHandler
from clip_gateway.settings import Settings
from clip_gateway.tokens import Tokens

_TAGS = [
    {"name": "Images", "description": "one image, as it is"},
    {"name": "OpenAI", "description": "for the clients of OpenAI and infinity"},
    {"name": "Jina", "description": "what Jina's Client speaks"},
    {"name": "Health", "description": "never asks for a token"},
]


class HttpServer(FastAPIBaseServer):
    """Jina's server for a FastAPI app.

    :param tokens: who may come in.
    :param settings: of the gateway.
    """

    uvicorn_kwargs: dict[str, Any]

    def __init__(self, tokens: Tokens, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # We write a line of our own; X-Forwarded-* are not ours to believe.
        own = {
            "access_log": False,
            "proxy_headers": False,
            "server_header": False,
            "timeout_keep_alive": settings.keep_alive_seconds,
            "http": type("Protocol", (HttpProtocol,), {"unread_seconds": settings.time_limit_seconds}),
        }
        self.uvicorn_kwargs = {**own, **self.uvicorn_kwargs}
        self._tokens = tokens

    @property
    def app(self) -> FastAPI:
        """The routes, behind the door."""
        handler: RequestHandler = self._request_handler
        app = FastAPI(
            title=self.title or "clip-image-flow",
            description=self.description or "CLIP embeddings of images. Limits, errors and clients: docs/http-api.md.",
            openapi_tags=_TAGS,
        )
        app.add_exception_handler(Problem, _answer)
        app.add_exception_handler(HTTPException, _answer_starlette)
        models = Models(handler)
        for routes in (
            embed.router(handler, models),
            openai_door.router(handler, models),
            jina_door.router(handler),
            health.router(handler.executors),
        ):
            app.include_router(routes)
        openapi.describe(app, with_tokens=self._tokens.asked_for)
        app.add_middleware(HttpDoor, handler=handler, tokens=self._tokens)
        if self.cors:
            app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
        if self.tracing:
            from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

            FastAPIInstrumentor.instrument_app(app, tracer_provider=self.tracer_provider)
        return app


async def _answer(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem_response(request.scope, problem)


async def _answer_starlette(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: a path or a method that is not there."""
    assert isinstance(error, HTTPException)
    name = {404: "NotFound", 405: "MethodNotAllowed"}.get(error.status_code, "Malformed")
    detail = f"{request.method} {request.url.path[:200]}: {error.detail}; the routes are at /docs"
    return problem_response(request.scope, Problem(name, detail))
