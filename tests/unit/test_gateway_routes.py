"""The small decisions of the gateway's routes."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import pytest
from jina.types.request.data import DataRequest
from starlette.requests import Request

from clip_gateway.caller import accept_id
from clip_gateway.flow.messages import drop_reserved, parse, set_reserved
from clip_gateway.http.routes import embed
from clip_gateway.http.routes.jina import to_request
from clip_gateway.http.schemas.openai import EmbeddingsBody
from clip_gateway.observing.logs import Lines, LinesHandler, json_line, text_line
from clip_gateway.problems import Problem


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
        ({"data": [1]}, "data\\[0\\]|not (a )?document"),
        ({"data": [{"blob": "!"}]}, "not (a )?document"),
        ({"data": [{"chunks": [{"blob": "AAA"}]}]}, "not (a )?document"),
        ({"data": [{"tensor": [[1], [1, 2]]}]}, "not (a )?document"),
        ({"parameters": "all"}, "parameters"),
        ({"parameters": {"a": 10**400}}, "parameters"),
        ({"execEndpoint": 7}, "execEndpoint"),
        ({"data": [nested("chunks", 150)]}, "not (a )?document"),
        ({"data": [{"tags": nested("a", 150)}]}, "not (a )?document"),
        ({"data": [nested("chunks", 5000)]}, "not (a )?document"),
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
