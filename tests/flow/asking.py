"""Sends requests to a running gateway, and checks its error responses."""

from __future__ import annotations

import base64
from typing import Any

import grpc
import pytest
import requests
from docarray import Document, DocumentArray
from jina import Client
from jina.excepts import BadServer
from jina.proto import jina_pb2_grpc
from jina.types.request.data import DataRequest
from PIL import Image

from tests.conftest import encoded, photo

PICTURE = encoded(photo())
JSON = {"Content-Type": "application/json"}
URI = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
IMAGE = {"Content-Type": "image/png"}


def uri(picture: Image.Image, format: str = "PNG") -> str:
    return f"data:image/{format.lower()};base64," + base64.b64encode(encoded(picture, format)).decode()


def send(base: str, path: str, method: str = "POST", **request: Any) -> requests.Response:
    return requests.request(method, base + path, timeout=30, **request)


def post(**body: Any) -> dict[str, Any]:
    return {"path": "/post", "json": {"execEndpoint": "/", **body}}


def embeddings(*inputs: Any, **body: Any) -> dict[str, Any]:
    return {"path": "/v1/embeddings", "json": {"input": list(inputs), "model": "", **body}}


def documents(*blobs: bytes, **fields: Any) -> list[dict[str, Any]]:
    return [{"id": f"doc-{i}", "blob": base64.b64encode(blob).decode(), **fields} for i, blob in enumerate(blobs)]


def check_problem(answer: requests.Response, status: int, name: str, detail: str) -> dict[str, Any]:
    """Check the status, headers and body of an error response; return the body.

    All errors have the same form, and do not expose details of the machine.

    :param answer: response to check.
    :param status: expected HTTP status.
    :param name: expected name of the error.
    :param detail: text that the detail contains.
    """
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["type"]) == (status, f"urn:clip-image-flow:problem:{name}")
    assert body["title"]
    assert detail in body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    header = body["header"]["status"]
    assert body["detail"] in header["description"]
    assert header["description"].startswith(name)
    assert (header["exception"]["name"], header["exception"]["stacks"]) == (name, [])
    assert "data" not in body
    for private in ("Traceback", "site-packages", "File \\", "/work", "/tmp", ".py"):
        assert private not in answer.text
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    return body


def ask_grpc(address: str, *requests_: DataRequest, timeout: float = 30, **options: Any) -> list[DataRequest]:
    """Return the responses to all requests of one gRPC stream."""
    with grpc.insecure_channel(address.removeprefix("grpc://")) as channel:
        return list(jina_pb2_grpc.JinaRPCStub(channel).Call(iter(requests_), timeout=timeout, **options))


def ask_once(address: str, request: DataRequest, timeout: float = 30, **options: Any) -> DataRequest:
    """Return the response to a unary gRPC call."""
    with grpc.insecure_channel(address.removeprefix("grpc://")) as channel:
        stub = jina_pb2_grpc.JinaSingleDataRequestRPCStub(channel)
        return stub.process_single_data(request, timeout=timeout, **options)


def data_request(endpoint: str = "/", blobs: list[bytes] | None = None, **parameters: Any) -> DataRequest:
    request = DataRequest()
    request.header.exec_endpoint = endpoint
    request.parameters = parameters
    request.data.docs = DocumentArray([Document(id=f"doc-{i}", blob=b) for i, b in enumerate(blobs or [])])
    return request


def refusal(client: Client, *args: Any, **kwargs: Any) -> str:
    """Check that `client.post(...)` fails; return the error's description.

    Over gRPC it is in the response that BadServer contains, over HTTP in the body.
    """
    with pytest.raises((BadServer, ValueError)) as raised:
        client.post(*args, **kwargs)
    (told,) = raised.value.args
    status = told["header"]["status"]["description"] if isinstance(told, dict) else told.status.description
    return str(status)
