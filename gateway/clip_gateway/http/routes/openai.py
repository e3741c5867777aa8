"""`POST /v1/embeddings` and `GET /v1/models`, compatible with OpenAI: texts, and images as data URIs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from clip_gateway.flow.model import Model
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http.encoding import encode
from clip_gateway.http.messages import json_response, made, read_json
from clip_gateway.http.openapi import PICTURE, WORK_ERRORS, json_content, route
from clip_gateway.http.schemas.openai import EmbeddingsBody
from clip_gateway.http.vectors import as_type
from clip_gateway.problems import Problem
from clip_wire.parameters import NORMALIZE

PATHS: tuple[str, ...] = ("/v1/",)
_MODEL_EXAMPLE = {
    "id": "emoji-tiny",
    "object": "model",
    "created": 1767225600,
    "owned_by": "clip-image-flow",
    "fingerprints": {"image": "1fb6041f..."},
}
_MODEL = json_content({"type": "object"}, _MODEL_EXAMPLE)
_MODELS = json_content({"type": "object"}, {"object": "list", "data": [_MODEL_EXAMPLE]})
_BODY = json_content(
    EmbeddingsBody.schema(), {"input": [f"data:image/png;base64,{PICTURE}"], "encoding_format": "float"}
)
_EMBEDDINGS = json_content(
    {"type": "object"},
    {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.12, -0.05]}],
        "model": "emoji-tiny",
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    },
)


def error(problem: Problem) -> dict[str, Any]:
    """Return the fields of an error that OpenAI's clients read."""
    kind = "invalid_request_error" if problem.kind.status < 500 else "server_error"
    return {"error": {"message": problem.description, "type": kind, "param": None, "code": problem.name}}


def router(handler: RequestHandler) -> APIRouter:
    """Return the routes.

    :param handler: request handler that calls the Flow.
    """
    routes = APIRouter(prefix="/v1", tags=["OpenAI"])
    created = int(time.time())

    @routes.post("/embeddings", response_class=Response, **route(_EMBEDDINGS, *WORK_ERRORS, 404, body=_BODY))
    async def create_embeddings(request: Request) -> Response:
        """Encode texts, and images as data URIs (`data:image/jpeg;base64,...`): one, or a list that may mix both.

        `model` is optional; a name that is not served is a 404. `dimensions` must equal the model's dim. Vectors have
        length 1. `modality` (`image` or `text`, for all inputs) and `normalize` (false returns the model's own numbers)
        are extensions of OpenAI's API.
        """
        body = EmbeddingsBody.read(await read_json(request, handler.limits))
        name = await handler.models.check(body.model, body.dimensions)
        found = as_type(await encode(handler, request, body.items, {NORMALIZE: body.is_unit}), body.type)
        data = [{"object": "embedding", "index": i, "embedding": embedding} for i, embedding in enumerate(found)]
        usage = {"prompt_tokens": 0, "total_tokens": 0}  # executors do not count tokens
        said = made(request, name)
        by = {"system_fingerprint": said["fingerprint"]} if "fingerprint" in said else {}
        return json_response({"object": "list", "data": data, "model": said["model"], "usage": usage, **by})

    @routes.get("/models", response_class=Response, **route(_MODELS, 401, 500, 503))
    async def list_models() -> Response:
        """List the served models: one, if images and texts are encoded by the halves of one model.

        `fingerprints` has the fingerprint of each modality, as in the header `X-Model-Fingerprint`.
        """
        return json_response({"object": "list", "data": _described(await handler.models.known(), created)})

    @routes.get("/models/{name:path}", response_class=Response, **route(_MODEL, 401, 404, 422, 500, 503))
    async def retrieve_model(name: str) -> Response:
        """Return a served model by its name."""
        known = await handler.models.known()
        own = await handler.models.check(name)
        return json_response(next(one for one in _described(known, created) if one["id"] == own))

    return routes


def _described(known: Mapping[str, Model], created: int) -> list[dict[str, Any]]:
    """Return the fields of each model; modalities with the same checkpoint are one model.

    :param known: modality -> model that encodes it.
    :param created: Unix time in seconds.
    """
    found: dict[str, dict[str, Any]] = {}
    for modality, model in known.items():
        own = {"id": model.id, "object": "model", "created": created, "owned_by": "clip-image-flow"}
        described = found.setdefault(model.checkpoint or model.id, own)
        if model.fingerprint:
            described.setdefault("fingerprints", {})[modality] = model.fingerprint
    return list(found.values())
