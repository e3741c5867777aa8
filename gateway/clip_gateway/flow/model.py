"""What model answers: asked of the Flow's `/info`, so that the gateway never says more than it knows."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import PurePath

from jina.types.request.data import DataRequest

from clip_gateway.caller import Caller
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.problems import Problem, problem_of
from clip_wire.endpoints import INFO
from clip_wire.errors import NotFound
from clip_wire.parameters import RESULTS

_ANSWER_SECONDS = 3.0
_FRESH_SECONDS = 10.0  # a Flow can be rolled over to another model behind a gateway that stays


@dataclass(frozen=True)
class Model:
    """A model by the name that callers know, and the length of its embeddings (0: unknown)."""

    id: str
    dim: int = 0


class Models:
    """The model of the Flow.

    :param handler: the way to ask.
    """

    def __init__(self, handler: RequestHandler) -> None:
        self._handler = handler
        self._known: Model | None = None
        self._asked = -_FRESH_SECONDS

    async def current(self, caller: Caller) -> Model:
        """The model that answers now; one without `/info` goes by the name of its executor.

        :raises Problem: the Flow does not answer, and never did.
        """
        if self._known is None or time.monotonic() - self._asked > _FRESH_SECONDS:
            try:
                self._known = await self._ask(caller)
            except Problem:
                if self._known is None:
                    raise
            self._asked = time.monotonic()
        return self._known

    async def _ask(self, caller: Caller) -> Model:
        request = DataRequest()
        request.header.exec_endpoint = INFO
        soon = min(caller.deadline, time.time() + _ANSWER_SECONDS)
        answer = await self._handler.serve(request, dataclasses.replace(caller, deadline=soon))
        if problem := problem_of(answer):
            if problem.kind is not NotFound:
                raise problem
            return Model(self._handler.executors.names[0])
        for executor, info in answer.parameters.get(RESULTS, {}).items():
            if isinstance(info, dict) and "model" in info:
                return Model(_public(str(info["model"])), int(info.get("dim", 0)))
            return Model(executor.partition("/")[0])
        return Model(self._handler.executors.names[0])


def _public(name: str) -> str:
    """A file goes by its last name: where it lies is nobody's business."""
    return PurePath(name).name if name.startswith("/") else name
