"""Adds bodies, responses, errors and examples to `/docs` and `/openapi.json`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from clip_gateway.problems import KINDS

# A red PNG of 8 x 8 pixels.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mM8oaHBgA0wMeAAg1MCAOA4ASjhBhuDAAAAAElFTkSuQmCC"

_PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457), plus the status header that Jina's Client reads.",
    "required": ["type", "title", "status", "detail", "request_id", "header"],
    "properties": {
        "type": {"type": "string", "example": "urn:clip-image-flow:problem:BadDocument"},
        "title": {"type": "string", "example": "Bad document"},
        "status": {"type": "integer", "example": 400},
        "detail": {"type": "string", "description": "cause of the error, and how to fix it"},
        "document_id": {"type": "string", "description": "id of the document with the error"},
        "place": {"type": "string", "description": "position in that document", "example": "chunk 2"},
        "request_id": {"type": "string", "description": "request id, as in the header X-Request-Id"},
        "header": {"type": "object", "description": "`header.status` as in every response of Jina"},
        "error": {"type": "object", "description": "only under /v1: error object for OpenAI's clients"},
    },
}


def route(answer: dict[str, Any] | None, *errors: int, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return arguments for the decorator of a route.

    :param answer: `content` of the response with status 200.
    :param errors: status codes of errors that the route may return.
    :param body: `content` of the request body.
    """
    responses: dict[int | str, Any] = {200: {"description": "OK", **({"content": answer} if answer else {})}}
    for status in errors:
        kinds = [kind for kind in KINDS.values() if kind.status == status]
        responses[status] = {
            "description": " / ".join(kind.title for kind in kinds),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if any(kind.retry_after for kind in kinds):
            responses[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
    extra = {"requestBody": {"required": True, "content": body}} if body else {}
    return {"responses": responses, "openapi_extra": extra}


def json_content(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    """Return the `content` of a JSON body."""
    return {"application/json": {"schema": schema, "example": example}}


def obj(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object."""
    return {"type": "object", "required": required, "properties": properties}


NUMBERS = {"type": "array", "items": {"type": "number"}, "description": "float32; its length is the model's dim"}
WORK_ERRORS = (400, 401, 408, 413, 415, 422, 429, 500, 503, 504)


def describe(app: FastAPI, with_tokens: bool) -> None:
    """Add the error schema and authentication to the OpenAPI page of `app`.

    :param app: FastAPI application.
    :param with_tokens: whether the gateway requires a token.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            page = generate()
            components = page.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = _PROBLEM
            if with_tokens:
                components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                page["security"] = [{"token": []}]
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
