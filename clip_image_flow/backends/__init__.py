"""The engines that run CLIP's image tower, behind one small interface.

A backend is the only place that knows its engine. Another one joins by a module beside `torch_backend.py` and a line in
`load`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from clip_image_flow.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

BACKENDS = ("auto", "openvino", "torch")
logger = logging.getLogger(__name__)


class Backend(Protocol):
    """The image tower on an engine.

    :param precision: of the arithmetic, `fp32`, `bf16`, `fp16` or `int8`.
    :param input_size: n, pixels a side.
    :param dim: length of an embedding.
    :param best_batch_size: images in one forward pass from which on more bring nothing.
    """

    name: str
    precision: str
    input_size: int
    dim: int
    best_batch_size: int

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """Preprocessed pictures, uint8 (b, n, n, 3) -> embeddings, float32 (b, dim), as the model gives them.

        Called from one thread at a time.
        """
        ...


@dataclass(frozen=True)
class Source:
    """Where a backend gets the image tower from.

    :param load: the tower, float32 (b, 3, n, n) -> (b, dim), in fp32 on the CPU; each time a new one.
    :param fingerprint: names these very weights; None where that cannot be known before they are loaded.
    :param cache: folder in which a backend may keep what it makes of them.
    """

    load: Callable[[], nn.Module]
    fingerprint: Callable[[], str | None]
    cache: Path


def load(name: str, source: Source, *, device: str, precision: str | None, threads: int) -> Backend:
    """The backend called `name` with the image tower of `source` on it.

    :param device: `cpu`, `cuda` or `cuda:N`.
    :param precision: None for the device's own default.
    :param threads: most CPU threads of one forward pass.
    :raises ConfigError: for a name, device or precision that is not there.
    """
    if name not in BACKENDS:
        raise ConfigError(f"backend must be one of {', '.join(BACKENDS)}, not {name!r}")
    if name == "openvino" or (name == "auto" and device == "cpu"):
        try:
            from clip_image_flow.backends.openvino_backend import OpenVINOBackend

            return OpenVINOBackend(source, device=device, precision=precision, threads=threads)
        except (ImportError, RuntimeError) as error:  # RuntimeError: whatever goes wrong inside of OpenVINO
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            if name == "openvino":
                raise ConfigError(f"backend 'openvino' cannot be used here: {reason}") from error
            logger.warning("serving with torch, which is slower, since OpenVINO cannot be used here: %s", reason)
    from clip_image_flow.backends.torch_backend import TorchBackend

    return TorchBackend(source.load(), device=device, precision=precision, threads=threads)
