"""How a request ended: problems and faults become answers, and every request its log line."""

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
    """Answers what is raised behind it, and tells the handler of every end.

    :param handler: that logs and counts.
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
        except Exception:  # a fault of ours is answered and logged here, and shows nothing of itself
            LOG.exception("a request failed")
            await answer.refuse(scope, Problem(InternalError, INTERNAL))
        finally:
            method, error = scope.get("asked_method", scope["method"]), scope.get("problem", "")
            self._handler.ended("HTTP", method, scope["path"], answer.status, error, caller.started)


class _Answer:
    """`send` that remembers the status of what it sent."""

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
