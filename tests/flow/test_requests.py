"""What callers get from a running Flow, over gRPC and HTTP alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docarray import Document, DocumentArray
from jina import Client
from jina.excepts import BadServer
from PIL import Image

from scripts.flow.running import RunningFlow
from tests.conftest import encoded, photo
from tests.flow.asking import refusal

PICTURES = [photo(90 + 10 * i, 60, seed=i) for i in range(5)]


def blob(i: int = 0, **fields: Any) -> Document:
    return Document(blob=encoded(PICTURES[i]), **fields)


@pytest.fixture(scope="module")
def reference(tiny_model: Path, clip_embeddings: Callable[[Path, list[Image.Image]], np.ndarray]) -> np.ndarray:
    """What `clip` makes of PICTURES: (5, 32)."""
    return clip_embeddings(tiny_model, PICTURES)


def test_blobs_get_the_embeddings_of_clip(client: Client, reference: np.ndarray) -> None:
    docs = client.post("/", DocumentArray([blob(i) for i in range(5)]))
    np.testing.assert_allclose(docs.embeddings, reference, atol=1e-5)


def test_tensors_get_the_embeddings_of_clip(client: Client, reference: np.ndarray) -> None:
    docs = client.post("/", DocumentArray([Document(tensor=np.asarray(picture)) for picture in PICTURES]))
    np.testing.assert_allclose(docs.embeddings, reference, atol=1e-5)


def test_a_document_with_image_chunks_gets_a_row_for_each(client: Client, reference: np.ndarray) -> None:
    chunks = [blob(2, modality="image"), Document(text="a caption", modality="text"), blob(0, modality="image")]
    (doc,) = client.post("/", DocumentArray([Document(chunks=chunks)]))
    assert doc.embedding.shape == (2, 32)
    np.testing.assert_allclose(doc.embedding, reference[[2, 0]], atol=1e-5)
    assert [chunk.embedding for chunk in doc.chunks] == [None] * 3


@pytest.mark.parametrize(
    ("path", "shapes"),
    [("@r", [(2, 32), (32,)]), ("@c", [None, (32,)]), ("@r,c", [(2, 32), (32,)])],
)
def test_the_request_chooses_the_traversal_paths(client: Client, path: str, shapes: list[Any]) -> None:
    docs = DocumentArray([Document(chunks=[blob(0, modality="image"), blob(1, modality="image")]), blob(2)])
    if path == "@c":
        docs[1].chunks = [blob(3)]
    answer = client.post("/", docs, parameters={"traversal_paths": path})
    of_chunks = {tuple(chunk.embedding.shape) for chunk in answer["@c"] if chunk.embedding is not None}
    assert of_chunks == (set() if path == "@r" else {(32,)})
    if path != "@c":
        assert [tuple(doc.embedding.shape) for doc in answer] == shapes
    else:
        assert [doc.embedding for doc in answer] == [None, None]


def test_text_and_empty_documents_are_left_as_they_are(client: Client) -> None:
    docs = client.post("/", DocumentArray([Document(text="words"), Document(), blob()]))
    assert [doc.embedding is None for doc in docs] == [True, True, False]
    assert docs[0].text == "words"


@pytest.mark.parametrize("inputs", [None, DocumentArray()], ids=["none", "empty"])
def test_a_request_without_documents_is_answered(client: Client, inputs: DocumentArray | None) -> None:
    assert len(client.post("/", inputs)) == 0


def test_ids_order_and_other_fields_survive(client: Client) -> None:
    docs = DocumentArray([blob(i % 5, id=f"id-{i}", tags={"n": i}) for i in range(20)])
    answer = client.post("/", docs, request_size=20)
    assert answer[:, "id"] == [f"id-{i}" for i in range(20)]
    assert [doc.tags["n"] for doc in answer] == list(range(20))
    assert answer[3].blob == docs[3].blob


@pytest.mark.parametrize("batch_size", [1, 2, 3, 20, 4.0])
def test_every_batch_size_gives_the_same(client: Client, reference: np.ndarray, batch_size: float) -> None:
    docs = client.post("/", DocumentArray([blob(i) for i in range(5)]), parameters={"batch_size": batch_size})
    np.testing.assert_allclose(docs.embeddings, reference, atol=1e-5)


def test_parameters_can_address_one_executor(client: Client) -> None:
    (doc,) = client.post("/", DocumentArray([blob()]), parameters={"encoder__normalize": True})
    assert np.linalg.norm(doc.embedding) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"batch_size": 0}, "batch_size must be"),
        ({"batch_size": 4.5}, "batch_size must be"),
        ({"batch_size": "many"}, "batch_size must be"),
        ({"traversal_paths": "@x"}, "traversal_paths must be"),
        ({"on_error": "ignore"}, "on_error must be one of raise, skip"),
        ({"normalize": "yes"}, "normalize must be true or false"),
        ({"batchsize": 8}, "unknown parameter 'batchsize'"),
    ],
)
def test_a_bad_parameter_is_an_error_that_names_it(client: Client, parameters: dict[str, Any], message: str) -> None:
    assert message in refusal(client, "/", DocumentArray([blob()]), parameters=parameters)


BAD = {
    "truncated": Document(id="bad", blob=encoded(PICTURES[0], "JPEG")[:500]),
    "not an image": Document(id="bad", blob=b"certainly no image"),
    "float tensor": Document(id="bad", tensor=np.zeros((4, 4, 3)) + 0.5),
    "grey tensor": Document(id="bad", tensor=np.zeros((4, 4), dtype=np.uint8)),
    "forbidden uri": Document(id="bad", uri="http://127.0.0.1:9/cat.jpg"),
    "a path": Document(id="bad", uri="/etc/hostname"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_image_is_an_error_that_names_its_document(client: Client, bad: Document) -> None:
    assert "document 'bad'" in refusal(client, "/", DocumentArray([blob(), bad]))


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_skip_encodes_the_neighbours_of_a_bad_image(client: Client, bad: Document, reference: np.ndarray) -> None:
    docs = client.post("/", DocumentArray([blob(0), bad, blob(1)]), parameters={"on_error": "skip"})
    assert docs[1].embedding is None
    assert "document 'bad'" in docs[1].tags["error"]
    np.testing.assert_allclose([docs[0].embedding, docs[2].embedding], reference[:2], atol=1e-5)


def test_info_says_what_runs(client: Client, tiny_model: Path) -> None:
    (doc,) = client.post("/info")
    expected = {"model": str(tiny_model), "dim": 32, "input_size": 64, "backend": "openvino", "precision": "fp32"}
    assert {key: doc.tags[key] for key in expected} == expected
    (response,) = client.post("/info", return_responses=True)
    (result,) = response.parameters["__results__"].values()
    started = result.pop("started")  # of the replica that answered
    assert result == {key: value for key, value in doc.tags.items() if key != "started"}
    assert 0 < time.time() - started < 3600


def test_requests_are_shared_out_among_the_replicas(client: Client) -> None:
    responses = [client.post("/info", return_responses=True)[0] for _ in range(8)]
    assert {name for response in responses for name in response.parameters["__results__"]} == {
        "encoder/rep-0",
        "encoder/rep-1",
    }


def test_a_bad_request_does_not_hurt_others_at_the_same_time(flow: RunningFlow, reference: np.ndarray) -> None:
    def one_caller(caller: int) -> list[float]:
        client, differences = Client(host=flow.grpc), []
        for _ in range(5):
            if caller % 2:
                with pytest.raises(BadServer):
                    client.post("/", DocumentArray([blob(), BAD["truncated"]]))
            else:
                docs = client.post("/", DocumentArray([blob(caller % 5)]))
                differences.append(float(np.abs(docs[0].embedding - reference[caller % 5]).max()))
        return differences

    with ThreadPoolExecutor(6) as callers:
        assert max(d for differences in callers.map(one_caller, range(6)) for d in differences) <= 1e-5
