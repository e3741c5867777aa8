"""Finds and loads the weights of a model by its name, either half alone.

Modules that read weights import torch, which takes seconds and 300 MB. They are imported on demand: a model that a
backend has converted before does not need torch.

| name | weights |
|---|---|
| `emoji-tiny` | the small model in this package |
| `ViT-B/32`, ... (`OPENAI_NAMES`) | OpenAI's, downloaded once by `clip.load`, which checks their SHA-256 |
| `openai/clip-vit-base-patch32`, `ViT-B-32::openai`, ... | the same weights under Hugging Face's and OpenCLIP's names |
| `ViT-B-32::laion2b_s34b_b79k`, `ViT-B-32/laion2b_s34b_b79k` | OpenCLIP's: an architecture and a tag |
| `ViT-B-32::FILE` | a file of weights, of that architecture |
| `hf-hub:organisation/name` | OpenCLIP's layout, from the Hugging Face hub |
| a file | OpenAI's format: a state dict, or a TorchScript archive |
| a folder | Hugging Face's layout (`config.json`, `model.safetensors`) or OpenCLIP's (`open_clip_config.json`) |
| `organisation/name` | either from the Hugging Face hub; `@REVISION` after it, or after `hf-hub:...`, pins a commit |
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from clip_image_flow.errors import ModelError
from clip_image_flow.models import huggingface, openai
from clip_image_flow.models.checkpoint import Checkpoint, ClipModel, cache_directory
from clip_image_flow.models.openai import HUGGING_FACE_NAMES, OPENAI_NAMES
from clip_image_flow.models.openclip import architectures, description, sources
from clip_image_flow.models.preparation import ImagePreparation, Preparation, TextPreparation
from clip_wire.info import TEXT

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "EMBEDDED",
    "EMBEDDED_FILE",
    "HUGGING_FACE_NAMES",
    "OPENAI_NAMES",
    "Checkpoint",
    "ClipModel",
    "ImagePreparation",
    "Preparation",
    "TextPreparation",
    "cache_directory",
    "load",
    "resolve",
]

EMBEDDED = "emoji-tiny"
EMBEDDED_FILE = Path(__file__).parent / "weights" / "emoji-tiny.pt"
_HUB = "hf-hub:"
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@\w[\w./-]*)?")


def resolve(name: str, cache_dir: str | None = None) -> Checkpoint:
    """The checkpoint called `name`; the table at the top of this module has the names.

    Nothing is read or downloaded; an unknown name raises its error only in `Checkpoint.load`.

    :param name: name or path of a model.
    :param cache_dir: folder of downloads, see `cache_directory`.
    """
    name, cache = str(name), cache_directory(cache_dir)
    path = Path(name).expanduser()
    if name == EMBEDDED:
        return Checkpoint(name, lambda: [EMBEDDED_FILE], lambda kind: _load_file(EMBEDDED_FILE, kind))
    if (openais := _openai_name(name)) in OPENAI_NAMES:
        file = openai.file_of(openais, cache)
        return Checkpoint(name, lambda: [file], lambda kind: openai.load(openais, cache, kind, EMBEDDED))
    if "::" in name:
        architecture, _, weights = name.partition("::")
        return _of_architecture(name, architecture, weights, cache)
    if path.is_file():
        if path.suffix == ".safetensors":
            return _refused(name, ModelError(f"model {name!r} needs its architecture: ARCHITECTURE::{path}"))
        return Checkpoint(name, lambda: [path], lambda kind: _load_file(path, kind))
    if path.is_dir():
        return _of_folder(path, name)
    if name.startswith(_HUB):
        return _of_openclip(name, sources.of_repository(name.removeprefix(_HUB), name, cache))
    is_openais = name.partition("@")[0] in OPENAI_NAMES  # `ViT-L/14@336` is misspelt, and no revision
    if _REPOSITORY.fullmatch(name) and not is_openais and not name.endswith((".pt", ".pth")):
        architecture, _, tag = name.partition("/")
        if architectures.is_known(architecture):
            return _of_architecture(name, architecture, tag, cache)
        return _of_repository(name, cache)
    return _refused(name, _unknown(name))


def load(name: str, cache_dir: str | None = None) -> ClipModel:
    """Load the model called `name`: `resolve(name, cache_dir).load()`."""
    return resolve(name, cache_dir).load()


def _openai_name(name: str) -> str:
    """OpenAI's name of a model that has another name at Hugging Face or OpenCLIP; other names are unchanged."""
    architecture, separator, tag = name.partition("::" if "::" in name else "/")
    if separator and tag == "openai":
        return openai.openai_name(architecture) or name
    return HUGGING_FACE_NAMES.get(name, name)


