"""Runs the project's own functions on a mutant, until it is accepted or rejected with an error of the API.

A target returns how the mutant ended, for the statistics; any exception that it raises is a failure.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from typing import Any

from jina.types.request.data import DataRequest
from starlette.requests import Request

from clip_gateway.flow.counting import DEFAULT_LIMITS, check_json
from clip_gateway.flow.messages import documents_of, parse, set_reserved
from clip_gateway.http.encoding import add
from clip_gateway.http.forms import read_form
from clip_gateway.http.routes.jina import to_request
from clip_gateway.http.schemas.cohere import EmbedBody
from clip_gateway.http.schemas.openai import EmbeddingsBody
from clip_gateway.http.schemas.rank import RankBody
from clip_gateway.http.schemas.weaviate import VectorizeBody
from clip_gateway.problems import Problem
from clip_image_flow.errors import BadParameter, RequestError
from clip_image_flow.image.pictures import open_picture
from clip_image_flow.image.preprocess import Square, to_square
from clip_image_flow.image.reader import ImageReader
from clip_image_flow.image.uris import UriReader
from clip_image_flow.serving.jina_internals import refuse_bad_documents
from clip_image_flow.serving.parameters import EncodeParameters
from clip_image_flow.serving.selection import select_images, select_texts
from clip_image_flow.text.tokens import ClipTokenizer
from fuzz.mutants import BOUNDARY

MAX_PIXELS = 4_000_000
_READER = ImageReader(20 << 20, MAX_PIXELS, UriReader())


def picture(data: bytes) -> str:
    """Decode and preprocess an image, like a decoding process."""
    try:
        with open_picture(data, MAX_PIXELS) as opened:
            assert to_square(opened, Square(64), exact=True).size == (64, 64)
    except RequestError as error:
        return type(error).__name__
    return "accepted"


def uri(data: bytes) -> str:
    """Read a URI, like an executor that allows only data URIs."""
    try:
        UriReader().read(data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace"), 20 << 20)
    except RequestError as error:
        return type(error).__name__
    except UnicodeDecodeError:
        return "no text"
    return "accepted"


def message(data: bytes) -> str:
    """Parse a gRPC message, like the gateway, and select its documents, like an executor."""
    request = DataRequest(data)
    try:
        if not parse(request):
            return "Malformed"
        return _through_an_executor(request)
    except (Problem, RequestError) as error:
        return error.name if isinstance(error, Problem) else type(error).__name__


def body(data: bytes) -> str:
    """Parse a JSON body of `/post`, or of the routes that are compatible with other services."""
    try:
        check_json(data, DEFAULT_LIMITS)
        value: Any = json.loads(data)
    except Problem as problem:
        return problem.name
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(value, dict):
        return "no object"
    try:
        if "data" in value:
            return _through_an_executor(to_request(value))
        if "image" in value:
            return "accepted" if RankBody.read(value).texts else "empty"
        if "input" in value or "messages" in value:
            read: Any = EmbeddingsBody.read(value)
        else:
            read = VectorizeBody.read(value) if "texts" in value and "images" in value else EmbedBody.read(value)
        for item in read.items:
            add(documents_of(DataRequest()), item)
    except (Problem, RequestError) as error:
        return error.name if isinstance(error, Problem) else type(error).__name__
    return "accepted"


def form(data: bytes) -> str:
    """Parse a form of `/embed`, with the boundary of the valid inputs."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    header = (b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())
    request = Request({"type": "http", "method": "POST", "path": "/embed", "headers": [header]}, receive)
    try:
        asyncio.run(read_form(request, most=100))
    except Problem as problem:
        return problem.name
    return "accepted"


def text(data: bytes) -> str:
    """Tokenize a text, like an executor."""
    try:
        tokens = _tokenizer()(data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace"))
    except RequestError as error:
        return type(error).__name__
    except UnicodeDecodeError:
        return "no text"
    assert 0 <= tokens.min() <= tokens.max() == 49407
    return "accepted"


@functools.cache
def _tokenizer() -> ClipTokenizer:
    return ClipTokenizer(77, truncate=True, max_bytes=65536)


def _through_an_executor(request: DataRequest) -> str:
    try:
        parameters = EncodeParameters().override(request.parameters)
    except ValueError:  # a number that is not finite, which the gateway rejects when it sends the request
        raise BadParameter("a number is not finite") from None
    set_reserved(request, "fuzz", 0.0)
    refuse_bad_documents()
    documents = DataRequest(request.proto.SerializeToString()).docs
    select_texts(documents, parameters.traversal_paths, 1024)
    selection = select_images(documents, parameters.traversal_paths, 1024)
    for image in selection.items:
        try:
            if isinstance(image.content, bytes | str) or image.content is None:
                _READER.encoded(image.content)
            else:
                _READER.from_tensor(image.content)
        except RequestError:
            continue
    return "accepted"


TARGETS: dict[str, Callable[[bytes], str]] = {
    "picture": picture,
    "uri": uri,
    "message": message,
    "body": body,
    "form": form,
    "text": text,
}
