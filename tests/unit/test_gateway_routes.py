"""The small decisions of the gateway's routes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docarray import Document, DocumentArray
from docarray.score import NamedScore
from jina.types.request.data import DataRequest
from starlette.requests import Request

from clip_gateway.caller import accept_id
from clip_gateway.flow import checkpoints
from clip_gateway.flow.checkpoints import disagreement, public_name, read
from clip_gateway.flow.messages import check_ranked, drop_reserved, parse, set_reserved
from clip_gateway.flow.model import Model, of_each_modality
from clip_gateway.http.routes import embed, openai
from clip_gateway.http.routes.jina import to_request
from clip_gateway.http.schemas.openai import EmbeddingsBody
from clip_gateway.http.schemas.rank import RankBody
from clip_gateway.observing.logs import Lines, LinesHandler, json_line, text_line
from clip_gateway.problems import Problem
from clip_wire.endpoints import SCORE
from clip_wire.info import Info


@pytest.mark.parametrize("sent", ["a", "x" * 128, "0f3c-7.b_c:d/e"])
def test_a_printable_id_is_kept(sent: str) -> None:
    assert accept_id(sent) == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", "a\nb", "a\x00", "ä"])
def test_any_other_id_is_replaced_by_a_new_one(sent: str | None) -> None:
    assert accept_id(sent) != accept_id(sent)


def query(text: str) -> Request:
    return Request({"type": "http", "method": "POST", "path": "/embed", "query_string": text.encode(), "headers": []})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("normalize=true&on_error=skip", {"normalize": True, "on_error": "skip"}),
        ("normalize=false&batch_size=4", {"normalize": False, "batch_size": 4.0}),
        ("a=nan&b=inf&c=1e999&d=True", {"a": "nan", "b": "inf", "c": "1e999", "d": "True"}),
        ("traversal_paths=%40r", {"traversal_paths": "@r"}),
        ("encoder__normalize=true", {"encoder__normalize": True}),
    ],
)
def test_the_query_becomes_parameters(text: str, expected: dict[str, Any]) -> None:
    assert embed.parameters(query(text)) == expected


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("emoji-tiny", "emoji-tiny"),
        ("ViT-B/32", "ViT-B/32"),
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("/models/private/mine.pt", "mine.pt"),
        ("/models/folder/", "folder"),
    ],
)
def test_a_model_file_goes_by_its_last_name(name: str, public: str) -> None:
    assert public_name({"model": name}) == public


def info(model: str, modality: str = "image", checkpoint: str = "", dim: int = 0) -> Info:
    return {"model": model, "dim": dim, "modality": modality, "checkpoint": checkpoint}


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({}, {}),
        ({"ranker/rep-0": {"rank": 1}, "ranker/rep-1": None}, {}),
        ({"encoder/rep-0": {"model": "a", "dim": 32.0}}, info("a", dim=32)),
        ({"text": {"model": "a", "modality": "text", "checkpoint": "c0ffee"}}, info("a", "text", "c0ffee")),
    ],
)
def test_an_executor_says_what_it_runs(results: dict[str, Any], expected: Info) -> None:
    assert read(results) == expected


A, B = info("a", "image"), info("b", "text")


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ({"named": {}, "other": {}}, {"image": Model("named")}),
        ({"encoder": info("/a/mine.pt", dim=32)}, {"image": Model("mine.pt", 32)}),
        ({"ranker": {}, "encoder": A}, {"image": Model("a")}),
        ({"one": A, "two": A}, {"image": Model("a")}),
        ({"encoder": A, "text": B}, {"image": Model("a", target="encoder$"), "text": Model("b", target="text$")}),
        (
            {"text": B, "encoder": A, "index": {}},
            {"text": Model("b", target="text$|index$"), "image": Model("a", target="encoder$|index$")},
        ),
    ],
)
def test_a_request_of_one_modality_goes_past_what_encodes_another(
    infos: dict[str, Info], expected: dict[str, Model]
) -> None:
    assert of_each_modality(infos) == expected


ONE, OTHER = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    "infos",
    [
        {},
        {"encoder": info("a", "image", ONE, 8)},
        {"encoder": info("a", "image", ONE, 8), "text": info("/other/name.pt", "text", ONE, 8)},
        {"encoder": info("a", "image", ONE, 8), "text": info("b", "text", "", 9), "ranker": {}},
    ],
)
def test_executors_of_one_checkpoint_agree(infos: dict[str, Info]) -> None:
    assert disagreement(infos) == ""


@pytest.mark.parametrize("other", [info("/models/b.pt", "text", OTHER, 8), info("/models/b.pt", "text", ONE, 9)])
def test_executors_of_two_checkpoints_are_named(other: Info) -> None:
    reason = disagreement({"encoder": info("a", "image", ONE, 8), "text": other})
    assert f"encoder runs 'a' ({ONE[:12]}, dim 8), text runs 'b.pt' ({other['checkpoint'][:12]}," in reason


def test_the_reason_is_logged_once_and_told_where_an_operator_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = tmp_path / "termination-log"
    told.touch()
    monkeypatch.setattr(checkpoints, "TERMINATION_LOG", told)
    monkeypatch.setattr(checkpoints.LOG, "propagate", True)
    infos = {"encoder": info("a", "image", ONE), "text": info("b", "text", OTHER)}
    agreement = checkpoints.Agreement()
    for _ in range(3):
        agreement.look(infos, started=True)
    assert told.read_text() == agreement.reason == disagreement(infos)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    agreement.look({**infos, "text": infos["encoder"]}, started=True)
    assert (told.read_text(), agreement.reason) == ("", "")


@pytest.mark.parametrize(("was_ready", "code"), [(False, 1), (True, 0)])
def test_a_gateway_that_has_never_been_ready_ends(was_ready: bool, code: int) -> None:
    program = f"""
