"""CLIPTextEncoder alone, and in one Flow with CLIPImageEncoder: a document gets the embedding of what it is."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clip_image import CLIPImageEncoder
from clip_text import CLIPTextEncoder
from docarray import Document

from clip_image_flow import ImageEncoder, TextEncoder
from clip_image_flow.errors import BadDocument, BadParameter, RequestError, TooLarge
from tests.conftest import encoded, photo
from tests.unit.executors import send

BLOB = encoded(photo())
DATA_URI = "data:image/png;base64," + base64.b64encode(BLOB).decode()
DIM = 32

Make = Callable[..., Any]
post = partial(send, "encode")


@pytest.fixture
def text(make_executor: Make) -> Any:
    return make_executor(CLIPTextEncoder)


@pytest.fixture(params=[(CLIPImageEncoder, CLIPTextEncoder), (CLIPTextEncoder, CLIPImageEncoder)])
def both(request: pytest.FixtureRequest, make_executor: Make) -> list[Any]:
    """The two of one Flow, in both orders."""
    return [make_executor(kind) for kind in request.param]


@pytest.fixture(scope="module")
def vectors(tiny_model: Path) -> dict[str, np.ndarray]:
    """The embeddings of a word and of a picture."""
    words, pictures = TextEncoder(str(tiny_model)), ImageEncoder(str(tiny_model))
    found = {"word": words.encode(["a cat"])[0], "picture": pictures.encode([BLOB])[0]}
    words.close()
    pictures.close()
    return found


def what(document: Document, vectors: dict[str, np.ndarray]) -> str:
    """Whose embedding a document has."""
    if document.embedding is None:
        return "nothing"
    rows = np.atleast_2d(document.embedding)
    [name] = [name for name, vector in vectors.items() if np.abs(rows - vector).max() <= 1e-5]
    return name if document.embedding.ndim == 1 else f"{len(rows)} x {name}"


def image_chunk() -> Document:
    return Document(blob=BLOB, modality="image")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"text": "a cat"}, "word"),
        ({"text": "a cat", "modality": "text"}, "word"),
        ({"text": "a cat", "uri": "notes.txt"}, "word"),
        ({"text": "a cat", "chunks": [Document(text="a dog")]}, "word"),
        ({"text": "a cat", "chunks": [Document(blob=b"sound", modality="audio")]}, "word"),
        ({"text": "a cat", "modality": "audio"}, "nothing"),
        ({"text": "a cat", "tags": {"lang": "en"}, "mime_type": "text/plain"}, "word"),
        ({"text": ""}, "nothing"),
        ({"modality": "text"}, "nothing"),
        ({"tags": {"text": "a cat"}}, "nothing"),
        ({"blob": BLOB}, "picture"),
        ({"tensor": np.asarray(photo())}, "picture"),
        ({"uri": DATA_URI}, "picture"),
        ({"uri": DATA_URI, "text": "a cat"}, "picture"),
        ({"uri": DATA_URI, "text": "a cat", "modality": "image"}, "picture"),
        ({"text": "a cat", "chunks": [image_chunk()]}, "1 x picture"),
        ({"text": "a cat", "chunks": [image_chunk(), Document(text="a cat"), image_chunk()]}, "2 x picture"),
        ({"chunks": [Document(text="a cat")]}, "nothing"),
    ],
)
@pytest.mark.parametrize("drop", [False, True])
def test_a_document_gets_what_it_is(
    both: list[Any], vectors: dict[str, np.ndarray], fields: dict[str, Any], expected: str, drop: bool
) -> None:
    document = Document(**fields)
    [document] = post(both, Document(document, copy=True), drop_image_content=drop)
    assert what(document, vectors) == expected
    assert document.text == fields.get("text", "")


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("@r", ["word", "1 x picture"]),
        ("@c", ["word", "picture", "word"]),
        ("@cc", ["picture"]),
        ("@r,c", ["word", "1 x picture", "word", "picture", "word"]),
        ("@m", ["picture", "word"]),
        ("@r,m", ["word", "1 x picture", "picture", "word"]),
    ],
)
def test_mixed_documents_at_every_path(
    both: list[Any], vectors: dict[str, np.ndarray], paths: str, expected: list[str]
) -> None:
    inner = Document(text="a cat", chunks=[Document(blob=BLOB)])
    first = Document(text="a cat", chunks=[inner], matches=[Document(blob=BLOB), Document(text="a cat")])
    second = Document(text="a caption", chunks=[image_chunk(), Document(text="a cat")])
    docs = post(both, first, second, traversal_paths=paths)
    assert [what(document, vectors) for document in docs[paths]] == expected
    every = docs["@r,c,cc,m"]
    assert sum(document.embedding is not None for document in every) == len(expected)


def test_a_text_in_two_places_of_a_path_is_encoded_once(text: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    submit = text._encoder.submit
    monkeypatch.setattr(text._encoder, "submit", lambda contents, **k: sent.extend(contents) or submit(contents, **k))
    post([text], Document(text="a cat"), traversal_paths="@r,r")
    assert sent == ["a cat"]


@pytest.mark.parametrize(("words", "truncated"), [(1, None), (75, None), (76, True), (500, True)])
def test_where_a_text_was_cut_its_tags_say_so(text: Any, words: int, truncated: bool | None) -> None:
    [document] = post([text], Document(text="cat " * words))
    assert document.tags.get("truncated") is truncated


def test_a_long_text_is_refused_by_name_where_none_is_cut(make_executor: Make) -> None:
    text = make_executor(CLIPTextEncoder, truncate=False)
    with pytest.raises(BadDocument, match="document 'long': the text has more than the 75 tokens"):
        post([text], Document(id="short", text="a cat"), Document(id="long", text="cat " * 76))


@pytest.mark.parametrize(("bad", "error"), [("&" + "amp;" * 9, BadDocument), ("x " * 100_000, TooLarge)])
def test_a_bad_text_is_named_or_skipped_beside_its_neighbours(text: Any, bad: str, error: type[RequestError]) -> None:
    with pytest.raises(error, match="document 'bad'"):
        post([text], Document(text="a cat"), Document(id="bad", text=bad))
    docs = post([text], Document(text="a cat"), Document(id="bad", text=bad), Document(text="a dog"), on_error="skip")
    assert [document.embedding is None for document in docs] == [False, True, False]
    assert docs[1].tags["error"].startswith(error.__name__)


def test_normalize_is_one_parameter_of_both(both: list[Any]) -> None:
    docs = post(both, Document(text="a cat"), Document(blob=BLOB), normalize=True)
    assert np.abs(np.linalg.norm(docs.embeddings, axis=1) - 1).max() <= 1e-6


def test_an_unknown_parameter_is_refused_as_by_the_image_encoder(text: Any) -> None:
    with pytest.raises(BadParameter, match="unknown parameter 'truncate'; allowed are traversal_paths"):
        post([text], Document(text="a cat"), truncate=False)


def test_ten_thousand_documents_are_refused_and_a_thousand_are_not(text: Any) -> None:
    with pytest.raises(TooLarge, match="10000 documents at '@r'; at most 1024"):
        post([text], *(Document(text=str(i)) for i in range(10_000)))
    docs = post([text], *(Document(text=str(i)) for i in range(1000)))
    assert docs.embeddings.shape == (1000, DIM)


def test_info_is_of_one_checkpoint(both: list[Any]) -> None:
    first, second = (asyncio.run(executor.info()) for executor in both)
    assert first["checkpoint"] == second["checkpoint"]
    assert {first["modality"], second["modality"]} == {"image", "text"}


def test_it_starts_no_processes(text: Any) -> None:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    before = len(children)
    text._encoder.encode(["a cat"])
    assert len(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()) == before
