"""OpenAI's own weights: their names and their download. `clip` itself loads them, bit for bit."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from clip_image_flow.errors import ModelError
from clip_wire.info import TEXT

if TYPE_CHECKING:
    from torch import nn

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
_CONNECT_SECONDS = 30.0


def openai_name(architecture: str) -> str | None:
    """OpenAI's name of OpenCLIP's `architecture`: `ViT-L/14@336px` for `ViT-L-14-336-quickgelu`; None if unknown."""
    plain = architecture.removesuffix("-quickgelu")
    known = {name.replace("/", "-").replace("@", "-").removesuffix("px"): name for name in OPENAI_NAMES}
    return known.get(plain)


def file_of(name: str, cache: Path) -> Path:
    """The file in which `clip` stores the weights called `name`."""
    return cache / f"{name.translate({ord(c): '-' for c in '/@'})}.pt"


def load(name: str, cache: Path, kind: str, embedded: str) -> nn.Module:
    """Load a half of OpenAI's model, and download it first if needed.

    :param name: one of `OPENAI_NAMES`.
    :param cache: folder of downloads.
    :param kind: `image` or `text`.
    :param embedded: name of the model that needs no download, for an error message.
    :raises ModelError: the weights cannot be downloaded, or do not match OpenAI's SHA-256.
    """
    from clip_image_flow.models.openai_clip import clip, with_logit_scale
    from clip_image_flow.models.text import ClipText

    try:
        with alone(cache), bounded_connect():
            model, _ = clip.load(name, device="cpu", download_root=str(cache))
    except (OSError, HTTPException, TypeError) as error:  # TypeError: an answer without a length, from a proxy
        raise ModelError(
            f"model {name!r} is not in {cache} and cannot be downloaded ({error}); copy the file there from a machine "
            f"with network access ({clip.clip._MODELS[name]}), or serve {embedded!r}, which needs no download"
        ) from error
    except RuntimeError as error:
        raise ModelError(
            f"model {name!r}: {error}; delete {cache / Path(clip.clip._MODELS[name]).name} and retry"
        ) from error
    state = model.state_dict()
    half: nn.Module = ClipText(state) if kind == TEXT else model.visual
    return with_logit_scale(half, state)


@contextlib.contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Lock the cache: replicas that share it download one after the other, since `clip` writes to the final file."""
    lock = FileLock(cache / ".lock")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:  # a cache mounted read-only is complete, or loading raises
        yield
        return
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def bounded_connect() -> Iterator[None]:
    """Set a default socket timeout: `clip` has none, and waits for minutes behind a firewall that drops packets."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
