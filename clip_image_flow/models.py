"""The name of a model -> its image tower. The one module that knows where weights come from.

| name | weights |
|---|---|
| `emoji-tiny` | the small model in this package |
| `ViT-B/32`, ... (`clip.available_models()`) | OpenAI's, downloaded once by `clip.load`, which checks their SHA-256 |
| `openai/clip-vit-base-patch32`, ... | the same weights under Hugging Face's names |
| a file | OpenAI's format: a state dict, or a TorchScript archive |
| a folder | Hugging Face's layout: `config.json` and `model.safetensors` |
| `organisation/name` | the same from the Hugging Face hub |
"""

from __future__ import annotations

import contextlib
import difflib
import os
import pickle
import re
import socket
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn

from clip_image_flow import huggingface
from clip_image_flow.errors import ModelError
from clip_image_flow.openai_clip import clip

EMBEDDED = "emoji-tiny"
EMBEDDED_FILE = Path(__file__).parent / "weights" / "emoji-tiny.pt"
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


def _load_visual(name: str, cache: Path) -> nn.Module:
    openai_name = HUGGING_FACE_NAMES.get(name, name)
    if name == EMBEDDED:
        return _load_file(EMBEDDED_FILE)
    if openai_name in clip.available_models():
        return _load_openai(openai_name, cache)
    path = Path(name).expanduser()
    if path.is_file():
        return _load_file(path)
    if path.is_dir():
        return huggingface.load_visual(path, name)
    if _REPOSITORY.fullmatch(name) and path.suffix not in (".pt", ".pth"):
        return huggingface.load_visual(huggingface.download(name, cache), name)
    known = [EMBEDDED, *clip.available_models(), *HUGGING_FACE_NAMES]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ModelError(
        f"model {name!r}: no such file or folder, and no name that is known"
        + (f"; did you mean {close[0]!r}?" if close else ".")
        + f" Names are {', '.join(known)}, a Hugging Face repository, or a path."
    )


def _load_openai(name: str, cache: Path) -> nn.Module:
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


def _load_file(path: Path) -> nn.Module:
    """A file in OpenAI's format, as `clip.load` reads it, but never as a pickle that may run code."""
    state = _read_state(path)
    try:
        visual: nn.Module = clip.model.build_model(state).visual
        return visual
    except (KeyError, RuntimeError, AttributeError, TypeError, ValueError, AssertionError, ArithmeticError) as error:
        raise ModelError(
            f"model {str(path)!r} is not CLIP in OpenAI's architecture ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'unexpected weights'})"
        ) from error


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if _is_torchscript(path):
            return dict(torch.jit.load(str(path), map_location="cpu").state_dict())  # type: ignore[no-untyped-call]
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"model {str(path)!r} holds more than tensors, and such a file could run code; "
            "save model.state_dict() alone, or use safetensors in Hugging Face's layout"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"model {str(path)!r} cannot be read as weights ({first}); copy the file again") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"model {str(path)!r} is not a state dict: save model.state_dict() alone")
    return state


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


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
