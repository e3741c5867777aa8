"""Imports OpenAI's `clip` with any installed build of torchvision.

`clip` takes its transforms from torchvision. A torchvision built for another torch (the registry's CUDA build beside a
CPU torch) cannot load its operators, and its import ends in `operator torchvision::nms does not exist`; transforms need
none of them, so their schemas are declared and the import is tried again.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import TypeVar

import torch
from torch import Tensor, nn

Half = TypeVar("Half", bound=nn.Module)


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
    global _library  # the declarations end with the Library object
    _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")  # type: ignore[no-untyped-call]


_library: torch.library.Library | None = None
clip = _import_clip()
VisionTransformer = clip.model.VisionTransformer
LayerNorm = clip.model.LayerNorm
Transformer = clip.model.Transformer
convert_weights = clip.model.convert_weights


def with_logit_scale(half: Half, state: Mapping[str, Tensor]) -> Half:
    """Set `logit_scale` of `half`: the factor of cosine similarities in `clip.model.CLIP.forward`.

    :param state: weights, in which `logit_scale` is the logarithm; without it the attribute is None.
    :raises ValueError: the value is not finite.
    """
    scale = float(state["logit_scale"].float().exp()) if "logit_scale" in state else None
    if scale is not None and not math.isfinite(scale):
        raise ValueError(f"logit_scale is {scale}")
    half.logit_scale = scale  # type: ignore[assignment]  # a Module's own types are tensors and modules
    half.logit_bias = None  # type: ignore[assignment]  # CLIP uses a softmax
    return half
