"""The doors of other services' clients, by what they send: right vectors, and errors in the shape that each reads."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from docarray import Document, DocumentArray
from jina import Client

from scripts import ROOT
from scripts.flow.running import RunningFlow
from tests.flow.asking import refusal

APPLE, OWL = ((ROOT / f"examples/pictures/heldout/{name}.png").read_bytes() for name in ("red-apple", "owl"))
BARE = base64.b64encode(APPLE).decode()
URI = f"data:image/png;base64,{BARE}"
TEXT = "a red apple"
TEXT_PART, IMAGE_PART = {"type": "text", "text": TEXT}, {"type": "image_url", "image_url": {"url": URI}}


def post(flow: RunningFlow, path: str, body: Any, status: int = 200) -> Any:
    answer = requests.post(f"{flow.http}{path}", json=body, timeout=30)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/")
    return answer.json()


@pytest.fixture(scope="module")
def units(clip_flow: RunningFlow) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of length 1 of the text and of the picture, by `/embed`."""
    found = []
    for body, media_type in ((TEXT.encode(), "text/plain"), (APPLE, "image/png")):
        answer = requests.post(
            f"{clip_flow.http}/embed?normalize=true", body, headers={"Content-Type": media_type}, timeout=30
        )
        found.append(np.array(answer.json()["embedding"]))
    return found[0], found[1]


def openai(answer: Any) -> list[Any]:
    assert [one["index"] for one in answer["data"]] == list(range(len(answer["data"])))
    return [one["embedding"] for one in answer["data"]]


@pytest.mark.parametrize(
    ("path", "body", "vectors"),
    [
        ("/v1/embeddings", {"input": [TEXT, URI]}, openai),
        ("/v1/embeddings", {"input": [{"text": TEXT}, {"image": BARE}], "task": "retrieval.query"}, openai),
        ("/v1/embeddings", {"input": [{"text": TEXT}, {"bytes": BARE}], "normalized": True}, openai),
        ("/v1/embeddings", {"messages": [[{"role": "user", "content": [part]}] for part in (TEXT_PART, IMAGE_PART)]},
         openai),
        ("/v1/embeddings", {"input": [TEXT, f'<img src="{URI}"/>']}, openai),
        ("/v2/embed", {"inputs": [{"content": [part]} for part in (TEXT_PART, IMAGE_PART)]},
         lambda answer: answer["embeddings"]["float"]),
        ("/vectorize", {"texts": [TEXT], "images": [BARE]},
         lambda answer: answer["textVectors"] + answer["imageVectors"]),
    ],
)  # fmt: skip
def test_each_shape_gets_unit_vectors_in_order(
    clip_flow: RunningFlow, units: tuple[np.ndarray, np.ndarray], path: str, body: Any, vectors: Callable[[Any], Any]
) -> None:
    found = np.array(vectors(post(clip_flow, path, body)))
    assert np.abs(found - units).max() <= 1e-5


def test_infinitys_modality_is_of_every_input(clip_flow: RunningFlow, units: tuple[np.ndarray, np.ndarray]) -> None:
    [found] = openai(post(clip_flow, "/v1/embeddings", {"input": URI, "modality": "image", "model": "emoji-tiny"}))
    assert np.abs(np.array(found) - units[1]).max() <= 1e-5


def test_raw_numbers_are_to_be_had_where_vectors_are_scaled(clip_flow: RunningFlow) -> None:
    raw = requests.post(f"{clip_flow.http}/embed", APPLE, timeout=30).json()["embedding"]
    [found] = openai(post(clip_flow, "/v1/embeddings", {"input": URI, "normalize": False}))
    assert np.abs(np.array(found) - raw).max() <= 1e-4


@pytest.mark.parametrize("body", [{}, {"texts": []}, {"texts": [], "images": None}])
def test_weaviate_gets_empty_lists_for_nothing(clip_flow: RunningFlow, body: Any) -> None:
    assert post(clip_flow, "/vectorize", body) == {"textVectors": [], "imageVectors": []}


BROKEN = base64.b64encode(APPLE[:200]).decode()


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/embeddings", {"input": [URI, f"data:image/png;base64,{BROKEN}"]}, lambda body: body["error"]["message"]),
        ("/v1/embeddings", {"input": [{"image": BARE}, {"image": BROKEN}]}, lambda body: body["detail"]),
        ("/v2/embed", {"images": [URI, BROKEN]}, lambda body: body["message"]),
        ("/vectorize", {"images": [BARE, BROKEN]}, lambda body: body["error"]),
    ],
)
def test_a_broken_picture_is_told_in_each_shape(
    clip_flow: RunningFlow, path: str, body: Any, told: Callable[[Any], str]
) -> None:
    assert "the image cannot be decoded" in told(answer := post(clip_flow, path, body, status=400))
    assert answer["document_id"].endswith("[1]")


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v2/embed"])
def test_another_model_or_length_is_refused(clip_flow: RunningFlow, path: str) -> None:
    own = {"input": [TEXT]} if path.startswith("/v1") else {"texts": [TEXT]}
    length = "dimensions" if path.startswith("/v1") else "output_dimension"
    post(clip_flow, path, {**own, length: 128})
    assert post(clip_flow, path, {**own, length: 64}, status=400)["title"] == "Bad parameter"
    assert "this Flow serves 'emoji-tiny'" in post(clip_flow, path, {**own, "model": "other"}, status=404)["detail"]


