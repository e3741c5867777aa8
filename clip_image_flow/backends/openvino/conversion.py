"""A tower of CLIP as a model of OpenVINO's.

Its module is converted once and kept on disk; a start that finds it there imports no torch.
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
_FOLDER = "openvino"  # of the cache
_FILE = "model.xml"
_LOGIT_SCALE = ["clip", "logit_scale"]  # where a model's rt_info has it
_LOGIT_BIAS = ["clip", "logit_bias"]  # the same, of models that have one
_CALIBRATION = ["clip", "calibration"]  # the same, of int8 as it was read
_CONVERSION = 6  # counts the ways in which `convert` has made a model
_VERSION = re.sub(r"[^\w.]", "_", openvino.__version__.split("-")[0])


def model_in(precision: str, tower: Tower) -> openvino.Model:
    """The tower in `precision`; fp32 and bf16 are one model, and what differs is how it is computed.

    :raises ConfigError: int8 without calibration.
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
    if not model.has_rt_info(_LOGIT_SCALE):  # a calibration of before there was one
        _set_logit_scale(model, logit_scale(fp32_model(tower)))
    model.set_rt_info(hashlib.sha256((folder / SUMS).read_bytes()).hexdigest(), _CALIBRATION)
    return model


def fp32_model(tower: Tower) -> openvino.Model:
    """The tower in fp32: from the cache, else converted and, where that is possible, put there."""
    core = openvino.Core()
    converted = ConvertedModels(tower.cache / _FOLDER)
    fingerprint = tower.fingerprint()
    if fingerprint and (folder := converted.find(_fp32_name(tower, fingerprint))):
        return core.read_model(folder / _FILE)
    model = convert(tower.load())
    fingerprint = tower.fingerprint()  # what was downloaded only now has one too
    if fingerprint and (folder := converted.keep(_fp32_name(tower, fingerprint), partial(_save, model))):
        model = core.read_model(folder / _FILE)  # maps the file; the other one holds on to torch's weights
        _return_memory()
    return model


def keep_int8(tower: Tower, model: openvino.Model) -> None:
    """Keep the calibrated `model` of `tower`, in place of an earlier one.

    :raises ConfigError: it cannot be kept.
    """
    fingerprint = tower.fingerprint()
    if not fingerprint or not ConvertedModels(tower.cache / _FOLDER).keep(
        _int8_name(tower, fingerprint), partial(_save, model)
    ):
        raise ConfigError(f"the int8 model cannot be kept in {tower.cache / _FOLDER}: it must be writable")


def _fp32_name(tower: Tower, fingerprint: str) -> str:
    """The name under which a conversion is kept; each version of OpenVINO, and of `convert`, makes it anew."""
    return f"{tower.kind}-{fingerprint[:32]}-fp32-{_VERSION}-{_CONVERSION}"


def _int8_name(tower: Tower, fingerprint: str) -> str:
    """The same for a calibration, which is somebody's work: newer versions of OpenVINO read the files of older ones."""
    return f"{tower.kind}-{fingerprint[:32]}-int8"


def convert(module: nn.Module) -> openvino.Model:
    """A tower's module, laid out for OpenVINO: a batch of items, any b -> float32 (b, dim)."""
    import torch

    from clip_image_flow.backends.openvino.blocks import laid_out

    shape: Any = module.item_shape
    least: Any = module.least_shape
    dtype: Any = module.item_dtype
    example = torch.zeros(1, *shape, dtype=getattr(torch, dtype))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tracing, on which OpenVINO's converter is built
        # Traced here, for convert_model would run the network four times more to check the trace.
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
    """What `model` multiplies cosines with before a softmax, or None where it does not say."""
    text = str(model.get_rt_info(_LOGIT_SCALE).astype(str))
    return None if text == "none" else float(text)


def logit_bias(model: openvino.Model) -> float | None:
    """What `model` adds to such products before a sigmoid, or None where it is a softmax."""
    return float(str(model.get_rt_info(_LOGIT_BIAS).astype(str))) if model.has_rt_info(_LOGIT_BIAS) else None


def calibration(model: openvino.Model) -> str:
    """Names the calibration of a model in int8: SHA-256 of the list of its files' SHA-256, in hex; "" of others."""
    return str(model.get_rt_info(_CALIBRATION).astype(str)) if model.has_rt_info(_CALIBRATION) else ""


def _return_memory() -> None:
    """Give the memory that nobody uses any more back to the system: of torch's weights, C's allocator keeps it."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # a C library that is not glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _save(model: openvino.Model, folder: Path) -> None:
    """Write `model` into `folder`, in its own precision."""
    openvino.save_model(model, folder / _FILE, compress_to_fp16=False)
