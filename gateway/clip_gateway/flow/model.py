"""Which models answer, by what the executors' `/info` says, so that the gateway never says more than it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clip_gateway.flow.checkpoints import public_name
from clip_gateway.flow.executors import Executors
from clip_gateway.problems import Problem
from clip_wire.errors import NotFound
from clip_wire.info import IMAGE, TEXT, Info

_NOT_HERE = {
    TEXT: "this Flow encodes no texts; the one of flows/clip_flow.yml does",
    IMAGE: "this Flow encodes no images; those of flows/encode_flow.yml and flows/clip_flow.yml do",
}


@dataclass(frozen=True)
class Model:
    """What encodes one modality.

    :param id: the name that callers know.
    :param dim: length of its embeddings; 0 where it is unknown.
    :param checkpoint: SHA-256 of its weights, or "".
    :param target: the executors that such a request goes to, as Jina's header names them; "" for all.
    """

    id: str
    dim: int = 0
    checkpoint: str = ""
    target: str = ""


class Models:
    """The models of the Flow, one of each modality.

    :param executors: that say which.
    """

    def __init__(self, executors: Executors) -> None:
        self._executors = executors

    async def known(self) -> dict[str, Model]:
        """Modality -> the model that encodes it now; one without `/info` goes by the name of its executor.

        :raises Problem: nobody has said anything yet.
        """
        if self._nothing_known():
            await self._executors.refresh()
        if self._nothing_known():
            raise self._executors.unavailable(self._executors.silent)
        return of_each_modality(self._executors.infos)

    def _nothing_known(self) -> bool:
        return bool(self._executors.silent) and not any(self._executors.infos.values())

    async def current(self, modality: str) -> Model:
        """The model that encodes this modality now.

        :raises Problem: there is none.
        """
        known = await self.known()
        if modality in known:
            return known[modality]
        if silent := self._executors.silent:
            raise self._executors.unavailable(silent)
        raise Problem(NotFound, _NOT_HERE[modality])


def of_each_modality(infos: Mapping[str, Info]) -> dict[str, Model]:
    """Modality -> the first model that encodes it.

    A request of one modality goes to all executors but those that encode another one.

    :param infos: what each executor answers to `/info`, by its name; empty where it has no such endpoint.
    """
    modalities = {name: info["modality"] for name, info in infos.items() if info}
    found: dict[str, Model] = {}
    for name, modality in modalities.items():
        if modality not in found:
            info = infos[name]
            asked = [f"{other}$" for other in infos if modalities.get(other, modality) == modality]
            target = "|".join(asked) if len(asked) < len(infos) else ""
            found[modality] = Model(public_name(info), info["dim"], info["checkpoint"], target)
    return found or {IMAGE: Model(next(iter(infos), ""))}
