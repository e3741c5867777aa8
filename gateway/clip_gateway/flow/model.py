"""Models of the Flow, as the `/info` of its executors reports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clip_gateway.flow.executors import Executors
from clip_gateway.problems import Problem
from clip_wire.errors import BadParameter, NotFound
from clip_wire.info import IMAGE, TEXT, Info, public_name

_NOT_HERE = {
    TEXT: "this Flow encodes no texts; the one of flows/clip_flow.yml does",
    IMAGE: "this Flow encodes no images; those of flows/encode_flow.yml and flows/clip_flow.yml do",
}


_ANY_MODEL = (None, "", "default/not-specified")  # the last is sent by infinity's clients
_OF_HUGGING_FACE = {
    "openai/clip-vit-base-patch32": "ViT-B-32",
    "openai/clip-vit-base-patch16": "ViT-B-16",
    "openai/clip-vit-large-patch14": "ViT-L-14",
    "openai/clip-vit-large-patch14-336": "ViT-L-14-336",
}


def canonical(name: str) -> str:
    """Return one spelling for the names that OpenAI, Hugging Face and OpenCLIP give to OpenAI's models; others stay."""
    plain = name.removesuffix("::openai").replace("/", "-").replace("@", "-").removesuffix("px")
    return _OF_HUGGING_FACE.get(name, plain)


@dataclass(frozen=True)
class Model:
    """The model that encodes one modality.

    :param id: model name for callers.
    :param dim: length of its embeddings; 0 if unknown.
    :param checkpoint: SHA-256 of its weights, or "".
    :param fingerprint: fingerprint of its vectors, or "".
    :param target: `target_executor` in Jina's header for requests of this modality; "" for all executors.
    """

    id: str
    dim: int = 0
    checkpoint: str = ""
    target: str = ""
    fingerprint: str = ""


class Models:
    """The models of the Flow, one per modality.

    :param executors: executors of the Flow.
    :param aliases: additional names of the served model.
    """

    def __init__(self, executors: Executors, aliases: Sequence[str] = ()) -> None:
        self._executors = executors
        self._aliases = frozenset(map(canonical, aliases))

    async def check(self, asked: Any, dimensions: Any = None) -> str:
        """Check that the requested model is served, and return its name.

        :param asked: requested model name; "" and None accept any.
        :param dimensions: requested length of embeddings; None accepts any.
        :raises Problem: if another model or another length is requested.
        """
        known = await self.known()
        names = list(dict.fromkeys(model.id for model in known.values()))
        if asked not in _ANY_MODEL and canonical(str(asked)) not in self._aliases.union(map(canonical, names)):
            served = ", ".join(map(repr, names))
            raise Problem(NotFound, f"no model {str(asked)[:100]!r} here; this Flow serves {served}")
        own = next(iter(known.values())).dim
        if dimensions is not None and dimensions != own:
            raise Problem(BadParameter, f"dimensions: embeddings have {own} here, the model's own; omit it")
        return names[0]

    async def known(self) -> dict[str, Model]:
        """Return modality -> model that encodes it; a model without `/info` has the name of its executor.

        :raises Problem: if no `/info` is known yet.
        """
        if self._nothing_known() and (silent := await self._executors.still_silent()) and self._nothing_known():
            raise self._executors.unavailable(silent)
        return of_each_modality(self._executors.infos)

    def _nothing_known(self) -> bool:
        return bool(self._executors.silent) and not any(self._executors.infos.values())

    async def current(self, modality: str) -> Model:
        """Return the model that encodes a modality.

        :param modality: `image` or `text`.
        :raises Problem: if there is none, or it is not known yet.
        """
        known = await self.known()
        if modality not in known:
            if silent := await self._executors.still_silent():
                raise self._executors.unavailable(silent)
            known = await self.known()
        if modality not in known:
            raise Problem(NotFound, _NOT_HERE[modality])
        return known[modality]


def of_each_modality(infos: Mapping[str, Info]) -> dict[str, Model]:
    """Return modality -> the first model that encodes it.

    A request of one modality is sent to all executors except those that encode another one.

    :param infos: executor name -> its `/info`; empty if it has no such endpoint.
    """
    modalities = {name: info["modality"] for name, info in infos.items() if info}
    found: dict[str, Model] = {}
    for name, modality in modalities.items():
        if modality not in found:
            info = infos[name]
            asked = [f"{other}$" for other in infos if modalities.get(other, modality) == modality]
            target = "|".join(asked) if len(asked) < len(infos) else ""
            made_by = info.get("fingerprint", "")
            found[modality] = Model(public_name(info["model"]), info["dim"], info["checkpoint"], target, made_by)
    return found or {IMAGE: Model(next(iter(infos), ""))}
