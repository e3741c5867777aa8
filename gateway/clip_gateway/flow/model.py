"""Which models answer: asked of the Flow's `/info`, so that the gateway never says more than it knows."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeGuard

from jina.types.request.data import DataRequest

from clip_gateway.caller import Caller
from clip_gateway.flow.request_handler import RequestHandler
from clip_gateway.problems import Problem, problem_of
from clip_wire.endpoints import INFO
from clip_wire.errors import NotFound
from clip_wire.info import IMAGE, Info
from clip_wire.parameters import RESULTS

_ANSWER_SECONDS = 3.0
_FRESH_SECONDS = 10.0  # a Flow can be rolled over to another model behind a gateway that stays


@dataclass(frozen=True)
class Model:
    """A model by the name that callers know, and the length of its embeddings (0: unknown)."""

    id: str
    dim: int = 0


class Models:
    """The models of the Flow, one of each modality.

    :param handler: the way to ask.
    """

    def __init__(self, handler: RequestHandler) -> None:
        self._handler = handler
        self._known: dict[str, Model] = {}
        self._asked = -_FRESH_SECONDS

    async def current(self, caller: Caller, modality: str = IMAGE) -> Model:
        """The model that encodes this modality now; one without `/info` goes by the name of its executor.

        :raises Problem: the Flow does not answer, and never did; or it has no such model.
        """
        if not self._known or time.monotonic() - self._asked > _FRESH_SECONDS:
            try:
                self._known = await self._ask(caller)
            except Problem:
                if not self._known:
                    raise
            self._asked = time.monotonic()
        if modality not in self._known:
            raise Problem(NotFound, f"no model for {modality} here; there is one for {', '.join(self._known)}")
        return self._known[modality]

    async def _ask(self, caller: Caller) -> dict[str, Model]:
        request = DataRequest()
        request.header.exec_endpoint = INFO
        soon = min(caller.deadline, time.time() + _ANSWER_SECONDS)
        answer = await self._handler.serve(request, dataclasses.replace(caller, deadline=soon))
        if problem := problem_of(answer):
            if problem.kind is not NotFound:
                raise problem
            return {IMAGE: Model(self._handler.executors.names[0])}
        return of_each_modality(answer.parameters.get(RESULTS, {}), self._handler.executors.names[0])


def of_each_modality(results: Mapping[str, Any], otherwise: str) -> dict[str, Model]:
    """Modality -> the first model that encodes it.

    :param results: what each Executor answers to `/info`, an `Info` where it has one.
    :param otherwise: the name of a model where nobody says one, and no Executor answered.
    """
    found: dict[str, Model] = {}
    for info in results.values():
        if _is_info(info):
            model = Model(_public(str(info["model"])), int(info.get("dim", 0)))
            found.setdefault(str(info.get("modality", IMAGE)), model)
    first = next(iter(results), otherwise)
    return found or {IMAGE: Model(first.partition("/")[0])}


def _is_info(result: Any) -> TypeGuard[Info]:
    return isinstance(result, dict) and "model" in result


def _public(name: str) -> str:
    """A file goes by its last name: where it lies is nobody's business."""
    return PurePath(name).name if name.startswith("/") else name
