"""Bodies in the shapes of other services: what they hold, what is refused by name, and how numbers are written."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any

import numpy as np
import pytest

from clip_gateway.flow.executors import Executors
from clip_gateway.flow.model import Models, canonical
from clip_gateway.http.schemas.body import is_uri
from clip_gateway.http.schemas.cohere import EmbedBody
from clip_gateway.http.schemas.openai import EmbeddingsBody
from clip_gateway.http.schemas.weaviate import VectorizeBody
from clip_gateway.http.vectors import TYPES, as_type
from clip_gateway.problems import Problem

URI = "data:image/png;base64,AAAA"
BARE = "AAAA"
AS_URI = "data:;base64,AAAA"


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts) if parts[1:] or isinstance(parts[0], dict) else parts[0]}]


TEXT_PART = {"type": "text", "text": "a cat"}
IMAGE_PART = {"type": "image_url", "image_url": {"url": URI}}


@pytest.mark.parametrize(
    ("body", "items"),
    [
        ({"input": [{"text": "a cat"}, {"image": URI}, {"image": BARE}, {"bytes": BARE}, {"url": "https://a.b/c"}]},
         [("text", "a cat"), ("image", URI), ("image", AS_URI), ("image", AS_URI), ("image", "https://a.b/c")]),
        ({"input": {"text": "a cat"}}, [("text", "a cat")]),
        ({"input": [{"text": "data:image/png"}]}, [("text", "data:image/png")]),
        ({"input": f"<img src='{URI}'/>"}, [("image", URI)]),
        ({"messages": user("a cat")}, [("text", "a cat")]),
        ({"messages": user(TEXT_PART)}, [("text", "a cat")]),
        ({"messages": user(IMAGE_PART)}, [("image", URI)]),
        ({"messages": [user(IMAGE_PART), user("a cat")]}, [("image", URI), ("text", "a cat")]),
        ({"input": [user(IMAGE_PART), user("a cat")]}, [("image", URI), ("text", "a cat")]),
        ({"input": user(TEXT_PART)}, [("text", "a cat")]),
    ],
)  # fmt: skip
def test_shapes_of_jina_and_vllm(body: dict[str, Any], items: list[tuple[str, str]]) -> None:
    assert [(item.modality, item.content) for item in EmbeddingsBody.read(body).items] == items


@pytest.mark.parametrize(
    ("body", "document", "detail"),
    [
        ({}, "", "input must be a text"),
        ({"input": []}, "", "at least one"),
        ({"input": "a", "messages": user("a")}, "", "send input or messages"),
        ({"messages": []}, "", "messages must be a list of messages"),
        ({"messages": [{"content": "a"}]}, "", "messages must be a list of messages"),
        ({"messages": user(TEXT_PART, IMAGE_PART)}, "messages", "CLIP has no joint embedding"),
        ({"messages": [user("a"), user("a")[:0] or user(TEXT_PART, TEXT_PART)]}, "messages[1]", "no joint embedding"),
        ({"messages": user({"type": "audio_url"})}, "messages", "text must be a string"),
        ({"input": [{"text": "a", "image": URI}]}, "input[0]", "send one of text, image, bytes, url"),
        ({"input": ["a", {}]}, "input[1]", "send one of text, image, bytes, url"),
        ({"input": [{"image": 5}]}, "input[0]", "image must be a string"),
        ({"input": [[1, 2], [3]]}, "input[0]", "check_embedding_ctx_length"),
        ({"input": [320, 1125]}, "input", "check_embedding_ctx_length"),
    ],
)
def test_what_cannot_be_read_is_named(body: dict[str, Any], document: str, detail: str) -> None:
    with pytest.raises(Problem, match=re.escape(detail)) as refusal:
        EmbeddingsBody.read(body).items  # noqa: B018
    assert refusal.value.document_id == document


@pytest.mark.parametrize("name", ["encoding_format", "embedding_type", "encoding_type"])
def test_three_members_say_how_numbers_are_written(name: str) -> None:
    assert EmbeddingsBody.read({"input": "a", name: "ubinary"}).type == "ubinary"
    assert EmbeddingsBody.read({"input": "a", name: None}).type == "float"
    with pytest.raises(Problem, match=f"{name} must be one of float, base64"):
        EmbeddingsBody.read({"input": "a", name: "float16"})


@pytest.mark.parametrize(
    ("members", "expected"),
    [({}, True), ({"normalize": False}, False), ({"normalized": False}, False), ({"normalized": True}, True)],
)
def test_vectors_have_length_1_unless_asked_otherwise(members: dict[str, Any], expected: bool) -> None:
    assert EmbeddingsBody.read({"input": "a", **members}).is_unit is expected


@pytest.mark.parametrize("name", ["task", "user", "late_chunking", "truncate", "input_type"])
def test_members_of_others_that_change_nothing_are_known_by_name(name: str) -> None:
    assert EmbeddingsBody.read({"input": "a", name: "x"}).items
    with pytest.raises(Problem, match=f"unknown member '{name}_'"):
        EmbeddingsBody.read({"input": "a", f"{name}_": "x"})


@pytest.mark.parametrize(
    ("body", "items"),
    [
        ({"texts": ["a", "b"]}, [("text", "a"), ("text", "b")]),
        ({"images": [URI, BARE]}, [("image", URI), ("image", AS_URI)]),
        ({"inputs": [{"content": [TEXT_PART]}, {"content": [IMAGE_PART]}]}, [("text", "a cat"), ("image", URI)]),
        ({"texts": ["a"], "truncate": "END", "input_type": "search_query", "priority": 1}, [("text", "a")]),
    ],
)
def test_shapes_of_cohere(body: dict[str, Any], items: list[tuple[str, str]]) -> None:
    assert [(item.modality, item.content) for item in EmbedBody.read({"model": "x", **body}).items] == items


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "send one of texts, images and inputs, not none of them"),
        ({"texts": ["a"], "images": [URI]}, "send one of texts, images and inputs, not texts, images"),
        ({"texts": []}, "texts must be a list, of at least one"),
        ({"texts": "a"}, "texts must be a list, of at least one"),
        ({"texts": ["a", ""]}, "a string that is not empty"),
        ({"inputs": [{"content": [TEXT_PART, IMAGE_PART]}]}, "content must have one part"),
        ({"inputs": [{"content": [{"type": "video"}]}]}, "of type text or image_url, not 'video'"),
        ({"texts": ["a"], "embedding_types": ["float", "int4"]}, "embedding_types must be of"),
        ({"texts": ["a"], "embedding_types": "float"}, "embedding_types must be of"),
        ({"texts": ["a"], "truncate": "START"}, "truncate: START"),
    ],
)
def test_what_cohere_would_refuse_is_refused(body: dict[str, Any], detail: str) -> None:
    with pytest.raises(Problem, match=re.escape(detail)):
        EmbedBody.read(body).items  # noqa: B018


def test_weaviate_sends_texts_and_then_images() -> None:
    body = VectorizeBody.read({"images": [BARE], "texts": ["a", "b"]})
    assert [(item.id, item.modality) for item in body.items] == [
        ("texts[0]", "text"),
        ("texts[1]", "text"),
        ("images[0]", "image"),
    ]
    assert VectorizeBody.read({}).items == []
    assert VectorizeBody.read({"texts": None, "images": []}).items == []
    with pytest.raises(Problem, match="send a string that is not empty") as refusal:
        VectorizeBody.read({"images": [BARE, 5]})
    assert refusal.value.document_id == "images[1]"


def test_numbers_in_every_type() -> None:
    vector = np.random.default_rng(0).normal(size=64).astype(np.float32)
    vector /= np.linalg.norm(vector)
    written = {name: as_type([vector], name)[0] for name in TYPES}
    assert np.array_equal(np.array(written["float"], np.float32), vector)
    assert np.array_equal(np.frombuffer(base64.b64decode(written["base64"]), "<f4"), vector)
    assert np.abs(np.array(written["int8"]) / 127 - vector).max() <= 0.5 / 127 + 1e-6
    assert [one + 128 for one in written["int8"]] == written["uint8"]
    bits = np.unpackbits(np.array(written["ubinary"], np.uint8))
    assert np.array_equal(bits.astype(bool), vector >= 0)
    assert [one - 128 for one in written["ubinary"]] == written["binary"]
    assert (min(written["int8"]), max(written["uint8"])) >= (-127, 0)


class Served(Executors):
    """One executor that says what it runs."""

    def __init__(self, model: str) -> None:
        self.infos = {"encoder": {"model": model, "dim": 512, "modality": "image", "checkpoint": ""}}  # type: ignore[misc]

    infos: Any = None
    silent: Any = ()


@pytest.mark.parametrize(
    ("served", "asked", "is_it"),
    [
        ("ViT-B/32", None, True),
        ("ViT-B/32", "", True),
        ("ViT-B/32", "default/not-specified", True),
        ("ViT-B/32", "ViT-B/32", True),
        ("ViT-B/32", "ViT-B-32", True),
        ("ViT-B/32", "ViT-B-32::openai", True),
        ("ViT-B/32", "openai/clip-vit-base-patch32", True),
        ("openai/clip-vit-base-patch32", "ViT-B/32", True),
        ("ViT-L/14@336px", "ViT-L-14-336::openai", True),
        ("ViT-L/14@336px", "openai/clip-vit-large-patch14-336", True),
        ("ViT-B/32", "an-alias", True),
        ("ViT-B/32", "ViT-B/16", False),
        ("ViT-B/32", "vit-b/32", False),
        ("ViT-B/32", "ViT-B-32::laion2b_s34b_b79k", False),
        ("ViT-B/32", 7, False),
        ("ViT-B/32", ["ViT-B/32"], False),
    ],
)
def test_a_model_answers_to_its_spellings_and_aliases(served: str, asked: Any, is_it: bool) -> None:
    models = Models(Served(served), ["an-alias"])
    if is_it:
        assert asyncio.run(models.check(asked)) == served
    else:
        with pytest.raises(Problem, match=f"serves '{served}'$"):
            asyncio.run(models.check(asked))


@pytest.mark.parametrize(("dimensions", "is_it"), [(None, True), (512, True), (256, False), ("512", False)])
def test_dimensions_are_the_models_own_or_refused(dimensions: Any, is_it: bool) -> None:
    models = Models(Served("ViT-B/32"))
    if is_it:
        assert asyncio.run(models.check(None, dimensions)) == "ViT-B/32"
    else:
        with pytest.raises(Problem, match="dimensions: embeddings have 512 here"):
            asyncio.run(models.check(None, dimensions))


@pytest.mark.parametrize("name", ["emoji-tiny", "mine.pt", "RN50x64", "organisation/name"])
def test_other_names_are_themselves_alone(name: str) -> None:
    assert canonical(name) == name.replace("/", "-")


@pytest.mark.parametrize(
    ("text", "is_it"),
    [
        (URI, True),
        ("DATA:IMAGE/PNG;BASE64,AAAA", True),
        ("data:;base64,AA\nAA", True),
        ("data:image/png;charset=utf-8;base64,AAAA", True),
        ("data:image/png;base64", True),
        ("https://a.b/c.jpg", True),
        ("HTTPS://a.b/c.jpg", True),
        ("data: a story, and its end", False),
        ("data:", False),
        ("a picture of data:,", False),
        ("note: see http://a.b", False),
    ],
)
def test_a_uri_is_told_from_a_sentence(text: str, is_it: bool) -> None:
    assert is_uri(text) is is_it
