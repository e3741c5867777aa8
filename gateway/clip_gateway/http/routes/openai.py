"""`POST /v1/embeddings` and `GET /v1/models`, in OpenAI's shape: images come as data URIs where OpenAI takes texts."""

from __future__ import annotations

import base64
import re
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
from clip_gateway.http.openapi import PICTURE, WORK_ERRORS, json_content, obj, route
from clip_gateway.problems import Problem
from clip_wire.endpoints import DEFAULT
from clip_wire.errors import BadDocument, BadParameter, Malformed, NotFound
from clip_wire.parameters import NORMALIZE

_KNOWN = {"input", "model", "encoding_format", "dimensions", "user", "modality", "normalize"}
_ANY_MODEL = [None, "default/not-specified"]  # the latter is what infinity's clients send
_URI = re.compile(r"data:|[a-zA-Z][a-zA-Z0-9+.-]*://")
_MODEL_EXAMPLE = {"id": "emoji-tiny", "object": "model", "created": 1767225600, "owned_by": "clip-image-flow"}
_MODEL = json_content({"type": "object"}, _MODEL_EXAMPLE)
_MODELS = json_content({"type": "object"}, {"object": "list", "data": [_MODEL_EXAMPLE]})
_TEXT = {"type": "string"}
_URIS = {"oneOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}], "description": "data URIs of images"}
_BODY = json_content(
    obj(
        ["input"],
        input=_URIS,
        model={**_TEXT, "description": "the one of /v1/models, or nothing"},
        encoding_format={"enum": ["float", "base64"], "default": "float"},
        normalize={"type": "boolean", "description": "scale each embedding to length 1"},
        modality={"enum": ["image"]},
        user=_TEXT,
    ),
    {"input": [f"data:image/png;base64,{PICTURE}"], "encoding_format": "float"},
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
        body = await read_json(request, handler.limits)
        uris, as_base64 = inputs_of(body), _as_base64(body)
        model = await models.current(request.scope["caller"])
        _check_model(body, model)
        data_request = DataRequest()
        data_request.header.exec_endpoint = DEFAULT
        if "normalize" in body:
            data_request.parameters = {NORMALIZE: body["normalize"]}
        for i, uri in enumerate(uris):
            documents_of(data_request).add(id=f"input[{i}]", uri=uri)
        found = embeddings(await ask(handler, request, data_request))
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
        _check_model({"model": name}, model)
        return json_response(_described(model, created))

    return routes


def inputs_of(body: dict[str, Any]) -> list[str]:
    """The URIs that a body asks to encode.

    :raises Problem: there are none, or the body has a member that is not known.
    """
    if unknown := body.keys() - _KNOWN:
        raise Problem(BadParameter, f"unknown member {min(unknown)[:100]!r}; there are {', '.join(sorted(_KNOWN))}")
    if body.get("dimensions") is not None:
        raise Problem(BadParameter, "dimensions: embeddings come in the model's own length; leave it out")
    if body.get("modality", "image") != "image":
        raise Problem(BadParameter, "modality must be 'image', the one that is encoded here")
    sent = body.get("input")
    uris = [sent] if isinstance(sent, str) else sent
    if not isinstance(uris, list) or not uris:
        raise Problem(Malformed, "input must be a data URI or a list of them, at least one")
    for i, uri in enumerate(uris):
        if not isinstance(uri, str) or not _URI.match(uri):
            raise Problem(
                BadDocument, "images are encoded here: send a data URI (data:image/jpeg;base64,...)", f"input[{i}]"
            )
    return uris


def _as_base64(body: dict[str, Any]) -> bool:
    asked = body.get("encoding_format") or "float"
    if asked not in ("float", "base64"):
        raise Problem(BadParameter, f"encoding_format must be float or base64, not {str(asked)[:100]!r}")
    return bool(asked == "base64")


def _check_model(body: dict[str, Any], model: Model) -> None:
    if (asked := body.get("model") or None) not in [*_ANY_MODEL, model.id]:
        raise Problem(NotFound, f"no model {str(asked)[:100]!r} here; this Flow serves {model.id!r}")


def _base64(array: np.ndarray) -> str:
    """Little-endian float32, as OpenAI sends them."""
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def _described(model: Model, created: int) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": created, "owned_by": "clip-image-flow"}
