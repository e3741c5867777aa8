"""Lists OpenCLIP's architectures from the files of its package, whose import would import torch."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import Any


def installed() -> str:
    """The version of `open_clip_torch`; "" if it is not installed."""
    try:
        return importlib.metadata.version("open_clip_torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def _files() -> dict[str, Path]:
    found = importlib.util.find_spec("open_clip")
    folders = (found.submodule_search_locations or []) if found else []
    return {file.stem: file for folder in folders for file in Path(folder, "model_configs").glob("*.json")}


def names() -> list[str]:
    """Names of all architectures; empty if `open_clip` is not installed."""
    return sorted(_files())


def served() -> list[str]:
    """Names of the supported architectures."""
    return [name for name in names() if not why_not(config(name))]


def is_known(name: str) -> bool:
    """Whether OpenCLIP has an architecture called `name`."""
    return name in _files()


def config(name: str) -> dict[str, Any]:
    """The `model_cfg` of an architecture, from its JSON file."""
    whole: dict[str, Any] = json.loads(_files()[name].read_text(encoding="utf-8"))
    return whole


def why_not(model_cfg: dict[str, Any]) -> str:
    """Why an architecture is not supported, for an error message; "" if it is supported."""
    text, vision = model_cfg.get("text_cfg", {}), model_cfg.get("vision_cfg", {})
    if name := text.get("hf_model_name"):
        return f"its texts go through {name}, a model of the package transformers, which is not supported"
    if mode := text.get("tokenizer_mode"):
        return f"its tokenizer_mode {mode!r} is not supported"
    if text.get("pool_type") == "none":
        return "its text half gives a vector for each token, not one for the text"
    if vision.get("attentional_pool") in ("parallel", "cascade"):
        return f"its attentional_pool {vision['attentional_pool']!r} is not supported"
    size = vision.get("image_size", 224)
    if isinstance(size, list) and len(set(size)) != 1:
        return f"its images of {size} pixels are not square"
    if unknown := text.get("tokenizer_kwargs", {}).keys() - {"clean", "strip_sep_token"}:
        return f"its tokenizer's option {min(unknown)!r} is not supported"
    return ""
