"""Each middleware by itself: what it lets through, what it refuses, and what it does with the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_gateway.caller import Caller
from clip_gateway.flow.slots import Slots
from clip_gateway.http.middleware.blocks import Blocks
from clip_gateway.http.middleware.decoded_body import DecodedBody
from clip_gateway.http.middleware.head import Head
from clip_gateway.http.middleware.held import Held
from clip_gateway.http.middleware.identity import Identity
from clip_gateway.http.middleware.limited_body import LimitedBody
from clip_gateway.http.middleware.work_slots import WorkSlots
from clip_gateway.memory import Budget, Holding
from clip_gateway.problems import Problem


class Route:
    """Reads the body and answers with `answer`; keeps what it was asked with."""

    def __init__(self, answer: bytes = b"answer") -> None:
        self.answer = answer
        self.scope: Scope = {}
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        whole = False
        while not whole:
            message = await receive()
            self.body += message["body"]
            whole = not message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.answer})


def ask(app: ASGIApp, method: str = "POST", body: bytes = b"", **headers: str) -> list[Message]:
    """What `app` answers to a request whose body comes in two pieces."""
    scope = {
        "type": "http",
        "method": method,
        "path": "/embed",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "caller": Caller("an-id", "HTTP", time.time() + 10),
        "holding": Holding(Budget(1 << 20)),
    }
    half = len(body) // 2
    pieces = iter([(body[:half], True), (body[half:], False)])
    sent: list[Message] = []

    async def receive() -> Message:
        piece, more = next(pieces)
        return {"type": "http.request", "body": piece, "more_body": more}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent


@pytest.mark.parametrize("length", [0, 1, 1 << 16, (1 << 16) + 1, 200_000])
def test_an_answer_is_written_in_blocks_and_is_the_same(length: int) -> None:
    answer = bytes(range(256)) * (length // 256 + 1)
    _, *blocks = ask(Blocks(Route(answer[:length])))
    assert b"".join(block["body"] for block in blocks) == answer[:length]
    assert all(0 < len(block["body"]) <= 1 << 16 for block in blocks[1:])
    assert [block.get("more_body", False) for block in blocks] == [True] * (len(blocks) - 1) + [False]


def test_head_is_answered_as_get_without_a_body() -> None:
    route = Route()
    start, body = ask(Head(route), "HEAD")
    assert (route.scope["method"], route.scope["asked_method"]) == ("GET", "HEAD")
    assert (start["status"], body["body"]) == (200, b"")
    assert ask(Head(route), "GET")[1]["body"] == b"answer"


@pytest.mark.parametrize(("sent", "kept"), [("mine", True), ("not mine", False)])
def test_a_caller_has_an_id_which_goes_back(sent: str, kept: bool) -> None:
    route = Route()
    start, _ = ask(Identity(route, 5), x_request_id=sent)
    ((name, value),) = start["headers"]
    assert (name, value.decode()) == (b"x-request-id", route.scope["caller"].id)
    assert (value.decode() == sent) is kept
    assert 0 < route.scope["caller"].deadline - time.time() <= 5


def test_what_a_request_holds_is_given_back_whatever_happens() -> None:
    budget = Budget(100)

    async def fail(scope: Scope, *_: Any) -> None:
        scope["holding"].add(50)
        assert budget.held == 50
        raise KeyError

    with pytest.raises(KeyError):
        ask(Held(fail, budget))
    assert budget.held == 0


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({"content_length": "9"}, "larger than 8 bytes"),
        ({"content_length": "-1"}, "larger than 8 bytes"),
        ({"content_length": "4", "transfer_encoding": "chunked"}, "exclude each other"),
        ({"transfer_encoding": "chunked"}, "larger than 8 bytes"),
        ({}, "larger than 8 bytes"),
    ],
)
def test_a_body_over_the_limit_is_refused_by_what_is_announced_or_read(headers: dict[str, str], refusal: str) -> None:
    with pytest.raises(Problem, match=refusal):
        ask(LimitedBody(Route(), 8), body=b"123456789", **headers)


def test_a_body_within_the_limit_is_held_while_it_is_read() -> None:
    route = Route()
    ask(LimitedBody(route, 8), body=b"12345678", content_length="8")
    assert route.body == b"12345678"
    assert route.scope["holding"].count == 8


def test_only_work_takes_a_slot() -> None:
    slots = Slots(1)
    taken: list[bool] = []

    def route(then: Callable[[], bool]) -> ASGIApp:
        async def app(*_: Any) -> None:
            taken.append(then())

        return app

    ask(WorkSlots(route(slots.take), slots), "POST")
    assert taken == [False]
    ask(WorkSlots(route(slots.take), slots), "GET")
    assert taken == [False, True]
    with pytest.raises(Problem, match="in progress"):
        ask(WorkSlots(route(slots.take), slots), "POST")


def test_a_body_without_a_coding_passes_as_it_is() -> None:
    route = Route()
    ask(DecodedBody(route, 8), body=b"12345678")
    assert route.body == b"12345678"
    with pytest.raises(Problem, match="is not supported"):
        ask(DecodedBody(route, 8), body=b"12345678", content_encoding="br")
