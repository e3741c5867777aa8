"""Finds checkpoints of OpenCLIP's by their names.

The metadata of a tag (`ViT-B-32::laion2b_s34b_b79k`) is in a module of the package that imports torch. It is read once,
and cached beside the weights as `openclip/NAME.json`.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_image_flow.errors import ModelError
from clip_image_flow.models import hub, tokenizer_files
from clip_image_flow.models.openclip import architectures, description
from clip_image_flow.models.openclip.description import Description

CARD = "README.md"
_OF_A_REPOSITORY = (description.CONFIG, *tokenizer_files.FILES, CARD)
_FOLDER = "openclip"  # in the cache

Find = Callable[[bool], Description | None]
"""Function that finds a checkpoint; with False it downloads nothing, and returns None if a file is missing."""


@dataclass(frozen=True)
class _Known:
    """Metadata of an architecture and a tag.

    :param model_cfg: architecture, as `open_clip` takes it.
    :param preprocess_cfg: image preprocessing, as in open_clip_config.json.
    :param repository: repository on the hub; "" if there is none.
    :param file: file of weights in it; "" for the default names.
    """

    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]
    repository: str = ""
    file: str = ""


def of_folder(folder: Path, name: str) -> Find:
    """Find the checkpoint in a folder."""

    return lambda _: description.of_folder(folder, name)


def of_repository(repository: str, name: str, cache: Path) -> Find:
    """Find the checkpoint in a repository of the hub."""

    def find(download: bool) -> Description | None:
        folder = _repository(repository, name, cache, "", download=download)
        if folder is None:
            return None
        found = description.of_folder(folder, name)
        return _with_tokenizer(found, found.model_cfg, folder, cache, download=download)

    return find


def of_tag(architecture: str, tag: str, name: str, cache: Path) -> Find:
    """Find the checkpoint of an architecture and a pretrained tag of `open_clip`."""

    def find(download: bool) -> Description | None:
        known = _kept(f"{architecture}--{tag}", cache)
        if known is None and not download:
            return None
        known = known or _ask(architecture, tag, name, cache)
        folder = _repository(known.repository, name, cache, known.file, download=download)
        if folder is None:
            return None
        weights = folder / known.file if known.file and (folder / known.file).is_file() else None
        weights = weights or description.weights_in(folder, name)
        found = Description(name, known.model_cfg, known.preprocess_cfg, weights, None)
        return _with_tokenizer(found, known.model_cfg, folder, cache, download=download)

    return find


def of_file(architecture: str, file: Path, name: str, cache: Path) -> Find:
    """Find the checkpoint in a file of weights; an open_clip_config.json beside it sets the preprocessing."""

    def find(download: bool) -> Description | None:
        if (file.parent / description.CONFIG).is_file():
            beside = description.of_folder(file.parent, name, file)
            known = _Known(architectures.config(architecture), beside.preprocess_cfg)
        else:
            kept = _kept(architecture, cache)
            if kept is None and not download:
                return None
            known = kept or _ask(architecture, "", name, cache)
        found = Description(name, known.model_cfg, known.preprocess_cfg, file, None)
        return _with_tokenizer(found, known.model_cfg, file.parent, cache, download=download)

    return find


def refuse_architecture(architecture: str, name: str) -> ModelError:
    """The error for a name with an unknown architecture."""
    if not architectures.installed():
        return ModelError(f"model {name!r} needs open_clip: pip install 'clip-image-flow[openclip]'")
    close = difflib.get_close_matches(architecture, architectures.names(), n=1, cutoff=0.5)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return ModelError(
        f"model {name!r}: OpenCLIP has no architecture {architecture!r}; {meant}Supported: "
        f"{', '.join(architectures.served())}"
    )


def _ask(architecture: str, tag: str, name: str, cache: Path) -> _Known:
    """Read the metadata from the package; without a tag, the preprocessing that all tags of the architecture share.

    :raises ModelError: the tag is unknown, or the tags of the architecture differ in preprocessing.
    """
    from clip_image_flow.models.openclip.library import open_clip

    model_cfg = architectures.config(architecture)
    description.check_architecture(model_cfg, name)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if not tag:
        every = [_preprocess(open_clip.get_pretrained_cfg(architecture, one)) for one in tags]
        if any(one != every[0] for one in every):
            raise ModelError(
                f"model {name!r}: the weights that OpenCLIP has of {architecture} need different preprocessing; "
                f"put an {description.CONFIG} beside the file to say which"
            )
        known = _Known(model_cfg, every[0] if every else {})
        _keep(architecture, known, cache)
        return known
    of_tag = open_clip.get_pretrained_cfg(architecture, tag)
    if not of_tag:
        has = f"its tags are {', '.join(tags)}" if tags else "it has no weights for that architecture"
        raise ModelError(f"model {name!r}: OpenCLIP does not know the tag {tag!r} of {architecture}; {has}")
    repository, _, file = of_tag.get("hf_hub", "").rpartition("/")
    if not repository:
        raise ModelError(
            f"model {name!r}: OpenCLIP has these weights at {of_tag.get('url')}, not in a repository of the hub; "
            f"download them, and name the file: {architecture}::FILE"
        )
    if "quick_gelu" in of_tag:  # as in the training of the weights; `open_clip` itself only warns
        model_cfg = {**model_cfg, "quick_gelu": of_tag["quick_gelu"]}
    known = _Known(model_cfg, _preprocess(of_tag), repository, file)
    _keep(f"{architecture}--{tag}", known, cache)
    return known


def _preprocess(of_tag: dict[str, Any]) -> dict[str, Any]:
    keys = ("mean", "std", "interpolation", "resize_mode", "fill_color")
    return {key: list(of_tag[key]) if isinstance(of_tag[key], tuple) else of_tag[key] for key in keys if key in of_tag}


def _kept(called: str, cache: Path) -> _Known | None:
    """Cached metadata, if the installed version of the package wrote it."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        content = json.loads((cache / _FOLDER / f"{called}.json").read_text(encoding="utf-8"))
        if content.pop("open_clip") == architectures.installed():
            return _Known(**content)
    return None


