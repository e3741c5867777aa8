"""Request and response bodies of all routes: JSON within limits, responses of the Flow, errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Protocol

import numpy as np
from fastapi import APIRouter
from jina.types.request.data import DataRequest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from clip_gateway.caller import Caller
from clip_gateway.flow.counting import Limits, check_json, json_values
from clip_gateway.flow.messages import documents_of, joined, made_by
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.flow.sending import Hold
from clip_gateway.memory import Holding
from clip_gateway.problems import Problem, problem_of
from clip_wire.errors import BadDocument, Malformed, UnsupportedMedia

_VALUE_BYTES = 64  # memory per value of a JSON body, in addition to its text; the worst case is twice as much


def media_type(request: Request) -> str:
    """Return the media type of the body without parameters, or "" if there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request) -> bytes:
    """Return the body; unlike Starlette's `body()`, without keeping it until the response."""
    return b"".join([block async for block in request.stream()])


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """Return the body as a JSON object.

    :param request: HTTP request.
    :param limits: limits on the content of the body.
    :raises Problem: if the body is not a JSON object, or exceeds a limit.
    """
    if media_type(request) != "application/json":
        raise Problem(UnsupportedMedia, "the body must be JSON, sent with 'Content-Type: application/json'")
    body = await read_body(request)
    holding: Holding = request.scope["holding"]
    try:  # in a thread: megabytes of base64 must not delay health checks
        await asyncio.to_thread(check_json, body, limits)
        holding.grow(_VALUE_BYTES * json_values(body))
        value = await asyncio.to_thread(json.loads, body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(Malformed, f"the body is not JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise Problem(Malformed, "the body must be a JSON object")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


async def ask(
    handler: RequestHandler, request: Request, data_request: DataRequest, hold: Hold | None = None
) -> DataRequest:
    """Return the Flow's response to `data_request`.

    :param hold: pins shared by requests whose responses are combined.
    :raises Problem: if the request failed.
    """
    caller: Caller = request.scope["caller"]
    answer = await handler.serve(data_request, caller, hold)
    if problem := problem_of(answer):
        raise problem
    request.scope["made_by"].update(made_by(answer))
    return answer


def made(request: Request, model: str) -> dict[str, str]:
    """Return the fields `model` and `fingerprint` of a response, as the executors reported them.

    :param request: HTTP request.
    :param model: model name if no executor reported one.
    """
    found: dict[str, str] = request.scope["made_by"]
    return {"model": next(iter(found.values())), "fingerprint": joined(found)} if found else {"model": model}


def embeddings(answer: DataRequest) -> list[np.ndarray]:
    """Return the embedding of each document, float32 (dim,).

    :raises Problem: if a document has no embedding.
    """
    found = []
    for document in documents_of(answer):
        dense = document.embedding.dense
        array = np.frombuffer(dense.buffer, dtype=dense.dtype or np.float32).reshape(dense.shape)
        if array.size == 0 or array.ndim != 1:
            raise Problem(BadDocument, "the Flow returned no embedding; is this an image or a text?", document.id)
        found.append(array.astype(np.float32, copy=False))
    return found


def json_response(content: Any, status: int = 200, media: str = "application/json", **headers: str) -> Response:
    """Return `content` as JSON, with numbers that are parsed to the same value."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(text, status, named, media_type=media)


class Vendor(Protocol):
    """A module of routes that are compatible with another service.

    :ivar PATHS: paths of its routes, or their prefixes.
    """

    PATHS: tuple[str, ...]

    def router(self, handler: RequestHandler) -> APIRouter:
        """Return the routes."""

    def error(self, problem: Problem) -> dict[str, Any]:
        """Return the fields of an error body that the service's clients read, in addition to those of RFC 9457."""


def problem_response(scope: Scope, problem: Problem) -> Response:
    """Return the error response; on a vendor's paths with the fields that its clients read."""
    scope["problem"] = problem.name  # for the log
    body = problem.body(scope["caller"].id)
    for vendor in scope["app"].state.vendors:
        if scope["path"].startswith(vendor.PATHS):
            body.update(vendor.error(problem))
    headers = dict(problem.headers)
    if problem.kind.retry_after:
        headers["retry_after"] = str(problem.kind.retry_after)
    if problem.kind.status == 401:
        headers["www_authenticate"] = "Bearer"
    return json_response(body, problem.kind.status, "application/problem+json", **headers)
