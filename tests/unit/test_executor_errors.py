"""What the Executor answers to bad documents, and which options it refuses to start with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clip_image
import numpy as np
import pytest
from docarray import Document, DocumentArray

from clip_image_flow import ImageEncoder
from clip_image_flow.errors import BadDocument, ConfigError, RequestError, TooLarge, UnsupportedMedia
from clip_image_flow.platform import cpus
from clip_wire import termination
from tests.conftest import encoded, photo

GOOD = [encoded(photo(90, 60, seed)) for seed in range(3)]
WHOLE = encoded(photo(), "JPEG")

# What is wrong with a document -> its fields, the error and a part of its words.
BAD: dict[str, tuple[dict[str, Any], type[RequestError], str]] = {
    "text as a blob": ({"blob": b"a cat"}, UnsupportedMedia, "not an image in a supported format"),
    "svg": ({"blob": b"<svg/>"}, UnsupportedMedia, "not an image in a supported format"),
    "truncated": ({"blob": WHOLE[: len(WHOLE) // 2]}, BadDocument, "cannot be decoded"),
    "too many bytes": ({"blob": bytes(200_001)}, TooLarge, "200001 bytes"),
    "too many pixels": ({"blob": encoded(photo(500, 400), "JPEG")}, TooLarge, "500 x 400 pixels"),
    "float tensor": ({"tensor": np.zeros((4, 5, 3), np.float32)}, BadDocument, "not float32"),
    "grey tensor": ({"tensor": np.zeros((4, 5), np.uint8)}, BadDocument, "shape"),
    "empty tensor": ({"tensor": np.zeros((0, 5, 3), np.uint8)}, BadDocument, "shape"),
    "tensor out of range": ({"tensor": np.full((4, 5, 3), 256)}, BadDocument, "0 to 255"),
    "address": ({"uri": "http://127.0.0.1:1/cat.jpg"}, BadDocument, "not allowed here"),
    "file": ({"uri": "file:///etc/hostname"}, BadDocument, "not allowed here"),
    "path": ({"uri": "cat.jpg"}, BadDocument, "not allowed here"),
    "broken data uri": ({"uri": "data:image/png;base64,x"}, BadDocument, "base64"),
    "empty data uri": ({"uri": "data:image/png;base64,"}, BadDocument, "zero bytes"),
    "image without content": ({"modality": "image"}, BadDocument, "the document has no image"),
}
LIMITS = {"max_image_bytes": 200_000, "max_image_pixels": 150_000}


@pytest.fixture
def executor(make_executor: Callable[..., Any]) -> Any:
    return make_executor(**LIMITS)


def post(executor: Any, docs: DocumentArray, **parameters: Any) -> None:
    asyncio.run(executor.encode(docs=docs, parameters=parameters))


@pytest.fixture
def expected(executor: Any) -> np.ndarray:
    """The embedding of each of GOOD."""
    docs = DocumentArray([Document(blob=blob) for blob in GOOD])
    post(executor, docs)
    return np.array(docs.embeddings)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_document_fails_its_request_and_is_named(executor: Any, kind: str) -> None:
    fields, error, words = BAD[kind]
    docs = DocumentArray([Document(blob=GOOD[0]), Document(id="bad", **fields), Document(blob=GOOD[1])])
    with pytest.raises(error, match=words) as raised:
        post(executor, docs)
    assert type(raised.value) is error
    assert raised.value.args == (raised.value.detail, "bad", "")
    assert [document.embedding for document in docs] == [None] * 3  # all of it or nothing
    assert all("error" not in document.tags for document in docs)


@pytest.mark.parametrize("kind", BAD)
def test_skipped_a_bad_document_says_why_and_its_neighbours_are_encoded(
    executor: Any, expected: np.ndarray, kind: str
) -> None:
    fields, error, words = BAD[kind]
    bad = Document(id="bad", tags={"price": 5}, embedding=np.ones(3), **fields)
    docs = DocumentArray([Document(blob=GOOD[0]), bad, Document(blob=GOOD[1]), Document(text="x")])
    post(executor, docs, on_error="skip")
    assert docs[1].embedding is None
    assert docs[1].tags["error"].startswith(f"{error.__name__}: document 'bad': ")
    assert words in docs[1].tags["error"]
    assert docs[1].tags["price"] == 5
    assert np.abs(np.stack([docs[0].embedding, docs[2].embedding]) - expected[:2]).max() <= 1e-5
    assert ["error" in document.tags for document in docs] == [False, True, False, False]


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_chunk_costs_its_own_document_alone(executor: Any, expected: np.ndarray, kind: str) -> None:
    fields, error, _ = BAD[kind]
    chunks = [Document(text="t"), Document(blob=GOOD[0], modality="image"), Document(**{**fields, "modality": "image"})]
    docs = DocumentArray([Document(id="page", chunks=chunks), Document(blob=GOOD[1])])
    post(executor, docs, on_error="skip")
    assert docs[0].embedding is None
    assert docs[0].tags["error"].startswith(f"{error.__name__}: document 'page', chunk 2: ")
    assert np.abs(docs[1].embedding - expected[1]).max() <= 1e-5
    with pytest.raises(error) as raised:
        post(executor, docs, on_error="raise")
    assert raised.value.args[1:] == ("page", "chunk 2")


def test_of_several_bad_documents_the_first_is_named_though_another_is_found_out_earlier(
    make_executor: Callable[..., Any],
) -> None:
    slow = encoded(photo(4000, 3000), "JPEG")
    docs = DocumentArray([Document(blob=slow[: len(slow) // 2]), *(Document(blob=b"broken") for _ in range(20))])
    for n, document in enumerate(docs):
        document.id = str(n)
    with pytest.raises(BadDocument) as raised:
        post(make_executor(), docs, batch_size=32)
    assert raised.value.document_id == "0"


def test_skipped_each_of_several_bad_documents_says_why(executor: Any) -> None:
    docs = DocumentArray([Document(id=kind, **fields) for kind, (fields, _, _) in BAD.items()])
    post(executor, docs, on_error="skip", batch_size=4)
    assert [document.tags["error"].partition(":")[0] for document in docs] == [
        error.__name__ for _, error, _ in BAD.values()
    ]


def test_the_server_may_skip_and_the_request_may_raise(make_executor: Callable[..., Any]) -> None:
    executor = make_executor(on_error="skip")
    docs = DocumentArray([Document(blob=b"broken")])
    post(executor, docs)
    assert "error" in docs[0].tags
    with pytest.raises(UnsupportedMedia):
        post(executor, docs, on_error="raise")


def test_after_errors_the_executor_works(executor: Any, expected: np.ndarray) -> None:
    for _ in range(3):
        with pytest.raises(UnsupportedMedia):
            post(executor, DocumentArray([Document(blob=b"broken"), Document(blob=GOOD[0])]))
    docs = DocumentArray([Document(blob=blob) for blob in GOOD])
    post(executor, docs)
    assert np.abs(docs.embeddings - expected).max() <= 1e-5


def test_an_allowed_address_is_read(make_executor: Callable[..., Any], tmp_path: Any) -> None:
    (tmp_path / "0.png").write_bytes(GOOD[0])
    docs = DocumentArray([Document(uri=f"file://{tmp_path}/0.png"), Document(blob=GOOD[0])])
    post(make_executor(allowed_uris=[f"file://{tmp_path}/"]), docs)
    assert np.abs(docs[0].embedding - docs[1].embedding).max() <= 1e-5


@pytest.mark.parametrize(
    ("uses_with", "words"),
    [
        ({"batch_size": 0}, "uses_with: batch_size must be a whole number"),
        ({"batch_size": "32"}, "uses_with: batch_size must be"),
        ({"traversal_paths": "@q"}, "uses_with: traversal_paths must be"),
        ({"on_error": "ignore"}, "uses_with: on_error must be one of raise, skip"),
        ({"normalize": 1}, "uses_with: normalize must be true or false"),
        ({"max_documents": 0}, "uses_with: max_documents must be"),
        ({"device": "tpu"}, "device must be"),
        ({"backend": "onnx"}, "backend must be"),
        ({"precision": "fp8"}, "precision 'fp8'"),
        ({"threads": -1}, "threads must be a whole number of at least 1"),
        ({"threads": 0}, "threads must be a whole number of at least 1"),
        ({"threads": "2"}, "threads must be"),
        ({"max_batch_size": 0}, "max_batch_size must be"),
        ({"queue_size": 0}, "queue_size must be"),
        ({"queue_size": True}, "queue_size must be"),
        ({"max_image_bytes": "20M"}, "max_image_bytes must be"),
        ({"max_image_pixels": -5}, "max_image_pixels must be"),
        ({"allowed_uris": "data:"}, "allowed_uris must be a list"),
        ({"allowed_uris": ["*"]}, "allowed_uris"),
        ({"pretrained_model_name_or_path": "ViT-B32"}, "did you mean 'ViT-B/32'"),
        ({"batchsize": 4}, "uses_with: unknown option 'batchsize'"),
        ({"model_name": "x"}, "uses_with: unknown option 'model_name'"),
        ({"model": "x"}, "uses_with: unknown option 'model'"),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_an_option_that_is_not_to_be_had_is_a_start_up_error(
    make_executor: Callable[..., Any], uses_with: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_executor(**uses_with)


@pytest.mark.parametrize(
    ("uses_with", "replicas", "expected"),
    [({}, 1, 8), ({}, 3, 2), ({}, 20, 1), ({"threads": 5}, 3, 5)],
    ids=["one replica", "three share the CPUs", "more replicas than CPUs", "told otherwise"],
)
def test_replicas_share_the_cpus(
    make_executor: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    uses_with: dict[str, int],
    replicas: int,
    expected: int,
) -> None:
    threads = []

    class Recorded(ImageEncoder):
        def __init__(self, *args: Any, **options: Any) -> None:
            threads.append(options.pop("threads"))
            super().__init__(*args, threads=1, **options)

    monkeypatch.setattr(clip_image.CLIPImageEncoder, "encoder", Recorded)
    monkeypatch.setattr(cpus, "available", lambda: 8)
    make_executor(runtime_args={"replicas": replicas}, **uses_with)
    assert threads == [expected]


def test_in_a_pod_a_start_up_error_stands_in_its_status(
    make_executor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "termination-log"
    file.touch()
    monkeypatch.setattr(termination, "TERMINATION_LOG", file)
    with pytest.raises(ConfigError):
        make_executor(pretrained_model_name_or_path="/models/nowhere.pt")
    assert file.read_text().startswith("model '/models/nowhere.pt': no such file or folder")


def test_outside_of_a_pod_no_such_file_is_made(
    make_executor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(termination, "TERMINATION_LOG", tmp_path / "termination-log")
    with pytest.raises(ConfigError):
        make_executor(batch_size=0)
    assert list(tmp_path.iterdir()) == []
