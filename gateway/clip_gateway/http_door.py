"""What every HTTP request passes before its route: id, token, slot, size and time of the body, log line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_gateway.caller import Caller, accept_id
from clip_gateway.content_coding import Decoder, coding_of
from clip_gateway.http_messages import problem_response
from clip_gateway.logs import LOG, request_id
from clip_gateway.memory import Holding
from clip_gateway.problems import INTERNAL, Problem
from clip_gateway.request_handler import RequestHandler
from clip_gateway.tokens import Tokens
from clip_wire.errors import InternalError, Malformed, TooLarge, UploadTimeout

_BLOCK = 1 << 16  # bytes
_DECODED = 1 << 18  # bytes of a body at a time
# Asked by kubelets, load balancers and Jina itself: no token, no slot, no log line.
OPEN = {"/", "/healthz", "/readyz", "/startupz"}


class HttpDoor:
    """ASGI middleware around the routes.

    :param handler: its slots and limits.
    :param tokens: who may come in.
    """

    def __init__(self, app: ASGIApp, handler: RequestHandler, tokens: Tokens) -> None:
        self._app = app
        self._handler = handler
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        deadline = time.time() + self._handler.settings.time_limit_seconds
        caller = Caller(accept_id(headers.get("x-request-id")), "HTTP", deadline)
        method = scope["method"]
        exchange = _Exchange(send, caller.id, only_head=method == "HEAD")
        # A route answers HEAD as GET. The server keeps its own scope, where it is HEAD.
        scope = {**scope, "caller": caller, "method": "GET" if method == "HEAD" else method}
        if scope["path"] in OPEN:
            await self._app(scope, receive, exchange)
            return
        request_id.set(caller.id)
        holding = scope["holding"] = Holding(self._handler.budget)
        try:
            await self._pass(scope, headers, self._body(receive, scope, headers, holding), exchange)
        except Problem as problem:
            await exchange.refuse(scope, problem)
        except ClientDisconnect:
            exchange.status = 499  # nobody is there to read an answer
        except Exception:  # a fault of ours is answered and logged here, and shows nothing of itself
            LOG.exception("a request failed")
            await exchange.refuse(scope, Problem(InternalError, INTERNAL))
        finally:
            holding.release()
            error = scope.get("problem", "")
            self._handler.ended("HTTP", method, scope["path"], exchange.status, error, caller.started)

    async def _pass(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: _Exchange) -> None:
        self._tokens.check(headers.get("authorization"))
        if "content-length" in headers and "transfer-encoding" in headers:  # whose body it is depends on who reads it
            send.close = True
            raise Problem(Malformed, "Content-Length and Transfer-Encoding exclude each other")
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if not self._handler.slots.take():
            raise self._handler.slots.full()
        try:
            await self._app(scope, receive, send)
        finally:
            self._handler.slots.give()

    def _body(self, receive: Receive, scope: Scope, headers: Mapping[str, str], holding: Holding) -> Receive:
        """`receive` within the limits, decoded."""
        limited = self._limited(receive, headers, scope["caller"].deadline, holding)
        codings = [value.decode("latin-1") for key, value in scope["headers"] if key == b"content-encoding"]
        return self._decoded(limited, codings, holding).__anext__ if any(codings) else limited

    async def _decoded(self, receive: Receive, codings: list[str], holding: Holding) -> AsyncIterator[Message]:
        """What `receive` brings, decoded: some at a time, so that no more than the limit is ever held."""
        most = self._handler.settings.max_body_bytes
        if coding := coding_of(codings):
            decoder, whole = Decoder(coding), False
            while not whole:
                message = await receive()
                if message["type"] != "http.request":
                    yield message
                    continue
                whole = not message.get("more_body", False)
                decoder.give(message.get("body", b""))
                while not decoder.hungry:  # in a thread: megabytes must not keep health waiting
                    body = await asyncio.to_thread(decoder.take, min(_DECODED, most + 1 - decoder.count))
                    if decoder.count > most:
                        raise _too_large(most)
                    holding.cover(decoder.count)
                    yield {"type": "http.request", "body": body, "more_body": True}
            decoder.finish()
            yield {"type": "http.request", "body": b"", "more_body": False}
        while True:
            yield await receive()

    def _limited(self, receive: Receive, headers: Mapping[str, str], deadline: float, holding: Holding) -> Receive:
        """`receive` that counts while it reads, so that no more than the limit is ever held, whatever was announced."""
        most = self._handler.settings.max_body_bytes
        length = headers.get("content-length", "")
        announced = int(length) if length.isdecimal() and len(length) <= 18 else most + bool(length)
        read, whole = 0, False

        async def limited() -> Message:
            nonlocal read, whole
            if whole:
                return await receive()
            if length and announced > most:
                raise _too_large(most)
            if length and not holding.count:
                holding.grow(announced)
            try:
                async with asyncio.timeout(deadline - time.time()):
                    message = await receive()
            except TimeoutError:
                raise Problem(UploadTimeout, "the body did not arrive within the time limit") from None
            read += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if read > most:
                raise _too_large(most)
            holding.cover(read)
            return message

        return limited


def _too_large(most: int) -> Problem:
    return Problem(TooLarge, f"the body is larger than {most} bytes, the most that is read")


class _Exchange:
    """`send` that adds the request id to the answer and remembers its status.

    :param only_head: of the answer, whose body is left out.
    :ivar close: whether the connection ends with the answer.
    """

    def __init__(self, send: Send, call_id: str, only_head: bool) -> None:
        self._send = send
        self._id = call_id
        self._only_head = only_head
        self.status = 500
        self.close = False
        self._begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._id.encode())]
            if self.close:
                message["headers"].append((b"connection", b"close"))
        body = b"" if self._only_head else message.get("body", b"")
        last = max(0, len(body) - 1) // _BLOCK * _BLOCK
        for start in range(0, last, _BLOCK):  # block by block: each waits until the caller has read on
            await self._send({**message, "body": body[start : start + _BLOCK], "more_body": True})
        await self._send({**message, "body": body[last:]} if "body" in message else message)

    async def refuse(self, scope: Scope, problem: Problem) -> None:
        if not self._begun:
            await problem_response(scope, problem)(scope, self._nothing, self)

    @staticmethod
    async def _nothing() -> Message:
        return {"type": "http.disconnect"}
