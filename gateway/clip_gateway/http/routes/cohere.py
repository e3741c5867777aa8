"""`POST /v2/embed`, compatible with Cohere."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http.encoding import encode
from clip_gateway.http.messages import json_response, read_json
from clip_gateway.http.openapi import PICTURE, WORK_ERRORS, json_content, route
from clip_gateway.http.schemas.cohere import EmbedBody
from clip_gateway.http.vectors import as_type
from clip_gateway.problems import Problem
from clip_wire.info import TEXT
from clip_wire.parameters import NORMALIZE

PATHS: tuple[str, ...] = ("/v2/",)
_BODY = json_content(
    EmbedBody.schema(), {"images": [f"data:image/png;base64,{PICTURE}"], "embedding_types": ["float", "ubinary"]}
)
_ANSWER = json_content(
    {"type": "object"},
    {
        "id": "embd-3f1c",
        "embeddings": {"float": [[0.12, -0.05]], "ubinary": [[129]]},
        "texts": [],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 0}},
        "response_type": "embeddings_by_type",
    },
)


def error(problem: Problem) -> dict[str, Any]:
    """Return the fields of an error that Cohere's clients read."""
    return {"message": problem.description}


def router(handler: RequestHandler) -> APIRouter:
    """Return the route.

    :param handler: request handler that calls the Flow.
    """
    routes = APIRouter(prefix="/v2", tags=["Cohere"])

    @routes.post("/embed", response_class=Response, **route(_ANSWER, *WORK_ERRORS, 404, body=_BODY))
    async def embed(request: Request) -> Response:
        """Encode texts, images, or inputs of either; returns vectors of length 1 in every requested type.

        int8 and uint8 are the numbers times 127, rounded (uint8: plus 128); binary and ubinary are one bit per number.
        """
        body = EmbedBody.read(await read_json(request, handler.limits))
        await handler.models.check(body.model, body.output_dimension)
        items = body.items
        vectors = await encode(handler, request, items, {NORMALIZE: True})
        return json_response(
            {
                "id": f"embd-{request.scope['caller'].id}",
                "embeddings": {name: as_type(vectors, name) for name in body.embedding_types or ["float"]},
                "texts": [item.content for item in items if item.modality == TEXT],
                "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 0}},
                "response_type": "embeddings_by_type",
            }
        )

    return routes
