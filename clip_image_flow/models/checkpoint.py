"""The weights of a model, wherever they are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_image_flow.models import licences
from clip_image_flow.models.preparation import ImagePreparation, Preparation, TextPreparation
from clip_wire.info import IMAGE, TEXT

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ClipModel:
    """CLIP's image tower.

    :param visual: float32 (b, 3, n, n) -> (b, dim), in fp32 on the CPU.
    :param input_size: n, pixels a side.
    :param dim: length of an embedding.
    :param logit_scale: see `Checkpoint.read`.
    """

    name: str
    visual: nn.Module
    input_size: int
    dim: int
    logit_scale: float | None


def cache_directory(cache_dir: str | None = None) -> Path:
    """Where downloads are kept: `cache_dir`, else the environment's CLIP_CACHE, else `clip`'s own ~/.cache/clip."""
    return Path(cache_dir or os.environ.get("CLIP_CACHE") or Path.home() / ".cache" / "clip")


def as_openai(kind: str) -> Preparation:
    """What OpenAI's models want done with an item of `kind`."""
    return ImagePreparation() if kind == IMAGE else TextPreparation()


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a model, here or somewhere they can be had from.

    :param name: that it was asked for by.
    :param files: those that hold the weights, as far as they are here.
    :param read: `IMAGE` or `TEXT` -> that half, in any precision, downloaded where it is not here, with the attributes

        - `logit_scale`: what the model multiplies cosines with before a softmax, 100 for OpenAI's; None where the
          weights have none,
        - `logit_bias`: what it adds to them before a sigmoid; None where a softmax is meant,
        - of the image half `input_resolution`, in pixels a side, and `output_dim`,
        - of the text half `context_length`, in tokens, `output_dim`, and `shortens`, see `TextPreparation`.
    :param prepared: `IMAGE` or `TEXT` -> what is done with an item of it before; to be asked when the files are here.
    :param built: the architecture, where it does not follow from the files; None where it cannot be known yet.
    """

    name: str
    files: Callable[[], Sequence[Path]]
    read: Callable[[str], nn.Module]
    prepared: Callable[[str], Preparation] = as_openai
    built: Callable[[], str | None] = lambda: ""
    _known: dict[tuple[object, ...], str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def load(self) -> ClipModel:
        """The model.

        :raises ModelError: with what is wrong and what to do about it.
        """
        visual: Any = self.read(IMAGE).float()  # a Module has no types for its attributes
        return ClipModel(self.name, visual, visual.input_resolution, visual.output_dim, visual.logit_scale)

    def load_text(self) -> nn.Module:
        """Its text half in fp32: tokens, int (b, n) with n up to the context length -> (b, dim).

        :raises ModelError: with what is wrong and what to do about it.
        """
        return self.read(TEXT)

    def restriction(self) -> str:
        """The licence of weights that may not be used commercially, as far as that is known; else ""."""
        here = [file for file in self.files() if file.is_file()]
        return licences.restriction(self.name, here[0].parent if here else None)

    def fingerprint(self) -> str | None:
        """SHA-256 of the files, and of the architecture where it does not follow from them; None where they are not
        here, and `load` gets them or says why.

        Other weights, another fingerprint: what was made of a model holds for that fingerprint alone. Files that
        have not changed are read once.
        """
        files = [file for file in self.files() if file.is_file()]
        if not files or (built := self.built()) is None:
            return None
        state = (built, *((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))
        if state in self._known:
            return self._known[state]
        whole = hashlib.sha256(built.encode())
        for file in files:
            with file.open("rb") as content:
                whole.update(hashlib.file_digest(content, "sha256").digest())
        return self._known.setdefault(state, whole.hexdigest())
