"""A checkpoint: the weights of a model, on disk or still to download."""

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
    """The image half of a model.

    :param name: name under which the model was requested.
    :param visual: module, float32 (b, 3, n, n) -> (b, dim), in fp32 on the CPU.
    :param input_size: n, in pixels per side.
    :param dim: length of an embedding.
    :param logit_scale: see `Checkpoint`.
    """

    name: str
    visual: nn.Module
    input_size: int
    dim: int
    logit_scale: float | None


def cache_directory(cache_dir: str | None = None) -> Path:
    """The folder of downloads: `cache_dir`, else the environment variable CLIP_CACHE, else `clip`'s ~/.cache/clip."""
    return Path(cache_dir or os.environ.get("CLIP_CACHE") or Path.home() / ".cache" / "clip")


def as_openai(kind: str) -> Preparation:
    """Preprocessing of OpenAI's models for an item of `kind`."""
    return ImagePreparation() if kind == IMAGE else TextPreparation()


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a model, on disk or still to download.

    :param name: name under which the model was requested.
    :param files: function that returns the paths of the weight files, as far as known; they may not exist yet.
    :param read: function from `IMAGE` or `TEXT` to that half, in any precision; it downloads missing files. The module
        has the attributes

        - `logit_scale`: factor of cosine similarities before a softmax, 100 for OpenAI's models; None if the weights
          have none,
        - `logit_bias`: summand of the scaled similarities before a sigmoid; None if the model uses a softmax,
        - of the image half `input_resolution`, in pixels per side, and `output_dim`,
        - of the text half `context_length`, in tokens, `output_dim`, and `shortens`, see `TextPreparation`.
    :param prepared: function from `IMAGE` or `TEXT` to the preprocessing of its items; call it after the download.
    :param built: function that returns the architecture, "" if the files contain it, None if it is not known yet.
    """

    name: str
    files: Callable[[], Sequence[Path]]
    read: Callable[[str], nn.Module]
    prepared: Callable[[str], Preparation] = as_openai
    built: Callable[[], str | None] = lambda: ""
    _known: dict[tuple[object, ...], str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def load(self) -> ClipModel:
        """Load the image half, in fp32.

        :raises ModelError: the weights cannot be loaded; the message says what to change.
        """
        visual: Any = self.read(IMAGE).float()  # a Module has no types for its attributes
        return ClipModel(self.name, visual, visual.input_resolution, visual.output_dim, visual.logit_scale)

    def load_text(self) -> nn.Module:
        """Load the text half: tokens, int (b, n) with n up to the context length -> (b, dim), in fp32.

        :raises ModelError: the weights cannot be loaded; the message says what to change.
        """
        return self.read(TEXT)

    def restriction(self) -> str:
        """The licence of weights that is known to forbid commercial use; else ""."""
        here = [file for file in self.files() if file.is_file()]
        return licences.restriction(self.name, here[0].parent if here else None)

    def fingerprint(self) -> str | None:
        """SHA-256 of the files, and of the architecture if they do not contain it; None if not downloaded yet.

        Everything derived from the weights is valid only for their fingerprint. Files that have not changed are read
        once.
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
