"""What a caller is answered: a table of requests, over HTTP and gRPC, with their codes and words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from docarray import Document, DocumentArray
from jina import Client
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest

from scripts.flow.running import RunningFlow
from tests.flow.asking import (
    IMAGE,
    JSON,
    PICTURE,
    URI,
    ask_grpc,
    ask_once,
    check_problem,
    data_request,
    documents,
    embeddings,
    post,
    send,
)
from tests.flow.gateways import Gateway

TRUNCATED = PICTURE[: len(PICTURE) // 2]


# (request, status, name, what its detail says), answered by the Flow with the real model
HTTP = {
    "parameter": (post(data=documents(PICTURE), parameters={"batch_size": 0}), 400, "BadParameter", "batch_size must"),
    "unknown parameter": (post(data=[], parameters={"size": 1}), 400, "BadParameter", "unknown parameter 'size'"),
    "truncated": (post(data=documents(PICTURE, TRUNCATED)), 400, "BadDocument", ""),
    "no image": (post(data=documents(b"hello")), 415, "UnsupportedMedia", "not an image in a supported format"),
    "uri": (post(data=[{"uri": "http://127.0.0.1:9/cat.jpg"}]), 400, "BadDocument", ""),
    "endpoint": (post(execEndpoint="/index"), 404, "NotFound", "no executor has the endpoint '/index'"),
    "many documents": (post(data=[{"text": "a"}] * 1025), 413, "TooLarge", "1025 documents"),
    "data is no list": (post(data="cat"), 422, "Malformed", "data must be a list"),
    "field": (post(data=[{"weight": "heavy"}]), 422, "Malformed", "weight"),
    "parameters are no object": (post(parameters=[1]), 422, "Malformed", "parameters"),
    "target": (post(targetExecutor="(", data=[]), 422, "Malformed", "regular expression"),
    "no json": ({"path": "/post", "data": b"{", "headers": JSON}, 422, "Malformed", "not JSON"),
    "not a number": (
        {"path": "/post", "data": b'{"parameters": {"a": NaN}}', "headers": JSON},
        422,
        "Malformed",
        "NaN",
    ),
    "json is no object": ({"path": "/post", "json": [1]}, 422, "Malformed", "JSON object"),
    "deep json": ({"path": "/post", "data": b"[" * 200_000, "headers": JSON}, 422, "Malformed", ""),
    "json as text": ({"path": "/post", "data": b"{}"}, 415, "UnsupportedMedia", "application/json"),
    "embed: empty": ({"path": "/embed", "headers": IMAGE}, 400, "BadDocument", "the body is empty"),
    "embed: truncated": ({"path": "/embed", "data": TRUNCATED, "headers": IMAGE}, 400, "BadDocument", ""),
    "embed: no image": (
        {"path": "/embed", "data": b"hello", "headers": IMAGE},
        415,
        "UnsupportedMedia",
        "not an image",
    ),
    "embed: a form": (
        {"path": "/embed", "data": PICTURE, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        415,
        "UnsupportedMedia",
        "Content-Type: image/jpeg",
    ),
    "embed: parameter": (
        {"path": "/embed?normalize=perhaps", "data": PICTURE, "headers": IMAGE},
        400,
        "BadParameter",
        "normalize must be true or false",
    ),
    "embed: unknown": ({"path": "/embed?size=3", "data": PICTURE, "headers": IMAGE}, 400, "BadParameter", "'size'"),
    "embed: twice": ({"path": "/embed?a=1&a=2", "data": PICTURE, "headers": IMAGE}, 400, "BadParameter", "twice"),
    "embed: GET": ({"path": "/embed", "method": "GET"}, 405, "MethodNotAllowed", "GET /embed"),
    "path": ({"path": "/encode", "method": "GET"}, 404, "NotFound", "/docs"),
    "health: POST": ({"path": "/healthz"}, 405, "MethodNotAllowed", "POST /healthz"),
    "CRUD": ({"path": "/index", "json": {}}, 404, "NotFound", "/docs"),
    "openai: text": (embeddings("a cat"), 400, "BadDocument", "data URI"),
    "openai: tokens": (embeddings(1, 2), 400, "BadDocument", "check_embedding_ctx_length"),
    "openai: empty": (embeddings(URI, ""), 400, "BadDocument", "empty"),
    "embed: text": (
        {"path": "/embed", "data": b"a cat", "headers": {"Content-Type": "text/plain"}},
        404,
        "NotFound",
        "this Flow encodes no texts; the one of flows/clip_flow.yml does",
    ),
    "rank": (
        {"path": "/rank", "json": {"image": URI, "texts": ["a cat"]}},
        404,
        "NotFound",
        "this Flow encodes no texts",
    ),
    "rank: text in a Flow without": (
        post(execEndpoint="/rank", data=[{"id": "a", "uri": URI, "matches": [{"id": "b", "text": "a cat"}]}]),
        400,
        "BadDocument",
        "nothing in this Flow encodes this document",
    ),
    "openai: truncated": (embeddings(URI, URI[:-200]), 400, "BadDocument", ""),
    "openai: nothing": (embeddings(), 422, "Malformed", "at least one"),
    "openai: dimensions": (embeddings(URI, dimensions=8), 400, "BadParameter", "dimensions"),
    "openai: format": (embeddings(URI, encoding_format="hex"), 400, "BadParameter", "one of float, base64"),
    "openai: modality": (embeddings(URI, modality="text"), 400, "BadDocument", "this Flow encodes no texts"),
    "openai: no modality": (
        embeddings(URI, modality="audio"),
        400,
        "BadParameter",
        "modality must be 'image' or 'text'",
    ),
    "openai: member": (embeddings(URI, size=3), 400, "BadParameter", "'size'"),
    "openai: model": (embeddings(URI, model="text-embedding-3-small"), 404, "NotFound", "text-embedding-3-small"),
}


@pytest.mark.parametrize(("request_", "status", "name", "detail"), HTTP.values(), ids=HTTP)
def test_http(flow: RunningFlow, request_: dict[str, Any], status: int, name: str, detail: str) -> None:
    body = check_problem(send(flow.http, **request_), status, name, detail)
    assert ("error" in body) == request_["path"].startswith("/v1/")


def test_an_error_names_its_document(flow: RunningFlow) -> None:
    assert send(flow.http, **HTTP["truncated"][0]).json()["document_id"] == "doc-1"
    assert send(flow.http, **HTTP["openai: truncated"][0]).json()["document_id"] == "input[1]"
    body = send(flow.http, **post(data=[{"id": "album", "chunks": documents(PICTURE, TRUNCATED, modality="image")}]))
    assert {"document_id": "album", "place": "chunk 1"}.items() <= body.json().items()


@pytest.mark.parametrize(
    ("fail", "status", "name"),
    [
        ("BadParameter", 400, "BadParameter"),
        ("BadDocument", 400, "BadDocument"),
        ("TooLarge", 413, "TooLarge"),
        ("UnsupportedMedia", 415, "UnsupportedMedia"),
        ("QueueFull", 429, "QueueFull"),
        ("Expired", 504, "Expired"),
    ],
)
def test_an_executors_error_is_known_by_its_name(limited: Gateway, fail: str, status: int, name: str) -> None:
    answer = send(limited.http, **post(data=documents(b"x"), parameters={"fail": fail, "detail": "why"}))
    body = check_problem(answer, status, name, "why")
    assert {"document_id": "doc-0", "place": "chunk 2"}.items() <= body.items()


@pytest.mark.parametrize("fail", ["RuntimeError", "KeyError", "InternalError", "Unavailable", "NotFound"])
def test_any_other_error_is_our_fault_and_keeps_its_words_to_itself(limited: Gateway, fail: str) -> None:
    sent = post(data=documents(b"x"), parameters={"fail": fail, "detail": "/etc/secret is not readable"})
    answer = send(limited.http, **sent)
    check_problem(answer, 500, "InternalError", "find it in the logs by its request id")
    assert "secret" not in answer.text
    (line,) = limited.log_lines(request_id=answer.headers["x-request-id"], level="ERROR")
    assert f"failed with {fail}" in line["message"]


def test_a_body_over_the_limit_is_413_however_it_is_sent(limited: Gateway) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(300):
            yield bytes(10_000)

    for data in (bytes(3_000_000), chunks()):
        answer = send(limited.http, "/embed", data=data, headers=IMAGE)
        check_problem(answer, 413, "TooLarge", "larger than 1000000 bytes")
    assert send(limited.http, "/embed", data=bytes(900_000), headers=IMAGE).status_code == 200


def test_more_documents_than_the_limit_are_413(limited: Gateway) -> None:
    check_problem(send(limited.http, **post(data=documents(*[b"x"] * 9))), 413, "TooLarge", "9 documents")
    assert send(limited.http, **post(data=documents(*[b"x"] * 8))).status_code == 200
    uris = [URI] * 9
    check_problem(send(limited.http, **embeddings(*uris)), 413, "TooLarge", "9 documents")


def test_the_time_limit_is_504(limited: Gateway) -> None:
    answer = send(limited.http, **post(data=documents(b"x"), parameters={"sleep": 30}))
    check_problem(answer, 504, "Expired", "time limit (1.5 s")
    assert answer.elapsed.total_seconds() < 10


def test_a_body_that_does_not_arrive_is_408(limited: Gateway) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", limited.http_port, timeout=30)
    connection.putrequest("POST", "/embed")
    connection.putheader("Content-Type", "image/png")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"some of it")
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["title"]) == (408, "Upload took too long")


def broken() -> DataRequest:
    return DataRequest(b"\x0a\x40cut off")


def pickled() -> DataRequest:
    request = data_request()
    request.data._content.docs_bytes = DocumentArray([Document()]).to_bytes()
    return request


def infinite() -> DataRequest:
    request = data_request()
    request.proto.parameters["batch_size"] = float("inf")
    return request


def infinite_tag() -> DataRequest:
    request = data_request(blobs=[PICTURE])
    request.data._content.docs.docs[0].tags["price"] = float("inf")
    return request


# The same refusals over gRPC: in the status header of the answer, with the other requests of the stream answered.
GRPC: dict[str, tuple[Callable[[], DataRequest], str, str]] = {
    "parameter": (lambda: data_request(blobs=[PICTURE], batch_size=0), "BadParameter", "batch_size must"),
    "truncated": (lambda: data_request(blobs=[PICTURE, TRUNCATED]), "BadDocument", "document 'doc-1'"),
    "no image": (lambda: data_request(blobs=[b"hello"]), "UnsupportedMedia", "document 'doc-0'"),
    "endpoint": (lambda: data_request("/index"), "NotFound", "'/index'"),
    "many documents": (lambda: data_request(blobs=[b"x"] * 1025), "TooLarge", "1025 documents"),
    "no protobuf": (broken, "Malformed", "not a Jina DataRequest"),
    "a pickle": (pickled, "Malformed", "docs_bytes"),
    "infinity": (infinite, "Malformed", "not finite"),
    "an infinite tag": (infinite_tag, "BadDocument", "cannot be read"),
}


@pytest.mark.parametrize(("bad", "name", "detail"), GRPC.values(), ids=GRPC)
def test_grpc(flow: RunningFlow, bad: Callable[[], DataRequest], name: str, detail: str) -> None:
    good = [data_request(blobs=[PICTURE]) for _ in range(4)]
    answers = ask_grpc(flow.grpc, *good[:2], bad(), *good[2:])
    failed = [answer for answer in answers if answer.status.code == jina_pb2.StatusProto.ERROR]
    assert len(answers) == 5
    (refusal,) = failed
    assert refusal.status.exception.name == name
    assert detail in refusal.status.description
    assert (list(refusal.status.exception.stacks), len(refusal.docs)) == ([], 0)
    answered = {answer.header.request_id: answer.docs[0].embedding.shape for answer in answers if answer not in failed}
    assert answered == {request.header.request_id: (32,) for request in good}


def test_a_grpc_message_over_the_limit_is_resource_exhausted(limited: Gateway) -> None:
    with pytest.raises(grpc.RpcError) as error:
        ask_grpc(limited.grpc, data_request(blobs=[bytes(2_000_000)]))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_compressed_message_is_refused_before_it_is_unpacked(limited: Gateway) -> None:
    """Otherwise a small message could grow to any size before its length is known."""
    with pytest.raises(grpc.RpcError) as error:
        ask_grpc(limited.grpc, data_request(blobs=[bytes(20_000_000)]), compression=grpc.Compression.Gzip)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_the_time_limit_over_grpc_does_not_end_the_stream(limited: Gateway) -> None:
    answers = ask_grpc(limited.grpc, data_request(blobs=[b"x"], sleep=30), data_request(blobs=[b"x"]))
    assert sorted(answer.status.exception.name for answer in answers) == ["", "Expired"]


def test_a_unary_call_is_answered_in_the_same_way(flow: RunningFlow) -> None:
    assert ask_once(flow.grpc, data_request(blobs=[PICTURE])).docs[0].embedding.shape == (32,)
    assert ask_once(flow.grpc, data_request(blobs=[b"hello"])).status.exception.name == "UnsupportedMedia"


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_callers_cannot_set_what_the_gateway_sets(limited: Gateway, protocol: str) -> None:
    sent = {"__deadline__": 1.0, "__request_id__": "forged", "__results__": {"a": 1}, "mine": 1.0, "encoder__own": "x"}
    (answer,) = limited.client(protocol).post("/", Document(), parameters=sent, return_responses=True)
    returned = answer.parameters
    received = returned.pop("__results__")["encoder"]["parameters"]
    assert returned == {"mine": 1.0, "encoder__own": "x"}
    assert received.pop("__deadline__") > 1e9
    assert received.pop("__request_id__") != "forged"
    assert received == {"mine": 1.0, "own": "x"}


@pytest.mark.parametrize("endpoint", ["/", "/encode", "/named", "/default"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_endpoints_that_are_there(limited: Gateway, protocol: str, endpoint: str) -> None:
    assert len(limited.client(protocol).post(endpoint, DocumentArray([Document()]))) == 1


def test_jina_client_raises_what_its_users_know(flow: RunningFlow) -> None:
    from jina.excepts import BadClient

    with pytest.raises(BadClient, match="no such endpoint"):
        Client(host=flow.http).post("/index", Document())
    assert Client(host=flow.http).is_flow_ready()
    assert Client(host=flow.grpc).is_flow_ready()


def test_an_answer_of_post_is_what_jinas_own_gateway_writes(flow: RunningFlow) -> None:
    answer = send(flow.http, **post(data=documents(PICTURE, tags={"n": 1}), parameters={"normalize": True})).json()
    assert answer.keys() == {"header", "parameters", "routes", "data"}
    assert {"requestId", "execEndpoint", "status"} <= answer["header"].keys()
    assert answer["parameters"].keys() == {"normalize", "__results__"}
    (document,) = answer["data"]
    assert document["id"] == "doc-0"
    assert document["tags"] == {"n": 1}
    assert np.linalg.norm(document["embedding"]) == pytest.approx(1, abs=1e-5)
