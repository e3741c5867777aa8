"""Health over HTTP: the process alone, the present truth, and what a kubelet wants to know."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from clip_gateway.flow.executors import Executors
from clip_gateway.flow.health import Health, present, started
from clip_gateway.http.messages import json_response
from clip_gateway.http.openapi import json_content, route
from clip_wire.info import public_name

_OK = json_content({"type": "object"}, {"status": "ok"})
_READY = json_content(
    {"type": "object"},
    {"status": "ok", "executors": {"encoder": {"model": "emoji-tiny", "fingerprint": "1fb6041f..."}}},
)
_MISSING = json_content({"type": "object"}, {"status": "unavailable", "missing": ["encoder"]})
_READINESS: dict[int | str, Any] = {
    200: {"description": "OK", "content": _READY},
    503: {"description": "Not ready", "content": _MISSING},
}


def router(executors: Executors) -> APIRouter:
    """The routes.

    :param executors: of the Flow.
    """
    routes = APIRouter(tags=["Health"])

    @routes.get("/healthz", response_class=Response, **route(_OK))
    async def healthz() -> Response:
        """The process is alive; who is behind it does not matter."""
        return json_response({"status": "ok"})

    @routes.get("/readyz", response_class=Response, responses=_READINESS)
    async def readyz() -> Response:
        """The present truth, for people and alerts: 503 names the executors that do not answer.

        Executors that run different checkpoints are a 503 too, whose `reason` names them. 200 says what each executor's
        answers are made by: `model`, `fingerprint` and `checkpoint`, as far as it says so itself.
        """
        health = await present(executors)
        return _answer(health, executors=_described(executors)) if health.is_ok else _answer(health)

    @routes.get(
        "/startupz", response_class=Response, responses=_READINESS | {200: {"description": "OK", "content": _OK}}
    )
    async def startupz() -> Response:
        """For a kubelet's readiness: 503 until every executor has answered once, then 200 until shutdown.

        It is 503, with the reason, while executors run different checkpoints.

        An executor that goes away later does not take the gateway out of service: callers then get a 503 with
        Retry-After rather than a refused connection.
        """
        return _answer(started(executors))

    return routes


def _described(executors: Executors) -> dict[str, dict[str, str]]:
    return {
        name: {
            "model": public_name(info["model"]),
            "fingerprint": info.get("fingerprint", ""),
            "checkpoint": info["checkpoint"],
        }
        for name, info in executors.infos.items()
        if info
    }


def _answer(health: Health, **more: Any) -> Response:
    if health.is_ok:
        return json_response({"status": health.status, **more})
    missing = {"missing": list(health.missing)} if health.missing else {}
    reason = {"reason": health.reason} if health.reason else {}
    return json_response({"status": health.status, **missing, **reason}, 503, retry_after="2")
