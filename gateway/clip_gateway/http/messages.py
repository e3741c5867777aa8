"""HTTP bodies in and out, for every route: JSON read within limits, answers of the Flow, problems."""

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

_VALUE_BYTES = 64  # of memory for each value of a JSON body, besides its text; half of what the worst take


def media_type(request: Request) -> str:
    """Of the body, without its parameters; "" when the caller does not say."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request) -> bytes:
    """The body, which Starlette's own `body()` would keep until the answer."""
    return b"".join([block async for block in request.stream()])


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """The body as a JSON object.

    :raises Problem: it is something else, or holds more than it may.
    """
    if media_type(request) != "application/json":
        raise Problem(UnsupportedMedia, "the body must be JSON, sent with 'Content-Type: application/json'")
    body = await read_body(request)
    holding: Holding = request.scope["holding"]
    try:  # in a thread: megabytes of base64 must not keep health waiting
        await asyncio.to_thread(check_json, body, limits)
        holding.grow(_VALUE_BYTES * json_values(body))
        value = await asyncio.to_thread(json.loads, body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(Malformed, f"the body is no JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise Problem(Malformed, "the body must be a JSON object")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


async def ask(
    handler: RequestHandler, request: Request, data_request: DataRequest, hold: Hold | None = None
) -> DataRequest:
    """What the Flow answers to `data_request`.

    :param hold: of requests that are answered together.
    :raises Problem: what went wrong.
    """
    caller: Caller = request.scope["caller"]
    answer = await handler.serve(data_request, caller, hold)
    if problem := problem_of(answer):
        raise problem
    request.scope["made_by"].update(made_by(answer))
    return answer


def made(request: Request, model: str) -> dict[str, str]:
    """The members `model` and `fingerprint` of an answer, as who made it says; else the name alone.

    :param model: the name, where nobody says one.
    """
    found: dict[str, str] = request.scope["made_by"]
    return {"model": next(iter(found.values())), "fingerprint": joined(found)} if found else {"model": model}


def embeddings(answer: DataRequest) -> list[np.ndarray]:
    """The embedding of each document, float32 (dim,).

    :raises Problem: a document has none.
    """
    found = []
    for document in documents_of(answer):
        dense = document.embedding.dense
        array = np.frombuffer(dense.buffer, dtype=dense.dtype or np.float32).reshape(dense.shape)
        if array.size == 0 or array.ndim != 1:
            raise Problem(BadDocument, "the Flow has no embedding for this; is it an image or a text?", document.id)
        found.append(array.astype(np.float32, copy=False))
    return found


def json_response(content: Any, status: int = 200, media: str = "application/json", **headers: str) -> Response:
    """`content` as JSON; the numbers are written so that they read back the same."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(text, status, named, media_type=media)


class Vendor(Protocol):
    """A module of routes in the shape of somebody else's service.

    :ivar PATHS: of its routes, or what they begin with.
    """

    PATHS: tuple[str, ...]

    def router(self, handler: RequestHandler) -> APIRouter:
        """Its routes."""

    def error(self, problem: Problem) -> dict[str, Any]:
        """The members of a problem's body that its clients read, beside those of RFC 9457."""


def problem_response(scope: Scope, problem: Problem) -> Response:
    """A problem as its answer; on a vendor's paths with the members that its clients read."""
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