def test_weaviates_questions_before_the_first_vector(clip_flow: RunningFlow) -> None:
    for path in ("live", "ready"):
        answer = requests.get(f"{clip_flow.http}/.well-known/{path}", timeout=5)
        assert (answer.status_code, answer.content) == (204, b"")
    assert requests.get(f"{clip_flow.http}/meta", timeout=5).json() == {
        "model": "emoji-tiny",
        "dim": 128,
        "modalities": ["image", "text"],
    }


def test_a_form_of_pictures_and_texts(clip_flow: RunningFlow, units: tuple[np.ndarray, np.ndarray]) -> None:
    fields = [("image", ("apple.png", APPLE, "image/png")), ("text", (None, TEXT)), ("image", ("owl.png", OWL))]
    answer = requests.post(f"{clip_flow.http}/embed?normalize=true", files=fields, timeout=30)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["dim"], body["model"], len(body["embeddings"])) == (128, "emoji-tiny", 3)
    assert np.abs(np.array(body["embeddings"][:2]) - units[::-1]).max() <= 1e-5
    in_numpy = requests.post(
        f"{clip_flow.http}/embed", files=fields, headers={"Accept": "application/x-npy"}, timeout=30
    )
    assert np.load(io.BytesIO(in_numpy.content)).shape == (3, 128)


def test_a_broken_picture_of_a_form_is_named(clip_flow: RunningFlow) -> None:
    fields = [("image", ("apple.png", APPLE)), ("image", ("broken.png", APPLE[:200]))]
    answer = requests.post(f"{clip_flow.http}/embed", files=fields, timeout=30)
    assert (answer.status_code, answer.json()["document_id"]) == (400, "image[1]")


def test_64_pictures_in_one_body(clip_flow: RunningFlow, units: tuple[np.ndarray, np.ndarray]) -> None:
    found = openai(post(clip_flow, "/v1/embeddings", {"input": [URI] * 64}))
    assert np.abs(np.array(found) - units[1]).max() <= 1e-5


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("endpoint", ["/encode", "/encode/emoji-tiny", "/rank/emoji-tiny"])
def test_a_model_may_be_named_behind_the_endpoint(clip_flow: RunningFlow, protocol: str, endpoint: str) -> None:
    docs = DocumentArray([Document(text=TEXT, matches=[Document(blob=APPLE), Document(blob=OWL)])])
    parameters = {"drop_image_content": True, "model_name": "emoji-tiny"}
    [found] = Client(host=getattr(clip_flow, protocol)).post(endpoint, docs, parameters=parameters)
    assert found.embedding.shape == (128,)
    if endpoint.startswith("/rank"):
        assert found.matches[0].scores["clip_score"].value > 0.5
        assert not any(match.blob for match in found.matches)


@pytest.mark.parametrize(("endpoint", "parameters"), [("/encode/other", {}), ("/", {"model_name": "other"})])
def test_another_model_behind_the_endpoint_is_refused(
    clip_flow: RunningFlow, endpoint: str, parameters: dict[str, Any]
) -> None:
    told = refusal(Client(host=clip_flow.grpc), endpoint, DocumentArray([Document(text=TEXT)]), parameters=parameters)
    assert told.startswith("NotFound: no model 'other' here")


def test_access_paths_are_traversal_paths(clip_flow: RunningFlow) -> None:
    docs = DocumentArray([Document(chunks=[Document(text=TEXT), Document(blob=APPLE)])])
    [found] = Client(host=clip_flow.grpc).post("/encode", docs, parameters={"access_paths": "@c"})
    assert [chunk.embedding.shape for chunk in found.chunks] == [(128,), (128,)]


def test_the_page_of_the_api_has_every_door(clip_flow: RunningFlow) -> None:
    page = requests.get(f"{clip_flow.http}/openapi.json", timeout=10).json()
    doors = {"/embed", "/rank", "/v1/embeddings", "/v2/embed", "/vectorize", "/meta", "/post"}
    assert doors <= page["paths"].keys()
    assert Path("/.well-known/ready").as_posix() in page["paths"]