from clip_gateway.flow import checkpoints
checkpoints.PATIENCE_SECONDS = 0
one, other = ({{"model": "a", "dim": 1, "checkpoint": name}} for name in "ab")
agreement = checkpoints.Agreement()
agreement.look({{"encoder": one}}, started={was_ready})
for _ in range(2):
    agreement.look({{"encoder": one, "text": other}}, started=True)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert ended.returncode == code, ended.stderr


@pytest.mark.parametrize("asked", [None, "", "default/not-specified", "ViT-B/32", "openai/clip-vit-base-patch32"])
def test_a_model_may_be_left_out(asked: str | None) -> None:
    openai._check_model(asked, {"image": Model("ViT-B/32"), "text": Model("openai/clip-vit-base-patch32")})


@pytest.mark.parametrize("asked", ["ViT-B/16", "vit-b/32", 7, ["ViT-B/32"]])
def test_another_model_is_not_found(asked: Any) -> None:
    with pytest.raises(Problem, match=r"serves 'ViT-B/32'$"):
        openai._check_model(asked, {"image": Model("ViT-B/32"), "text": Model("ViT-B/32")})


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
    found = EmbeddingsBody.read(body).inputs
    assert found == inputs or [modality for modality, _ in found] == inputs


@pytest.mark.parametrize(
    ("body", "document", "detail"),
    [
        ({"input": [URI, "a cat", ""]}, "input[2]", "empty"),
        ({"input": ""}, "input[0]", "empty"),
        ({"input": [URI, "a cat"], "modality": "image"}, "input[1]", "images are encoded here: send a data URI"),
        ({"input": [1, 2]}, "input[0]", "check_embedding_ctx_length"),
        ({"input": ["a", [320, 1125]]}, "input[1]", "check_embedding_ctx_length"),
        ({"input": ["a", None]}, "input[1]", "send a string"),
    ],
)
def test_an_input_that_is_refused_is_named(body: dict[str, Any], document: str, detail: str) -> None:
    with pytest.raises(Problem, match=re.escape(detail)) as refusal:
        EmbeddingsBody.read(body)
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


def test_a_callers_reserved_parameters_are_replaced() -> None:
    request = DataRequest()
    request.parameters = {"__request_id__": "forged", "__mine__": 1, "normalize": True, "__half": 2, "half__": 3}
    set_reserved(request, "real", 12.5)
    assert request.parameters == {
        "__request_id__": "real",
        "__deadline__": 12.5,
        "normalize": True,
        "__half": 2,
        "half__": 3,
    }
    drop_reserved(request)
    assert request.parameters.keys() == {"normalize", "__half", "half__"}


