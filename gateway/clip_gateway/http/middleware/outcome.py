"""Turns exceptions into error responses, and logs every request."""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.http.messages import problem_response
from clip_gateway.observing.logs import LOG, request_id, took
from clip_gateway.problems import INTERNAL, Problem
from clip_wire.errors import InternalError
from clip_wire.work import Work

_NOBODY_THERE = 499


class Outcome:
    """Answers exceptions of the inner application, and reports the end of every request to the handler.

    :param app: inner ASGI application.
    :param handler: request handler that logs and counts requests.
    """

    def __init__(self, app: ASGIApp, handler: RequestHandler) -> None:
        self._app = app
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope["caller"]
        request_id.set(caller.id)
        took.set(Work())
        answer = _Answer(send)
        try:
            await self._app(scope, receive, answer)
        except Problem as problem:
            await answer.refuse(scope, problem)
        except ClientDisconnect:
            answer.status = _NOBODY_THERE
        except Exception:  # a bug: the log has the traceback, the response no details
            LOG.exception("a request failed")
            await answer.refuse(scope, Problem(InternalError, INTERNAL))
        finally:
            method, error = scope.get("asked_method", scope["method"]), scope.get("problem", "")
            self._handler.ended("HTTP", method, scope["path"], answer.status, error, caller.started)


class _Answer:
    """Wraps `send`, and records the status of the response."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False
        self.status = 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            self.status = message["status"]
        await self._send(message)

    async def refuse(self, scope: Scope, problem: Problem) -> None:
        if not self._begun:
            await problem_response(scope, problem)(scope, _nothing, self)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
