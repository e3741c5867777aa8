"""OpenAI's `clip`, imported beside whichever build of torchvision is there.

`clip` takes its transforms from torchvision. A torchvision built for another torch (the registry's CUDA build beside a
CPU torch) cannot load its operators, and its import ends in `operator torchvision::nms does not exist`; transforms need
none of them, so their schemas are declared and the import is tried again.
"""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

import torch


def _import_clip() -> ModuleType:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        try:
            return importlib.import_module("clip")
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
        _declare_operators()
        return importlib.import_module("clip")


def _declare_operators() -> None:
    global _library  # what a Library declares goes with it
    _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")  # type: ignore[no-untyped-call]


_library: torch.library.Library | None = None
clip = _import_clip()
VisionTransformer = clip.model.VisionTransformer
LayerNorm = clip.model.LayerNorm
Transformer = clip.model.Transformer
simple_tokenizer = importlib.import_module("clip.simple_tokenizer")
convert_weights = clip.model.convert_weights
