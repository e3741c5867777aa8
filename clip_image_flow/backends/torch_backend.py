"""Runs a tower with torch: on the CPU in fp32 with the same numbers as the package that the model comes from."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import nn

from clip_image_flow.errors import ConfigError
from clip_image_flow.models.openai_clip import convert_weights

_PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp16", "bf16", "fp32")}  # a device's default first


class TorchBackend:
    """A tower's module on a torch device. The module is moved and cast in place.

    fp16 of OpenAI's models is their own (`clip.model.convert_weights`: weights in fp16, LayerNorm in fp32); fp16 of
    other models, and bf16, use torch's autocast.

    :param module: module of a tower, in fp32 on the CPU.
    :param device: `cpu`, `cuda` or `cuda:N`.
    :param precision: `fp32`, `bf16` or `fp16`, or None for the device's default.
    :param threads: number of CPU threads.
    :raises ConfigError: the device is not available, or does not have the precision.
    """

    name = "torch"
    calibration = ""  # no int8

    def __init__(self, module: nn.Module, *, device: str, precision: str | None, threads: int) -> None:
        kind = check_device(device)
        self.precision = precision or _PRECISIONS[kind][0]
        if self.precision not in _PRECISIONS[kind]:
            raise ConfigError(
                f"torch has no precision {precision!r} on {kind}; allowed are {', '.join(_PRECISIONS[kind])}"
            )
        if kind == "cpu":
            torch.set_num_threads(threads)
        tower: Any = module  # a Module has no types for its attributes
        self.item_shape: tuple[int, ...] = tower.item_shape
        self.item_dtype: str = tower.item_dtype
        self.dim: int = tower.dim
        self.logit_scale: float | None = tower.logit_scale
        self.logit_bias: float | None = tower.logit_bias
        self.best_batch_size = 16 if kind == "cpu" else 128
        self._device = torch.device(device)
        self._module = module.float().to(self._device).eval().requires_grad_(False)
        # The tensor cores of a GPU use channels last; other layouts are converted in every pass.
        self._layout = torch.contiguous_format if kind == "cpu" else torch.channels_last
        self._module.to(memory_format=self._layout)  # type: ignore[call-overload]  # in place, and not in its types
        self._mixed: torch.dtype | None = torch.bfloat16 if self.precision == "bf16" else None
        if self.precision == "fp16" and tower.mixed_precision:
            self._mixed = torch.float16
        elif self.precision == "fp16":
            convert_weights(self._module)

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """Encode a batch of items to float32 (b, dim); a batch too large for CUDA's memory is split in half."""
        try:
            return self._forward(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        # Outside the except clause, whose traceback would keep the failed pass's tensors alive.
        torch.cuda.empty_cache()
        half = len(batch) // 2
        return np.concatenate([self.encode(batch[:half]), self.encode(batch[half:])])

    def _forward(self, batch: np.ndarray) -> np.ndarray:
        items = torch.from_numpy(batch)
        if self._device.type == "cuda":
            # Pinned memory is copied without the driver's staging buffer; uint8 is a quarter of the size of float32.
            items = items.pin_memory().to(self._device, non_blocking=True)
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, self._mixed or torch.bfloat16, enabled=self._mixed is not None),
        ):
            embeddings = self._module(items)
        return np.asarray(embeddings.float().cpu().numpy())


def check_device(device: str) -> str:
    """The kind of `device`, `cpu` or `cuda`.

    :raises ConfigError: the name is invalid, or the device is not available on this machine.
    """
    if device == "cpu":
        return "cpu"
    if not (found := re.fullmatch(r"cuda(?::(\d+))?", device)):
        raise ConfigError(f"device must be 'cpu', 'cuda' or 'cuda:N', not {device!r}")
    if torch.version.cuda is None:
        raise ConfigError(f"device {device!r} requested, but this build of torch ({torch.__version__}) has no CUDA")
    if int(found[1] or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {device!r} requested, but torch sees {torch.cuda.device_count()} CUDA devices here")
    return "cuda"
