"""The engines that run a tower of CLIP, behind one small interface.

A backend is the only place that knows its engine. Another one joins by a module beside `torch_backend.py` and a line in
`load`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import numpy as np

from clip_image_flow.errors import ConfigError

if TYPE_CHECKING:
    from clip_image_flow.towers import Tower

BACKENDS = ("auto", "openvino", "torch")
logger = logging.getLogger(__name__)


class Backend(Protocol):
    """A tower on an engine.

    :param precision: of the arithmetic, `fp32`, `bf16`, `fp16` or `int8`.
    :param item_shape: of one item of a batch, such as (n, n, 3).
    :param item_dtype: NumPy's name of its numbers.
    :param dim: length of an embedding.
    :param best_batch_size: items in one forward pass from which on more bring nothing.
    :param calibration: names that of int8, in hex; "" of other precisions.
    :param logit_scale: what the model multiplies cosines with before a softmax, or None where it does not say.
    :param logit_bias: what it adds to them before a sigmoid, or None where it is a softmax.
    """

    name: str
    precision: str
    item_shape: tuple[int, ...]
    item_dtype: str
    dim: int
    best_batch_size: int
    calibration: str
    logit_scale: float | None
    logit_bias: float | None

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """A batch (b, *`item_shape`) of `item_dtype` -> embeddings, float32 (b, dim), as the model gives them.

        Called from one thread at a time.
        """
        ...


def load(name: str, tower: Tower, *, device: str, precision: str | None, threads: int) -> Backend:
    """The backend called `name` with `tower` on it.

    :param device: `cpu`, `cuda` or `cuda:N`.
    :param precision: None for the device's own default.
    :param threads: most CPU threads of one forward pass.
    :raises ConfigError: for a name, device or precision that is not there.
    """
    if name not in BACKENDS:
        raise ConfigError(f"backend must be one of {', '.join(BACKENDS)}, not {name!r}")
    if name == "openvino" or (name == "auto" and device == "cpu"):
        try:
            from clip_image_flow.backends.openvino.backend import OpenVINOBackend

            return OpenVINOBackend(tower, device=device, precision=precision, threads=threads)
        except (ImportError, RuntimeError) as error:  # RuntimeError: whatever goes wrong inside of OpenVINO
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            if name == "openvino":
                raise ConfigError(f"backend 'openvino' cannot be used here: {reason}") from error
            logger.warning("serving with torch, which is slower, since OpenVINO cannot be used here: %s", reason)
    from clip_image_flow.backends.torch_backend import TorchBackend

    return TorchBackend(tower.load(), device=device, precision=precision, threads=threads)
