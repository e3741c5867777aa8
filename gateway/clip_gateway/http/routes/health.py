"""Health checks over HTTP: liveness, readiness, and the present state of all executors."""

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
    """Return the routes.

    :param executors: executors of the Flow.
    """
    routes = APIRouter(tags=["Health"])

    @routes.get("/healthz", response_class=Response, **route(_OK))
    async def healthz() -> Response:
        """Liveness: returns 200 while the process runs, whatever the state of the executors."""
        return json_response({"status": "ok"})

    @routes.get("/readyz", response_class=Response, responses=_READINESS)
    async def readyz() -> Response:
        """Present state, for monitoring and alerts: a 503 names the executors that do not respond.

        Executors that run different checkpoints are a 503 too, with a `reason` that names them. A 200 has `model`,
        `fingerprint` and `checkpoint` of each executor, as far as the executor reports them.
        """
        health = await present(executors)
        return _answer(health, executors=_described(executors)) if health.is_ok else _answer(health)

    @routes.get(
        "/startupz", response_class=Response, responses=_READINESS | {200: {"description": "OK", "content": _OK}}
    )
    async def startupz() -> Response:
        """Readiness probe: 503 until every executor has responded once, then 200 until shutdown.

        It is 503, with the reason, while executors run different checkpoints.

        An executor that fails later does not make the gateway unready: clients then get a 503 with Retry-After rather
        than a refused connection.
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
