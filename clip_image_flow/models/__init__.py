"""The name of a model -> either half of CLIP. The one module that knows where weights come from.

What reads weights imports torch, which takes seconds and 300 MB; it is imported only then, since a model that a backend
has converted before needs none of it.

| name | weights |
|---|---|
| `emoji-tiny` | the small model in this package |
| `ViT-B/32`, ... (`OPENAI_NAMES`) | OpenAI's, downloaded once by `clip.load`, which checks their SHA-256 |
| `openai/clip-vit-base-patch32`, ... | the same weights under Hugging Face's names |
| a file | OpenAI's format: a state dict, or a TorchScript archive |
| a folder | Hugging Face's layout: `config.json` and `model.safetensors` |
| `organisation/name` | the same from the Hugging Face hub |
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from filelock import FileLock

from clip_image_flow.errors import ModelError
from clip_image_flow.models import huggingface
from clip_wire.info import IMAGE, TEXT

if TYPE_CHECKING:
    from torch import nn

EMBEDDED = "emoji-tiny"
EMBEDDED_FILE = Path(__file__).parent / "weights" / "emoji-tiny.pt"
OPENAI_NAMES = (
    "RN50",
    "RN101",
    "RN50x4",
    "RN50x16",
    "RN50x64",
    "ViT-B/32",
    "ViT-B/16",
    "ViT-L/14",
    "ViT-L/14@336px",
)
HUGGING_FACE_NAMES = {
    "openai/clip-vit-base-patch32": "ViT-B/32",
    "openai/clip-vit-base-patch16": "ViT-B/16",
    "openai/clip-vit-large-patch14": "ViT-L/14",
    "openai/clip-vit-large-patch14-336": "ViT-L/14@336px",
}
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_CONNECT_SECONDS = 30.0


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


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a model, here or somewhere they can be had from.

    :param name: that it was asked for by.
    :param files: those that hold the weights, as far as they are here.
    :param read: `IMAGE` or `TEXT` -> that half, in any precision, downloaded where it is not here. Its `logit_scale` is
        what the model multiplies cosines with before a softmax, 100 for OpenAI's; None where the weights have none.
    """

    name: str
    files: Callable[[], Sequence[Path]]
    read: Callable[[str], nn.Module]
    _known: dict[tuple[object, ...], str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def load(self) -> ClipModel:
        """The model.

        :raises ModelError: with what is wrong and what to do about it.
        """
        visual: Any = self.read(IMAGE).float()  # a Module has no types for its attributes
        return ClipModel(self.name, visual, visual.input_resolution, visual.output_dim, visual.logit_scale)

    def load_text(self) -> nn.Module:
        """Its text half, a `clip_image_flow.models.text.ClipText` in fp32.

        :raises ModelError: with what is wrong and what to do about it.
        """
        return self.read(TEXT)

    def fingerprint(self) -> str | None:
        """SHA-256 of the files; None where they are not here, and `load` gets them or says why.

        Other weights, another fingerprint: what was made of a model holds for that fingerprint alone. Files that
        have not changed are read once.
        """
        files = [file for file in self.files() if file.is_file()]
        if not files:
            return None
        state = tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
        if state in self._known:
            return self._known[state]
        whole = hashlib.sha256()
        for file in files:
            with file.open("rb") as content:
                whole.update(hashlib.file_digest(content, "sha256").digest())
        return self._known.setdefault(state, whole.hexdigest())


def resolve(name: str, cache_dir: str | None = None) -> Checkpoint:
    """Where the model called `name` comes from; the table at the top of this module has the names.

    Nothing is read or downloaded, and what is no name is found by `Checkpoint.load`.

    :param cache_dir: folder of downloads, see `cache_directory`.
    """
    name, cache = str(name), cache_directory(cache_dir)
    openai_name = HUGGING_FACE_NAMES.get(name, name)
    path = Path(name).expanduser()
    if name == EMBEDDED:
        return Checkpoint(name, lambda: [EMBEDDED_FILE], lambda kind: _load_file(EMBEDDED_FILE, kind))
    if openai_name in OPENAI_NAMES:
        file = cache / f"{openai_name.translate({ord(c): '-' for c in '/@'})}.pt"
        return Checkpoint(name, lambda: [file], lambda kind: _load_openai(openai_name, cache, kind))
    if path.is_file():
        return Checkpoint(name, lambda: [path], lambda kind: _load_file(path, kind))
    if path.is_dir():
        return Checkpoint(name, lambda: huggingface.files(path), lambda kind: huggingface.load(path, name, kind))
    if _REPOSITORY.fullmatch(name) and not name.endswith((".pt", ".pth")):
        return Checkpoint(
            name,
            lambda: huggingface.downloaded(name, cache),
            lambda kind: huggingface.load(huggingface.download(name, cache), name, kind),
        )
    return Checkpoint(name, list, lambda _: _unknown(name))


def load(name: str, cache_dir: str | None = None) -> ClipModel:
    """The model called `name`: `resolve(name, cache_dir).load()`."""
    return resolve(name, cache_dir).load()


def _unknown(name: str) -> NoReturn:
    known = [EMBEDDED, *OPENAI_NAMES, *HUGGING_FACE_NAMES]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ModelError(
        f"model {name!r}: no such file or folder, and no name that is known"
        + (f"; did you mean {close[0]!r}?" if close else ".")
        + f" Names are {', '.join(known)}, a Hugging Face repository, or a path."
    )


def _load_file(path: Path, kind: str) -> nn.Module:
    from clip_image_flow.models import checkpoints

    return checkpoints.load_text(path) if kind == TEXT else checkpoints.load_visual(path)


def _load_openai(name: str, cache: Path, kind: str) -> nn.Module:
    from clip_image_flow.models.openai_clip import clip, with_logit_scale
    from clip_image_flow.models.text import ClipText

    try:
        with _alone(cache), _bounded_connect():
            model, _ = clip.load(name, device="cpu", download_root=str(cache))
    except (OSError, HTTPException, TypeError) as error:  # TypeError: an answer without a length, from a proxy
        raise ModelError(
            f"model {name!r} is not in {cache} and cannot be downloaded ({error}); copy the file there from a machine "
            f"with network access ({clip.clip._MODELS[name]}), or serve {EMBEDDED!r}, which needs no download"
        ) from error
    except RuntimeError as error:
        raise ModelError(
            f"model {name!r}: {error}; delete {cache / Path(clip.clip._MODELS[name]).name} and retry"
        ) from error
    state = model.state_dict()
    half: nn.Module = ClipText(state) if kind == TEXT else model.visual
    return with_logit_scale(half, state)


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Replicas that share a cache download one after the other: `clip` writes straight to the final file."""
    lock = FileLock(cache / ".lock")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:  # a cache mounted read-only is complete, or loading says what is missing
        yield
        return
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _bounded_connect() -> Iterator[None]:
    """`clip` opens its URL without a time limit: behind a firewall that drops packets it would wait for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
