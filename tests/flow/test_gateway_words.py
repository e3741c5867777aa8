"""Words beside pictures: texts over HTTP, both in one request, rankings, and what happens when one half is away."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import openai
import pytest
import requests
from docarray import Document, DocumentArray
from jina import Client

from scripts import ROOT
from scripts.flow.running import RunningFlow
from tests.conftest import encoded, photo
from tests.flow.asking import check_problem, embeddings, refusal, send, uri

TEXT = {"Content-Type": "text/plain"}
WORDS = ["a fox", "a red apple", "a clock"]
PHOTOS = [photo(60, 60, seed=1), photo(60, 60, seed=2)]
FOX = uri(photo(48, 48, seed=3))


def pictures() -> list[Document]:
    return [Document(uri=uri(picture)) for picture in PHOTOS]


@pytest.fixture(scope="module")
def client(clip_flow: RunningFlow) -> Client:
    return Client(host=clip_flow.grpc)


def over_grpc(client: Client, *documents: Document) -> np.ndarray:
    return np.stack(list(client.post("/", DocumentArray(documents)).embeddings))


def vectors(answer: requests.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return np.array([item["embedding"] for item in data])


@pytest.mark.parametrize("content_type", ["text/plain", "text/plain; charset=utf-8", 'TEXT/plain;charset="UTF-8"'])
def test_embed_takes_a_text(clip_flow: RunningFlow, client: Client, content_type: str) -> None:
    answer = send(clip_flow.http, "/embed", data=WORDS[0].encode(), headers={"Content-Type": content_type}).json()
    assert (answer["dim"], answer["model"]) == (128, "emoji-tiny")
    np.testing.assert_allclose([answer["embedding"]], over_grpc(client, Document(text=WORDS[0])), atol=1e-5)


def test_a_text_is_embedded_as_a_numpy_file_and_with_parameters_too(clip_flow: RunningFlow) -> None:
    headers = {**TEXT, "Accept": "application/x-npy"}
    answer = send(clip_flow.http, "/embed?normalize=true", data=b"a fox", headers=headers)
    assert np.linalg.norm(np.load(io.BytesIO(answer.content))) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("data", "content_type", "status", "name", "detail"),
    [
        (b"", "text/plain", 400, "BadDocument", "the body is empty: send a text"),
        (b"caf\xe9", "text/plain", 422, "Malformed", "not UTF-8 text: unexpected end of data at byte 3"),
        (b"caf\xe9", "text/plain; charset=latin-1", 415, "UnsupportedMedia", "charset=latin-1"),
        (b"a cat", "text/html", 415, "UnsupportedMedia", "not 'text/html'"),
        (b"x " * 600_000, "text/plain", 413, "TooLarge", "bytes"),
        (b"a cat", None, 415, "UnsupportedMedia", "not an image"),
    ],
)
def test_a_text_that_is_none(
    clip_flow: RunningFlow, data: bytes, content_type: str | None, status: int, name: str, detail: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    check_problem(send(clip_flow.http, "/embed", data=data, headers=headers), status, name, detail)


@pytest.mark.parametrize("fields", [{"normalize": False}, {"encoding_format": "float"}])
def test_texts_and_pictures_mix_in_any_order(clip_flow: RunningFlow, client: Client, fields: dict[str, Any]) -> None:
    inputs = [WORDS[0], uri(PHOTOS[0]), WORDS[1], uri(PHOTOS[1]), WORDS[2]]
    expected = over_grpc(client, *(Document(text=word) for word in WORDS), *pictures())[[0, 3, 1, 4, 2]]
    if "normalize" not in fields:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors(send(clip_flow.http, **embeddings(*inputs, **fields))), expected, atol=1e-5)


def test_texts_alone_and_pictures_alone(clip_flow: RunningFlow, client: Client) -> None:
    words = vectors(send(clip_flow.http, **embeddings(*WORDS, normalize=False)))
    np.testing.assert_allclose(words, over_grpc(client, *(Document(text=word) for word in WORDS)), atol=1e-5)
    found = vectors(send(clip_flow.http, **embeddings(*map(uri, PHOTOS), modality="image", normalize=False)))
    np.testing.assert_allclose(found, over_grpc(client, *pictures()), atol=1e-5)


def test_a_uri_is_a_text_where_the_caller_says_so(clip_flow: RunningFlow, client: Client) -> None:
    found = vectors(send(clip_flow.http, **embeddings("https://example.com/fox", modality="text", normalize=False)))
    np.testing.assert_allclose(found, over_grpc(client, Document(text="https://example.com/fox")), atol=1e-5)


def test_the_openai_client_embeds_words(clip_flow: RunningFlow, client: Client) -> None:
    of_openai = openai.OpenAI(base_url=f"{clip_flow.http}/v1", api_key="none", max_retries=0)
    (model,) = of_openai.models.list().data
    assert of_openai.models.retrieve(model.id) == model
    answer = of_openai.embeddings.create(model=model.id, input=WORDS[0], extra_body={"normalize": False})
    assert (answer.model, answer.usage.prompt_tokens) == ("emoji-tiny", 0)
    np.testing.assert_allclose([answer.data[0].embedding], over_grpc(client, Document(text=WORDS[0])), atol=1e-5)


def test_a_thousand_texts_in_one_request(clip_flow: RunningFlow) -> None:
    found = vectors(send(clip_flow.http, **embeddings(*(f"number {i}" for i in range(1000)))))
    assert found.shape == (1000, 128)
    assert len(np.unique(found.round(4), axis=0)) > 900


HOSTILE = {
    "null": "a\x00b",
    "nulls alone": "\x00\x00",
    "right to left": "ثعلب أحمر שועל",
    "right-to-left override": "\u202exof a",
    "emoji": "🦊👩‍👩‍👧‍👦🏳️‍🌈",
    "combining": "a" + "\u0301" * 500,
    "spaces": " \t\n",
    "private use": "\ue000\U0010ffff\ufffe",
    "special token": "<|endoftext|><|startoftext|>",
    "entity": "&amp;lt;",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_embedded_or_refused_by_name(clip_flow: RunningFlow, text: str) -> None:
    for sent in (embeddings("a fox", text), {"path": "/embed", "data": text.encode(), "headers": TEXT}):
        answer = send(clip_flow.http, **sent)
        if answer.status_code == 200:
            assert "NaN" not in answer.text
        else:
            check_problem(answer, 400, "BadDocument", "")
            assert answer.json()["document_id"] in ("input[1]", "body")


@pytest.mark.parametrize(
    ("path", "body", "document"),
    [
        ("/v1/embeddings", {"input": ["a", "b\ud800"]}, "input[1]"),
        ("/v1/embeddings", {"input": ["data:image/png;base64,\udfff"]}, "input[0]"),
        ("/rank", {"image": FOX, "texts": ["a", "\ud83e"]}, "texts[1]"),
        ("/rank", {"image": "data:,\ud800", "texts": ["a"]}, "image"),
    ],
)
def test_half_a_surrogate_pair_is_refused_by_name(
    clip_flow: RunningFlow, path: str, body: dict[str, Any], document: str
) -> None:
    answer = send(clip_flow.http, path, data=json.dumps(body), headers={"Content-Type": "application/json"})
    check_problem(answer, 400, "BadDocument", "surrogate")
    assert answer.json()["document_id"] == document


def test_half_a_surrogate_pair_in_a_document_is_no_fault_of_ours(clip_flow: RunningFlow) -> None:
    body = json.dumps({"data": [{"text": "\ud800"}], "execEndpoint": "/"})
    answer = send(clip_flow.http, "/post", data=body, headers={"Content-Type": "application/json"})
    check_problem(answer, 422, "Malformed", "documents")


BROKEN = "data:image/png;base64," + "A" * 40


@pytest.mark.parametrize(
    ("sent", "status", "name", "document"),
    [
        (embeddings("a fox", "x " * 600_000), 413, "TooLarge", "input[1]"),
        (embeddings("a fox", BROKEN), 415, "UnsupportedMedia", "input[1]"),
        (embeddings(*["a fox"] * 1000, BROKEN), 415, "UnsupportedMedia", "input[1000]"),
        (embeddings(*["a fox"] * 1020, *[FOX] * 5), 413, "TooLarge", ""),
        (embeddings("a fox", model="ViT-B/32"), 404, "NotFound", ""),
        ({"path": "/rank", "json": {"image": BROKEN, "texts": ["a"]}}, 415, "UnsupportedMedia", "image"),
        ({"path": "/rank", "json": {"image": FOX, "texts": ["a", "x " * 600_000]}}, 413, "TooLarge", "texts[1]"),
        ({"path": "/rank", "json": {"image": FOX, "texts": ["a"] * 1024}}, 413, "TooLarge", ""),
        ({"path": "/rank", "json": {"image": FOX, "texts": []}}, 422, "Malformed", ""),
    ],
)
def test_what_is_wrong_is_named(
    clip_flow: RunningFlow, sent: dict[str, Any], status: int, name: str, document: str
) -> None:
    answer = send(clip_flow.http, **sent)
    check_problem(answer, status, name, "")
    assert answer.json().get("document_id", "") == document


def softmax(cosines: np.ndarray, scale: float) -> np.ndarray:
    weights = np.exp(scale * (cosines - cosines.max()))
    return np.array(weights / weights.sum())


def fox() -> bytes:
    return (ROOT / "examples" / "pictures" / "heldout" / "fox.png").read_bytes()


def test_rank_sorts_labels(clip_flow: RunningFlow, client: Client) -> None:
    texts = ["a clock", "a fox", "a red apple", "a fox"]
    image = "data:image/png;base64," + base64.b64encode(fox()).decode()
    answer = send(clip_flow.http, "/rank", json={"image": image, "texts": texts}).json()
    labels = answer["labels"]
    assert answer["model"] == "emoji-tiny"
    assert sorted(label["label"] for label in labels) == sorted(texts)
    assert [label["label"] for label in labels[:2]] == ["a fox", "a fox"]
    scores, cosines = (np.array([label[name] for label in labels]) for name in ("score", "cosine"))
    assert scores.sum() == pytest.approx(1, abs=1e-6)
    assert (np.diff(scores) <= 0).all()

    found = over_grpc(client, Document(blob=fox()), *(Document(text=label["label"]) for label in labels))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines, found[1:] @ found[0], atol=1e-5)
    scale = np.log(scores[0] / scores[-1]) / (cosines[0] - cosines[-1])
    np.testing.assert_allclose(scores, softmax(cosines, scale), atol=1e-5)


TEXTS = DocumentArray(Document(text=word) for word in WORDS)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize(
    ("root", "matches"),
    [
        (Document(blob=fox()), TEXTS),
        (Document(text="a fox"), DocumentArray([Document(blob=fox()), Document(blob=encoded(PHOTOS[0]))])),
        (Document(text="the fox"), TEXTS),
        (Document(text="a fox"), DocumentArray([Document(blob=encoded(PHOTOS[0])), Document(text="a fox")])),
    ],
    ids=["a picture with texts", "a text with pictures", "a text with texts", "a text with both"],
)
def test_matches_of_either_modality_are_ranked(
    clip_flow: RunningFlow, protocol: str, root: Document, matches: DocumentArray
) -> None:
    sent = Document(root, copy=True)
    sent.matches = DocumentArray(matches, copy=True)
    (ranked,) = Client(host=getattr(clip_flow, protocol)).post("/rank", sent)
    scores = [match.scores["clip_score"].value for match in ranked.matches]
    assert sum(scores) == pytest.approx(1, abs=1e-5)
    assert scores == sorted(scores, reverse=True)
    assert {match.id for match in ranked.matches} == {match.id for match in matches}
    first = ranked.matches[0]
    assert first.text == "a fox" if first.text else first.blob == fox()


@pytest.mark.parametrize(
    ("root", "match", "named"),
    [
        (Document(id="root"), Document(id="match", text="a"), "root"),
        (Document(id="root", text="a"), Document(id="match"), "match"),
        (Document(id="root", text="a"), Document(id="match", text="a", modality="audio"), "match"),
    ],
)
def test_what_nothing_encodes_is_not_ranked_in_silence(
    client: Client, root: Document, match: Document, named: str
) -> None:
    sent = Document(root, copy=True)
    sent.matches = DocumentArray([match])
    told = refusal(client, "/rank", sent)
    assert told.startswith(f"BadDocument: document '{named}': nothing in this Flow encodes this document")


def test_a_bad_match_that_is_skipped_has_its_reason(client: Client) -> None:
    sent = Document(text="a fox", matches=DocumentArray([Document(blob=b"no picture"), Document(text="a fox")]))
    (ranked,) = client.post("/rank", sent, parameters={"on_error": "skip"})
    assert ranked.matches[0].text == "a fox"
    assert "UnsupportedMedia" in ranked.matches[1].tags["error"]


def test_a_picture_with_a_caption_is_a_picture(client: Client) -> None:
    plain, captioned = over_grpc(client, Document(blob=fox()), Document(blob=fox(), text="a clock"))
    np.testing.assert_allclose(plain, captioned, atol=1e-6)
