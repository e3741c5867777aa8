"""`POST /v1/embeddings` and `GET /v1/models`, in OpenAI's shape: texts, and images as data URIs."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from clip_gateway.flow.model import Model, Models
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http.encoding import Item, encode
from clip_gateway.http.messages import json_response, read_json
from clip_gateway.http.openapi import PICTURE, WORK_ERRORS, json_content, route
from clip_gateway.http.schemas.openai import EmbeddingsBody
from clip_gateway.problems import Problem
from clip_wire.errors import BadDocument, NotFound
from clip_wire.info import TEXT
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
        """Encode images, sent as data URIs (`data:image/jpeg;base64,...`), and texts: one or a list, mixed as you like.

        `model` may be left out; a name that is not served here is a 404. `dimensions` is refused. `modality` (`image`
        or `text`, for every input) and `normalize` are not OpenAI's.
        """
        body = EmbeddingsBody.read(await read_json(request, handler.limits))
        known = await models.known()
        _check_model(body.model, known)
        items = [Item(f"input[{i}]", modality, content) for i, (modality, content) in enumerate(body.inputs)]
        for item in items:
            if item.modality not in known:
                await _refuse(item, models)
        parameters = {NORMALIZE: body.normalize} if "normalize" in body.__fields_set__ else {}
        found = await encode(handler, request, items, known, parameters)
        as_base64 = body.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": i, "embedding": _base64(array) if as_base64 else array.tolist()}
            for i, array in enumerate(found)
        ]
        usage = {"prompt_tokens": 0, "total_tokens": 0}  # the executors count none
        model = known[items[0].modality]
        return json_response({"object": "list", "data": data, "model": model.id, "usage": usage})

    @routes.get("/models", response_class=Response, **route(_MODELS, 401, 500, 503))
    async def list_models() -> Response:
        """The models that this Flow serves: one, where images and texts are encoded by the halves of one."""
        served: dict[str, str] = {}
        for model in (await models.known()).values():
            served.setdefault(model.checkpoint or model.id, model.id)
        return json_response({"object": "list", "data": [_described(name, created) for name in served.values()]})

    @routes.get("/models/{name:path}", response_class=Response, **route(_MODEL, 401, 404, 422, 500, 503))
    async def retrieve_model(name: str) -> Response:
        """A model that this Flow serves, by its name."""
        _check_model(name, await models.known())
        return json_response(_described(name, created))

    return routes


async def _refuse(item: Item, models: Models) -> None:
    """Say why nothing encodes this item.

    :raises Problem: always.
    """
    try:
        await models.current(item.modality)
    except Problem as problem:
        if problem.kind is not NotFound:
            raise
        wanted = "; send a data URI of an image (data:image/jpeg;base64,...)" if item.modality == TEXT else ""
        raise Problem(BadDocument, problem.detail + wanted, item.id) from None


def _check_model(asked: Any, known: Mapping[str, Model]) -> None:
    names = list(dict.fromkeys(model.id for model in known.values()))
    if (asked or None) not in [*_ANY_MODEL, *names]:
        served = ", ".join(map(repr, names))
        raise Problem(NotFound, f"no model {str(asked)[:100]!r} here; this Flow serves {served}")


def _base64(array: np.ndarray) -> str:
    """Little-endian float32, as OpenAI sends them."""
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def _described(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "clip-image-flow"}
