"""The name of a model -> its image tower. The one module that knows where weights come from.

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
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from clip_image_flow import huggingface
from clip_image_flow.errors import ModelError

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
    """

    name: str
    visual: nn.Module
    input_size: int
    dim: int


def cache_directory(cache_dir: str | None = None) -> Path:
    """Where downloads are kept: `cache_dir`, else the environment's CLIP_CACHE, else `clip`'s own ~/.cache/clip."""
    return Path(cache_dir or os.environ.get("CLIP_CACHE") or Path.home() / ".cache" / "clip")


def load(name: str, cache_dir: str | None = None) -> ClipModel:
    """The model called `name`; the table at the top of this module has the names.

    :param cache_dir: folder of downloads, see `cache_directory`.
    :raises ModelError: with what is wrong and what to do about it.
    """
    cache = cache_directory(cache_dir)
    visual: Any = _load_visual(str(name), cache).float()  # a Module has no types for its attributes
    return ClipModel(str(name), visual, visual.input_resolution, visual.output_dim)


def fingerprint(name: str, cache_dir: str | None = None) -> str | None:
    """SHA-256 of the files of the model called `name`; None where they are not here, and `load` gets them or says why.

    Other weights, another fingerprint: what was made of a model holds for that fingerprint alone.
    """
    files = [file for file in _files(str(name), cache_directory(cache_dir)) if file.is_file()]
    if not files:
        return None
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            whole.update(hashlib.file_digest(content, "sha256").digest())
    return whole.hexdigest()


def _files(name: str, cache: Path) -> list[Path]:
    """The files that `_load_visual` would read, whether they are there or not."""
    openai_name = HUGGING_FACE_NAMES.get(name, name)
    if name == EMBEDDED:
        return [EMBEDDED_FILE]
    if openai_name in OPENAI_NAMES:
        return [cache / f"{openai_name.translate({ord(c): '-' for c in '/@'})}.pt"]
    path = Path(name).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir() and _is_repository(name):
        path = huggingface.download(name, cache)
    return [path / file for file in huggingface.FILES]


def _is_repository(name: str) -> bool:
    return bool(_REPOSITORY.fullmatch(name)) and not name.endswith((".pt", ".pth"))


def _load_visual(name: str, cache: Path) -> nn.Module:
    openai_name = HUGGING_FACE_NAMES.get(name, name)
    if name == EMBEDDED:
        return _load_file(EMBEDDED_FILE)
    if openai_name in OPENAI_NAMES:
        return _load_openai(openai_name, cache)
    path = Path(name).expanduser()
    if path.is_file():
        return _load_file(path)
    if path.is_dir():
        return huggingface.load_visual(path, name)
    if _is_repository(name):
        return huggingface.load_visual(huggingface.download(name, cache), name)
    known = [EMBEDDED, *OPENAI_NAMES, *HUGGING_FACE_NAMES]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ModelError(
        f"model {name!r}: no such file or folder, and no name that is known"
        + (f"; did you mean {close[0]!r}?" if close else ".")
        + f" Names are {', '.join(known)}, a Hugging Face repository, or a path."
    )


def _load_file(path: Path) -> nn.Module:
    from clip_image_flow import checkpoints

    return checkpoints.load_visual(path)


def _load_openai(name: str, cache: Path) -> nn.Module:
    from clip_image_flow.openai_clip import clip

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
    visual: nn.Module = model.visual
    return visual


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
