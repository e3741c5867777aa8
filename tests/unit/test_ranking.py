"""`/rank`: scores are those of `clip` itself, and of clip-as-service by name and order."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clip_image import CLIPImageEncoder
from clip_text import CLIPTextEncoder
from docarray import Document, DocumentArray
from PIL import Image

from clip_image_flow import models
from clip_image_flow.errors import BadDocument, BadParameter
from clip_image_flow.models.openai_clip import clip
from clip_image_flow.serving.ranking import rank
from tests.conftest import encoded, photo, save_random_clip
from tests.unit.executors import send

LABELS = ["a cat", "a dog", "the red house", "a very big tree in the park"]
PICTURES = [encoded(photo(seed=seed)) for seed in range(3)]
NESTED = "&" + "amp;" * 9  # more entities in entities than are decoded
ORDERS = [(CLIPImageEncoder, CLIPTextEncoder), (CLIPTextEncoder, CLIPImageEncoder)]

Make = Callable[..., Any]
through = partial(send, "rank")


def question(blob: bytes, labels: list[str] = LABELS) -> Document:
    return Document(id="root", blob=blob, matches=[Document(id=label, text=label) for label in labels])


def scores(document: Document, name: str = "clip_score") -> dict[str, float]:
    return {match.id: match.scores[name].value for match in document.matches}


@pytest.mark.parametrize("kinds", ORDERS)
@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_scores_are_the_softmax_of_clip(
    make_executor: Make, tiny_model: Path, kinds: tuple[Any, ...], backend: str
) -> None:
    model, transform = clip.load(str(tiny_model), device="cpu")
    with torch.inference_mode():
        pictures = torch.stack([transform(Image.open(io.BytesIO(blob))) for blob in PICTURES])
        logits, _ = model(pictures, clip.tokenize(LABELS))
    expected = logits.softmax(dim=-1).numpy()
    docs = through([make_executor(kind, backend=backend) for kind in kinds], *map(question, PICTURES))
    for document, row in zip(docs, expected, strict=True):
        ours = scores(document)
        assert np.abs([ours[label] - p for label, p in zip(LABELS, row, strict=True)]).max() <= 1e-5
        assert list(ours.values()) == sorted(ours.values(), reverse=True)
        cosines = scores(document, "clip_score_cosine")
        assert list(cosines.values()) == sorted(cosines.values(), reverse=True)
        assert {match.scores["clip_score"].op_name for match in document.matches} == {"softmax"}
        assert {match.scores["clip_score_cosine"].op_name for match in document.matches} == {"cosine"}


def test_the_logit_scale_is_the_models_own(make_executor: Make, tmp_path: Path) -> None:
    state = torch.load(save_random_clip(tmp_path / "model.pt"), weights_only=True)
    torch.save({**state, "logit_scale": torch.tensor(float(np.log(7.0)))}, tmp_path / "other.pt")
    path = str(tmp_path / "other.pt")
    assert models.load(path).logit_scale == pytest.approx(7.0)
    docs = through(
        [make_executor(kind, pretrained_model_name_or_path=path) for kind in ORDERS[0]], question(PICTURES[0])
    )
    cosines = np.array(list(scores(docs[0], "clip_score_cosine").values()))
    softmax = np.exp(7 * cosines) / np.exp(7 * cosines).sum()
    assert np.abs(np.array(list(scores(docs[0]).values())) - softmax).max() <= 1e-6


def test_with_a_logit_bias_scores_are_the_sigmoid_of_siglip(
    make_executor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    executors = [make_executor(kind) for kind in ORDERS[0]]
    for executor in executors:
        monkeypatch.setattr(executor._encoder._backend, "logit_scale", 20.0)
        monkeypatch.setattr(executor._encoder._backend, "logit_bias", -4.0)
    [document] = through(executors, question(PICTURES[0]))
    cosines = np.array(list(scores(document, "clip_score_cosine").values()))
    assert np.abs(np.array(list(scores(document).values())) - 1 / (1 + np.exp(4 - 20 * cosines))).max() <= 1e-6
    assert {match.scores["clip_score"].op_name for match in document.matches} == {"sigmoid"}


@pytest.mark.parametrize("kinds", ORDERS)
@pytest.mark.parametrize(
    ("root", "matches"),
    [
        ({"text": "a cat"}, [{"blob": PICTURES[0]}, {"blob": PICTURES[1]}]),
        ({"text": "a cat"}, [{"text": "a dog"}, {"text": "a cat"}]),
        ({"blob": PICTURES[0]}, [{"blob": PICTURES[1]}, {"blob": PICTURES[0]}]),
        ({"blob": PICTURES[0]}, [{"text": "a dog"}, {"blob": PICTURES[0]}]),
    ],
    ids=["pictures of a word", "words of a word", "pictures of a picture", "both of a picture"],
)
def test_roots_and_matches_are_of_either_modality(
    make_executor: Make, kinds: tuple[Any, ...], root: dict[str, Any], matches: list[dict[str, Any]]
) -> None:
    document = Document(**root, matches=[Document(**match) for match in matches])
    [document] = through([make_executor(kind) for kind in kinds], document)
    assert sum(scores(document).values()) == pytest.approx(1)
    same = [match for match in document.matches if (match.text, match.blob) == (document.text, document.blob)]
    for match in same:
        assert match.scores["clip_score_cosine"].value == pytest.approx(1)
        assert document.matches[0].id == match.id


def test_embeddings_that_were_sent_along_are_made_anew(make_executor: Make) -> None:
    executors = [make_executor(kind) for kind in ORDERS[0]]
    [expected] = through(executors, question(PICTURES[0]))
    stale = question(PICTURES[0])
    for document in (stale, *stale.matches):
        document.embedding = np.ones(32, dtype=np.float32)
    [document] = through(executors, stale)
    assert scores(document) == pytest.approx(scores(expected))


def test_a_match_that_is_skipped_comes_last_without_scores(make_executor: Make) -> None:
    executors = [make_executor(kind) for kind in ORDERS[0]]
    document = Document(blob=PICTURES[0], matches=[Document(id="bad", text=NESTED), *question(b"").matches])
    [document] = through(executors, document, on_error="skip")
    assert document.matches[-1].id == "bad"
    assert "clip_score" not in document.matches[-1].scores
    assert sum(match.scores["clip_score"].value for match in document.matches[:-1]) == pytest.approx(1)


def test_a_bad_match_is_named(make_executor: Make) -> None:
    with pytest.raises(BadDocument, match="document 'bad'"):
        through([make_executor(CLIPTextEncoder)], Document(text="a cat", matches=[Document(id="bad", text=NESTED)]))


def test_a_document_with_several_vectors_is_named(make_executor: Make) -> None:
    chunks = [Document(blob=blob, modality="image") for blob in PICTURES[:2]]
    document = Document(id="album", chunks=chunks, matches=[Document(blob=PICTURES[0])])
    with pytest.raises(BadDocument, match="document 'album': 2 embeddings"):
        through([make_executor()], document)


def test_documents_without_matches_are_encoded_alone(make_executor: Make) -> None:
    [document] = through([make_executor()], Document(blob=PICTURES[0]))
    assert document.embedding.shape == (32,)


def test_weights_without_a_logit_scale_cannot_rank(make_executor: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = make_executor()
    monkeypatch.setattr(executor._encoder._backend, "logit_scale", None)
    with pytest.raises(BadParameter, match="have no logit scale to rank with"):
        through([executor], question(PICTURES[0]))


def test_vectors_of_zeros_have_scores() -> None:
    document = Document(
        embedding=np.zeros(4), matches=[Document(embedding=np.zeros(4)), Document(embedding=np.ones(4))]
    )
    rank(DocumentArray([document]), 100.0)
    assert [match.scores["clip_score"].value for match in document.matches] == [0.5, 0.5]
