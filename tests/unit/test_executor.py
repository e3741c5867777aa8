"""The Executor's contract: which documents get which embedding, and what a request may change."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docarray import Document, DocumentArray
from PIL import Image

from clip_image_flow import __version__
from clip_image_flow.errors import BadParameter, RequestError, TooLarge
from tests.conftest import encoded, photo

PICTURES = [photo(90, 60, seed) for seed in range(6)]
DIM = 32

Make = Callable[..., Any]


def post(executor: Any, docs: DocumentArray | None, **parameters: Any) -> DocumentArray | None:
    asyncio.run(executor.encode(docs=docs, parameters=parameters))
    return docs


def blob(number: int) -> bytes:
    return encoded(PICTURES[number])


def pictures(*numbers: int, **fields: Any) -> DocumentArray:
    return DocumentArray([Document(id=f"picture {n}", blob=blob(n), **fields) for n in numbers])


def page(*numbers: int) -> Document:
    """A text with pictures in it."""
    return Document(
        id="page", chunks=[Document(text="x"), *(Document(blob=blob(n), modality="image") for n in numbers)]
    )


@pytest.fixture
def executor(make_executor: Make) -> Any:
    return make_executor()


@pytest.fixture
def expected(executor: Any) -> np.ndarray:
    """The embedding of each of PICTURES."""
    return np.array(post(executor, pictures(*range(6))).embeddings)


def test_embeddings_are_those_of_clip(
    make_executor: Make, vit_b_32: Path, clip_embeddings: Callable[[Path, list[Image.Image]], np.ndarray]
) -> None:
    executor = make_executor(pretrained_model_name_or_path=str(vit_b_32), backend="torch")
    uri = "data:image/png;base64," + base64.b64encode(blob(3)).decode()
    docs = DocumentArray([page(0, 1), Document(tensor=np.asarray(PICTURES[2])), Document(text="x"), Document(uri=uri)])
    post(executor, docs)
    theirs = clip_embeddings(vit_b_32, PICTURES[:4])
    ours = np.concatenate([docs[0].embedding, [docs[1].embedding], [docs[3].embedding]])
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 1e-5


def test_the_three_kinds_of_documents(executor: Any, expected: np.ndarray) -> None:
    docs = DocumentArray([page(0, 1), *pictures(2), Document(text="x"), Document()])
    post(executor, docs)
    assert np.abs(docs[0].embedding - expected[:2]).max() <= 1e-5
    assert np.abs(docs[1].embedding - expected[2]).max() <= 1e-5
    assert (docs[0].embedding.shape, docs[1].embedding.shape) == ((2, DIM), (DIM,))
    assert [docs[2].embedding, docs[3].embedding] == [None, None]
    assert [chunk.embedding for chunk in docs[0].chunks] == [None] * 3


@pytest.mark.parametrize("batch_size", range(1, 8))
def test_the_batch_size_changes_nothing_but_speed(executor: Any, expected: np.ndarray, batch_size: int) -> None:
    docs = post(executor, pictures(*range(6)), batch_size=batch_size)
    assert np.abs(docs.embeddings - expected).max() <= 1e-5


@pytest.mark.parametrize("docs", [None, DocumentArray()], ids=["none", "empty"])
def test_no_documents_are_fine(executor: Any, docs: DocumentArray | None) -> None:
    assert not post(executor, docs)


def test_an_endpoint_called_with_nothing_is_fine(executor: Any) -> None:
    asyncio.run(executor.encode())


def test_documents_without_images_are_left_as_they_are(executor: Any) -> None:
    docs = DocumentArray(
        [Document(text="x"), Document(), Document(chunks=[Document(text="y")]), Document(tags={"k": 1})]
    )
    before = docs.to_dict()
    assert post(executor, docs).to_dict() == before


def test_ids_order_tags_and_other_fields_survive(executor: Any) -> None:
    docs = pictures(3, 1, 2, tags={"price": 5}, weight=0.5, mime_type="image/png")
    before = docs.to_dict()
    after = post(executor, docs).to_dict()
    for document in after:
        assert np.asarray(document.pop("embedding")).shape == (DIM,)
    assert after == [{k: v for k, v in document.items() if k != "embedding"} for document in before]


def test_documents_of_one_id_get_their_own_embeddings(executor: Any, expected: np.ndarray) -> None:
    docs = DocumentArray([Document(id="same", blob=blob(n)) for n in range(6)])
    post(executor, docs)
    assert np.abs(np.array([document.embedding for document in docs]) - expected).max() <= 1e-5


def test_an_embedding_that_is_there_is_replaced(executor: Any, expected: np.ndarray) -> None:
    docs = post(executor, pictures(0, embedding=np.ones(3)))
    assert np.abs(docs[0].embedding - expected[0]).max() <= 1e-5


@pytest.mark.parametrize(
    ("path", "shapes"),
    [("@r", [(2, DIM), None, None]), ("@c", [None, (DIM,), (DIM,)]), ("@r,c", [(2, DIM), (DIM,), (DIM,)])],
)
def test_a_request_chooses_its_documents(executor: Any, path: str, shapes: list[tuple[int, ...] | None]) -> None:
    docs = DocumentArray([page(0, 1)])
    post(executor, docs, traversal_paths=path)
    embeddings = [docs[0].embedding, *(chunk.embedding for chunk in docs[0].chunks[1:])]
    assert [None if e is None else e.shape for e in embeddings] == shapes


def test_embeddings_are_openais_own_unless_asked_otherwise(executor: Any, expected: np.ndarray) -> None:
    docs = DocumentArray([*pictures(0), page(1, 2)])
    post(executor, docs, normalize=True)
    lengths = np.linalg.norm(expected[:3], axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 1e-3
    ours = np.concatenate([[docs[0].embedding], docs[1].embedding])
    assert ours.dtype == np.float32
    assert np.abs(ours - expected[:3] / lengths).max() <= 1e-5


@pytest.mark.parametrize(
    ("uses_with", "parameters"),
    [
        ({"traversal_paths": "@c"}, {}),
        ({}, {"traversal_paths": "@c"}),
        ({"traversal_paths": "@m", "batch_size": 1}, {"traversal_paths": "c", "batch_size": 2.0}),
    ],
    ids=["by the server", "by the request", "the request wins"],
)
def test_options_come_from_the_server_or_from_the_request(
    make_executor: Make, uses_with: dict[str, Any], parameters: dict[str, Any]
) -> None:
    docs = DocumentArray([page(0)])
    post(make_executor(**uses_with), docs, **parameters)
    assert docs[0].embedding is None
    assert docs[0].chunks[1].embedding.shape == (DIM,)


@pytest.mark.parametrize("normalize", [True, False])
def test_the_server_may_normalise_and_the_request_may_differ(make_executor: Make, normalize: bool) -> None:
    executor = make_executor(normalize=normalize)
    as_served, as_asked = post(executor, pictures(0)), post(executor, pictures(0), normalize=not normalize)
    unit, own = (as_served, as_asked) if normalize else (as_asked, as_served)
    assert abs(np.linalg.norm(unit[0].embedding) - 1) < 1e-5
    assert abs(np.linalg.norm(own[0].embedding) - 1) > 1e-3


@pytest.mark.parametrize(
    ("uses_with", "parameters"),
    [({}, {"drop_image_content": True}), ({"drop_image_content": True}, {})],
    ids=["the request's wish", "the server's"],
)
def test_no_picture_goes_back_where_it_is_not_wanted(
    make_executor: Make, uses_with: dict[str, Any], parameters: dict[str, Any]
) -> None:
    executor = make_executor(**uses_with)
    uri = "data:image/png;base64," + base64.b64encode(blob(3)).decode()
    docs = DocumentArray(
        [
            Document(id="a", blob=blob(0), tags={"kept": "yes"}),
            Document(tensor=np.asarray(PICTURES[1])),
            page(2),
            Document(uri=uri),
            Document(text="a text"),
            Document(blob=b"broken"),
        ]
    )
    post(executor, docs, on_error="skip", **parameters)
    assert [doc.embedding is not None for doc in docs] == [True, True, True, True, False, False]
    assert docs[0].tags == {"kept": "yes"}
    assert docs[4].text == "a text"
    assert "UnsupportedMedia" in docs[5].tags["error"]
    assert not any(doc.blob or doc.uri or doc.tensor is not None for doc in docs["@r,c"])
    assert len(docs.to_protobuf().SerializeToString()) < 2000


def test_pictures_go_back_and_places_of_pictures_stay(executor: Any, tmp_path: Path, make_executor: Make) -> None:
    assert post(executor, pictures(0))[0].blob == blob(0)
    (tmp_path / "picture.png").write_bytes(blob(0))
    docs = DocumentArray([Document(uri=f"file://{tmp_path}/picture.png")])
    post(make_executor(allowed_uris=[f"file://{tmp_path}/"]), docs, drop_image_content=True)
    assert docs[0].uri == f"file://{tmp_path}/picture.png"


def test_one_request_does_not_change_the_next(executor: Any) -> None:
    post(executor, pictures(0), normalize=True, traversal_paths="@c", batch_size=1)
    docs = post(executor, pictures(0))
    assert abs(np.linalg.norm(docs[0].embedding) - 1) > 1e-3


@pytest.mark.parametrize("docs", [None, DocumentArray(), pictures(0)], ids=["none", "empty", "a picture"])
def test_a_bad_parameter_is_an_error_even_without_documents(executor: Any, docs: DocumentArray | None) -> None:
    with pytest.raises(BadParameter, match="unknown parameter 'batchsize'; allowed are"):
        post(executor, docs, batchsize=4)


def test_reserved_parameters_of_jina_are_passed_over(executor: Any) -> None:
    docs = post(executor, pictures(0), __results__={"other/rep-0": {"k": 1}}, __request_id__="r1")
    assert docs[0].embedding.shape == (DIM,)


def test_more_documents_than_allowed_are_too_large(make_executor: Make) -> None:
    executor = make_executor(max_documents=2)
    post(executor, pictures(0, 1))
    with pytest.raises(TooLarge, match="3 documents at '@r'; at most 2"):
        post(executor, pictures(0, 1, 2))


def test_many_requests_at_once_get_their_own_answers(executor: Any, expected: np.ndarray) -> None:
    async def ask(number: int) -> float:
        order = np.random.default_rng(number).permutation(6)[: 1 + number % 6].tolist()
        docs = pictures(*order)
        await executor.encode(docs=docs, parameters={"batch_size": 1 + number % 5})
        return float(np.abs(docs.embeddings - expected[order]).max())

    async def ask_all() -> list[float]:
        return await asyncio.gather(*(ask(number) for number in range(40)))

    assert max(asyncio.run(ask_all())) <= 1e-5


def test_the_test_pictures_differ_for_the_model(expected: np.ndarray) -> None:
    """Else the tests above could not tell one answer from another."""
    distances = np.abs(expected[:, None] - expected[None]).max(axis=2) + np.eye(6)
    assert distances.min() > 1e-3


@pytest.mark.parametrize("docs", [None, DocumentArray()], ids=["none", "empty"])
def test_info_says_what_runs_here(executor: Any, tiny_model: Path, docs: DocumentArray | None) -> None:
    info = asyncio.run(executor.info(docs=docs))
    assert info.pop("backend") in ("torch", "openvino")
    assert len(info.pop("fingerprint")) == 64
    assert 0 < time.time() - info.pop("started") < 3600
    assert info == {
        "model": str(tiny_model),
        "checkpoint": hashlib.sha256(hashlib.sha256(tiny_model.read_bytes()).digest()).hexdigest(),
        "dim": DIM,
        "input_size": 64,
        "modality": "image",
        "precision": "fp32",
        "version": __version__,
    }


def test_info_is_a_document_too(executor: Any) -> None:
    docs = DocumentArray([Document(text="mine")])
    info = asyncio.run(executor.info(docs=docs))
    assert [docs[0].text, docs[1].tags] == ["mine", info]


@pytest.mark.parametrize(("picture", "said"), [(blob(0), "1 items"), (b"broken", "UnsupportedMedia")])
def test_one_log_line_names_the_request(
    make_executor: Make, capsys: pytest.CaptureFixture[str], picture: bytes, said: str
) -> None:
    executor = make_executor()
    capsys.readouterr()
    with contextlib.suppress(RequestError):
        post(executor, DocumentArray([Document(blob=picture)]), __request_id__="r-7")
    executor._log._lines.flush()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(" id=r-7")
    assert said in line
