"""Converts a tower of CLIP to an OpenVINO model.

The converted model is cached on disk; a start from the cache does not import torch.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import re
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_image_flow.backends.openvino.cache import SUMS, ConvertedModels
from clip_image_flow.backends.openvino.library import openvino
from clip_image_flow.errors import ConfigError
from clip_wire.info import IMAGE, TEXT

if TYPE_CHECKING:
    from torch import nn

    from clip_image_flow.towers import Tower

_CALIBRATED_WITH = {IMAGE: "PICTURES", TEXT: "--texts FILE"}
_FOLDER = "openvino"  # in the cache
_FILE = "model.xml"
_LOGIT_SCALE = ["clip", "logit_scale"]  # path in a model's rt_info
_LOGIT_BIAS = ["clip", "logit_bias"]  # the same, only if the model has one
_CALIBRATION = ["clip", "calibration"]  # the same, set when an int8 model is read
_CONVERSION = 6  # version of `convert`; increase it when the converted model changes
_VERSION = re.sub(r"[^\w.]", "_", openvino.__version__.split("-")[0])


def model_in(precision: str, tower: Tower) -> openvino.Model:
    """The model of `tower` for `precision`; fp32 and bf16 use the same model with another inference precision.

    :raises ConfigError: int8 has no calibration.
    """
    if precision != "int8":
        return fp32_model(tower)
    fingerprint = tower.fingerprint()
    folder = ConvertedModels(tower.cache / _FOLDER).find(_int8_name(tower, fingerprint)) if fingerprint else None
    if not folder:
        raise ConfigError(
            f"precision 'int8' needs a calibration of the {tower.kind} half, once: python -m clip_image_flow.quantize "
            f"MODEL {_CALIBRATED_WITH[tower.kind]} (there is none for these weights in {tower.cache})"
        )
    model = openvino.Core().read_model(folder / _FILE)
    if not model.has_rt_info(_LOGIT_SCALE):  # a calibration by an older version
        _set_logit_scale(model, logit_scale(fp32_model(tower)))
    model.set_rt_info(hashlib.sha256((folder / SUMS).read_bytes()).hexdigest(), _CALIBRATION)
    return model


def fp32_model(tower: Tower) -> openvino.Model:
    """The fp32 model of `tower`: from the cache, else converted and cached, if the cache is writable."""
    core = openvino.Core()
    converted = ConvertedModels(tower.cache / _FOLDER)
    fingerprint = tower.fingerprint()
    if fingerprint and (folder := converted.find(_fp32_name(tower, fingerprint))):
        return core.read_model(folder / _FILE)
    model = convert(tower.load())
    fingerprint = tower.fingerprint()  # None before, if the weights were not downloaded yet
    if fingerprint and (folder := converted.keep(_fp32_name(tower, fingerprint), partial(_save, model))):
        model = core.read_model(folder / _FILE)  # memory-mapped; the converted model keeps torch's weights alive
        _return_memory()
    return model


def keep_int8(tower: Tower, model: openvino.Model) -> None:
    """Store the int8 `model` of `tower`; replace an earlier one.

    :raises ConfigError: the cache is not writable.
    """
    fingerprint = tower.fingerprint()
    if not fingerprint or not ConvertedModels(tower.cache / _FOLDER).keep(
        _int8_name(tower, fingerprint), partial(_save, model)
    ):
        raise ConfigError(f"the int8 model cannot be kept in {tower.cache / _FOLDER}: it must be writable")


def _fp32_name(tower: Tower, fingerprint: str) -> str:
    """Cache key of a conversion; it contains the versions of OpenVINO and of `convert`."""
    return f"{tower.kind}-{fingerprint[:32]}-fp32-{_VERSION}-{_CONVERSION}"


def _int8_name(tower: Tower, fingerprint: str) -> str:
    """Cache key of an int8 model, without versions: it is costly to redo, and newer OpenVINO reads older files."""
    return f"{tower.kind}-{fingerprint[:32]}-int8"


def convert(module: nn.Module) -> openvino.Model:
    """Convert a tower's module to an OpenVINO model: a batch of items, any b -> float32 (b, dim)."""
    import torch

    from clip_image_flow.backends.openvino.blocks import laid_out

    shape: Any = module.item_shape
    least: Any = module.least_shape
    dtype: Any = module.item_dtype
    example = torch.zeros(1, *shape, dtype=getattr(torch, dtype))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tracing, which OpenVINO's converter uses
        # Traced here, because convert_model would run the network four more times to check the trace.
        traced = torch.jit.trace(laid_out(module), example, check_trace=False)  # type: ignore[no-untyped-call]
        sides = [openvino.Dimension(*bounds) for bounds in zip(least, shape, strict=True)]
        model = openvino.convert_model(traced, example_input=example, input=openvino.PartialShape([-1, *sides]))
    scale: Any = module.logit_scale
    bias: Any = module.logit_bias
    _set_logit_scale(model, scale)
    if bias is not None:
        model.set_rt_info(repr(bias), _LOGIT_BIAS)
    return model


def _set_logit_scale(model: openvino.Model, scale: float | None) -> None:
    model.set_rt_info("none" if scale is None else repr(scale), _LOGIT_SCALE)


def logit_scale(model: openvino.Model) -> float | None:
    """Factor of cosine similarities before a softmax; None if the weights have none."""
    text = str(model.get_rt_info(_LOGIT_SCALE).astype(str))
    return None if text == "none" else float(text)


def logit_bias(model: openvino.Model) -> float | None:
    """Summand of the scaled similarities before a sigmoid; None if the model uses a softmax."""
    return float(str(model.get_rt_info(_LOGIT_BIAS).astype(str))) if model.has_rt_info(_LOGIT_BIAS) else None


def calibration(model: openvino.Model) -> str:
    """SHA-256 of the list of an int8 model's files and their SHA-256, in hex; "" for other precisions."""
    return str(model.get_rt_info(_CALIBRATION).astype(str)) if model.has_rt_info(_CALIBRATION) else ""


def _return_memory() -> None:
    """Return unused memory to the system: malloc keeps that of torch's weights."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # a C library that is not glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _save(model: openvino.Model, folder: Path) -> None:
    """Write `model` into `folder`, without a change of precision."""
    openvino.save_model(model, folder / _FILE, compress_to_fp16=False)