def test_a_message_is_parsed_once_and_whole() -> None:
    sent = DataRequest()
    sent.header.exec_endpoint = "/encode"
    received = DataRequest(sent.proto.SerializePartialToString())
    assert parse(received)
    assert (received.buffer, received.header.exec_endpoint) == (None, "/encode")
    assert parse(DataRequest(b""))
    assert not parse(DataRequest(b"\x0a\x40cut off"))


@pytest.mark.parametrize("name", ["__pydantic_self__", "self", "cls", "_fields_set", "values", "__fields_set__"])
def test_a_member_may_have_any_name(name: str) -> None:
    assert len(to_request({name: 1, "data": [{"text": "a"}]}).docs) == 1
    with pytest.raises(Problem, match=f"unknown member '{name}'"):
        EmbeddingsBody.read({name: 1, "input": "data:,"})


def nested(key: str, depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {key: [value]}
    return value


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"data": "a cat"}, "data must be a list"),
        ({"data": [1]}, "data\\[0\\]|no document"),
        ({"data": [{"blob": "!"}]}, "no document"),
        ({"data": [{"chunks": [{"blob": "AAA"}]}]}, "no document"),
        ({"data": [{"tensor": [[1], [1, 2]]}]}, "no document"),
        ({"parameters": "all"}, "parameters"),
        ({"parameters": {"a": 10**400}}, "parameters"),
        ({"execEndpoint": 7}, "execEndpoint"),
        ({"data": [nested("chunks", 150)]}, "no document"),
        ({"data": [{"tags": nested("a", 150)}]}, "no document"),
        ({"data": [nested("chunks", 5000)]}, "no document"),
        ({"parameters": nested("a", 150)}, "nested too deeply"),
    ],
)
def test_what_is_no_request_of_jina_is_malformed(body: dict[str, Any], detail: str) -> None:
    with pytest.raises(Problem, match=detail) as refusal:
        to_request(body)
    assert refusal.value.kind.status == 422


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"text": "a"}, {"text": "b"}], "execEndpoint": "/encode", "targetExecutor": "enc.*"},
        {"data": {"docs": [{"text": "a"}, {"text": "b"}]}, "exec_endpoint": "/encode", "target_executor": "enc.*"},
    ],
)
def test_both_spellings_of_jina_are_read(body: dict[str, Any]) -> None:
    request = to_request(body)
    assert (request.header.exec_endpoint, request.header.target_executor) == ("/encode", "enc.*")
    assert request.docs[:, "text"] == ["a", "b"]


def line(message: str, **fields: Any) -> dict[str, Any]:
    return {"time": 1767225600.5, "level": "INFO", "logger": "clip_gateway", "message": message, **fields}


def test_json_lines_hold_the_request() -> None:
    found = json.loads(json_line(line("request", request_id="an-id", status=200, ms=1.5, error="")))
    assert found == {
        "time": "2026-01-01T00:00:00.500Z",
        "level": "INFO",
        "logger": "clip_gateway",
        "message": "request",
        "request_id": "an-id",
        "status": 200,
        "ms": 1.5,
    }


def test_text_lines_cannot_be_forged() -> None:
    assert text_line(line("/a\r\nforged", request_id="an-id")) == (
        "2026-01-01T00:00:00.500Z INFO /a\\r\\nforged id=an-id"
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_a_fault_of_ours_is_logged_at_once_with_its_traceback(as_json: bool) -> None:
    stream = io.StringIO()
    log = logging.Logger("test")
    log.addHandler(LinesHandler(Lines(stream, as_json)))

    async def fail() -> None:
        try:
            raise KeyError("a key")
        except KeyError:
            log.exception("a request failed")

    asyncio.run(fail())
    assert "a request failed" in stream.getvalue()
    assert "KeyError: 'a key'" in stream.getvalue()


def test_lines_of_one_moment_are_written_together_and_in_order() -> None:
    class Stream(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            return super().write(text)

    stream = Stream()
    lines = Lines(stream, as_json=False)

    async def log() -> None:
        for i in range(10):
            lines.take(line(f"line {i}", request_id=""))
        assert stream.getvalue() == ""
        await asyncio.sleep(0.2)

    asyncio.run(log())
    assert stream.writes == 1
    assert [text.split()[-1] for text in stream.getvalue().splitlines()] == [str(i) for i in range(10)]
