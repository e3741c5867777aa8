"""Bodies of images and texts, and answers with matches: what is wrong with them is named."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import numpy as np
import pytest
from docarray import Document, DocumentArray
from docarray.score import NamedScore
from jina.types.request.data import DataRequest
from starlette.requests import Request

from clip_gateway.flow.counting import Limits
from clip_gateway.flow.messages import check_ranked, parse
from clip_gateway.http.routes import embed
from clip_gateway.http.routes.jina import to_request
from clip_gateway.http.schemas.openai import EmbeddingsBody
from clip_gateway.http.schemas.rank import RankBody
from clip_gateway.problems import Problem
from clip_wire.endpoints import SCORE

URI = "data:image/png;base64,AAAA"


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ({"input": URI}, [("image", URI)]),
        ({"input": "a cat"}, [("text", "a cat")]),
        ({"input": ["a cat", URI, " ", "https://a.b/c"]}, ["text", "image", "text", "image"]),
        ({"input": [URI, "a cat"], "modality": "text"}, ["text", "text"]),
        ({"input": [URI], "modality": "image"}, ["image"]),
    ],
)
def test_a_uri_is_an_image_and_other_strings_are_texts(body: dict[str, Any], inputs: list[Any]) -> None:
    found = [(item.modality, item.content) for item in EmbeddingsBody.read(body).items]
    assert found == inputs or [modality for modality, _ in found] == inputs


@pytest.mark.parametrize(
    ("body", "document", "detail"),
    [
        ({"input": [URI, "a cat", ""]}, "input[2]", "empty"),
        ({"input": ""}, "input[0]", "empty"),
        ({"input": [URI, "a cat"], "modality": "image"}, "input[1]", "images are encoded here: send a data URI"),
        ({"input": [1, 2]}, "input", "check_embedding_ctx_length"),
        ({"input": ["a", [320, 1125]]}, "input[1]", "check_embedding_ctx_length"),
        ({"input": ["a", None]}, "input[1]", "send a string"),
    ],
)
def test_an_input_that_is_refused_is_named(body: dict[str, Any], document: str, detail: str) -> None:
    with pytest.raises(Problem, match=re.escape(detail)) as refusal:
        EmbeddingsBody.read(body).items  # noqa: B018
    assert (refusal.value.name, refusal.value.document_id) == ("BadDocument", document)


@pytest.mark.parametrize(
    ("body", "name", "document"),
    [
        ({}, "BadDocument", "image"),
        ({"image": "a cat", "texts": ["a"]}, "BadDocument", "image"),
        ({"image": URI}, "Malformed", ""),
        ({"image": URI, "texts": []}, "Malformed", ""),
        ({"image": URI, "texts": "a"}, "Malformed", ""),
        ({"image": URI, "texts": ["a", ""]}, "BadDocument", "texts[1]"),
        ({"image": URI, "texts": ["a", 1]}, "BadDocument", "texts[1]"),
        ({"image": URI, "texts": ["a"], "labels": ["b"]}, "BadParameter", ""),
    ],
)
def test_what_cannot_be_ranked_is_named(body: dict[str, Any], name: str, document: str) -> None:
    with pytest.raises(Problem) as refusal:
        RankBody.read(body)
    assert (refusal.value.name, refusal.value.document_id) == (name, document)


SCORED = {"embedding": np.ones(2), "scores": {SCORE: NamedScore(value=1.0)}}


@pytest.mark.parametrize(
    ("root", "matches", "named"),
    [
        ({"embedding": np.ones(2)}, [SCORED, SCORED], ""),
        ({"embedding": np.ones(2)}, [SCORED, {"tags": {"error": "broken"}}], ""),
        ({"tags": {"error": "broken"}}, [{}], ""),
        ({}, [], ""),
        ({}, [SCORED], "root"),
        ({"embedding": np.ones(2)}, [SCORED, {}], "1"),
        ({"embedding": np.ones(2)}, [SCORED, {"scores": SCORED["scores"]}], "1"),
        ({"embedding": np.ones(2)}, [{"embedding": np.ones(2)}], "0"),
    ],
)
def test_what_nothing_encoded_is_not_ranked(root: dict[str, Any], matches: list[dict[str, Any]], named: str) -> None:
    answer = DataRequest()
    found = DocumentArray(Document(id=str(i), **match) for i, match in enumerate(matches))
    answer.data.docs = DocumentArray([Document(id="root", matches=found, **root)])
    request = DataRequest(answer.proto.SerializeToString())
    parse(request)
    with pytest.raises(Problem) if named else contextlib.nullcontext() as refusal:
        check_ranked(request)
    assert not named or (refusal.value.name, refusal.value.document_id) == ("BadDocument", named)


@pytest.mark.parametrize("count", [9, 10])
def test_matches_of_a_json_body_count_as_documents(count: int) -> None:
    body = {"data": [{"matches": [{"text": "a"}] * count}], "execEndpoint": "/rank"}
    with pytest.raises(Problem, match="more than 10 documents") if count == 10 else contextlib.nullcontext():
        to_request(body, Limits(documents=10, parts=1000))


@pytest.mark.parametrize(
    ("content_type", "modality"),
    [
        (None, "image"),
        ("image/png", "image"),
        ("application/octet-stream", "image"),
        ("text/plain", "text"),
        (' Text/Plain ; charset="', "text"),
        ("text/html", None),
        ("text/plain2", None),
    ],
)
def test_a_content_type_says_which_modality_a_body_has(content_type: str | None, modality: str | None) -> None:
    headers = [(b"content-type", content_type.encode())] if content_type else []
    request = Request({"type": "http", "method": "POST", "path": "/embed", "headers": headers})
    with contextlib.nullcontext() if modality else pytest.raises(Problem, match="not 'text/"):
        assert embed._modality(request) == modality


@pytest.mark.parametrize(
    ("parameters", "is_utf8"),
    [
        (b"", True),
        (b"; charset=UTF-8", True),
        (b'; a=b; charset="utf8"', True),
        (b"; format=flowed", True),
        (b"; charset=latin-1", False),
        (b"; charset=utf-16", False),
        (b"; charset=utf-8; charset=latin-1", True),
        (b"; charset*=utf-8''latin-1", False),
        (b"; charset=" + b"x" * 5000, False),
    ],
)
def test_a_text_is_read_in_utf8(parameters: bytes, is_utf8: bool) -> None:
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", b"text/plain" + parameters)]}
    with contextlib.nullcontext() if is_utf8 else pytest.raises(Problem, match="a text is read in UTF-8"):
        embed._check_charset(Request(scope))
