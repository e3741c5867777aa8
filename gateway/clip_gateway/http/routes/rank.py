"""`POST /rank`: scores how well each of several texts describes an image (zero-shot classification)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from jina.types.request.data import DataRequest
from starlette.requests import Request
from starlette.responses import Response

from clip_gateway.flow.messages import documents_of
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http.encoding import add
from clip_gateway.http.messages import ask, json_response, made, read_json
from clip_gateway.http.openapi import PICTURE, WORK_ERRORS, json_content, obj, route
from clip_gateway.http.schemas.item import Item
from clip_gateway.http.schemas.rank import RankBody
from clip_wire.endpoints import COSINE, RANK, SCORE
from clip_wire.info import IMAGE, TEXT

_BODY = json_content(
    RankBody.schema(),
    {"image": f"data:image/png;base64,{PICTURE}", "texts": ["a red square", "a photo of a cat"]},
)
_NUMBER = {"type": "number"}
_LABEL = obj(["label", "score", "cosine"], label={"type": "string"}, score=_NUMBER, cosine=_NUMBER)
_ANSWER = json_content(
    obj(["labels", "model"], labels={"type": "array", "items": _LABEL}, model={"type": "string"}),
    {"labels": [{"label": "a red square", "score": 0.93, "cosine": 0.27}], "model": "emoji-tiny"},
)


AnswerDocuments = Callable[[RequestHandler, Request, dict[str, Any]], Awaitable[Response]]


def router(handler: RequestHandler, answer_documents: AnswerDocuments) -> APIRouter:
    """Return the route.

    :param handler: request handler that calls the Flow.
    :param answer_documents: function that answers a body with documents, as `/post` does.
    """
    routes = APIRouter(tags=["Images and texts"])

    @routes.post("/rank", response_class=Response, **route(_ANSWER, *WORK_ERRORS, 404, body=_BODY))
    async def rank(request: Request) -> Response:
        """Compare an image with texts, best first.

        `cosine` is the cosine of the two embeddings; `score` is the softmax over the texts with the model's own logit
        scale, so the scores of one response sum to 1. A Flow without a text executor returns 404.

        A body with `data` is handled as by `/post`: Jina's Client posts to a path with the endpoint's name if one
        exists.
        """
        value = await read_json(request, handler.limits)
        if "data" in value:
            return await answer_documents(handler, request, {**value, "exec_endpoint": RANK})
        body = RankBody.read(value)
        handler.check_count(1 + len(body.texts))
        model = await handler.models.current(IMAGE)
        await handler.models.current(TEXT)
        data_request = DataRequest()
        data_request.header.exec_endpoint = RANK
        image = add(documents_of(data_request), Item("image", IMAGE, body.image))
        for i, text in enumerate(body.texts):
            add(image.matches, Item(f"texts[{i}]", TEXT, text))
        (answer,) = documents_of(await ask(handler, request, data_request))
        return json_response({"labels": [_label(match) for match in answer.matches], **made(request, model.id)})

    return routes


def _label(match: Any) -> dict[str, Any]:
    return {"label": match.text, "score": match.scores[SCORE].value, "cosine": match.scores[COSINE].value}
