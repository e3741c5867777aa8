"""The engines that run CLIP's image tower, behind one small interface.

A backend is the only place that knows its engine. Another one joins by a module beside `torch_backend.py` and a line in
`load`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import nn

from clip_image_flow.errors import ConfigError

BACKENDS = ("auto", "torch")


class Backend(Protocol):
    """The image tower on an engine."""

    name: str
    precision: str

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """Preprocessed pictures, float32 (b, 3, n, n) -> embeddings, float32 (b, dim), as the model gives them."""
        ...


def load(name: str, visual: nn.Module, *, device: str, precision: str | None, threads: int) -> Backend:
    """The backend called `name` with the image tower `visual` on it.

    :param device: `cpu`, `cuda` or `cuda:N`.
    :param precision: None for the device's own default.
    :param threads: most CPU threads of one forward pass.
    :raises ConfigError: for a name, device or precision that is not there.
    """
    if name not in BACKENDS:
        raise ConfigError(f"backend must be one of {', '.join(BACKENDS)}, not {name!r}")
    from clip_image_flow.backends.torch_backend import TorchBackend

    return TorchBackend(visual, device=device, precision=precision, threads=threads)
