"""Runs a tower of CLIP with OpenVINO: in fp32 with torch's numbers, but faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clip_image_flow.backends.openvino.conversion import calibration, logit_bias, logit_scale, model_in
from clip_image_flow.backends.openvino.library import openvino
from clip_image_flow.errors import ConfigError

if TYPE_CHECKING:
    from clip_image_flow.towers import Tower

_PRECISIONS = ("fp32", "bf16", "int8")
# Measured with ViT-B/32 on a Xeon with AMX, whose bf16 kernels lose a sixth of their speed from 12 images to 16.
_BEST_BATCH_SIZES = {"fp32": 16, "bf16": 12, "int8": 32}


class OpenVINOBackend:
    """A tower on the CPU.

    :param tower: tower to run.
    :param device: `cpu`.
    :param precision: `fp32`, `bf16` or `int8`, or None for fp32.
    :param threads: number of CPU threads.
    :raises ConfigError: the device is not `cpu`, the CPU does not have the precision, or int8 has no calibration.
    """

    name = "openvino"

    def __init__(self, tower: Tower, *, device: str, precision: str | None, threads: int) -> None:
        if device != "cpu":
            raise ConfigError(f"backend 'openvino' runs on the device 'cpu', not on {device!r}")
        self.precision = precision or _PRECISIONS[0]
        core = openvino.Core()
        allowed = [
            p for p in _PRECISIONS if p != "bf16" or "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        ]
        if self.precision not in allowed:
            raise ConfigError(f"openvino has no precision {precision!r} on this CPU; allowed are {', '.join(allowed)}")
        self.best_batch_size = _BEST_BATCH_SIZES[self.precision]
        model = model_in(self.precision, tower)
        self.logit_scale = logit_scale(model)
        self.logit_bias = logit_bias(model)
        self.calibration = calibration(model)
        compiled = core.compile_model(model, "CPU", properties(self.precision, threads))
        item = compiled.input(0)
        self.item_shape = tuple(side.get_max_length() for side in list(item.partial_shape)[1:])
        self.item_dtype = item.element_type.to_dtype().name
        self.dim = compiled.output(0).partial_shape[1].get_length()
        self._request = compiled.create_infer_request()

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """Encode a batch of items to float32 (b, dim)."""
        return np.asarray(self._request.infer([batch], share_inputs=True)[0])


def properties(precision: str, threads: int) -> dict[str, str | int | bool]:
    """OpenVINO's properties to run a tower on the CPU."""
    return {
        "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch: batches come one after another
        "INFERENCE_NUM_THREADS": threads,
        # By default OpenVINO uses bf16 on a CPU that has it.
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        # Replicas on one machine would pin their threads to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