def _keep(called: str, known: _Known, cache: Path) -> None:
    content = {"open_clip": architectures.installed(), **known.__dict__}
    with contextlib.suppress(OSError):  # with a read-only cache the package is read at each start
        (cache / _FOLDER).mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache / _FOLDER, delete=False, encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(cache / _FOLDER / f"{called}.json")


def _repository(repository: str, name: str, cache: Path, file: str, *, download: bool) -> Path | None:
    """The folder of a repository with configuration, weights (safetensors if available) and tokenizer.

    :param repository: repository on the hub.
    :param name: name of the model in error messages.
    :param file: file of weights; "" for the default names.
    :param download: whether to download missing files; else None is returned.
    """
    known = [f"{Path(file).stem}.safetensors", file] if file else description.WEIGHTS[:-1]
    safe = [one for one in known if one.endswith(".safetensors")]
    for weights in (safe, [one for one in known if one not in safe]):
        if download:
            folder: Path | None = hub.download(repository, cache, [*_OF_A_REPOSITORY, *weights], name)
        else:
            found = hub.cached(repository, cache, [description.CONFIG, *weights])
            folder = found[0].parent if found else None
        if folder and (here := [folder / one for one in weights if (folder / one).is_file()]):
            if download:
                hub.check(here[0], name)
            return folder
    if not download:
        return None
    raise ModelError(f"model {name!r}: the repository {repository!r} has no weights of OpenCLIP's ({', '.join(safe)})")


def _with_tokenizer(
    found: Description, model_cfg: dict[str, Any], folder: Path, cache: Path, *, download: bool
) -> Description | None:
    """Add the folder of the tokenizer: beside the weights, else the repository that the architecture names."""
    wanted = model_cfg.get("text_cfg", {}).get("hf_tokenizer_name")
    if not wanted:
        return found
    if not (folder / tokenizer_files.TOKENIZER).is_file():
        if download:
            folder = hub.download(wanted, cache, tokenizer_files.FILES, found.name)
        else:
            here = hub.cached(wanted, cache, [tokenizer_files.TOKENIZER])
            if not here:
                return None
            folder = here[0].parent
    return Description(found.name, found.model_cfg, found.preprocess_cfg, found.weights, folder)
