"""The inference engines that run a tower of CLIP, behind one small interface.

Only a backend's own module imports its engine. To add a backend, add a module beside `torch_backend.py` and a line in
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

    :param name: name of the engine, one of `BACKENDS`.
    :param precision: precision of the arithmetic, `fp32`, `bf16`, `fp16` or `int8`.
    :param item_shape: shape of one item of a batch, such as (n, n, 3).
    :param item_dtype: NumPy's name of an item's dtype.
    :param dim: length of an embedding.
    :param best_batch_size: number of items in one forward pass beyond which throughput does not rise.
    :param calibration: SHA-256 of the int8 calibration in hex; "" for other precisions.
    :param logit_scale: factor of cosine similarities before a softmax; None if the weights have none.
    :param logit_bias: summand of the scaled similarities before a sigmoid; None if the model uses a softmax.
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
        """Encode a batch (b, *`item_shape`) of `item_dtype` to embeddings, float32 (b, dim), not normalised.

        Called from one thread at a time.
        """
        ...


def load(name: str, tower: Tower, *, device: str, precision: str | None, threads: int) -> Backend:
    """Load `tower` on the backend called `name`.

    :param name: one of `BACKENDS`.
    :param tower: tower to run.
    :param device: `cpu`, `cuda` or `cuda:N`.
    :param precision: precision, or None for the device's default.
    :param threads: maximum number of CPU threads of one forward pass.
    :raises ConfigError: the backend, device or precision is not available.
    """
    if name not in BACKENDS:
        raise ConfigError(f"backend must be one of {', '.join(BACKENDS)}, not {name!r}")
    if name == "openvino" or (name == "auto" and device == "cpu"):
        try:
            from clip_image_flow.backends.openvino.backend import OpenVINOBackend

            return OpenVINOBackend(tower, device=device, precision=precision, threads=threads)
        except (ImportError, RuntimeError) as error:  # RuntimeError: any error inside of OpenVINO
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            if name == "openvino":
                raise ConfigError(f"backend 'openvino' cannot be used here: {reason}") from error
            logger.warning("falling back to torch, which is slower: OpenVINO cannot be used here: %s", reason)
    from clip_image_flow.backends.torch_backend import TorchBackend

    return TorchBackend(tower.load(), device=device, precision=precision, threads=threads)
