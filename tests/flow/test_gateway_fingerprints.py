"""Every answer says what made its vectors, and a caller may refuse to take others."""

from __future__ import annotations

import base64
from typing import Any

import grpc
import pytest
import requests
from docarray import Document, DocumentArray
from jina import Client
from jina.proto import jina_pb2_grpc
from jina.types.request.data import DataRequest

from scripts import ROOT
from scripts.flow.running import RunningFlow
from tests.flow.asking import refusal

APPLE = (ROOT / "examples/pictures/heldout/red-apple.png").read_bytes()
URI = f"data:image/png;base64,{base64.b64encode(APPLE).decode()}"
HEADER = "X-Model-Fingerprint"
NOBODYS = "ab" * 32


@pytest.fixture(scope="module")
def own(clip_flow: RunningFlow) -> dict[str, str]:
    """Modality -> fingerprint, by `/info`."""
    answer = requests.post(f"{clip_flow.http}/post", json={"data": [], "execEndpoint": "/info"}, timeout=30).json()
    infos = answer["parameters"]["__results__"].values()
    return {info["modality"]: info["fingerprint"] for info in infos}


@pytest.mark.parametrize(
    ("path", "sent", "modalities"),
    [
        ("/embed", {"data": APPLE}, ["image"]),
        ("/embed", {"data": b"a cat", "headers": {"Content-Type": "text/plain"}}, ["text"]),
        ("/embed", {"files": [("image", ("a.png", APPLE)), ("text", (None, "a cat"))]}, ["image", "text"]),
        ("/rank", {"json": {"image": URI, "texts": ["a cat"]}}, ["image", "text"]),
        ("/v1/embeddings", {"json": {"input": [URI]}}, ["image"]),
        ("/v1/embeddings", {"json": {"input": ["a cat"]}}, ["text"]),
        ("/v2/embed", {"json": {"texts": ["a cat"]}}, ["text"]),
        ("/vectorize", {"json": {"texts": ["a cat"], "images": [URI]}}, ["image", "text"]),
        ("/post", {"json": {"data": [{"text": "a cat"}, {"uri": URI}]}}, ["image", "text"]),
    ],
)
def test_every_answer_over_http_names_what_made_it(
    clip_flow: RunningFlow, own: dict[str, str], path: str, sent: dict[str, Any], modalities: list[str]
) -> None:
    answer = requests.post(f"{clip_flow.http}{path}", **sent, timeout=30)
    assert answer.status_code == 200, answer.text
    expected = {own[modality] for modality in modalities}
    assert set(answer.headers[HEADER].split(", ")) == expected
    body = answer.json()
    if path in ("/embed", "/rank", "/v1/embeddings"):
        assert body["model"] == "emoji-tiny"
        assert set(body["system_fingerprint" if path.startswith("/v1") else "fingerprint"].split(", ")) == expected


def test_answers_without_vectors_name_nothing(clip_flow: RunningFlow) -> None:
    for path in ("/healthz", "/v1/models", "/meta"):
        assert HEADER not in requests.get(f"{clip_flow.http}{path}", timeout=30).headers
    broken = requests.post(f"{clip_flow.http}/embed", data=APPLE[:99], timeout=30)
    assert HEADER not in broken.headers


def test_jinas_client_finds_it_in_the_answers_parameters(clip_flow: RunningFlow, own: dict[str, str]) -> None:
    for host in (clip_flow.grpc, clip_flow.http):
        [answer] = Client(host=host).post("/", DocumentArray([Document(text="a cat")]), return_responses=True)
        results = answer.parameters["__results__"]
        assert [result["fingerprint"] for result in results.values() if result] == [own["text"]]


def test_a_call_over_grpc_ends_with_it(clip_flow: RunningFlow, own: dict[str, str]) -> None:
    request = DataRequest()
    request.header.exec_endpoint = "/"
    request.data.docs = DocumentArray([Document(text="a cat"), Document(blob=APPLE)])
    with grpc.insecure_channel(clip_flow.grpc.removeprefix("grpc://")) as channel:
        call = jina_pb2_grpc.JinaSingleDataRequestRPCStub(channel).process_single_data
        _, state = call.with_call(request, timeout=30)
        assert set(dict(state.trailing_metadata())["x-model-fingerprint"].split(", ")) == set(own.values())
        answer, _ = call.with_call(request, timeout=30, metadata=(("x-expect-fingerprint", NOBODYS),))
    assert answer.header.status.exception.name == "ModelChanged"


BODIES = {"/v1/embeddings": {"input": "a cat"}, "/v2/embed": {"texts": ["a cat"]}, "/vectorize": {"texts": ["a cat"]}}


@pytest.mark.parametrize("path", ["/embed", *BODIES])
def test_other_vectors_than_expected_are_a_409(clip_flow: RunningFlow, own: dict[str, str], path: str) -> None:
    sent: dict[str, Any] = {"json": BODIES[path]} if path in BODIES else {"data": APPLE}

    def post(expected: str) -> requests.Response:
        return requests.post(f"{clip_flow.http}{path}", **sent, headers={"X-Expect-Fingerprint": expected}, timeout=30)

    assert post(f"{own['image']}, {own['text']}").status_code == 200
    refused = post(NOBODYS)
    assert (refused.status_code, refused.json()["title"]) == (409, "Another model")
    assert f"the request expects {NOBODYS}" in refused.json()["detail"]
    assert post("not a fingerprint").status_code == 400


def test_a_parameter_says_the_same(clip_flow: RunningFlow, own: dict[str, str]) -> None:
    client, docs = Client(host=clip_flow.grpc), DocumentArray([Document(text="a cat")])
    assert client.post("/", docs, parameters={"expect_fingerprint": own["text"]})[0].embedding.shape == (128,)
    told = refusal(client, "/", docs, parameters={"expect_fingerprint": NOBODYS})
    assert told.startswith("ModelChanged: vectors are made by")
