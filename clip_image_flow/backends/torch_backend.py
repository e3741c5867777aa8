"""CLIP's image tower as torch runs it: on CPU in fp32 the same numbers as `clip` itself."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import nn

from clip_image_flow.errors import ConfigError
from clip_image_flow.openai_clip import convert_weights

_PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp16", "bf16", "fp32")}  # a device's default first


class TorchBackend:
    """The image tower `visual` on a torch device. Takes `visual` over: it is moved and cast in place.

    fp16 is OpenAI's own (`clip.model.convert_weights`: weights in fp16, LayerNorm in fp32); bf16 is torch's autocast.

    :raises ConfigError: for a device that is not there, or a precision it does not have.
    """

    name = "torch"

    def __init__(self, visual: nn.Module, *, device: str, precision: str | None, threads: int) -> None:
        kind = check_device(device)
        self.precision = precision or _PRECISIONS[kind][0]
        if self.precision not in _PRECISIONS[kind]:
            raise ConfigError(
                f"torch has no precision {precision!r} on {kind}; allowed are {', '.join(_PRECISIONS[kind])}"
            )
        if kind == "cpu":
            torch.set_num_threads(threads)
        self._device = torch.device(device)
        self._visual = visual.float().to(self._device).eval().requires_grad_(False)
        if self.precision == "fp16":
            convert_weights(self._visual)

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """float32 (b, 3, n, n) -> float32 (b, dim); a batch that CUDA has no memory for is halved."""
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
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bf16"),
        ):
            pixels = torch.from_numpy(batch).to(self._device)
            embeddings = self._visual(pixels.half() if self.precision == "fp16" else pixels)
        return np.asarray(embeddings.float().cpu().numpy())


def check_device(device: str) -> str:
    """The kind of `device`, `cpu` or `cuda`.

    :raises ConfigError: when there is no such device on this machine.
    """
    if device == "cpu":
        return "cpu"
    if not (found := re.fullmatch(r"cuda(?::(\d+))?", device)):
        raise ConfigError(f"device must be 'cpu', 'cuda' or 'cuda:N', not {device!r}")
    if torch.version.cuda is None:
        raise ConfigError(f"device {device!r} asked for, but this build of torch ({torch.__version__}) has no CUDA")
    if int(found[1] or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {device!r} asked for, but torch sees {torch.cuda.device_count()} CUDA devices here")
    return "cuda"