def _of_architecture(name: str, architecture: str, weights: str, cache: Path) -> Checkpoint:
    if not architectures.is_known(architecture):
        return _refused(name, sources.refuse_architecture(architecture, name))
    file = Path(weights).expanduser()
    if file.is_file():
        return _of_openclip(name, sources.of_file(architecture, file, name, cache))
    if file.is_absolute() or file.suffix in (".safetensors", ".pt", ".pth", ".bin"):
        return _refused(name, ModelError(f"model {name!r}: there is no file {weights}"))
    return _of_openclip(name, sources.of_tag(architecture, weights, name, cache))


def _of_folder(folder: Path, name: str) -> Checkpoint:
    if (folder / description.CONFIG).is_file() and not huggingface.is_checkpoint(folder, name):
        return _of_openclip(name, sources.of_folder(folder, name))
    return Checkpoint(
        name,
        lambda: huggingface.files(folder),
        lambda kind: huggingface.load(folder, name, kind),
        lambda kind: huggingface.prepared(folder, name, kind),
    )


def _of_repository(name: str, cache: Path) -> Checkpoint:
    def folder() -> Path:
        found = huggingface.download(name, cache)
        if not (found / huggingface.CONFIG).is_file():
            raise ModelError(
                f"model {name!r}: the repository has no {huggingface.CONFIG}, so it is not of transformers' layout; "
                f"if it is of OpenCLIP's, its name is {_HUB}{name}"
            )
        return found

    return Checkpoint(
        name,
        lambda: huggingface.downloaded(name, cache),
        lambda kind: huggingface.load(folder(), name, kind),
        lambda kind: huggingface.prepared(huggingface.downloaded(name, cache)[0].parent, name, kind),
    )


def _of_openclip(name: str, find: sources.Find) -> Checkpoint:
    """A checkpoint of OpenCLIP's.

    :param name: name of the model.
    :param find: function that finds its description.
    """

    def files() -> list[Path]:
        found = find(False)
        return [found.weights] if found else []

    def read(kind: str) -> nn.Module:
        found = find(True)
        assert found  # a failed download raises
        from clip_image_flow.models.openclip import build

        return build.load(found, kind)

    def prepared(kind: str) -> Preparation:
        found = find(False) or find(True)
        assert found
        return found.prepared(kind)

    def built() -> str | None:
        found = find(False)
        return found.built() if found else None

    return Checkpoint(name, files, read, prepared, built)


def _refused(name: str, error: ModelError) -> Checkpoint:
    def refuse(_: str) -> NoReturn:
        raise error

    return Checkpoint(name, list, refuse)


def _unknown(name: str) -> ModelError:
    known = [EMBEDDED, *OPENAI_NAMES, *HUGGING_FACE_NAMES]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return ModelError(
        f"model {name!r}: no such file or folder, and not a known name"
        + (f"; did you mean {close[0]!r}?" if close else ".")
        + f" Names are {', '.join(known)}, an architecture and a tag of OpenCLIP's (ViT-B-32::laion2b_s34b_b79k), a "
        "Hugging Face repository, or a path."
    )


def _load_file(path: Path, kind: str) -> nn.Module:
    from clip_image_flow.models import checkpoints

    return checkpoints.load_text(path) if kind == TEXT else checkpoints.load_visual(path)
