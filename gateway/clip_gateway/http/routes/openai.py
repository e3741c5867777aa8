"""`POST /v1/embeddings` and `GET /v1/models`, in OpenAI's shape: images come as data URIs where OpenAI takes texts."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
from fastapi import APIRouter
from jina.types.request.data import DataRequest
from starlette.requests import Request
from starlette.responses import Response

from clip_gateway.flow.messages import documents_of
from clip_gateway.flow.model import Model, Models
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http.messages import ask, embeddings, json_response, read_json
from clip_gateway.http.openapi import PICTURE, WORK_ERRORS, json_content, route
from clip_gateway.http.schemas.openai import EmbeddingsBody
from clip_gateway.problems import Problem
from clip_wire.endpoints import DEFAULT
from clip_wire.errors import NotFound
from clip_wire.parameters import NORMALIZE

_ANY_MODEL = [None, "default/not-specified"]  # the latter is what infinity's clients send
_MODEL_EXAMPLE = {"id": "emoji-tiny", "object": "model", "created": 1767225600, "owned_by": "clip-image-flow"}
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


def router(handler: RequestHandler, models: Models) -> APIRouter:
    """The routes.

    :param handler: the way through the Flow.
    """
    routes = APIRouter(prefix="/v1", tags=["OpenAI"])
    created = int(time.time())

    @routes.post("/embeddings", response_class=Response, **route(_EMBEDDINGS, *WORK_ERRORS, 404, body=_BODY))
    async def create_embeddings(request: Request) -> Response:
        """Encode images, sent as data URIs (`data:image/jpeg;base64,...`), one or a list.

        `model` may be left out; a name that is not served here is a 404. `dimensions` is refused. `modality` (`image`)
        and `normalize` are not OpenAI's.
        """
        body = EmbeddingsBody.read(await read_json(request, handler.limits))
        model = await models.current(request.scope["caller"])
        _check_model(body.model, model)
        data_request = DataRequest()
        data_request.header.exec_endpoint = DEFAULT
        if "normalize" in body.__fields_set__:
            data_request.parameters = {NORMALIZE: body.normalize}
        for i, uri in enumerate(body.uris):
            documents_of(data_request).add(id=f"input[{i}]", uri=uri)
        found = embeddings(await ask(handler, request, data_request))
        as_base64 = body.encoding_format == "base64"
        items = [
            {"object": "embedding", "index": i, "embedding": _base64(array) if as_base64 else array.tolist()}
            for i, array in enumerate(found)
        ]
        usage = {"prompt_tokens": 0, "total_tokens": 0}  # an image has none
        return json_response({"object": "list", "data": items, "model": model.id, "usage": usage})

    @routes.get("/models", response_class=Response, **route(_MODELS, 401, 500, 503))
    async def list_models(request: Request) -> Response:
        """The model that this Flow serves."""
        model = await models.current(request.scope["caller"])
        return json_response({"object": "list", "data": [_described(model, created)]})

    @routes.get("/models/{name:path}", response_class=Response, **route(_MODEL, 401, 404, 422, 500, 503))
    async def retrieve_model(request: Request, name: str) -> Response:
        """The model that this Flow serves, by its name."""
        model = await models.current(request.scope["caller"])
        _check_model(name, model)
        return json_response(_described(model, created))

    return routes


def _check_model(asked: Any, model: Model) -> None:
    if (asked or None) not in [*_ANY_MODEL, model.id]:
        raise Problem(NotFound, f"no model {str(asked)[:100]!r} here; this Flow serves {model.id!r}")


def _base64(array: np.ndarray) -> str:
    """Little-endian float32, as OpenAI sends them."""
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def _described(model: Model, created: int) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": created, "owned_by": "clip-image-flow"}
