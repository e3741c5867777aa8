"""`POST /vectorize`, `GET /meta` and `GET /.well-known/*`, for Weaviate's module multi2vec-clip.

Weaviate's environment variable CLIP_INFERENCE_API is set to the gateway's address.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from clip_gateway.flow.health import present
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http.encoding import encode
from clip_gateway.http.messages import json_response, read_json
from clip_gateway.http.openapi import NUMBERS, PICTURE, WORK_ERRORS, json_content, obj, route
from clip_gateway.http.schemas.weaviate import VectorizeBody
from clip_gateway.problems import Problem
from clip_wire.parameters import NORMALIZE

PATHS: tuple[str, ...] = ("/vectorize", "/meta", "/.well-known/")
_BODY = json_content(VectorizeBody.schema(), {"texts": ["a red square"], "images": [PICTURE]})
_VECTORS = {"type": "array", "items": NUMBERS}
_ANSWER = json_content(
    obj(["textVectors", "imageVectors"], textVectors=_VECTORS, imageVectors=_VECTORS),
    {"textVectors": [[0.12, -0.05]], "imageVectors": [[0.11, -0.04]]},
)
_META = json_content({"type": "object"}, {"model": "emoji-tiny", "dim": 128})
_EMPTY: dict[int | str, Any] = {204: {"description": "OK"}, 503: {"description": "Not ready"}}


def error(problem: Problem) -> dict[str, Any]:
    """Return the fields of an error that Weaviate reads."""
    return {"error": problem.description}


def router(handler: RequestHandler) -> APIRouter:
    """Return the routes.

    :param handler: request handler that calls the Flow.
    """
    routes = APIRouter(tags=["Weaviate"])

    @routes.post("/vectorize", response_class=Response, **route(_ANSWER, *WORK_ERRORS, body=_BODY))
    async def vectorize(request: Request) -> Response:
        """Encode texts and base64 images; returns vectors of length 1, in order."""
        body = VectorizeBody.read(await read_json(request, handler.limits))
        vectors = await encode(handler, request, body.items, {NORMALIZE: True})
        found = [vector.tolist() for vector in vectors]
        count = len(body.texts)
        return json_response({"textVectors": found[:count], "imageVectors": found[count:]})

    @routes.get("/meta", response_class=Response, **route(_META, 401, 500, 503))
    async def meta() -> Response:
        """Return model name, dim and modalities."""
        known = await handler.models.known()
        first = next(iter(known.values()))
        return json_response({"model": first.id, "dim": first.dim, "modalities": sorted(known)})

    @routes.get("/.well-known/live", status_code=204, response_class=Response)
    async def live() -> Response:
        """Liveness: returns 204 while the process runs."""
        return Response(status_code=204)

    @routes.get("/.well-known/ready", status_code=204, response_class=Response, responses=_EMPTY)
    async def ready() -> Response:
        """Readiness: returns 204 if every executor responds."""
        return Response(status_code=204 if (await present(handler.executors)).is_ok else 503)

    return routes
