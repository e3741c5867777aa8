"""Forms: what a browser and `requests` send, and what is wrong with others, named."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import requests
from starlette.requests import Request

from clip_gateway.http.forms import is_form, read_form
from clip_gateway.problems import Problem


def read(body: bytes, content_type: str, most: int = 10, step: int = 7) -> list[Any]:
    """The items of a form whose body comes in blocks of `step` bytes."""
    blocks = [body[i : i + step] for i in range(0, len(body), step)]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": blocks.pop(0) if blocks else b"", "more_body": bool(blocks)}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", content_type.encode())]}
    request = Request(scope, receive)
    assert is_form(request)
    return asyncio.run(read_form(request, most))


def form(*fields: tuple[str, Any]) -> tuple[bytes, str]:
    """What `requests` makes of them."""
    prepared = requests.Request("POST", "http://a", files=list(fields)).prepare()
    assert isinstance(prepared.body, bytes)
    return prepared.body, prepared.headers["Content-Type"]


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_fields_come_in_order_as_files_or_strings(step: int) -> None:
    body = form(
        ("image", ("cat.png", b"\x89PNG\r\n--bytes--\r\n")),
        ("text", (None, "חתול 🐈")),
        ("image", ("b", b"2")),
        ("text", ("text.txt", b"aus einer Datei")),
        ("image", (None, "AAAA")),
        ("image", (None, "data:image/png;base64,AAAA")),
    )
    assert [(item.id, item.modality, item.content) for item in read(*body, step=step)] == [
        ("image[0]", "image", b"\x89PNG\r\n--bytes--\r\n"),
        ("text[0]", "text", "חתול 🐈"),
        ("image[1]", "image", b"2"),
        ("text[1]", "text", "aus einer Datei"),
        ("image[2]", "image", "data:;base64,AAAA"),
        ("image[3]", "image", "data:image/png;base64,AAAA"),
    ]


def test_a_large_file_is_held_in_memory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", None)  # which a spooled file would roll over to
    [item] = read(*form(("image", ("a", bytes(3_000_000)))), step=1 << 16)
    assert len(item.content) == 3_000_000


GOOD = form(("image", ("a", b"1")))


@pytest.mark.parametrize(
    ("body", "content_type", "name", "detail"),
    [
        (*form(("picture", ("a", b"1"))), "BadParameter", "unknown field 'picture'; there are image, text"),
        (*form(("image", ("a", b""))), "BadDocument", "the field image is empty"),
        (*form(("text", (None, ""))), "BadDocument", "the field text is empty"),
        (*form(("text", ("a", b"\xff"))), "Malformed", "not UTF-8 text"),
        (*form(*[("image", ("a", b"1"))] * 11), "Malformed", "Too many files"),
        (*form(*[("text", (None, "a"))] * 11), "Malformed", "Too many fields"),
        (b"", GOOD[1], "Malformed", "cut off"),
        (GOOD[0][:-8], GOOD[1], "Malformed", "cut off"),
        (GOOD[0][:-70], GOOD[1], "Malformed", "cut off"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", "BadDocument", "no field image"),
        (GOOD[0], "multipart/form-data", "Malformed", "boundary"),
        (GOOD[0], "multipart/form-data; boundary=other", "Malformed", "cannot be read"),
        (b"\0", GOOD[1], "Malformed", "cannot be read"),
        (GOOD[0].replace(b"name=", b"nome="), GOOD[1], "Malformed", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, content_type: str, name: str, detail: str) -> None:
    with pytest.raises(Problem, match=detail) as refusal:
        read(body, content_type)
    assert refusal.value.name == name
