"""Routes of Jina's Client over HTTP: `POST /post` and `GET /dry_run`."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from docarray import Document, DocumentArray
from fastapi import APIRouter
from jina.proto import jina_pb2
from jina.serve.runtimes.gateway.models import JinaResponseModel
from jina.types.request.data import DataRequest
from starlette.requests import Request
from starlette.responses import Response

from clip_gateway.flow.counting import DEFAULT_LIMITS, Limits, check_documents
from clip_gateway.flow.messages import documents_of, parse
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http.messages import ask, json_response, read_json
from clip_gateway.http.openapi import PICTURE, WORK_ERRORS, json_content, route
from clip_gateway.http.schemas.jina import PostBody
from clip_gateway.problems import Problem
from clip_wire.errors import Malformed

_BODY = json_content(
    PostBody.schema(),
    {"data": [{"id": "red", "blob": PICTURE}], "parameters": {"normalize": True}, "execEndpoint": "/"},
)
_ANSWER = json_content(
    {"type": "object"},
    {"header": {}, "parameters": {}, "routes": [], "data": [{"id": "red", "embedding": [0.12, -0.05]}]},
)
_DRY_RUN = json_content({"type": "object"}, {"code": 0, "description": ""})


def router(handler: RequestHandler) -> APIRouter:
    """Return the routes.

    :param handler: request handler that calls the Flow.
    """
    routes = APIRouter(tags=["Jina"])

    @routes.post("/post", response_class=Response, **route(_ANSWER, *WORK_ERRORS, 404, body=_BODY))
    async def post(request: Request) -> Response:
        """Send documents to an endpoint of the Flow, as Jina's Client does over HTTP."""
        return await answer_documents(handler, request, await read_json(request, handler.limits))

    @routes.get("/dry_run", response_class=Response, **route(_DRY_RUN, 401, 503))
    async def dry_run() -> Response:
        """Check that all executors respond and run the same checkpoint, for `Client.is_flow_ready`."""
        await handler.executors.refresh()
        if refusal := handler.executors.refusal:
            raise refusal
        return json_response({"code": jina_pb2.StatusProto.SUCCESS, "description": ""})

    return routes


async def answer_documents(handler: RequestHandler, request: Request, body: dict[str, Any]) -> Response:
    """Send the documents of a body in Jina's format to the Flow, and return its response.

    :param handler: request handler that calls the Flow.
    :param request: HTTP request.
    :param body: parsed body, with documents and endpoint.
    :raises Problem: if the request failed.
    """
    data_request = await asyncio.to_thread(to_request, body, handler.limits)
    answer = await ask(handler, request, data_request)
    text = await asyncio.to_thread(from_answer, answer)
    return Response(text, media_type="application/json")


def to_request(body: dict[str, Any], limits: Limits = DEFAULT_LIMITS) -> DataRequest:
    """Convert a body in Jina's format to the message for the Flow.

    :param body: parsed body.
    :param limits: limits on the content of the message.
    :raises Problem: if the body is invalid.
    """
    sent = PostBody.read(body)
    request = DataRequest()
    try:
        request.header.exec_endpoint = sent.endpoint
        request.header.target_executor = sent.target_executor
        request.parameters = sent.parameters or {}
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Problem(Malformed, f"execEndpoint, targetExecutor or parameters: {str(error)[:200]}") from error
    data = sent.documents
    check_documents(data, limits)
    documents = DocumentArray()
    for i, fields in enumerate(data):
        try:
            _check_blobs(fields)
            documents.append(Document.from_dict(fields))
        except Exception as error:  # any error of DocArray
            raise Problem(Malformed, f"this is not a document: {str(error)[:200]}", f"data[{i}]") from error
    try:
        request.data.docs = documents
    except Exception as error:  # some errors of DocArray occur only on conversion to a message
        raise Problem(Malformed, f"these are not documents: {str(error)[:200]}") from error
    if not parse(DataRequest(request.proto.SerializePartialToString()), limits):
        raise Problem(Malformed, "data or parameters are nested too deeply for a message")
    return request


def _check_blobs(fields: dict[str, Any]) -> None:
    """Check the base64 of all blobs: DocArray drops an invalid blob, and its document would be returned unchanged."""
    if isinstance(blob := fields.get("blob"), str):
        base64.b64decode("".join(blob.split()), validate=True)
    for part in [*(fields.get("chunks") or ()), *(fields.get("matches") or ())]:
        _check_blobs(part)


def from_answer(answer: DataRequest) -> str:
    """Return the response in the format of Jina's own gateway."""
    for document in documents_of(answer):
        for name in ("embedding", "tensor"):
            if document.HasField(name):
                getattr(document, name).cls_name = "numpy"
    return str(JinaResponseModel(**answer.to_dict()).json(by_alias=True, allow_nan=False))
