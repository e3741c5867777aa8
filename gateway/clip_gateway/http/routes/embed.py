"""`POST /embed`: encodes one image or one text, or a form with several."""

from __future__ import annotations

import io
from email.message import Message
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http.encoding import encode, to_request
from clip_gateway.http.forms import is_form, read_form
from clip_gateway.http.messages import ask, embeddings, json_response, made, media_type, read_body
from clip_gateway.http.negotiation import choose
from clip_gateway.http.openapi import NUMBERS, WORK_ERRORS, json_content, obj, route
from clip_gateway.http.schemas.item import Item
from clip_gateway.problems import Problem
from clip_wire.errors import BadDocument, BadParameter, Malformed, NotAcceptable, UnsupportedMedia
from clip_wire.info import IMAGE, TEXT

_DOCUMENT = "body"  # document id in errors
_NPY = "application/x-npy"
_IMAGE = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    **dict.fromkeys(("image/jpeg", "image/png", "image/webp", "image/*", "application/octet-stream"), _IMAGE),
    "text/plain": {"schema": {"type": "string"}, "example": "a photo of a cat"},
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {
                "image": {"type": "array", "items": _IMAGE["schema"]},
                "text": {"type": "array", "items": {"type": "string"}},
            },
        }
    },
}
_ANSWER = {
    **json_content(
        obj(["embedding", "dim", "model"], embedding=NUMBERS, dim={"type": "integer"}, model={"type": "string"}),
        {"embedding": [0.12, -0.05], "dim": 2, "model": "emoji-tiny"},
    ),
    _NPY: _IMAGE,
}
_OFFERS = tuple(_ANSWER)  # the first is the default


def router(handler: RequestHandler) -> APIRouter:
    """Return the route.

    :param handler: request handler that calls the Flow.
    """
    routes = APIRouter(tags=["Images and texts"])

    @routes.post("/embed", response_class=Response, **route(_ANSWER, *WORK_ERRORS, 406, body=_BODY))
    async def embed(request: Request) -> Response:
        """Encode one image, sent as a file.

            curl --data-binary @cat.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/embed

        Or one text in UTF-8, if the Flow encodes texts:

            curl --data-binary 'a photo of a cat' -H 'Content-Type: text/plain' http://127.0.0.1:8000/embed

        Or a form with any number of fields `image` and `text`; the response has `embeddings` in the same order:

            curl -F image=@cat.jpg -F 'text=a photo of a cat' http://127.0.0.1:8000/embed

        The query string has request parameters. With `Accept: application/x-npy` the response is a NumPy file of
        float32 (dim,), for a form (n, dim):

            curl --data-binary @cat.jpg -H 'Content-Type: image/jpeg' -H 'Accept: application/x-npy' \\
              'http://127.0.0.1:8000/embed?normalize=true' -o cat.npy
        """
        answer = choose(request.headers.getlist("accept"), _OFFERS)
        if answer is None:
            raise Problem(NotAcceptable, f"Accept: the response can be {' or '.join(_OFFERS)}; send one, or */*")
        if is_form(request):
            items = await read_form(request, handler.settings.max_documents)
            rows = np.stack(await encode(handler, request, items, parameters(request)))
            model = await handler.models.current(items[0].modality)
            return _respond(
                answer, rows, {"embeddings": rows.tolist(), "dim": rows.shape[1], **made(request, model.id)}
            )
        modality = _modality(request)
        model = await handler.models.current(modality)
        asked = parameters(request)
        read = _read_text if modality == TEXT else _read_image
        # No other reference to the body: the message is one copy, and the serialized message another.
        data_request = to_request([Item(_DOCUMENT, modality, await read(request))], model, asked)
        (embedding,) = embeddings(await ask(handler, request, data_request))
        return _respond(
            answer, embedding, {"embedding": embedding.tolist(), "dim": len(embedding), **made(request, model.id)}
        )

    return routes


def _respond(media: str, array: np.ndarray, described: dict[str, Any]) -> Response:
    """Return the embeddings as a NumPy file, or `described` as JSON."""
    if media == _NPY:
        file = io.BytesIO()
        np.save(file, array)
        return Response(file.getvalue(), media_type=_NPY)
    return json_response(described)


def _modality(request: Request) -> str:
    """Return the modality of the body by its Content-Type; without one, it is an image.

    :raises Problem: if the body is neither an image nor a text.
    """
    sent = media_type(request)
    if sent == "text/plain":
        return TEXT
    if sent and not sent.startswith("image/") and sent != "application/octet-stream":
        raise Problem(
            UnsupportedMedia,
            "the body must be an image, a text or a form, sent with a header such as 'Content-Type: image/jpeg' or "
            f"'Content-Type: text/plain', not {sent[:100]!r}",
        )
    return IMAGE


async def _read_image(request: Request) -> bytes:
    """Return the body as an image file.

    :raises Problem: if it is empty.
    """
    body = await read_body(request)
    if not body:
        raise Problem(BadDocument, "the body is empty: send an image (curl --data-binary @cat.jpg)")
    return body


async def _read_text(request: Request) -> str:
    """Return the body as a text.

    :raises Problem: if it is empty or not valid UTF-8.
    """
    _check_charset(request)
    try:
        text = (await read_body(request)).decode()
    except UnicodeDecodeError as error:
        raise Problem(Malformed, f"the body is not UTF-8 text: {error.reason} at byte {error.start}") from error
    if not text:
        raise Problem(BadDocument, "the body is empty: send a text (curl --data-binary 'a photo of a cat')")
    return text


def _check_charset(request: Request) -> None:
    """Check that the Content-Type has charset UTF-8, or none.

    :raises Problem: if it has another charset.
    """
    header = Message()
    header["Content-Type"] = request.headers["content-type"]
    if (charset := header.get_content_charset("utf-8")) not in ("utf-8", "utf8"):
        raise Problem(UnsupportedMedia, f"charset={charset[:100]}: a text is read in UTF-8; send it so")


def parameters(request: Request) -> dict[str, Any]:
    """Return the query string as request parameters; `true`, `false` and numbers are converted."""
    found: dict[str, Any] = {}
    for key, text in request.query_params.multi_items():
        if key in found:
            raise Problem(BadParameter, f"the query names {key[:100]!r} twice")
        found[key] = _value(text)
    return found


def _value(text: str) -> bool | float | str:
    if text in ("true", "false"):
        return text == "true"
    try:
        number = float(text)
    except ValueError:
        return text
    return number if np.isfinite(number) else text
